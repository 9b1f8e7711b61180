"""What a member sees of themselves: wallet, entries, catalogue with what is still missing, code to share. Read-only."""
