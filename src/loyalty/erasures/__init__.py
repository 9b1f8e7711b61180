"""A member asks to be forgotten: personal data goes from every room, the ledger stays."""
