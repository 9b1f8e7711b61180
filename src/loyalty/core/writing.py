"""What waits to be written, and the statements that write it: an array a column, whatever the number of rows."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec
from asyncpg import Connection
from sqlalchemy import ARRAY, DateTime
from sqlalchemy.dialects import postgresql

from loyalty.core.db import Row

COPY_FROM_ROWS = 200
"""From this many rows of one table on, COPY is cheaper than a statement with an array a column."""

Rows = Sequence[dict[str, Any]]

_PARAMETER: Final = re.compile(r"\$(\d+)")
_SENT_AS_TEXT: Final = ("JSONB", "[]", "CHAR")
_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


class Change(NamedTuple):
    """An UPDATE of one table, with its values, that is to find so many rows."""

    table: str
    statement: str
    values: tuple[Any, ...]
    expected: int


@dataclass
class Waiting:
    """What is to be written: rows by table, and changes of tables, each at most once."""

    rows: list[tuple[str, Rows]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def concerns(self, table: str) -> bool:
        return any(own.table == table for own in self.changes) or any(own == table for own, _ in self.rows)


async def write(raw: Connection, waiting: Waiting) -> None:
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
    raw: Connection, few: Mapping[tuple[str, tuple[str, ...]], Rows], changes: Sequence[Change]
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


def insertion(table: str, rows: Rows) -> tuple[str, list[Any]]:
    """Return the statement that inserts rows of one table, all of which name the same columns, and its values."""
    shape = _shape(table, tuple(rows[0]), rows)
    return _insert(shape, first=1), _transposed(shape, rows)


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
        parts.append(numbered_from(update, first))
        first += values
    for shape in shapes:
        parts.append(_insert(shape, first=first))
        first += len(shape.columns)
    named = ", ".join(f"part_{number} AS ({part})" for number, part in enumerate(parts))
    counts = ", ".join(f"(SELECT count(*) FROM part_{number})" for number in range(len(updates)))  # noqa: S608 -- a number
    return f"WITH {named} SELECT {counts}"


def numbered_from(statement: str, first: int) -> str:
    """Let the parameters of a statement be counted from another number than 1."""
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + first - 1}", statement)


@cache
def _places() -> dict[str, int]:
    """Number the tables, each after those that it refers to."""
    return {table.name: number for number, table in enumerate(Row.metadata.sorted_tables)}


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
