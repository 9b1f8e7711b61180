"""What each record of a batch causes, decided in memory from what was loaded for all of them at once."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from loyalty.activities import counting
from loyalty.activities.rules import Paid, signing_up
from loyalty.checkout import till
from loyalty.imports.rules import Enrolment
from loyalty.outbox.rules import Event
from loyalty.points.book import Book
from loyalty.referrals import rules as referral_rules
from loyalty.referrals.attributing import Binding
from loyalty.referrals.rules import Campaign, Claim, Method


@dataclass(kw_only=True)
class Known(till.Known):
    """What the batch knows of the program, loaded once and kept up to date as records are applied."""

    customers: dict[str, UUID]
    joined: set[UUID]
    to_come: set[UUID]
    codes: dict[UUID, str]
    campaign: Campaign | None


@dataclass
class Writes(till.Writes):
    """Rows that the batch decided on."""

    bindings: list[Binding] = field(default_factory=list)
    activities: list[Paid] = field(default_factory=list)


def enrol(known: Known, writes: Writes, book: Book, record: Enrolment) -> None:
    """Attribute a new member, and let signing up earn; the identity itself is written already."""
    member_id = known.customers[record.external_customer_id]
    if member_id not in known.joined:
        return
    known.to_come.discard(member_id)
    writes.events.append(
        Event("member.enrolled", member_id, occurred_at=record.at, recorded_at=record.at, member_id=member_id)
    )
    writes.activities.append(_sign_up(known, book, member_id, at=record.at))
    if record.referred_by is None:
        return
    binding = Binding.decide(
        [_claim(known, record)],
        campaign=known.campaign,
        referee_id=member_id,
        has_bought=member_id in known.bought,
        now=record.at,
    )
    writes.bindings.append(binding)
    if binding.waiting is not None:
        known.waiting[member_id] = binding.waiting


def _sign_up(known: Known, book: Book, member_id: UUID, *, at: datetime) -> Paid:
    judged = counting.judge(
        known.rule_set,
        signing_up(member_id, at=at),
        zone=known.program.rules.zone,
        attributes=known.attributes.get(member_id, {}),
        tally=known.tally,
    )
    book.catch_up(judged.wallets(known.program.id))
    return counting.pay(book, judged, program_id=known.program.id)


def _claim(known: Known, record: Enrolment) -> Claim:
    """An advocate whose own enrolment comes later in the batch is none yet, so that the graph stays a forest."""
    advocate_id = known.customers.get(record.referred_by or "")
    if advocate_id in known.to_come:
        return Claim(Method.IMPORT, None, channel=record.channel, refused="advocate_joined_later")
    standing = None if advocate_id is None else known.standings.get(advocate_id)
    claim = Claim(Method.IMPORT, None if advocate_id is None else known.codes.get(advocate_id), channel=record.channel)
    return claim if standing is None else referral_rules.with_advocate(claim, standing)
