from typing import Annotated

import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, public_id, text
from loyalty.merges.service import View
from loyalty.points.schemas import EntryOut, entry_out


class MergeIn(Body):
    """Which membership is to end, and which takes over what it has."""

    from_member_id: public_id("mem")  # type: ignore[valid-type]
    into_member_id: public_id("mem")  # type: ignore[valid-type]
    reason: Annotated[str, text(longest=500)]


class MergeOut(msgspec.Struct):
    """Two memberships that became one, and the entries that moved the points."""

    id: str
    from_member_id: str
    into_member_id: str
    reason: str
    actor: str
    merged_at: str
    entries: list[EntryOut]


def merge_out(view: View) -> MergeOut:
    row = view.merge
    return MergeOut(
        id=ids.public("mrg", row.id),
        from_member_id=ids.public("mem", row.from_member_id),
        into_member_id=ids.public("mem", row.into_member_id),
        reason=row.reason,
        actor=row.actor,
        merged_at=rfc3339(row.merged_at),
        entries=[entry_out(entry) for entry in view.entries],
    )
