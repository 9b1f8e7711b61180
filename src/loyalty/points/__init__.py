"""The ledger: wallets, lots, entries, holds, and the proof that they agree.

A use case opens a book (which locks its wallets, in one order), decides on it in memory, and posts it in one go. Rooms
above say what is earned or spent and why; how points move is decided here alone.
"""
