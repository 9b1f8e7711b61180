"""A reward for points, or granted for none, and taking that back: ledger, stock and coupon in one transaction."""
