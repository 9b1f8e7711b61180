"""Who referred whom: claims at enrolment, their precedence, and when a referral qualifies."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from loyalty.members.rules import Standing, Status
from loyalty.points.rules import WalletKey


class Method(StrEnum):
    """How a claim came, strongest first: a code that was typed beats a link that was clicked."""

    CODE = "code"
    CLICK = "click"
    IMPORT = "import"


class State(StrEnum):
    SIGNED_UP = "signed_up"
    REWARDED = "rewarded"
    REJECTED = "rejected"


class Side(StrEnum):
    ADVOCATE = "advocate"
    REFEREE = "referee"


@dataclass(frozen=True)
class Campaign:
    id: UUID
    window_days: int
    unit: str
    advocate_points: int
    referee_points: int
    minimum_minor: int
    minimum_currency: str


@dataclass(frozen=True)
class Waiting:
    """A locked referral whose friend has not yet made the order that it waits for."""

    id: UUID
    referee_id: UUID
    advocate_id: UUID
    attributed_at: datetime
    campaign: Campaign

    def wallets(self, program_id: UUID) -> list[WalletKey]:
        """The wallets that it would pay into."""
        return [
            WalletKey(program_id, member_id, self.campaign.unit) for member_id in (self.advocate_id, self.referee_id)
        ]


@dataclass(frozen=True)
class Claim:
    """One claim on a new member: by which code, and, for a click, when and through what.

    `advocate_id` is None when no live code reads like this; `refused` says why a click token was not accepted at all.
    """

    method: Method
    code: str | None
    advocate_id: UUID | None = None
    advocate_joined_at: datetime | None = None
    advocate_active: bool = False
    clicked_at: datetime | None = None
    click_id: UUID | None = None
    channel: str | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Completed:
    """A referral that an order ended, well or not; `at` is the order's time, `recorded_at` when we learned of it."""

    referral_id: UUID
    order_id: UUID
    state: State
    at: datetime
    recorded_at: datetime


@dataclass(frozen=True)
class PaidSide:
    """What one side of a completed referral got, and why nothing if it was refused."""

    referral_id: UUID
    side: Side
    member_id: UUID
    entry_id: UUID | None
    points: int
    refused: str | None


@dataclass(frozen=True)
class Touch:
    """A claim and what became of it: `won`, `lost` to a stronger one, or `refused` for a reason."""

    claim: Claim
    outcome: str
    reason: str


def attribute(
    claims: Sequence[Claim], *, campaign: Campaign | None, referee_id: UUID, has_bought: bool, now: datetime
) -> list[Touch]:
    """Decide every claim, strongest method first; at most one wins."""
    touches: list[Touch] = []
    won = False
    for claim in sorted(claims, key=lambda claim: list(Method).index(claim.method)):
        against = _refusals(claim, campaign=campaign, referee_id=referee_id, has_bought=has_bought, now=now)
        reason = next(against, None)
        if reason is not None:
            touches.append(Touch(claim, "refused", reason))
        elif won:
            touches.append(Touch(claim, "lost", "a_stronger_claim_won"))
        else:
            touches.append(Touch(claim, "won", f"{claim.method}_accepted"))
            won = True
    return touches


def with_advocate(claim: Claim, standing: Standing) -> Claim:
    """Add to a claim what is known of the owner of its code."""
    return replace(
        claim,
        advocate_id=standing.id,
        advocate_joined_at=standing.enrolled_at,
        advocate_active=standing.status is Status.ACTIVE,
    )


def winner(touches: Sequence[Touch]) -> Claim | None:
    return next((touch.claim for touch in touches if touch.outcome == "won"), None)


def qualifies(waiting: Waiting, *, placed_at: datetime, currency: str, total_minor: int) -> bool:
    """Tell whether a friend's first paid order is what the campaign asks for.

    It was placed at or after the attribution, and is of any amount, or of the minimum in the campaign's currency.
    """
    campaign = waiting.campaign
    if placed_at < waiting.attributed_at:
        return False
    if campaign.minimum_minor == 0:
        return True
    return currency == campaign.minimum_currency and total_minor >= campaign.minimum_minor


def _refusals(
    claim: Claim, *, campaign: Campaign | None, referee_id: UUID, has_bought: bool, now: datetime
) -> Iterator[str]:
    """Yield every reason against a claim, the most telling first."""
    if claim.refused is not None:
        yield claim.refused
    if campaign is None:
        yield "no_active_campaign"
    elif claim.clicked_at is not None and now - claim.clicked_at > timedelta(days=campaign.window_days):
        yield "click_outside_window"
    if claim.clicked_at is not None and claim.clicked_at > now:
        yield "click_in_the_future"
    if claim.advocate_id is None or claim.advocate_joined_at is None:
        yield "code_unknown"
    else:
        yield from _refusals_of_advocate(claim, claim.advocate_joined_at, referee_id=referee_id, now=now)
    if has_bought:
        yield "not_a_new_customer"


def _refusals_of_advocate(claim: Claim, joined_at: datetime, *, referee_id: UUID, now: datetime) -> Iterator[str]:
    if claim.advocate_id == referee_id:
        yield "own_code"
    if not claim.advocate_active:
        yield "advocate_not_active"
    if joined_at > now:
        yield "advocate_joined_later"
