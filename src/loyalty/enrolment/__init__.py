"""Signing up: a customer becomes a member with wallet and code, and is attributed to whoever referred them."""
