from collections.abc import Iterator
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.members import service as members
from loyalty.orders import service as orders
from loyalty.points import service as points
from loyalty.points.rules import WalletKey
from loyalty.points.service import source_of
from loyalty.profiles.explaining import Reason, explain
from loyalty.programs.rules import Program

_MOST: Final = 100


async def explanation(session: AsyncSession, *, program: Program, key: WalletKey, now: datetime) -> Iterator[Reason]:
    """Tell why a wallet holds what it holds; raises MemberNotFound, and is empty for a unit the member never had."""
    await members.standing(session, program_id=program.id, member_id=key.member_id)
    views = await points.wallets(session, program=program, member_id=key.member_id, now=now)
    view = next((own for own in views if own.wallet.key == key), None)
    if view is None:
        return iter(())
    lots = (await points.lots(session, program=program, key=key, cursor=None, limit=_MOST, now=now)).data
    entries = (await points.entries(session, key=key, cursor=None, limit=_MOST)).data
    sources = {lot.source.id for lot, _ in lots} | {source_of(entry).id for entry in entries}
    names = await orders.external_ids(session, program_id=program.id, order_ids=sources)
    return explain(view, lots, entries, names)
