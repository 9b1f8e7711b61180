"""Two memberships of one person become one: points, orders, coupons, referrals and identifiers go over."""
