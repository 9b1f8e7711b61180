from typing import Annotated

import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, ExternalId, Metadata, public_id, text
from loyalty.core.paging import Page
from loyalty.members.schemas import MemberOut
from loyalty.redemptions.showing import View
from loyalty.rewards.schemas import RewardOut


class OwnRedemptionIn(Body):
    """The reward that the member wants."""

    reward_id: public_id("rew")  # type: ignore[valid-type]
    metadata: Metadata


class RedemptionIn(OwnRedemptionIn):
    """The reward, and for which member."""

    member_id: public_id("mem")  # type: ignore[valid-type]


class RewardGrantIn(RedemptionIn):
    """The reward, for which member, and why it is given without points."""

    reason: Annotated[str, text(longest=500)]


class CouponUseIn(Body):
    """The coupon as the customer wrote it, and the order it is used on, by your own id, recorded or not."""

    code: Annotated[str, text(longest=40)]
    external_order_id: ExternalId | None = None


class CancellationIn(Body):
    reason: Annotated[str, text(longest=500)] | None = None


class CouponOut(msgspec.Struct):
    """A unique code that stands for the reward; `expires_at` null means never, `used_at` null not yet."""

    code: str
    expires_at: str | None
    used_at: str | None


class GrantOut(msgspec.Struct):
    """Who gave a reward without points, and why; null once the member was erased."""

    actor: str
    reason: str | None


class RedemptionOut(msgspec.Struct):
    """Points given for a reward. `balance_after` is the balance that the spend left.

    A reward that was granted was for 0 points, and left no balance; nor is one told whose entry has been detached.
    `cancelled_at` null: not cancelled. The member sees the metadata too, but not who granted it. `member` and `reward`
    are shown whole where that is asked for.
    """

    id: str
    member_id: str
    reward_id: str
    points: int
    unit: str
    coupon: CouponOut
    balance_after: int | None
    redeemed_at: str
    cancelled_at: str | None
    metadata: dict[str, str]
    member: MemberOut | None = None
    reward: RewardOut | None = None
    grant: GrantOut | None = None


class RedemptionPage(msgspec.Struct):
    data: list[RedemptionOut]
    has_more: bool
    next_cursor: str | None


def redemption_out(view: View) -> RedemptionOut:
    return RedemptionOut(
        id=ids.public("red", view.redemption.id),
        member_id=ids.public("mem", view.redemption.member_id),
        reward_id=ids.public("rew", view.redemption.reward_id),
        points=view.redemption.points,
        unit=view.redemption.unit,
        coupon=CouponOut(
            view.coupon.written,
            rfc3339(view.coupon.expires_at) if view.coupon.expires_at else None,
            rfc3339(view.coupon.used_at) if view.coupon.used_at else None,
        ),
        balance_after=view.balance_after,
        redeemed_at=rfc3339(view.redemption.redeemed_at),
        cancelled_at=rfc3339(view.cancellation.cancelled_at) if view.cancellation else None,
        metadata=view.redemption.notes,
    )


def grant_out(view: View) -> GrantOut | None:
    return GrantOut(view.grant.actor, view.grant.reason) if view.grant else None


def redeemed_out(view: View) -> RedemptionOut:
    """Show a redemption as it was made, so that a repeated request hears what the first one heard."""
    shown = redemption_out(view)
    return msgspec.structs.replace(shown, cancelled_at=None, coupon=msgspec.structs.replace(shown.coupon, used_at=None))


def redemption_page(page: Page[View]) -> RedemptionPage:
    return RedemptionPage([redemption_out(view) for view in page.data], page.has_more, page.next_cursor)
