from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids, paging
from loyalty.core.paging import Page
from loyalty.members import customer_queries, identifier_queries, models, queries
from loyalty.members.errors import AlreadyAMember, IdentifierInUse, MemberClosed, MemberNotFound
from loyalty.members.rules import IdentifierKind, Identifiers, Person, Standing, Status, Suspends
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event


@dataclass(frozen=True)
class Newcomer:
    """Somebody who joins, at the checkout of an order perhaps: its external id, whether it is recorded yet or not."""

    identifiers: Identifiers
    person: Person
    order: str | None


@dataclass(frozen=True)
class View:
    """A member as staff see them."""

    member: models.Member
    identifiers: Identifiers
    person: Person


async def born_on(
    session: AsyncSession, *, program_id: UUID, days: Collection[tuple[int, int]], after: UUID | None, limit: int | None
) -> list[UUID]:
    """Return members who were born on these days of the year, (month, day), in order of id."""
    return await customer_queries.list_born_on(session, program_id=program_id, days=days, after=after, limit=limit)


async def birthdays(session: AsyncSession, *, program_id: UUID) -> list[tuple[int, int]]:
    """Return the days of the year, (month, day), on which anybody was born."""
    return await customer_queries.list_birthdays(session, program_id=program_id)


async def enrol_many(
    session: AsyncSession, *, program_id: UUID, joining: Collection[tuple[UUID, datetime, str | None]]
) -> None:
    """Make customers known to be none into members: (customer, when, external id of the order they joined at)."""
    await queries.insert_members(session, program_id=program_id, members=list(joining))


async def owners(
    session: AsyncSession, *, program_id: UUID, identifiers: Collection[tuple[IdentifierKind, str]]
) -> dict[tuple[IdentifierKind, str], UUID]:
    """Return which customer each of these identifiers belongs to; what is nobody's is left out."""
    return await identifier_queries.find_customers(session, program_id=program_id, identifiers=identifiers)


async def enrol_new(
    session: AsyncSession, *, program_id: UUID, joining: Mapping[UUID, Newcomer], now: datetime
) -> None:
    """Make people into members whom nobody knows yet. One who becomes known in the same instant makes this raise."""
    await customer_queries.insert_customers(session, program_id=program_id, created=dict.fromkeys(joining, now))
    # In order of identifier, so that two groups with the same newcomers never wait for each other.
    known_by = sorted((kind, value, id_) for id_, own in joining.items() for kind, value in own.identifiers.items())
    await identifier_queries.insert_identifiers(
        session, program_id=program_id, rows=[(id_, kind, value, now) for kind, value, id_ in known_by]
    )
    await enrol_many(session, program_id=program_id, joining=[(id_, now, own.order) for id_, own in joining.items()])
    persons = {id_: own.person for id_, own in joining.items() if own.person != Person()}
    await queries.insert_profiles(session, program_id=program_id, persons=persons, now=now)


async def enrol(
    session: AsyncSession,
    *,
    program_id: UUID,
    new_id: UUID,
    identifiers: Identifiers,
    person: Person,
    order: str | None,
    now: datetime,
) -> UUID:
    """Make a customer a member: the one these identifiers know, or a new one under `new_id`.

    Raises AlreadyAMember, or IdentifierInUse when the identifiers belong to different customers.
    """
    known = await identifier_queries.find_customers(
        session, program_id=program_id, identifiers=list(identifiers.items())
    )
    owners = set(known.values())
    if len(owners) > 1:
        raise IdentifierInUse(kinds=sorted(kind for kind, _ in known))
    customer_id = owners.pop() if owners else new_id
    if customer_id == new_id:
        await customer_queries.insert_customers(session, program_id=program_id, created={new_id: now})
    await customer_queries.lock_customers(session, program_id=program_id, customer_ids=[customer_id])
    missing = {kind: value for kind, value in identifiers.items() if (kind, value) not in known}
    await _claim(session, program_id=program_id, customer_id=customer_id, identifiers=missing, now=now)
    if not await queries.claim_membership(
        session, program_id=program_id, customer_id=customer_id, order=order, now=now
    ):
        raise AlreadyAMember
    if person != Person():
        await queries.put_profile(
            session, program_id=program_id, customer_id=customer_id, changes=vars(person), now=now
        )
    return customer_id


async def get(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> View:
    member = await queries.get_member(session, program_id=program_id, member_id=member_id)
    return (await _views(session, program_id=program_id, members=[member]))[0]


async def views(session: AsyncSession, *, program_id: UUID, customer_ids: Collection[UUID]) -> dict[UUID, View]:
    """Return those of these customers who are members."""
    rows = await queries.list_members_by_id(session, program_id=program_id, member_ids=customer_ids)
    return {view.member.id: view for view in await _views(session, program_id=program_id, members=rows)}


async def standing(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> Standing:
    """Return where a member stands; raises MemberNotFound."""
    found = await queries.list_standings(session, program_id=program_id, member_ids=[member_id])
    if member_id not in found:
        raise MemberNotFound
    return found[member_id]


async def standings(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, Standing]:
    """Return where those of these customers stand who are members."""
    return await queries.list_standings(session, program_id=program_id, member_ids=member_ids)


async def hold_standings(
    session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]
) -> dict[UUID, Standing]:
    """Return where these members stand, and let nobody merge, close or suspend them until the transaction ends."""
    return await queries.hold_standings(session, program_id=program_id, member_ids=member_ids)


async def attributes(
    session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]
) -> dict[UUID, dict[str, str]]:
    """Return by what programs may decide about these members."""
    persons = await queries.list_profiles(session, program_id=program_id, customer_ids=member_ids)
    return {member_id: person.attributes for member_id, person in persons.items()}


