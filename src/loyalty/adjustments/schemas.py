from collections import Counter
from typing import Annotated, Literal

import msgspec
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from loyalty.adjustments.bulk import Outcome
from loyalty.adjustments.rules import AdjustmentKind, Asked
from loyalty.adjustments.service import View
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, ExternalId, Instant, Metadata, Unit, public_id, text
from loyalty.core.money import MAX_INTEGER
from loyalty.core.paging import Page
from loyalty.points.rules import WalletKey
from loyalty.points.schemas import EntryOut, entry_out
from loyalty.programs.rules import Program


def _not_zero(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("points", "Input should be points to give, or below zero to take")
    return value


SignedPoints = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER, strict=True), AfterValidator(_not_zero)]
Reason = Annotated[str, text(longest=500)]


class AdjustmentIn(Body):
    """Points to give a member, or below zero to take, and why.

    Given ones follow the program's expiry unless `expires_at` says otherwise, and are pending until `activates_at`.
    """

    member_id: public_id("mem")  # type: ignore[valid-type]
    points: SignedPoints
    reason: Reason
    unit: Unit | None = None
    external_id: ExternalId | None = None
    activates_at: Instant | None = None
    expires_at: Instant | None = None
    metadata: Metadata

    def asked(self, program: Program, *, actor: str) -> Asked:
        return Asked(
            kind=AdjustmentKind.ADJUST,
            wallet=WalletKey(program.id, self.member_id, self.unit or program.rules.unit),
            points=self.points,
            reason=self.reason,
            actor=actor,
            external_id=self.external_id,
            activates_at=self.activates_at,
            expires_at=self.expires_at,
            metadata=self.metadata,
        )


class BatchIn(Body):
    """A CSV file as text: a header line `external_id,member,points,reason`, and 1 to 1,000 rows.

    `member` is a member's id, external id or e-mail; `external_id` makes a row happen once however often it is sent.
    """

    csv: Annotated[str, Field(min_length=1, max_length=1_000_000)]


class BatchRowOut(msgspec.Struct):
    """What became of a row, the header being line 1: given, already (there before), or refused with a code."""

    line: int
    external_id: str
    outcome: str
    adjustment_id: str | None
    code: str | None


class BatchOut(msgspec.Struct):
    """A line for every row, in the order of the file."""

    given: int
    already: int
    refused: int
    rows: list[BatchRowOut]


def batch_out(outcomes: list[Outcome]) -> BatchOut:
    counts = Counter(outcome.outcome for outcome in outcomes)
    return BatchOut(
        given=counts["given"],
        already=counts["already"],
        refused=counts["refused"],
        rows=[
            BatchRowOut(
                outcome.row,
                outcome.external_id,
                outcome.outcome,
                ids.public("adj", outcome.adjustment_id) if outcome.adjustment_id else None,
                outcome.code,
            )
            for outcome in outcomes
        ],
    )


class LotExtensionIn(Body):
    """Until when a lot's points are to be good, and why."""

    expires_at: Instant
    reason: Reason


class AdjustmentOut(msgspec.Struct):
    """What somebody changed by hand, and the entries that it made. `lot_id` names the lot that was to live longer."""

    id: str
    member_id: str
    unit: str
    kind: Literal["adjust", "opening", "extend", "reinstate"]
    points: int
    lot_id: str | None
    external_id: str | None
    reason: str
    actor: str
    adjusted_at: str
    entries: list[EntryOut]
    metadata: dict[str, str]


class AdjustmentPage(msgspec.Struct):
    data: list[AdjustmentOut]
    has_more: bool
    next_cursor: str | None


def adjustment_out(view: View) -> AdjustmentOut:
    row = view.adjustment
    return AdjustmentOut(
        id=ids.public("adj", row.id),
        member_id=ids.public("mem", row.member_id),
        unit=row.unit,
        kind=row.kind,  # type: ignore[arg-type]  # a constraint holds it to these
        points=row.points,
        lot_id=ids.public("lot", row.lot_id) if row.lot_id else None,
        external_id=row.external_id,
        reason=row.reason,
        actor=row.actor,
        adjusted_at=rfc3339(row.adjusted_at),
        entries=[entry_out(entry) for entry in view.entries],
        metadata=row.notes,
    )


def adjustment_page(page: Page[View]) -> AdjustmentPage:
    return AdjustmentPage([adjustment_out(view) for view in page.data], page.has_more, page.next_cursor)
