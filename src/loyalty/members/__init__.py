"""Customers, and who of them enrolled.

A customer is anyone who buys or signs up; a member is an enrolled customer, under the same id. Personal data lives
apart from what the ledger and the metrics need, so that it can go without moving a number.
"""
