"""Loyalty: an engine for loyalty and referral programs over PostgreSQL."""
