from typing import Annotated
from zoneinfo import available_timezones

import msgspec
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, Currency, Instant, Name, Unit, text
from loyalty.programs.rules import Program


def _known_zone(value: str) -> str:
    if value not in available_timezones():
        raise PydanticCustomError("time_zone", "Input should be an IANA time zone such as Europe/Berlin")
    return value


Slug = Annotated[str, text(longest=40, shortest=3, pattern=r"^[a-z0-9][a-z0-9-]*[a-z0-9]$")]
TimeZone = Annotated[str, text(longest=64), AfterValidator(_known_zone)]
Currencies = Annotated[list[Currency], Field(min_length=1, max_length=20)]


class ProgramPatch(Body):
    """What is not named stays. Orders already counted keep what they were counted by."""

    name: Name | None = None
    currencies: Currencies | None = None
    time_zone: TimeZone | None = None
    unit: Unit | None = None
    late_order_days: Annotated[int, Field(ge=0, le=365, strict=True)] | None = None


class ClockAdvance(Body):
    to: Instant


class ProgramOut(msgspec.Struct):
    """A program with the settings in force. `clock_at` is the test clock's present; null means the real one."""

    id: str
    slug: str
    name: str
    mode: str
    clock_at: str | None
    settings_version: int
    currencies: list[str]
    time_zone: str
    unit: str
    late_order_days: int


def program_out(program: Program) -> ProgramOut:
    return ProgramOut(
        id=ids.public("prg", program.id),
        slug=program.slug,
        name=program.name,
        mode=program.mode,
        clock_at=rfc3339(program.clock_at) if program.clock_at else None,
        settings_version=program.settings_version,
        currencies=list(program.rules.currencies),
        time_zone=program.rules.time_zone,
        unit=program.rules.unit,
        late_order_days=program.rules.late_order_days,
    )
