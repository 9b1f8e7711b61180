"""What keeps members from rewards: the facts, looked up; `eligibility` decides."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.members import service as members
from loyalty.members.rules import Standing
from loyalty.programs.policies import period_start, start_of_day
from loyalty.programs.rules import Program
from loyalty.rewards import coupon_queries, models
from loyalty.rewards.eligibility import Asking, Barrier, Offered, barriers, withheld
from loyalty.rewards.service import View, terms_of


async def weigh(
    session: AsyncSession,
    offers: Sequence[View],
    *,
    program: Program,
    standing: Standing,
    spendable: Mapping[str, int],
    now: datetime,
) -> list[list[Barrier]]:
    """Return for each reward why a member cannot redeem it now; `spendable` is what they have, by unit.

    It holds until the transaction ends only for who holds the customer's lock, stock apart.
    """
    zone, rewards = program.rules.zone, [view.reward for view in offers]
    asking = await _asking(session, rewards, program=program, standing=standing, spendable=spendable, now=now)
    return [list(barriers(_offered(view), asking[view.reward.id], now=now, zone=zone)) for view in offers]


async def check_gift(session: AsyncSession, view: View, *, program: Program, standing: Standing, now: datetime) -> None:
    """Raise what keeps a member from a reward that is given to them, stock apart; the customer must be locked."""
    asking = await _asking(session, [view.reward], program=program, standing=standing, spendable={}, now=now)
    for barrier in withheld(_offered(view), asking[view.reward.id], now=now, zone=program.rules.zone):
        raise barrier.refusal


async def _asking(
    session: AsyncSession,
    rewards: Sequence[models.Reward],
    *,
    program: Program,
    standing: Standing,
    spendable: Mapping[str, int],
    now: datetime,
) -> dict[UUID, Asking]:
    attributes: Mapping[str, str] = {}
    if any(reward.member_attributes for reward in rewards):
        found = await members.attributes(session, program_id=program.id, member_ids=[standing.id])
        attributes = found.get(standing.id, {})
    day = now.astimezone(program.rules.zone).date()
    since = {
        reward.id: start_of_day(period_start(limit.period, day), program.rules.zone)
        for reward in rewards
        if (limit := terms_of(reward).per_member) is not None
    }
    had = {}
    if since:
        had = await coupon_queries.count_had(session, program_id=program.id, member_id=standing.id, since=since)
    return {
        reward.id: Asking(standing.may_burn, spendable.get(reward.unit, 0), had.get(reward.id, 0), attributes)
        for reward in rewards
    }


def _offered(view: View) -> Offered:
    reward = view.reward
    return Offered(
        reward.cost_points, reward.unit, terms_of(reward), reward.retired_at is not None, view.stock_left != 0
    )
