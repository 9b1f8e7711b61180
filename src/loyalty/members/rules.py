from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID


class IdentifierKind(StrEnum):
    EXTERNAL_ID = "external_id"
    EMAIL = "email"
    PHONE = "phone"
    CARD = "card"


class Status(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Suspends(StrEnum):
    EARN = "earn"
    BURN = "burn"
    BOTH = "both"


Identifiers = dict[IdentifierKind, str]


@dataclass(frozen=True)
class Person:
    """Personal data; a member may give all of it or none.

    `attributes` are what a program may decide by, `notes` the storefront's own metadata.
    """

    given_name: str | None = None
    family_name: str | None = None
    birth_on: date | None = None
    locale: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """Where a member stands: since when, and what the status lets them do."""

    id: UUID
    enrolled_at: datetime
    status: Status
    suspends: Suspends | None

    def may_earn_at(self, instant: datetime) -> bool:
        """Only what happens at or after enrolment earns, and only while neither closed nor suspended from earning."""
        barred = self.status is Status.CLOSED or self.suspends in (Suspends.EARN, Suspends.BOTH)
        return self.enrolled_at <= instant and not barred

    @property
    def may_burn(self) -> bool:
        return self.status is not Status.CLOSED and self.suspends not in (Suspends.BURN, Suspends.BOTH)
