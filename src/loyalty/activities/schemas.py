from collections import Counter
from typing import Annotated
from uuid import UUID

import msgspec
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from loyalty.activities.models import Activity, ActivityAward
from loyalty.activities.rules import BY_ITSELF
from loyalty.activities.service import View
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, ExternalId, Instant, Metadata, public_id
from loyalty.core.paging import Page
from loyalty.earning.schemas import ActivityType
from loyalty.earning.verdicts import Verdict
from loyalty.points.schemas import EntryOut, entry_out


def _reported(value: str) -> str:
    """Leave to us what we record ourselves, so that nobody is paid for it twice."""
    if value in BY_ITSELF:
        raise PydanticCustomError("reserved", "This is recorded by itself: an enrolment, and each birthday")
    return value


class ActivityIn(Body):
    """Something that a member did, of any type but `signed_up` and `birthday`: these are recorded by themselves.

    The same `external_id` of a type is the same activity. `occurred_at` is now unless given.
    """

    member_id: public_id("mem")  # type: ignore[valid-type]
    type: Annotated[ActivityType, AfterValidator(_reported)]
    external_id: ExternalId | None = None
    occurred_at: Instant | None = None
    metadata: Metadata


class ActivityAwardOut(msgspec.Struct):
    """What one rule gave: its version, and the points."""

    rule_id: str
    rule_version: int
    points: int
    unit: str


class ActivityTraceOut(msgspec.Struct):
    """What one rule said, in order of priority: `outcome` is counted, or why it was not.

    `counted` are its points before limits, `points` those after; `capped_by` is the limit between them.
    """

    rule_id: str
    rule_version: int
    outcome: str
    unit: str
    counted: int
    points: int
    capped_by: str | None


class ActivityOut(msgspec.Struct):
    """Something that a member did and what it earned. `points_earned` counts spendable and pending points alike."""

    id: str
    member_id: str
    type: str
    external_id: str | None
    occurred_at: str
    recorded_at: str
    late: bool
    points_earned: int
    awards: list[ActivityAwardOut]
    trace: list[ActivityTraceOut]
    entries: list[EntryOut]
    metadata: dict[str, str]


class ActivitySummary(msgspec.Struct):
    """An activity in a list."""

    id: str
    member_id: str
    type: str
    external_id: str | None
    occurred_at: str
    recorded_at: str
    points_earned: int
    metadata: dict[str, str]


class ActivityPage(msgspec.Struct):
    data: list[ActivitySummary]
    has_more: bool
    next_cursor: str | None


def activity_out(view: View) -> ActivityOut:
    own = view.activity
    return ActivityOut(
        id=ids.public("act", own.id),
        member_id=ids.public("mem", own.member_id),
        type=own.type,
        external_id=own.external_id,
        occurred_at=rfc3339(own.occurred_at),
        recorded_at=rfc3339(own.recorded_at),
        late=own.occurred_at < own.recorded_at,
        points_earned=sum(award.points for award in view.awards),
        awards=[_award_out(award) for award in view.awards],
        trace=[_trace_out(verdict) for verdict in view.trace],
        entries=[entry_out(entry) for entry in view.entries],
        metadata=own.notes,
    )


def activity_page(page: Page[Activity], earned: Counter[UUID]) -> ActivityPage:
    return ActivityPage([_summary(row, earned[row.id]) for row in page.data], page.has_more, page.next_cursor)


def _summary(row: Activity, points: int) -> ActivitySummary:
    return ActivitySummary(
        id=ids.public("act", row.id),
        member_id=ids.public("mem", row.member_id),
        type=row.type,
        external_id=row.external_id,
        occurred_at=rfc3339(row.occurred_at),
        recorded_at=rfc3339(row.recorded_at),
        points_earned=points,
        metadata=row.notes,
    )


def _award_out(award: ActivityAward) -> ActivityAwardOut:
    return ActivityAwardOut(ids.public("rul", award.rule_id), award.rule_version, award.points, award.unit)


def _trace_out(own: Verdict) -> ActivityTraceOut:
    return ActivityTraceOut(
        rule_id=ids.public("rul", own.rule.rule_id),
        rule_version=own.rule.version,
        outcome=own.outcome,
        unit=own.rule.terms.unit,
        counted=own.counted,
        points=own.points,
        capped_by=own.capped_by,
    )
