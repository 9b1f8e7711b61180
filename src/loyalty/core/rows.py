"""Rows read and written past SQLAlchemy, within a session's transaction.

What is inserted, or changed under lock, waits until something else is asked of the database, or until the unit of work
ends; what waits then goes in one statement, whichever tables it is for.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from asyncpg import (
    Connection,
    InFailedSQLTransactionError,
    InterfaceError,
    InternalClientError,
    PostgresConnectionError,
    PostgresError,
)
from sqlalchemy import ARRAY, DateTime, event, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.attributes import manager_of_class
from sqlalchemy.util import await_only

from loyalty.core.db import STATEMENT_TIMEOUT, Row, Sessions

T = TypeVar("T", bound=Row)

COPY_FROM_ROWS = 50
"""From this many rows of one table on, COPY is cheaper than a statement with an array a column."""

Rows = Sequence[dict[str, Any]]


async def insert_rows(session: AsyncSession, table: type[Row], rows: Rows) -> None:
    """Insert many rows of one table, soon; all must name the same columns. What refuses them is heard then."""
    if rows:
        await _connection(session)
        session.info.setdefault(_WAITING, _Waiting()).rows.append((table.__tablename__, rows))


async def change_rows(session: AsyncSession, table: type[Row], statement: str, *values: Any, expected: int) -> None:
    """Change rows that are locked, soon: an UPDATE … RETURNING of one table, of so many rows.

    Raises AssertionError then if it finds others.
    """
    raw = await _connection(session)
    waiting = session.info.get(_WAITING)
    if waiting is not None and waiting.concerns(table.__tablename__):
        # One statement changes a row once, and sees nothing of what it inserts itself.
        await _sent(session, raw)
    change = _Change(table.__tablename__, statement, values, expected)
    session.info.setdefault(_WAITING, _Waiting()).changes.append(change)


async def insert_new_rows(session: AsyncSession, table: type[Row], rows: Rows, *, returning: str) -> set[Any]:
    """Insert those of these rows that meet no other one, in their order; return what these have in a column."""
    if not rows:
        return set()
    shape = _shape(table.__tablename__, tuple(rows[0]), rows)
    statement = f"{_insert(shape, first=1)} ON CONFLICT DO NOTHING RETURNING {returning}"
    return {row[0] for row in await fetch(session, statement, *_transposed(shape, rows))}


async def fetch(session: AsyncSession, statement: str, *values: Any) -> list[Any]:
    """Run a statement past SQLAlchemy, within the session's transaction; it fails as any other of the session does."""
    return await _sent(session, await _connection(session), statement, *values)


async def _sent(session: AsyncSession, raw: Connection, statement: str = "", *values: Any) -> list[Any]:
    """Write what waits, and then run a statement if there is one."""
    try:
        if waiting := session.info.pop(_WAITING, None):
            await _write(raw, waiting)
        found: list[Any] = await raw.fetch(statement, *values) if statement else []
    except _FAILURES as error:
        if _is_lost(raw, error):
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


@asynccontextmanager
async def hurried(
    sessions: Sessions, *, lock_timeout_ms: int, is_snapshot: bool = False
) -> AsyncIterator[AsyncSession]:
    """One unit of work, as `transaction` is, that waits no longer than this for any lock.

    It is begun and ended past SQLAlchemy, whose own way there costs as much as a dozen statements; `sessions` are those
    of `create_hurried`. Plans are kept: one for a group of few looks cheaper than one for any number, and
    PostgreSQL would plan each statement each time.
    """
    statement_timeout_ms = sessions.kw["bind"].get_execution_options()[STATEMENT_TIMEOUT]
    begin = (
        f"BEGIN{' ISOLATION LEVEL REPEATABLE READ' if is_snapshot else ''}; "
        f"SET LOCAL lock_timeout = {lock_timeout_ms}; SET LOCAL statement_timeout = {statement_timeout_ms}; "
        f"SET LOCAL plan_cache_mode = force_generic_plan"
    )
    async with sessions() as session:
        raw: Connection = (await (await session.connection()).get_raw_connection()).driver_connection
        session.info[_DRIVER] = (session.sync_session.get_transaction(), raw)
        try:
            await raw.execute(begin)
            yield session
            await session.flush()
            if waiting := session.info.pop(_WAITING, None):
                await _write(raw, waiting)
            await _commit(raw)
        except BaseException as error:
            await _undo_whatever_comes(session, raw)
            if isinstance(error, _FAILURES):
                raise _failure(raw, error) from error
            raise


