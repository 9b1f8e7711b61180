from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Mode(StrEnum):
    TEST = "test"
    LIVE = "live"


@dataclass(frozen=True)
class ProgramRules:
    """What a program's settings say.

    `currencies` are those accepted, the program's own first. `unit` names the points. Days are local days of
    `time_zone` (IANA). An order may be reported up to `late_order_days` after it was placed.
    """

    currencies: tuple[str, ...]
    time_zone: str
    unit: str = "points"
    late_order_days: int = 7


@dataclass(frozen=True)
class Program:
    id: UUID
    slug: str
    name: str
    mode: Mode
    clock_at: datetime | None
    settings_version: int
    rules: ProgramRules

    def now(self, real: datetime) -> datetime:
        """Return this program's present: its test clock where it has one, the real instant otherwise."""
        return self.clock_at or real
