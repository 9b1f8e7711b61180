"""The demonstration: real purchases of 23,570 customers, counted by the product's own rules.

The purchases are CDNOW's (1997-01-01 to 1998-06-30). Who enrolled and who referred whom is made up, by the rule in
`purchases`, and everything shown says so.
"""
