"""A program's whole configuration as one document: told, compared, and brought about in one transaction.

It says the settings, earning rules, rewards and referral campaign as they hold from now on. It leaves out what a
program is (its name, mode, clock and keys) and what happened in it: members, points, coupons, codes, versions that are
over. Things are known by their names, since ids differ from program to program. How many of a reward are left is not
configured: the document's `stock` is what a new reward begins with.
"""
