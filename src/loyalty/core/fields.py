"""Types of request fields: strict, bounded, and without anything PostgreSQL or a person could not read back."""

import re
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from loyalty.core import ids
from loyalty.core.money import MAX_INTEGER

_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2200


class Body(BaseModel):
    """A request body: unknown fields are refused, and every fault is found before anything happens."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _written_time(value: Any) -> Any:
    """Let only strings become times: a bare number would silently be read as seconds since 1970."""
    if not isinstance(value, str | datetime):
        raise PydanticCustomError("time_type", "Input should be an RFC 3339 date and time with a zone")
    return value


def _within_calendar(value: datetime) -> datetime:
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise PydanticCustomError("time_out_of_bounds", "Input should lie between the years 1900 and 2200")
    return value


def _email(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False).normalized.casefold()
    except EmailNotValidError as error:
        raise PydanticCustomError("email", "Input should be an e-mail address") from error


def text(*, longest: int, shortest: int = 1, pattern: str = _PRINTABLE) -> Any:
    return Field(min_length=shortest, max_length=longest, pattern=pattern)


Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0, le=MAX_INTEGER)]
Positive = Annotated[int, Strict(), Field(ge=1, le=MAX_INTEGER)]
Name = Annotated[str, text(longest=200)]
ExternalId = Annotated[str, text(longest=128, pattern=r"^[!-~]+$")]
Label = Annotated[str, text(longest=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.:/-]*$")]
Email = Annotated[str, text(longest=254), AfterValidator(_email)]
Phone = Annotated[str, text(longest=16, pattern=r"^\+[1-9][0-9]{6,14}$")]
Currency = Annotated[str, text(longest=3, shortest=3, pattern=r"^[A-Z]{3}$")]
Unit = Annotated[str, text(longest=32, pattern=r"^[a-z][a-z0-9_]*$")]
Instant = Annotated[AwareDatetime, BeforeValidator(_written_time), AfterValidator(_within_calendar)]
Attributes = Annotated[
    dict[Annotated[str, text(longest=40)], Annotated[str, text(longest=500, shortest=0)]], Field(max_length=50)
]


def public_id(prefix: str) -> Any:
    """Return the field type of one kind of public id; its value is the UUID within."""

    def parse(value: Any) -> UUID:
        if isinstance(value, UUID):
            return value
        parsed = ids.parse(prefix, value) if isinstance(value, str) else None
        if parsed is None:
            raise PydanticCustomError("id", "Input should be an id that begins with {prefix}_", {"prefix": prefix})
        return parsed

    pattern = f"^{re.escape(prefix)}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$"
    return Annotated[UUID, BeforeValidator(parse), WithJsonSchema({"type": "string", "pattern": pattern})]


class MoneyIn(Body):
    """An amount in the currency's minor unit (cents, yen, fils) and its ISO 4217 code."""

    amount: Count
    currency: Currency
