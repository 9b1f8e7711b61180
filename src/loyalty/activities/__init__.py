"""Anything else that a member did and that earns: signing up, a review, a check-in, whatever a program names."""
