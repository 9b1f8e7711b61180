"""Lets opening balances stand for a program's entries, so that these may be taken off and the books still hold."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.books import queries, service
from loyalty.books.errors import BooksDoNotHold, DaysNotSealed
from loyalty.core import ids
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.points import openings
from loyalty.points import service as points
from loyalty.programs.rules import Program


async def open_books(session: AsyncSession, *, program: Program, until: datetime, now: datetime) -> int:
    """Let openings stand for all entries of a program written before an instant; return how many joined them.

    All days before must be sealed, and all wallets hold; nothing may be written before it any more. Repeatable. Raises
    DaysNotSealed, BooksDoNotHold, EntriesStraddle.
    """
    standing = await openings.lock(session, program_id=program.id)
    first = await queries.find_first_entry(session, program_id=program.id)
    if (standing is not None and standing.until >= until) or first is None or ids.made_at(first) >= until:
        return 0
    if await queries.find_seal(session, program_id=program.id, until=until) is None:
        last = await queries.find_last_seal(session, program_id=program.id)
        raise DaysNotSealed(program=program.slug, sealed_until=last.until if last else None)
    proof = await service.prove(session, program_id=program.id, until=until)
    if not proof.holds or (await points.verify(session, program_id=program.id)).differences:
        raise BooksDoNotHold(program=program.slug)
    await queries.fold_months(session, program_id=program.id, zone=program.rules.time_zone, until=until)
    entries = await openings.fold(session, program_id=program.id, until=until)
    total = entries + (standing.entries if standing else 0)
    digest = await service.digest_opening(session, program_id=program.id, until=until, entries=total)
    await openings.write(session, program_id=program.id, until=until, entries=total, digest=digest, now=now)
    event = Event("ledger.opened", program.id, occurred_at=now, recorded_at=now)
    await outbox.tell(session, program_id=program.id, events=[event])
    return entries
