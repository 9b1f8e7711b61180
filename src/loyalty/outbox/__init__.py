"""Effects to tell the world: appended with each effect, numbered afterwards.

Requests append rows without a number, so nothing queues behind a counter. One relay a program gives the numbers,
gap-free and in the order it finds them; readers follow by number.
"""