async def _commit(raw: Connection) -> None:
    """Commit; where a statement had failed before, PostgreSQL rolls back instead, and calls that no error."""
    if await raw.execute("COMMIT;") != "COMMIT":
        raise InFailedSQLTransactionError("a statement had failed, and nothing was kept")


async def _undo_whatever_comes(session: AsyncSession, raw: Connection) -> None:
    """Undo a unit of work; who is cancelled meanwhile leaves a connection that nobody gets again."""
    try:
        await asyncio.shield(_undo(session, raw))
    except asyncio.CancelledError:
        raw.terminate()
        raise


async def _undo(session: AsyncSession, raw: Connection) -> None:
    try:
        await raw.execute("ROLLBACK;")
    except (*_FAILURES, OSError):
        await (await session.connection()).invalidate()


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


class _Change(NamedTuple):
    """An UPDATE of one table, with its values, that is to find so many rows."""

    table: str
    statement: str
    values: tuple[Any, ...]
    expected: int


@dataclass
class _Waiting:
    """What is to be written: rows by table, and changes of tables, each at most once."""

    rows: list[tuple[str, Rows]] = field(default_factory=list)
    changes: list[_Change] = field(default_factory=list)

    def concerns(self, table: str) -> bool:
        return any(own.table == table for own in self.changes) or any(own == table for own, _ in self.rows)


async def _write(raw: Connection, waiting: _Waiting) -> None:
    """Write what waits: changes first, then a table's rows together, and before those that refer to them."""
    by_shape: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for table, rows in waiting.rows:
        by_shape.setdefault((table, tuple(rows[0])), []).extend(rows)
    few: dict[tuple[str, tuple[str, ...]], Rows] = {}
    changes = waiting.changes
    for shape, rows in sorted(by_shape.items(), key=lambda own: _places()[own[0][0]]):
        if len(rows) < COPY_FROM_ROWS:
            few[shape] = rows
            continue
        await _write_few(raw, few, changes)
        few, changes = {}, []
        table, columns = shape
        await raw.copy_records_to_table(table, records=_records(table, columns, rows), columns=columns)
    await _write_few(raw, few, changes)


async def _write_few(
    raw: Connection, few: Mapping[tuple[str, tuple[str, ...]], Rows], changes: Sequence[_Change]
) -> None:
    if not few and not changes:
        return
    shapes = [(_shape(table, columns, rows), rows) for (table, columns), rows in few.items()]
    values = [value for change in changes for value in change.values]
    values += [value for shape, rows in shapes for value in _transposed(shape, rows)]
    updates = tuple((change.statement, len(change.values)) for change in changes)
    [counts] = await raw.fetch(_written_at_once(updates, tuple(shape for shape, _ in shapes)), *values)
    for change, changed in zip(changes, counts, strict=True):
        if changed != change.expected:
            raise AssertionError(f"rows of {change.table} that are locked were changed by another")


@event.listens_for(Session, "before_flush")
@event.listens_for(Session, "before_commit")
def _write_first(session: Session, *_: Any) -> None:
    """Write what waits before SQLAlchemy writes, and before the unit of work ends."""
    if waiting := session.info.pop(_WAITING, None):
        raw = session.info[_DRIVER][1]
        try:
            await_only(_write(raw, waiting))
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


def _is_lost(raw: Connection, error: Exception) -> bool:
    return bool(raw.is_closed()) or isinstance(error, (PostgresConnectionError, InternalClientError))


def _failure(raw: Connection, error: Exception) -> DBAPIError:
    return DBAPIError(None, None, error, connection_invalidated=_is_lost(raw, error))


_FAILURES: Final = (PostgresError, InterfaceError, InternalClientError)
_DRIVER: Final = "driver_in_transaction"
_WAITING: Final = "rows_waiting"
_NOTHING: Final = text("SELECT")
_PARAMETER: Final = re.compile(r"\$(\d+)")
_SENT_AS_TEXT: Final = ("JSONB", "[]", "CHAR")


class _Shape(NamedTuple):
    """Which columns of a table rows name; `alike` are those in which all rows have the same, which is sent once."""

    table: str
    columns: tuple[str, ...]
    alike: tuple[str, ...]