async def find_standing(session: AsyncSession, *, program_id: UUID, customer_id: UUID) -> Standing | None:
    """Return where a customer stands as a member; None if they never enrolled."""
    return (await queries.list_standings(session, program_id=program_id, member_ids=[customer_id])).get(customer_id)


async def find_by(session: AsyncSession, *, program_id: UUID, kind: IdentifierKind, value: str) -> list[View]:
    """Return the member known by an identifier, or nobody; who was merged into another is that one."""
    known = await identifier_queries.find_customers(session, program_id=program_id, identifiers=[(kind, value)])
    merged = await customer_queries.find_merged(session, program_id=program_id, customer_ids=known.values())
    named = [merged.get(customer_id, customer_id) for customer_id in known.values()]
    return list((await views(session, program_id=program_id, customer_ids=named)).values())


async def known_by(session: AsyncSession, *, program_id: UUID, external_ids: Collection[str]) -> dict[str, UUID]:
    """Return the members whom the storefront knows by these ids; who was merged into another is that one."""
    known = await identifier_queries.find_by_external_ids(session, program_id=program_id, external_ids=external_ids)
    merged = await customer_queries.find_merged(session, program_id=program_id, customer_ids=known.values())
    named = {own: merged.get(customer_id, customer_id) for own, customer_id in known.items()}
    there = await standings(session, program_id=program_id, member_ids=set(named.values()))
    return {own: member_id for own, member_id in named.items() if member_id in there}


async def page(session: AsyncSession, *, program_id: UUID, cursor: str | None, limit: int) -> Page[View]:
    """List members in order of id."""
    after = paging.last_id(cursor)
    rows = await queries.list_members(session, program_id=program_id, after=after, limit=limit + 1)
    cut = paging.page(rows, limit=limit, key=lambda member: ids.encode(member.id))
    return Page(await _views(session, program_id=program_id, members=list(cut.data)), cut.has_more, cut.next_cursor)


async def update(
    session: AsyncSession,
    *,
    program_id: UUID,
    member_id: UUID,
    identifiers: Mapping[IdentifierKind, str | None],
    person: Mapping[str, Any],
    now: datetime,
) -> None:
    """Change identifiers (None removes one; the old one stays as history) and the personal fields that are named."""
    await queries.lock_member(session, program_id=program_id, member_id=member_id)
    listed = await identifier_queries.list_identifiers(session, program_id=program_id, customer_ids=[member_id])
    known = listed[member_id]
    changed = {kind: value for kind, value in identifiers.items() if known.get(kind) != value}
    if changed:
        await identifier_queries.end_identifiers(
            session, program_id=program_id, customer_id=member_id, kinds=list(changed), now=now
        )
        kept = {kind: value for kind, value in changed.items() if value is not None}
        await _claim(session, program_id=program_id, customer_id=member_id, identifiers=kept, now=now)
    if person:
        await queries.put_profile(session, program_id=program_id, customer_id=member_id, changes=person, now=now)
    if changed or person:
        await _tell(session, program_id=program_id, member_id=member_id, what="member.updated", now=now)


async def change_status(
    session: AsyncSession,
    *,
    program_id: UUID,
    member_id: UUID,
    status: Status,
    suspends: Suspends | None,
    reason: str,
    actor: str,
    now: datetime,
) -> None:
    """Suspend, reactivate or close; a closed membership stays closed."""
    member = await queries.lock_member(session, program_id=program_id, member_id=member_id)
    if member.status == Status.CLOSED:
        raise MemberClosed
    await queries.change_status(
        session,
        program_id=program_id,
        member_id=member_id,
        status=status,
        suspends=suspends,
        reason=reason,
        actor=actor,
        now=now,
    )
    await _tell(session, program_id=program_id, member_id=member_id, what=f"member.{status}", now=now)


async def _views(session: AsyncSession, *, program_id: UUID, members: list[models.Member]) -> list[View]:
    customer_ids = [member.id for member in members]
    identifiers = await identifier_queries.list_identifiers(session, program_id=program_id, customer_ids=customer_ids)
    people = await queries.list_profiles(session, program_id=program_id, customer_ids=customer_ids)
    return [View(member, identifiers[member.id], people.get(member.id, Person())) for member in members]


async def _claim(
    session: AsyncSession, *, program_id: UUID, customer_id: UUID, identifiers: Identifiers, now: datetime
) -> None:
    others = await identifier_queries.claim_identifiers(
        session, program_id=program_id, customer_id=customer_id, identifiers=identifiers, now=now
    )
    if others:
        raise IdentifierInUse(kinds=[str(kind) for kind in others])


async def _tell(session: AsyncSession, *, program_id: UUID, member_id: UUID, what: str, now: datetime) -> None:
    await outbox.tell(
        session,
        program_id=program_id,
        events=[Event(what, member_id, occurred_at=now, recorded_at=now, member_id=member_id)],
    )
