"""How anything can refuse.

A refusal is a frozen set of facts: `code` is stable for ever, the docstring is the sentence a person reads, the fields
are the data a program reads. `core.problems` turns each into problem+json; the rooms above never name an HTTP status.
"""

import re
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(eq=False, kw_only=True)
class LoyaltyError(Exception):
    """The request was refused."""

    code: ClassVar[str] = "refused"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def __str__(self) -> str:
        return (type(self).__doc__ or "").split("\n", 1)[0]


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a request.

    `pointer` is an RFC 6901 JSON pointer into the body, or `query:name`, `header:name`.
    """

    pointer: str
    code: str
    detail: str


class NotFound(LoyaltyError):
    """There is no such thing."""


class Conflict(LoyaltyError):
    """The request does not fit the present state."""


class Invalid(LoyaltyError):
    """The request itself is wrong."""


class Unauthenticated(LoyaltyError):
    """The caller is not known."""


class Forbidden(LoyaltyError):
    """The caller may not do this."""


class Unprocessable(LoyaltyError):
    """The request is well formed but contradicts an earlier one."""


class Unavailable(LoyaltyError):
    """The service cannot answer just now; try again."""


@dataclass(eq=False, kw_only=True)
class ValidationFailed(Invalid):
    """The request has faults; all that were found are listed."""

    errors: list[Fault] = field(default_factory=list)
