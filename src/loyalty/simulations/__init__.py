"""What rules would have given: a rule set is tried on past orders before it goes live, and nothing is paid.

A simulation sets what a stretch of orders really earned beside what other rules would have given for the same orders.
"""
