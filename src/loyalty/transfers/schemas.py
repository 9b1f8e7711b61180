from typing import Annotated

import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, Metadata, Positive, Unit, public_id, text
from loyalty.points.schemas import EntryOut, entry_out
from loyalty.transfers.service import View


class TransferIn(Body):
    """Points to give, from whom to whom."""

    from_member_id: public_id("mem")  # type: ignore[valid-type]
    to_member_id: public_id("mem")  # type: ignore[valid-type]
    points: Positive
    unit: Unit | None = None
    reason: Annotated[str, text(longest=500)] | None = None
    metadata: Metadata


class TransferOut(msgspec.Struct):
    """Points that went from one member to another; they keep the dates of the lots they came from."""

    id: str
    from_member_id: str
    to_member_id: str
    unit: str
    points: int
    reason: str | None
    actor: str
    transferred_at: str
    entries: list[EntryOut]
    metadata: dict[str, str]


def transfer_out(view: View) -> TransferOut:
    row = view.transfer
    return TransferOut(
        id=ids.public("trf", row.id),
        from_member_id=ids.public("mem", row.from_member_id),
        to_member_id=ids.public("mem", row.to_member_id),
        unit=row.unit,
        points=row.points,
        reason=row.reason,
        actor=row.actor,
        transferred_at=rfc3339(row.transferred_at),
        entries=[entry_out(entry) for entry in view.entries],
        metadata=row.notes,
    )
