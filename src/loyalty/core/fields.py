"""Types of request fields: strict, bounded, and without anything PostgreSQL or a person could not read back."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    Strict,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from loyalty.core import ids
from loyalty.core.errors import Fault
from loyalty.core.money import CURRENCIES, MAX_INTEGER

_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
_RFC3339: Final = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")
_ISO_DATE: Final = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2200


class Body(BaseModel):
    """A request body: unknown fields are refused, and every fault is found before anything happens."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


FieldFault = tuple[tuple[str | int, ...], str, str]
"""Where in the body, a stable code, a sentence."""


class CrossChecked(Body):
    """A body whose fields must also agree with each other; such faults are listed beside those of single fields."""

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:  # noqa: ARG003 -- read by those that override it
        """Yield what is wrong between the fields of a body as it was sent, whatever else may be wrong with them."""
        return iter(())

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        faults: list[InitErrorDetails] = []
        made = None
        try:
            made = handler(value)
        except ValidationError as error:
            faults += [_fault(found["loc"], found["type"], found["msg"]) for found in error.errors(include_url=False)]
        if isinstance(value, Mapping):
            faults += [_fault(*found) for found in cls.faults_between(value)]
        if made is None or faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return made


def _fault(loc: tuple[str | int, ...], code: str, detail: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError(code, detail), loc=loc, input=None)


def faults_in(found: Iterable[Mapping[str, Any]]) -> list[Fault]:
    """Return what pydantic found as the faults that are told."""
    return [Fault(_pointer(fault["loc"]), str(fault["type"]), str(fault["msg"])) for fault in found]


def _pointer(loc: Iterable[str | int]) -> str:
    """Write where a fault is as an RFC 6901 pointer; pydantic's own marks (`<tag>`, `[key]`) are not in the body."""
    parts = (str(part) for part in loc)
    within = [part for part in parts if not (part.startswith("<") and part.endswith(">")) and part != "[key]"]
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in within)


def _written_time(value: Any) -> Any:
    """Let only written times be times: a number, in quotes or not, would be read as seconds since 1970."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and _RFC3339.match(value)):
        raise PydanticCustomError("time_type", "Input should be an RFC 3339 date and time with a zone")
    return value


def read_instant(text: str) -> datetime | None:
    """Read an RFC 3339 date and time with its zone; None for anything else."""
    try:
        return _INSTANT.validate_python(text)
    except ValidationError:
        return None


def _written_date(value: Any) -> Any:
    """Let only written dates be dates, for the same reason."""
    if not isinstance(value, date) and not (isinstance(value, str) and _ISO_DATE.match(value)):
        raise PydanticCustomError("date_type", "Input should be a date such as 1990-12-31")
    return value


def _within_calendar(value: datetime) -> datetime:
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise PydanticCustomError("time_out_of_bounds", "Input should lie between the years 1900 and 2200")
    return value


def _circulating(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError("currency", "Input should be a currency of ISO 4217")
    return value


def fold_email(value: str) -> str | None:
    """Write an e-mail address the one way it is stored and sought; None for what is none."""
    try:
        return validate_email(value, check_deliverability=False).normalized.casefold()
    except EmailNotValidError:
        return None


def _email(value: str) -> str:
    folded = fold_email(value)
    if folded is None:
        raise PydanticCustomError("email", "Input should be an e-mail address")
    return folded


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
Currency = Annotated[str, text(longest=3, shortest=3, pattern=r"^[A-Z]{3}$"), AfterValidator(_circulating)]
Unit = Annotated[str, text(longest=32, pattern=r"^[a-z][a-z0-9_]*$")]
Instant = Annotated[AwareDatetime, BeforeValidator(_written_time), AfterValidator(_within_calendar)]
Day = Annotated[date, BeforeValidator(_written_date)]
_INSTANT: Final = TypeAdapter[datetime](Instant)
Attributes = Annotated[
    dict[Annotated[str, text(longest=40)], Annotated[str, text(longest=500, shortest=0)]], Field(max_length=50)
]
Metadata = Annotated[
    Attributes, Field(default_factory=dict, description="Notes of your own; nothing here is decided by them.")
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
