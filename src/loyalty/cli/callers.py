"""Who may call: keys and managers."""

import click
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access import service as access
from loyalty.access.passwords import Passwords
from loyalty.access.rules import ALL_KEY_SCOPES, KeyKind, Role, Scope
from loyalty.cli.terminal import OneOf, checked, in_transaction
from loyalty.core import clock, ids
from loyalty.core.fields import Email
from loyalty.programs import service as programs


@click.group("keys")
def keys_group() -> None:
    """Keys."""


@keys_group.command("create")
@click.option("--program", "slug", required=True)
@click.option("--name", required=True)
@click.option("--kind", type=OneOf(KeyKind), default=KeyKind.SECRET, show_default=True)
@click.option(
    "--scope", "scopes", type=OneOf(sorted(ALL_KEY_SCOPES)), multiple=True, help="For restricted keys; repeat."
)
def create_key(slug: str, name: str, kind: KeyKind, scopes: tuple[Scope, ...]) -> None:
    """Make a key and print it, this once."""

    async def create(session: AsyncSession) -> str:
        _, secret = await access.create_key(
            session,
            program=await programs.get_by_slug(session, slug=slug),
            kind=kind,
            name=name,
            scopes=frozenset(scopes),
            maker_scopes=ALL_KEY_SCOPES,
            expires_at=None,
            real_now=clock.now(),
        )
        return secret

    click.echo(in_transaction(create))


@click.group("managers")
def managers_group() -> None:
    """Managers."""


@managers_group.command("add")
@click.argument("email")
@click.option("--program", "slug", required=True)
@click.option("--role", type=OneOf(Role), default=Role.MANAGER, show_default=True)
@click.option("--password", prompt=True, hide_input=True, confirmation_prompt=True, envvar="LOYALTY_MANAGER_PASSWORD")
def add_manager(email: str, slug: str, role: Role, password: str) -> None:
    """Give a person an account and a role in a program."""
    address = checked(Email, email)
    if len(password) < 12:  # noqa: PLR2004 -- said in the sentence below
        raise click.ClickException("A password needs at least 12 characters.")
    passwords = Passwords()

    async def add(session: AsyncSession) -> str:
        manager_id = await access.add_manager(
            session,
            program_id=(await programs.get_by_slug(session, slug=slug)).id,
            email=address,
            password=password,
            role=role,
            passwords=passwords,
            real_now=clock.now(),
        )
        return ids.public("mgr", manager_id)

    click.echo(in_transaction(add))
