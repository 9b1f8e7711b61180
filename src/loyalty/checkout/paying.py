"""What points pay for an order, as its storefront asks."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.checkout.rules import Basket
from loyalty.members import service as members
from loyalty.members.errors import MemberMayNotBurn
from loyalty.orders.rules import NewOrder
from loyalty.points import holding
from loyalty.points.errors import CaptureExceedsHold, HoldNotFound
from loyalty.programs.rules import Program
from loyalty.rewards.discounts import Discount, paid_by_gift_card
from loyalty.tenders import rules as tenders
from loyalty.tenders.errors import PointsBesideGiftCard, PointsNeedAMember
from loyalty.tenders.rules import Tender


async def tender(
    session: AsyncSession, *, program: Program, order: NewOrder, basket: Basket, discounts: Sequence[Discount]
) -> Tender | None:
    """Return what points pay for an order, if any are to.

    Raises PointsBesideGiftCard, PointsNeedAMember, MemberMayNotBurn, HoldNotFound, CaptureExceedsHold, PointsDoNotPay,
    PointsBelowFloor, PointsAboveCeiling.
    """
    if basket.pay_points is None and basket.hold_id is None:
        return None
    if paid_by_gift_card(discounts):
        raise PointsBesideGiftCard
    buyer = None
    if order.customer_id is not None:
        buyer = await members.find_standing(session, program_id=program.id, customer_id=order.customer_id)
    if buyer is None:
        raise PointsNeedAMember
    if not buyer.may_burn:
        raise MemberMayNotBurn
    wanted = basket.pay_points
    if basket.hold_id is not None:
        hold = await holding.get_hold(session, program_id=program.id, hold_id=basket.hold_id)
        if (hold.member_id, hold.unit) != (buyer.id, program.rules.unit):
            raise HoldNotFound
        wanted = hold.points if wanted is None else wanted
        if wanted > hold.points:
            raise CaptureExceedsHold(held=hold.points, requested=wanted)
    return tenders.tender(program.rules.burn, currency=order.currency, lines=order.lines, points=wanted or 0)
