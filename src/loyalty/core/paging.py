"""Keyset pages: a cursor is the sort key of the last row seen, so that pages never skip or repeat what stands still."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Generic, TypeVar
from uuid import UUID

from litestar.params import QueryParameter

from loyalty.core import ids
from loyalty.core.errors import Invalid

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many to return.")]
Cursor = Annotated[str | None, QueryParameter(max_length=200, description="`next_cursor` of the page before.")]

_MOST_DIGITS: Final = 18

T = TypeVar("T")


class CursorInvalid(Invalid):
    """The cursor is not one that this list gave."""


@dataclass(frozen=True)
class Page(Generic[T]):
    data: Sequence[T]
    has_more: bool
    next_cursor: str | None


def encode_cursor(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (Error, ValueError) as error:
        raise CursorInvalid from error


def last_id(cursor: str | None) -> UUID | None:
    """Return the id that a cursor of a list in order of id stands for; None at the beginning of the list."""
    if cursor is None:
        return None
    found = ids.decode(decode_cursor(cursor))
    if found is None:
        raise CursorInvalid
    return found


def last_number(cursor: str | None) -> int | None:
    """Return the number that a cursor of a list in order of numbers stands for; None at the beginning of the list."""
    if cursor is None:
        return None
    digits = decode_cursor(cursor)
    if not digits.isdecimal() or len(digits) > _MOST_DIGITS:
        raise CursorInvalid
    return int(digits)


def page(rows: Sequence[T], *, limit: int, key: Callable[[T], str]) -> Page[T]:
    """Cut a page from `limit` + 1 rows; the extra one only says that there is more."""
    kept = rows[:limit]
    more = len(rows) > limit
    return Page(kept, more, encode_cursor(key(kept[-1])) if more else None)
