from typing import Annotated

import msgspec
from pydantic import Field

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, Metadata, Positive, Unit, public_id
from loyalty.holds.service import View


class HoldIn(Body):
    """Points to lock, and for how many seconds; fifteen minutes unless given, a week at most."""

    member_id: public_id("mem")  # type: ignore[valid-type]
    points: Positive
    unit: Unit | None = None
    expires_in_seconds: Annotated[int, Field(ge=10, le=604_800, strict=True)] = 900
    metadata: Metadata


class CaptureIn(Body):
    """How many of the held points to spend, all of them unless given; the rest is released."""

    points: Positive | None = None


class HoldOut(msgspec.Struct):
    """Points locked for a time. `state` is live, captured, released or expired; `captured` of them were spent."""

    id: str
    member_id: str
    unit: str
    points: int
    captured: int
    state: str
    created_at: str
    expires_at: str
    ended_at: str | None
    metadata: dict[str, str]


def hold_out(view: View) -> HoldOut:
    """Show a hold as it stands; one whose time is over is expired, whether or not that was written yet."""
    hold = view.hold
    return HoldOut(
        id=ids.public("hld", hold.id),
        member_id=ids.public("mem", hold.member_id),
        unit=hold.unit,
        points=hold.points,
        captured=hold.captured,
        state=view.state,
        created_at=rfc3339(hold.created_at),
        expires_at=rfc3339(hold.expires_at),
        ended_at=rfc3339(view.ended_at) if view.ended_at else None,
        metadata=hold.notes,
    )


def held_out(view: View) -> HoldOut:
    """Show a hold as it was when it was made, so that a repeated request hears what the first one heard."""
    return msgspec.structs.replace(hold_out(view), captured=0, state="live", ended_at=None)
