"""Who is calling, and what may they do: keys, managers, member tokens, scopes.

Every operation names one scope. The caller found here carries the program, so that everything after it can name it.
"""
