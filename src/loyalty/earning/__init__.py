"""What buying earns: rules as typed, versioned data, and one pure computation over an order.

An order is counted once per rule, under the version in force when it was placed, and remembers that version.
"""
