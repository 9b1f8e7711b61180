"""The program's own books: what is owed to members by month and by issue cohort, and the sealed days that prove it.

A seal covers the entries written in one closed day of the real world, in the order of their ids, and the seal before
it: whoever changes, removes or slips in a row afterwards breaks it, and would have to make every later one anew.
"""
