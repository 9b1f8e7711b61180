"""What an activity earns: judged by the rules of its own time, paid into wallets under lock."""

from collections.abc import Mapping
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.activities import queries
from loyalty.activities.rules import Judged, NewActivity, Paid
from loyalty.earning import limiting, paying
from loyalty.earning import service as earning
from loyalty.earning.evaluation import judge_activity
from loyalty.earning.facts import Moment, write_facts
from loyalty.earning.limiting import Tally
from loyalty.earning.paying import Given
from loyalty.earning.service import RuleSet
from loyalty.members.rules import Standing
from loyalty.points import service as points
from loyalty.points.book import Book
from loyalty.points.rules import Source, SourceKind, WalletKey
from loyalty.programs.rules import Program


async def count(session: AsyncSession, *, program: Program, did: NewActivity, member: Standing) -> None:
    """Let an activity earn, if its member was free to; locks what limits rules, then wallets."""
    known = await earning.rule_set(session, program_id=program.id)
    rules = known.at(did.occurred_at, activity=did.type)
    if not rules or not member.may_earn_at(did.occurred_at):
        return
    day = did.occurred_at.astimezone(program.rules.zone).date()
    tally = await limiting.lock(session, program_id=program.id, rules=rules, occasions=[(member.id, day)])
    asked = await earning.attributes(session, program_id=program.id, member_id=member.id, rules=rules)
    judged = judge(known, did, zone=program.rules.zone, attributes=asked, tally=tally)
    await tally.write(session)
    await queries.set_judgement(session, judged, program_id=program.id)
    book = await points.open_book(session, program=program, keys=judged.wallets(program.id), now=did.recorded_at)
    paid = pay(book, judged, program_id=program.id)
    await points.post(session, book)
    await queries.insert_awards(session, [paid], program_id=program.id)


def judge(known: RuleSet, did: NewActivity, *, zone: ZoneInfo, attributes: Mapping[str, str], tally: Tally) -> Judged:
    """Decide what an activity earns, and count that to the limits of rules."""
    rules, local = known.at(did.occurred_at, activity=did.type), did.occurred_at.astimezone(zone)
    moment = Moment(
        local, attributes=attributes, allowed=tally.allowances(rules, member_id=did.member_id, day=local.date())
    )
    verdicts = judge_activity(rules, activity=did.type, moment=moment)
    given = {own.rule.rule_id: own.points for own in verdicts if own.counts}
    tally.count(rules, member_id=did.member_id, day=local.date(), points=given)
    return Judged(did, known.number, write_facts(rules, moment), verdicts)


def pay(book: Book, judged: Judged, *, program_id: UUID) -> Paid:
    """Credit what counts. There is nothing to deliver, so points wait only where the program delays them."""
    did = judged.did
    entries = paying.pay(
        book,
        [
            Given(own.rule.rule_id, WalletKey(program_id, did.member_id, own.rule.terms.unit), own.points)
            for own in judged.counting
        ],
        source=Source(SourceKind.ACTIVITY, did.id),
        occurred_at=did.occurred_at,
        activates_at=book.rules.starts_at(did.occurred_at),
    )
    return Paid(judged, entries)
