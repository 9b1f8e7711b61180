"""Reports for managers: retention, churn, repeat purchase, referral rates, and members beside non-members.

Read-only. Every figure comes with its numerator, denominator, interval, window and the instant whose knowledge it
states, so that two people who ask the same question get the same number. The statistics are pure (`intervals`,
`adjusted`, `windows`, `rules`); `queries` reads the tables of other rooms, which only this room and the console may.
"""
