"""Giving points for a reward, and taking that back: ledger, stock and coupon in one transaction."""
