"""Points locked for a time: a checkout takes them, and what it never finished gives them back by itself."""
