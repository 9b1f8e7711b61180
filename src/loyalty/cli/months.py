"""Dividing large tables by month, and taking off what is old."""

from datetime import UTC, datetime, timedelta
from typing import Final

import click
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.books import openings
from loyalty.cli.terminal import with_sessions
from loyalty.core import clock, months
from loyalty.core.db import Sessions, transaction
from loyalty.core.months import Part
from loyalty.outbox import service as outbox
from loyalty.programs import queries as program_queries
from loyalty.programs import service as programs
from loyalty.schema import BY_MONTH

_ENTRIES_STAY: Final = timedelta(days=31)
"""Repeated requests are answered from entries, as long as their keys are kept."""


@click.command("partition")
@click.argument("tables", nargs=-1, type=click.Choice(BY_MONTH))
def partition(tables: tuple[str, ...]) -> None:
    """Divide tables by month, and make the months ahead; the worker goes on with these. Repeatable."""

    async def divide(sessions: Sessions) -> list[Part]:
        made = []
        for table in tables or BY_MONTH:
            await months.divide(sessions, table, now=clock.now())
            async with transaction(sessions) as session:
                made += await months.extend(session, table, now=clock.now())
        return made

    for part in with_sessions(divide):
        click.echo(part.name)


@click.command("detach")
@click.argument("table", type=click.Choice(BY_MONTH))
@click.option("--before", required=True, type=click.DateTime(["%Y-%m"]), help="The first month that stays.")
def detach(table: str, before: datetime) -> None:
    """Take months off a divided table; they stay as tables of their own, to be dumped and dropped.

    Opening balances then stand for entries, once all their days are sealed; those of the last 31 days stay.
    """

    async def take_off(sessions: Sessions) -> list[str]:
        closed = clock.now() - (_ENTRIES_STAY if table == "entries" else timedelta())
        async with transaction(sessions) as session:
            old = await _before(session, table, min(before.replace(tzinfo=UTC), closed))
        if old and table == "entries":
            await _open_books(sessions, until=old[-1].until)
        if table == "events":
            async with transaction(sessions) as session:
                for part in old:
                    await outbox.let_go(session, partition=part.name)
        return await months.detach(sessions, table, old)

    for name in with_sessions(take_off):
        click.echo(name)


async def _open_books(sessions: Sessions, *, until: datetime) -> None:
    """Let openings stand for every program's entries written before an instant, a program at a time."""
    async with transaction(sessions) as session:
        program_ids = await program_queries.list_program_ids(session)
    for program_id in program_ids:
        async with transaction(sessions) as session:
            program = await programs.get(session, program_id=program_id)
            await openings.open_books(session, program=program, until=until, now=program.now(clock.now()))


async def _before(session: AsyncSession, table: str, instant: datetime) -> list[Part]:
    if not await months.is_divided(session, table):
        raise click.ClickException(f"The table is not divided by month: run `loyalty partition {table}` first.")
    return [part for part in await months.parts(session, table) if part.until <= instant]
