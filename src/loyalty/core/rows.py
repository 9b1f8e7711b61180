"""Rows read and written past SQLAlchemy, within a session's transaction.

What is inserted, or changed under lock, waits until something else is asked of the database, or until the unit of work
ends; what waits then goes in one statement, whichever tables it is for.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, Final, TypeVar, overload

from asyncpg import (
    Connection,
    InFailedSQLTransactionError,
    InterfaceError,
    InternalClientError,
    PostgresConnectionError,
    PostgresError,
)
from sqlalchemy import PoolProxiedConnection, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.attributes import manager_of_class
from sqlalchemy.util import await_only

from loyalty.core.asking import AT_ONCE, Question, as_one, asked, run_at_once
from loyalty.core.db import STATEMENT_TIMEOUT, Row
from loyalty.core.writing import Change, Rows, Waiting, insertion, write

T = TypeVar("T", bound=Row)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


async def insert_rows(session: AsyncSession, table: type[Row], rows: Rows) -> None:
    """Insert many rows of one table, soon; all must name the same columns. What refuses them is heard then."""
    if rows:
        await _connection(session)
        session.info.setdefault(_WAITING, Waiting()).rows.append((table.__tablename__, rows))


async def change_rows(session: AsyncSession, table: type[Row], statement: str, *values: Any, expected: int) -> None:
    """Change rows that are locked, soon: an UPDATE … RETURNING of one table, of so many rows.

    Raises AssertionError then if it finds others.
    """
    raw = await _connection(session)
    waiting = session.info.get(_WAITING)
    if waiting is not None and waiting.concerns(table.__tablename__):
        # One statement changes a row once, and sees nothing of what it inserts itself.
        await _sent(session, raw)
    change = Change(table.__tablename__, statement, values, expected)
    session.info.setdefault(_WAITING, Waiting()).changes.append(change)


async def insert_new_rows(session: AsyncSession, table: type[Row], rows: Rows, *, returning: str) -> set[Any]:
    """Insert those of these rows that meet no other one, in their order; return what these have in a column."""
    if not rows:
        return set()
    statement, values = insertion(table.__tablename__, rows)
    found = await fetch(session, f"{statement} ON CONFLICT DO NOTHING RETURNING {returning}", *values)
    return {row[0] for row in found}


async def fetch(session: AsyncSession, statement: str, *values: Any) -> list[Any]:
    """Run a statement past SQLAlchemy, within the session's transaction; it fails as any other of the session does."""
    if AT_ONCE in session.info:
        [rows] = await asked([Question(statement, values)])
        return rows
    return await _sent(session, await _connection(session), statement, *values)


@overload
async def at_once(
    session: AsyncSession, one: Coroutine[Any, Any, A], two: Coroutine[Any, Any, B], /
) -> tuple[A, B]: ...
@overload
async def at_once(
    session: AsyncSession, one: Coroutine[Any, Any, A], two: Coroutine[Any, Any, B], three: Coroutine[Any, Any, C], /
) -> tuple[A, B, C]: ...
@overload
async def at_once(
    session: AsyncSession,
    one: Coroutine[Any, Any, A],
    two: Coroutine[Any, Any, B],
    three: Coroutine[Any, Any, C],
    four: Coroutine[Any, Any, D],
    /,
) -> tuple[A, B, C, D]: ...
async def at_once(session: AsyncSession, *parts: Coroutine[Any, Any, Any]) -> tuple[Any, ...]:
    """Run coroutines on one session side by side: what they `fetch` at the same time goes in one statement.

    In their order, locks too; but as of one instant, so that none sees what another writes, and none reads anew after a
    lock that another had to wait for. What one raises, or the database, is raised in all of them: none can go on, so
    none may take part that would undo a part of its work (`savepoint`). What changes rows must return some.
    """
    if AT_ONCE in session.info:
        return tuple(await run_at_once(parts, asked))

    async def ask(questions: Sequence[Question]) -> list[list[Any]]:
        raw = await _connection(session)
        if len(questions) == 1:
            return [await _sent(session, raw, questions[0].statement, *questions[0].values)]
        question = as_one(questions)
        [answers] = await _sent(session, raw, question.statement, *question.values)
        return list(answers)

    session.info[AT_ONCE] = True
    try:
        return tuple(await run_at_once(parts, ask))
    finally:
        del session.info[AT_ONCE]


async def _sent(session: AsyncSession, raw: Connection, statement: str = "", *values: Any) -> list[Any]:
    """Write what waits, and then run a statement if there is one."""
    try:
        if waiting := session.info.pop(_WAITING, None):
            await write(raw, waiting)
        found: list[Any] = await raw.fetch(statement, *values) if statement else []
    except _FAILURES as error:
        if _is_lost(raw, error) and session.in_transaction():
            await (await session.connection()).invalidate()
        raise _failure(raw, error) from error
    return found


async def fetch_rows(session: AsyncSession, table: type[T], ending: str, *values: Any) -> list[T]:
    """Read rows of a table, chosen and ordered by the ending of a SELECT; they are nobody's to change."""
    statement, attributes = _selection(table)
    new = manager_of_class(table).new_instance
    found = []
    for record in await fetch(session, f"{statement} {ending}", *values):
        row = new()
        row.__dict__.update(zip(attributes, record, strict=True))
        found.append(row)
    return found


