from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figures:
    """What an order comes to: points by rule, what points pay of it, and what coupons take off it.

    `points_begin_at` and `points_end_at` are when what it earns begins and ends, null where at once and never.
    """

    awards: Mapping[str, int]
    paid_points: int
    paid_minor: int
    discounts: Mapping[str, int]
    points_begin_at: str | None
    points_end_at: str | None

    def written(self) -> dict[str, Any]:
        return dict(vars(self))

    def differ(self, now: "Figures") -> Iterator[dict[str, Any]]:
        """Yield each figure that is another one now: what it is, what was quoted, what it is now."""
        for prefix, own, other in (
            ("points_of", self.awards, now.awards),
            ("discount_of", self.discounts, now.discounts),
        ):
            for name in sorted(own.keys() | other.keys()):
                quoted, current = own.get(name, 0), other.get(name, 0)
                if quoted != current:
                    yield {"figure": f"{prefix}_{name}", "quoted": quoted, "now": current}
        for name in ("paid_points", "paid_minor", "points_begin_at", "points_end_at"):
            was, is_now = getattr(self, name), getattr(now, name)
            if was != is_now:
                yield {"figure": name, "quoted": was, "now": is_now}
