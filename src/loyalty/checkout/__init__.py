"""The conversation at the till: an order is recorded, earns, and completes a referral, in one transaction.

Locks are always taken in this order: idempotency key, customer, order (by its external id), referral, wallets (by
member and unit), stock.
"""