async def keep_plans(session: AsyncSession) -> None:
    """Let what this unit of work asks from now on be run by plans for any values.

    PostgreSQL takes one for few values to be cheaper, and so plans each statement each time: which costs more.
    """
    await fetch(session, "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")


def as_stored(table: type[T], row: Mapping[str, Any]) -> T:
    """Return a row of a table as it will be read once it is inserted; columns that it does not name are null."""
    new = manager_of_class(table).new_instance()
    new.__dict__.update((attribute, row.get(column)) for attribute, column in _columns(table).items())
    return new


@asynccontextmanager
async def hurried(
    engine: AsyncEngine, *, lock_timeout_ms: int, is_snapshot: bool = False
) -> AsyncIterator[AsyncSession]:
    """One unit of work, as `transaction` is, that waits no longer than this for any lock.

    All of it goes past SQLAlchemy, whose own way there costs as much as a dozen statements: of the session only what is
    in this file reaches the database, and what else asks of it is refused. Plans are kept: one for a group of few
    looks cheaper than one for any number, and PostgreSQL would plan each statement each time.
    """
    statement_timeout_ms = engine.get_execution_options()[STATEMENT_TIMEOUT]
    begin = (
        f"BEGIN{' ISOLATION LEVEL REPEATABLE READ' if is_snapshot else ''}; "
        f"SET LOCAL lock_timeout = {lock_timeout_ms}; SET LOCAL statement_timeout = {statement_timeout_ms}; "
        f"SET LOCAL plan_cache_mode = force_generic_plan"
    )
    lent = await engine.raw_connection()
    try:
        raw: Any = lent.driver_connection
        session = AsyncSession(info={_DRIVER: (None, raw)})
        try:
            await raw.execute(begin)
            yield session
            await session.flush()
            if waiting := session.info.pop(_WAITING, None):
                await write(raw, waiting)
            await _commit(raw)
        except BaseException as error:
            await _undo_whatever_comes(lent, error)
            if isinstance(error, _FAILURES):
                raise _failure(raw, error) from error
            raise
    finally:
        lent.close()


async def _commit(raw: Connection) -> None:
    """Commit; where a statement had failed before, PostgreSQL rolls back instead, and calls that no error."""
    if await raw.execute("COMMIT;") != "COMMIT":
        raise InFailedSQLTransactionError("a statement had failed, and nothing was kept")


async def _undo_whatever_comes(lent: PoolProxiedConnection, error: BaseException) -> None:
    """Undo a unit of work; unless that was done for certain, nobody gets the connection again."""
    raw: Any = lent.driver_connection
    cause = error.orig if isinstance(error, DBAPIError) else error
    undone = False
    try:
        with suppress(*_FAILURES, OSError):
            if not _is_lost(raw, cause):
                await asyncio.shield(raw.execute("ROLLBACK;"))
                undone = True
    finally:
        if not undone:
            lent.invalidate()


async def _connection(session: AsyncSession) -> Connection:
    """Return asyncpg's own connection, inside the session's transaction, and what is new in the session written."""
    own = session.sync_session
    if own.new or own.dirty or own.deleted:
        await session.flush()
    unit = own.get_transaction()
    known = session.info.get(_DRIVER)
    if known is not None and known[0] is unit:
        return known[1]
    raw = (await (await session.connection()).get_raw_connection()).driver_connection
    if raw is None or not raw.is_in_transaction():
        # A transaction begins with SQLAlchemy's first statement: what went before it would be committed by itself.
        await session.execute(_NOTHING)
        raw = (await (await session.connection()).get_raw_connection()).driver_connection
    session.info[_DRIVER] = (session.sync_session.get_transaction(), raw)
    return raw


@event.listens_for(Session, "before_flush")
@event.listens_for(Session, "before_commit")
def _write_first(session: Session, *_: Any) -> None:
    """Write what waits before SQLAlchemy writes, and before the unit of work ends."""
    if waiting := session.info.pop(_WAITING, None):
        raw = session.info[_DRIVER][1]
        try:
            await_only(write(raw, waiting))
        except _FAILURES as error:
            raise _failure(raw, error) from error


@event.listens_for(Session, "do_orm_execute")
def _write_before_statement(state: Any) -> None:
    _write_first(state.session)


@event.listens_for(Session, "after_transaction_create")
def _write_before_savepoint(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        _write_first(session)


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, _: SessionTransaction) -> None:
    session.info.pop(_WAITING, None)


def _is_lost(raw: Connection, error: BaseException | None) -> bool:
    return bool(raw.is_closed()) or isinstance(error, (PostgresConnectionError, InternalClientError))


def _failure(raw: Connection, error: Exception) -> DBAPIError:
    return DBAPIError(None, None, error, connection_invalidated=_is_lost(raw, error))


_FAILURES: Final = (PostgresError, InterfaceError, InternalClientError)
_DRIVER: Final = "driver_in_transaction"
_WAITING: Final = "rows_waiting"
_NOTHING: Final = text("SELECT")


@cache
def _selection(table: type[Row]) -> tuple[str, tuple[str, ...]]:
    """Write what selects all columns of a table; return also the attributes they are."""
    columns = _columns(table)
    named = ", ".join(f'"{column}"' for column in columns.values())
    return f"SELECT {named} FROM {table.__tablename__}", tuple(columns)  # noqa: S608 -- our own names


@cache
def _columns(table: type[Row]) -> dict[str, str]:
    """Return the names of a table's columns by attribute."""
    return {own.key: own.columns[0].name for own in table.__mapper__.column_attrs}
