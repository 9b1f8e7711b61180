"""The catalogue: what points can be given for, its stock, and the coupons that stand for it."""
