import sys

import click
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.books import service as books
from loyalty.cli.terminal import in_transaction
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.points import service as points
from loyalty.programs import service as programs


@click.group("ledger")
def ledger_group() -> None:
    """The ledger."""


@ledger_group.command("verify")
@click.option("--program", "slug", required=True)
def verify_ledger(slug: str) -> None:
    """Prove a program's books, naming each wallet that differs; exits 1 if one does."""

    async def verify(session: AsyncSession) -> tuple[points.Verification, books.Proof]:
        program = await programs.get_by_slug(session, slug=slug)
        proof = await books.prove(session, program_id=program.id)
        return await points.verify(session, program_id=program.id), proof

    found, proof = in_transaction(verify)
    for seal in proof.broken:
        counted = f"{seal.entries_sealed} entries sealed, {seal.entries_found} found"
        click.echo(f"The seal of the day before {rfc3339(seal.until)} is broken: {counted}.")
    for row in found.differences:
        member = ids.public("mem", row.member_id)
        click.echo(f"{member} {row.unit}: {row.check}: expected {row.expected}, found {row.found}")
    if not proof.opening_holds:
        click.echo("The opening balances are not as they were made.")
    if found.differences or not proof.holds:
        sys.exit(1)
    click.echo(f"All {found.wallets} wallets hold ({found.entries} entries).")
    if opening := proof.opening:
        stands = f"{opening.entries} entries written before {rfc3339(opening.until)}"
        click.echo(f"Opening balances hold, which stand for {stands}: {opening.digest.hex()}.")
    if proof.head is not None:
        click.echo(f"All {proof.seals} seals hold; the newest is {proof.head.hex()}.")
