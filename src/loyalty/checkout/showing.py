"""An order as it is shown: with everything that it caused, from stored rows."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import at_once
from loyalty.earning import service as earning
from loyalty.earning.facts import Purchase
from loyalty.earning.rules import PaidAward
from loyalty.earning.verdicts import Verdict
from loyalty.orders import models as order_models
from loyalty.orders import service as orders
from loyalty.orders.errors import OrderNotFound
from loyalty.points import history as points_history
from loyalty.points import models as point_models
from loyalty.points.rules import EntryKind
from loyalty.programs.rules import Program
from loyalty.referrals import models as referral_models
from loyalty.referrals import rewarding
from loyalty.rewards import coupons
from loyalty.rewards import models as reward_models
from loyalty.tenders import models as tender_models
from loyalty.tenders import service as tenders

_MADE: Final = {EntryKind.EARN, EntryKind.SPEND, EntryKind.CAPTURE}
"""What an order does to its buyer's wallet at once, whosever that has become by a merge."""


@dataclass(frozen=True)
class View:
    """An order with everything that it caused; `added` are the entries that amendments and returns gave."""

    order: order_models.Order
    lines: list[order_models.OrderLine]
    awards: list[PaidAward]
    trace: list[Verdict]
    entries: list[point_models.Entry]
    referral: tuple[referral_models.Referral, list[referral_models.ReferralReward]] | None
    tender: tender_models.OrderTender | None
    discounts: list[reward_models.CouponDiscount]
    added: set[UUID]

    @property
    def placed(self) -> list[order_models.OrderLine]:
        """The lines that the order was placed with."""
        return [line for line in self.lines if line.amendment_id is None]


async def view(session: AsyncSession, *, program: Program, order_id: UUID) -> View:
    """Return an order with what it earned and completed, all from stored rows; raises OrderNotFound."""
    found = await views(session, program=program, order_ids=[order_id])
    if not found:
        raise OrderNotFound
    return found[order_id]


async def views(session: AsyncSession, *, program: Program, order_ids: Collection[UUID]) -> dict[UUID, View]:
    """Return those of these orders that are there, with what they earned and completed, all from stored rows."""
    found, entries, (counts, added), (referrals, paid, discounts) = await at_once(
        session,
        orders.listed(session, program_id=program.id, order_ids=order_ids),
        points_history.entries_of(session, program_id=program.id, source_ids=order_ids),
        at_once(
            session,
            earning.counts(session, program_id=program.id, order_ids=order_ids),
            earning.added(session, program_id=program.id, order_ids=order_ids),
        ),
        at_once(
            session,
            rewarding.qualified_by(session, program_id=program.id, order_ids=order_ids),
            tenders.listed(session, program_id=program.id, order_ids=order_ids),
            coupons.discounts(session, program_id=program.id, order_ids=order_ids),
        ),
    )
    purchases = {
        order.id: Purchase.of(order, [orders.line_of(line) for line in lines if line.amendment_id is None])
        for order, lines in found.values()
    }
    traces = {
        own: await earning.trace(
            session, counts.get(own), program_id=program.id, purchase=purchase, zone=program.rules.zone
        )
        for own, purchase in purchases.items()
    }
    return {
        order.id: View(
            order,
            lines,
            earning.awards_of(counts.get(order.id)),
            traces[order.id],
            [own for own in entries[order.id] if own.member_id == order.customer_id or own.kind in _MADE],
            referrals.get(order.id),
            paid.get(order.id),
            discounts[order.id],
            added,
        )
        for order, lines in found.values()
    }
