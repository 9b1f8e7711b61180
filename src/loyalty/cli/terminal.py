"""Between a terminal and the house: words checked, work done in a transaction, refusals said as sentences."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields
from enum import StrEnum
from typing import Final, TypeVar

import click
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty import local
from loyalty.core.db import Sessions, create_engine, create_sessions, transaction
from loyalty.core.errors import LoyaltyError, ValidationFailed
from loyalty.core.settings import Settings

T = TypeVar("T")

ACTOR: Final = "cli"
_UNHURRIED_MS: Final = 600_000
"""A statement at a terminal may take longer than one that a shopper waits for."""


class OneOf(click.Choice[StrEnum]):
    """A choice of an enum's values; click would ask for their Python names."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:  # noqa: ARG002 -- as click calls it
        return str(choice)


def in_transaction(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    async def run(sessions: Sessions) -> T:
        async with transaction(sessions) as session:
            return await work(session)

    return with_sessions(run)


def with_sessions(work: Callable[[Sessions], Awaitable[T]]) -> T:
    async def run(settings: Settings) -> T:
        engine = create_engine(settings.model_copy(update={"statement_timeout_ms": _UNHURRIED_MS}))
        try:
            return await work(create_sessions(engine))
        finally:
            await engine.dispose()

    with local.settings() as settings:
        try:
            return asyncio.run(run(settings))
        except LoyaltyError as error:
            raise click.ClickException("\n".join([str(error), *_facts(error)])) from error


def checked(kind: type[T], value: str) -> T:
    try:
        read: T = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise click.ClickException("; ".join(fault["msg"] for fault in error.errors())) from error
    return read


def _facts(error: LoyaltyError) -> Iterator[str]:
    """Yield what a refusal tells beside its sentence, line by line."""
    faults = error.errors if isinstance(error, ValidationFailed) else []
    yield from (f"  {fault.pointer or 'file'}: {fault.detail}" for fault in faults)
    names = [field.name for field in fields(error) if field.name != "errors"]
    yield from (f"  {name}: {found}" for name in names if (found := getattr(error, name)))
