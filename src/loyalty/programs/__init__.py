"""A program: its name, mode, settings and clock.

The settings are versioned and typed; a test program carries a clock of its own, so that "now" is an argument everywhere
above.
"""
