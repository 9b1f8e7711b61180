"""Referral codes, links and clicks, who brought whom, and what that earns both sides.

Attribution (who referred), qualification (what the friend must do) and reward are separate steps. An advocate joined
before the friend, so the graph is a forest; one live binding per friend is a constraint of the database.
"""
