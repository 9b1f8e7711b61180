"""Work that time causes: which jobs a program has, when each runs next, and what became of the last run.

What is due lies in the tables of those who care (a wallet's next due date, a day not sealed yet); a row here only says
when to look again and who is looking. So nothing is queued twice, and a job that never ran is late, not lost.
"""
