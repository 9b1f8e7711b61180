from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import date
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Attributes, Body, CrossChecked, Day, Email, ExternalId, FieldFault, Phone, text
from loyalty.core.paging import Page
from loyalty.members.errors import MemberNotFound
from loyalty.members.rules import IdentifierKind, Identifiers, Person, Status, Suspends
from loyalty.members.service import View


def _plausible(value: date) -> date:
    if value.year < 1900:  # noqa: PLR2004 -- nobody alive was born before
        raise PydanticCustomError("birth_on", "Input should be a date of birth after 1900")
    return value


_PERSON_FIELDS: Final = {
    **{field.name: field.name for field in fields(Person) if field.name != "notes"},
    "metadata": "notes",
}
Card = Annotated[str, text(longest=64, pattern=r"^[0-9A-Za-z-]+$")]
PersonName = Annotated[str, text(longest=100)]
Locale = Annotated[str, text(longest=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
BirthDate = Annotated[Day, AfterValidator(_plausible)]


class Personal(Body):
    """Identifiers and personal data; every one is optional."""

    external_id: ExternalId | None = None
    email: Email | None = None
    phone: Phone | None = None
    card: Card | None = None
    given_name: PersonName | None = None
    family_name: PersonName | None = None
    birth_on: BirthDate | None = None
    locale: Locale | None = None
    attributes: Attributes | None = None
    metadata: Attributes | None = None

    @property
    def identifiers(self) -> Identifiers:
        return {kind: value for kind in IdentifierKind if (value := getattr(self, kind.value)) is not None}

    @property
    def person(self) -> Person:
        given = (self.given_name, self.family_name, self.birth_on, self.locale)
        return Person(*given, self.attributes or {}, self.metadata or {})


class MemberPatch(Personal):
    """What is not named stays; null removes. A removed identifier stays as history."""

    @property
    def identifier_changes(self) -> dict[IdentifierKind, str | None]:
        return {kind: getattr(self, kind.value) for kind in IdentifierKind if kind.value in self.model_fields_set}

    @property
    def person_changes(self) -> dict[str, Any]:
        named = self.model_fields_set & set(_PERSON_FIELDS)
        return {_PERSON_FIELDS[name]: getattr(self.person, _PERSON_FIELDS[name]) for name in sorted(named)}


class StatusChange(CrossChecked):
    """A member's new status; a suspension says from what."""

    status: Status
    suspends: Suspends | None = None
    reason: Annotated[str, text(longest=500)]

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if (raw.get("status") == Status.SUSPENDED) != (raw.get("suspends") is not None):
            yield ("suspends",), "suspends", "A suspension, and only a suspension, says what it suspends"


class MemberOut(msgspec.Struct):
    """A member as staff see them. `id` and `customer_id` carry the same UUID: a member is an enrolled customer."""

    id: str
    customer_id: str
    status: str
    suspends: str | None
    enrolled_at: str
    external_id: str | None
    email: str | None
    phone: str | None
    card: str | None
    given_name: str | None
    family_name: str | None
    birth_on: str | None
    locale: str | None
    attributes: dict[str, str]
    metadata: dict[str, str]


class MemberPage(msgspec.Struct):
    data: list[MemberOut]
    has_more: bool
    next_cursor: str | None


def member_id_of(text: str) -> UUID:
    """Read a member's id from an address; anything else names no member."""
    member_id = ids.parse("mem", text)
    if member_id is None:
        raise MemberNotFound
    return member_id


def member_out(view: View) -> MemberOut:
    known, person = view.identifiers, view.person
    return MemberOut(
        id=ids.public("mem", view.member.id),
        customer_id=ids.public("cus", view.member.id),
        status=view.member.status,
        suspends=view.member.suspends,
        enrolled_at=rfc3339(view.member.enrolled_at),
        external_id=known.get(IdentifierKind.EXTERNAL_ID),
        email=known.get(IdentifierKind.EMAIL),
        phone=known.get(IdentifierKind.PHONE),
        card=known.get(IdentifierKind.CARD),
        given_name=person.given_name,
        family_name=person.family_name,
        birth_on=person.birth_on.isoformat() if person.birth_on else None,
        locale=person.locale,
        attributes=person.attributes,
        metadata=person.notes,
    )


def members_out(views: Mapping[UUID, View]) -> dict[UUID, MemberOut]:
    return {member_id: member_out(view) for member_id, view in views.items()}


def member_page(page: Page[View]) -> MemberPage:
    return MemberPage([member_out(view) for view in page.data], page.has_more, page.next_cursor)
