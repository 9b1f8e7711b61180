"""What was bought, by members and by others.

An order is recorded once under the storefront's own id, whoever bought it: what members earn and how non-members behave
are both read from here. What an order causes is decided above, in checkout.
"""
