from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.paging import Page
from loyalty.members import service as members
from loyalty.orders import service as orders
from loyalty.points import balances
from loyalty.points import history as points_history
from loyalty.points.history import source_of
from loyalty.points.rules import WalletKey
from loyalty.profiles.explaining import Reason, explain
from loyalty.programs.rules import Program
from loyalty.rewards import offering
from loyalty.rewards import service as rewards
from loyalty.rewards.eligibility import Barrier
from loyalty.rewards.service import View

_MOST: Final = 100


@dataclass(frozen=True)
class Offer:
    """A reward as it stands for a member: how many points are missing, and all that is in the way."""

    view: View
    points_missing: int
    barriers: list[Barrier]


async def explanation(session: AsyncSession, *, program: Program, key: WalletKey, now: datetime) -> Iterator[Reason]:
    """Tell why a wallet holds what it holds; raises MemberNotFound, and is empty for a unit the member never had."""
    await members.standing(session, program_id=program.id, member_id=key.member_id)
    views = await balances.wallets(session, program=program, member_id=key.member_id, now=now)
    view = next((own for own in views if own.wallet.key == key), None)
    if view is None:
        return iter(())
    lots = (await balances.lots(session, program=program, key=key, cursor=None, limit=_MOST, now=now)).data
    entries = (await points_history.entries(session, key=key, cursor=None, limit=_MOST)).data
    sources = {lot.source.id for lot, _ in lots} | {source_of(entry).id for entry in entries}
    names = await orders.external_ids(session, program_id=program.id, order_ids=sources)
    return explain(view, lots, entries, names)


async def offers(
    session: AsyncSession, *, program: Program, member_id: UUID, cursor: str | None, limit: int, now: datetime
) -> Page[Offer]:
    """List the rewards offered, and what keeps a member from each; raises MemberNotFound."""
    standing = await members.standing(session, program_id=program.id, member_id=member_id)
    own = await balances.wallets(session, program=program, member_id=member_id, now=now)
    spendable = {view.wallet.key.unit: view.wallet.spendable for view in own}
    page = await rewards.page(session, program_id=program.id, offered_only=True, cursor=cursor, limit=limit)
    found = await offering.weigh(session, page.data, program=program, standing=standing, spendable=spendable, now=now)
    made = [
        Offer(view, max(0, view.reward.cost_points - spendable.get(view.reward.unit, 0)), barriers)
        for view, barriers in zip(page.data, found, strict=True)
    ]
    return Page(made, page.has_more, page.next_cursor)
