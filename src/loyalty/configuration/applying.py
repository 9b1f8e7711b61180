"""What happens to each part of a program so that it comes to say what is wished: compared, told, and brought about."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.configuration.document import (
    Campaign,
    Offer,
    Standing,
    write_campaign,
    write_offer,
    write_rule,
    write_settings,
)
from loyalty.configuration.errors import TimeZoneIsForGood
from loyalty.configuration.rules import Action, Change, FieldChange, LeftAlone, Part, Why, compare, settle_offer
from loyalty.core.errors import Fault, LoyaltyError
from loyalty.earning import following
from loyalty.earning.following import Known
from loyalty.earning.outlook import Outlook
from loyalty.programs import service as programs
from loyalty.referrals import service as referrals
from loyalty.rewards import service as rewards


@dataclass
class Work:
    """A wish being brought about: what it changed so far, and every refusal, with its place in the document."""

    session: AsyncSession
    program_id: UUID
    actor: str
    now: datetime
    changes: list[Change] = field(default_factory=list)
    left_alone: list[LeftAlone] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @contextmanager
    def at(self, pointer: str, *, of: str | None = None) -> Iterator[None]:
        """Note a refusal instead of ending with it; `of` names what the document does not."""
        try:
            yield
        except LoyaltyError as refusal:
            self.faults.append(Fault(pointer, refusal.code, f"{of}: {refusal}" if of else str(refusal)))

    def tell(self, part: Part, name: str | None, action: Action, differing: tuple[FieldChange, ...] = ()) -> None:
        self.changes.append(Change(part, name, action, differing))

    def leave(self, part: Part, name: str, why: Why) -> None:
        self.left_alone.append(LeftAlone(part, name, why))


async def apply_settings(work: Work, settings: dict[str, object]) -> None:
    before = (await programs.get(work.session, program_id=work.program_id)).rules
    with work.at("/settings/time_zone"):
        if settings.pop("time_zone", before.time_zone) != before.time_zone:
            raise TimeZoneIsForGood
    changed = await programs.change_settings(
        work.session, program_id=work.program_id, name=None, changes=settings, actor=work.actor, now=work.now
    )
    if differing := tuple(compare(write_settings(before), write_settings(changed.rules))):
        work.tell(Part.SETTINGS, None, Action.CHANGE, differing)


async def apply_rules(work: Work, wished: list[tuple[str, Outlook]], known: list[Known]) -> None:
    # Of several with a name the one that is not over, or else the youngest: the same name is the same rule.
    there = {own.name: own for own in sorted(known, key=lambda own: not own.outlook.is_over)}
    for index, (name, outlook) in enumerate(wished):
        with work.at(f"/earning_rules/{index}"):
            await _apply_rule(work, name, outlook, there.pop(name, None))
    for own in known:
        if there.get(own.name) is own and not own.outlook.is_over:
            with work.at("/earning_rules", of=own.name):
                await _apply_rule(work, own.name, Outlook(), own)


async def _apply_rule(work: Work, name: str, outlook: Outlook, there: Known | None) -> None:
    before = there.outlook if there else Outlook()
    after = outlook.settled(before, now=work.now) if there else outlook
    if any(draft not in outlook.drafts for draft in after.drafts):
        work.leave(Part.EARNING_RULE, name, Why.DRAFT)
    if after.is_over and before.is_over:
        return work.leave(Part.EARNING_RULE, name, Why.OVER)
    if after == before:
        return None
    if before.is_over:
        work.tell(Part.EARNING_RULE, name, Action.CREATE)
    elif outlook.is_over:
        work.tell(Part.EARNING_RULE, name, Action.RETIRE)
    else:
        work.tell(Part.EARNING_RULE, name, Action.CHANGE, tuple(compare(write_rule(before), write_rule(after))))
    if there is None:
        return await following.start(
            work.session, program_id=work.program_id, name=name, wished=after, actor=work.actor, now=work.now
        )
    return await following.follow(
        work.session, program_id=work.program_id, rule_id=there.rule_id, wished=after, actor=work.actor, now=work.now
    )


async def apply_rewards(work: Work, wished: list[tuple[str, Offer]], standing: list[Standing]) -> None:
    there = {own.name: own for own in standing}
    for index, (name, offer) in enumerate(wished):
        with work.at(f"/rewards/{index}"):
            await _apply_reward(work, name, offer, there.pop(name, None))
    for own in there.values():
        work.tell(Part.REWARD, own.name, Action.RETIRE)
        await _update_reward(work, own, {}, retire=True)


async def _apply_reward(work: Work, name: str, wished: Offer, there: Standing | None) -> None:
    if there is None:
        work.tell(Part.REWARD, name, Action.CREATE)
        return await _create_reward(work, name, wished)
    before, after = there.offer, settle_offer(wished, there.offer)
    differing = tuple(compare(write_offer(before), write_offer(after)))
    if after.worth != before.worth:
        work.tell(Part.REWARD, name, Action.REPLACE, differing)
        await _update_reward(work, there, {}, retire=True)
        return await _create_reward(work, name, after)
    if wished.stock not in (None, after.stock):
        work.leave(Part.REWARD, name, Why.STOCK)
    if not differing:
        return None
    work.tell(Part.REWARD, name, Action.CHANGE, differing)
    # What is left changes meanwhile as members redeem: it is written only where counting begins or ends.
    moved = {"stock_left": after.stock, "pooled": after.pooled} if after.has_other_stock_than(before) else {}
    columns = {
        "cost_points": after.cost_points,
        "coupon_days": after.coupon_days,
        "notes": dict(after.metadata),
        **rewards.columns_of(after.terms),
        **moved,
    }
    return await _update_reward(work, there, columns, retire=False)


async def _create_reward(work: Work, name: str, offer: Offer) -> None:
    await rewards.create(
        work.session,
        program_id=work.program_id,
        name=name,
        kind=offer.kind,
        value=dict(offer.value),
        unit=offer.unit,
        cost_points=offer.cost_points,
        stock=offer.stock,
        coupon_days=offer.coupon_days,
        metadata=dict(offer.metadata),
        terms=offer.terms,
        pooled=offer.pooled,
        now=work.now,
    )


async def _update_reward(work: Work, there: Standing, changes: dict[str, object], *, retire: bool) -> None:
    await rewards.update(
        work.session,
        program_id=work.program_id,
        reward_id=there.reward_id,
        changes=changes,
        retire=retire,
        now=work.now,
    )


async def apply_campaign(work: Work, wished: Campaign | None, there: Campaign | None) -> None:
    before, after = (write_campaign(campaign) if campaign else {} for campaign in (there, wished))
    if before == after:
        return
    if wished is None:
        work.tell(Part.REFERRAL_CAMPAIGN, before["name"], Action.RETIRE)
        await referrals.end_campaign(work.session, program_id=work.program_id, now=work.now)
        return
    if there is None:
        work.tell(Part.REFERRAL_CAMPAIGN, wished.name, Action.CREATE)
    else:
        work.tell(Part.REFERRAL_CAMPAIGN, there.name, Action.CHANGE, tuple(compare(before, after)))
    await referrals.start_campaign(work.session, program_id=work.program_id, terms=asdict(wished), now=work.now)
