from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figures:
    """What an order comes to: points by rule and unit, and what points pay of it."""

    awards: Mapping[str, int]
    paid_points: int
    paid_minor: int

    def written(self) -> dict[str, Any]:
        return asdict(self)

    def differ(self, now: "Figures") -> Iterator[dict[str, Any]]:
        """Yield each figure that is another one now: what it is, what was quoted, what it is now."""
        for name in sorted(self.awards.keys() | now.awards.keys()):
            quoted, current = self.awards.get(name, 0), now.awards.get(name, 0)
            if quoted != current:
                yield {"figure": f"points_of_{name}", "quoted": quoted, "now": current}
        for name in ("paid_points", "paid_minor"):
            quoted, current = getattr(self, name), getattr(now, name)
            if quoted != current:
                yield {"figure": name, "quoted": quoted, "now": current}
