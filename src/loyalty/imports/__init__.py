"""History brought in from elsewhere: enrolments and orders in time order, counted by the same rules as live ones.

A batch is one transaction and all or nothing. What is there already is left alone, so a broken import is simply run
again.
"""
