"""What would be true of any service: settings, database, web ground, errors, clock, paging, ids, money.

Knows no feature. A line that would suit a library's lending system too belongs here.
"""