def _shape(table: str, columns: tuple[str, ...], rows: Rows) -> _Shape:
    """Tell the shape of rows: where they are of one program and instant, and else where they are of one program.

    There are no shapes in between, since each has a statement of its own.
    """
    first, *others = rows
    program, instants = _often_alike(table, columns)
    for alike in (program + instants, program):
        if all(row[column] is first[column] for column in alike for row in others):
            return _Shape(table, columns, alike)
    return _Shape(table, columns, ())


@cache
def _often_alike(table: str, columns: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = Row.metadata.tables[table].columns
    instants = tuple(column for column in columns if isinstance(known[column].type, DateTime))
    return tuple(column for column in columns if column == "program_id"), instants


@cache
def _insert(shape: _Shape, *, first: int) -> str:
    """Write the statement that inserts rows given as one array a column, the first of them as the `first` parameter.

    What has no place in an array of its own kind is sent as text.
    """
    known = Row.metadata.tables[shape.table].columns
    shown, sought, arrays = [], [], []
    for number, column in enumerate(shape.columns, start=first):
        kind = known[column].type.compile(_DIALECT)
        if column in shape.alike:
            shown.append(f"${number}::{kind}")
            continue
        sent = "text" if any(own in kind for own in _SENT_AS_TEXT) else kind
        shown.append(f'"{column}"::{kind}')
        sought.append(f'"{column}"')
        arrays.append(f"${number}::{sent}[]")
    into = ", ".join(f'"{column}"' for column in shape.columns)
    return (
        f"INSERT INTO {shape.table} ({into}) SELECT {', '.join(shown)} "  # noqa: S608 -- names of our own tables
        f"FROM unnest({', '.join(arrays)}) WITH ORDINALITY AS new ({', '.join(sought)}, place_in_array) "
        "ORDER BY place_in_array"
    )


@cache
def _written_at_once(updates: tuple[tuple[str, int], ...], shapes: tuple[_Shape, ...]) -> str:
    """Write the statement that changes and inserts into several tables, and tells how many rows each change found.

    Rights are checked once all of it is there. Parameters of the changes, so many each, come first.
    """
    first, parts = 1, []
    for update, values in updates:
        parts.append(_numbered_from(update, first))
        first += values
    for shape in shapes:
        parts.append(_insert(shape, first=first))
        first += len(shape.columns)
    named = ", ".join(f"part_{number} AS ({part})" for number, part in enumerate(parts))
    counts = ", ".join(f"(SELECT count(*) FROM part_{number})" for number in range(len(updates)))  # noqa: S608 -- a number
    return f"WITH {named} SELECT {counts}"


def _numbered_from(statement: str, first: int) -> str:
    """Let the parameters of a statement be counted from another number than 1."""
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + first - 1}", statement)


@cache
def _places() -> dict[str, int]:
    """Number the tables, each after those that it refers to."""
    return {table.name: number for number, table in enumerate(Row.metadata.sorted_tables)}


_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


@cache
def _selection(table: type[Row]) -> tuple[str, tuple[str, ...]]:
    """Write what selects all columns of a table; return also the attributes they are."""
    columns = {own.key: own.columns[0] for own in table.__mapper__.column_attrs}
    named = ", ".join(f'"{column.name}"' for column in columns.values())
    return f"SELECT {named} FROM {table.__tablename__}", tuple(columns)  # noqa: S608 -- our own names


def _transposed(shape: _Shape, rows: Rows) -> list[Any]:
    """Return an array a column, or the one value; what has no place in an array of its own kind is written as text."""
    documents, lists = _unlike_others(shape.table)
    found: list[Any] = []
    for column in shape.columns:
        if column in shape.alike:
            found.append(rows[0][column])
        elif column in documents:
            found.append([_as_json(row[column]) for row in rows])
        elif column in lists:
            found.append([f"{{{','.join(map(str, row[column]))}}}" for row in rows])
        else:
            found.append([row[column] for row in rows])
    return found


def _records(table: str, columns: Sequence[str], rows: Rows) -> list[tuple[Any, ...]]:
    """Return rows as COPY takes them: past SQLAlchemy, JSON is text."""
    documents, _ = _unlike_others(table)
    written = documents.intersection(columns)
    if written:
        rows = [row | {column: _as_json(row[column]) for column in written} for row in rows]
    return list(map(itemgetter(*columns), rows))


@cache
def _unlike_others(table: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the columns of a table that hold documents, and those that hold lists."""
    columns = Row.metadata.tables[table].columns
    documents = frozenset(own.name for own in columns if isinstance(own.type, postgresql.JSONB))
    return documents, frozenset(own.name for own in columns if isinstance(own.type, ARRAY))


def _as_json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
