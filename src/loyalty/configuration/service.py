from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.configuration import applying
from loyalty.configuration.applying import Work
from loyalty.configuration.document import (
    Campaign,
    Offer,
    Standing,
    Wish,
    Written,
    write_campaign,
    write_offer,
    write_rule,
    write_settings,
)
from loyalty.configuration.errors import NamesNotUnique
from loyalty.configuration.rules import Result, doubles
from loyalty.core.errors import ValidationFailed
from loyalty.earning import following
from loyalty.earning.following import Known
from loyalty.programs import service as programs
from loyalty.referrals import service as referrals
from loyalty.referrals.errors import NoActiveCampaign
from loyalty.rewards import service as rewards
from loyalty.rewards.rules import RewardKind


@dataclass(frozen=True)
class Configuration:
    """What is configured in a program from now on, as it is written."""

    settings: Written
    earning_rules: list[Written]
    rewards: list[Written]
    referral_campaign: Written | None


async def read(session: AsyncSession, *, program_id: UUID, now: datetime) -> Configuration:
    """Return what is configured in a program from now on. Raises NamesNotUnique."""
    program = await programs.get(session, program_id=program_id)
    known = await following.listing(session, program_id=program_id, now=now)
    rules = [own for own in known if not own.outlook.is_over]
    offers = await _offers(session, program_id=program_id)
    _check_names(rules, offers)
    campaign = await _campaign(session, program_id=program_id)
    return Configuration(
        settings=write_settings(program.rules),
        earning_rules=[{"name": own.name, **write_rule(own.outlook)} for own in rules],
        rewards=[{"name": own.name, **write_offer(own.offer)} for own in offers],
        referral_campaign=write_campaign(campaign) if campaign else None,
    )


async def apply(session: AsyncSession, *, program_id: UUID, wish: Wish, actor: str, now: datetime) -> Result:
    """Make a program's configuration what is wished; parts that are not named stay as they are.

    What is there and not wished is retired. Locks the program, so that two of these run one after the other. Raises
    NamesNotUnique, and ValidationFailed with all else that is against it.
    """
    await programs.lock(session, program_id=program_id)
    work = Work(session, program_id, actor, now)
    rules = await following.listing(session, program_id=program_id, now=now)
    offers = await _offers(session, program_id=program_id)
    _check_names(
        [own for own in rules if not own.outlook.is_over and wish.earning_rules is not None],
        [own for own in offers if wish.rewards is not None],
    )
    if wish.settings is not None:
        await applying.apply_settings(work, dict(wish.settings))
    if wish.earning_rules is not None:
        await applying.apply_rules(work, wish.earning_rules, rules)
    if wish.rewards is not None:
        await applying.apply_rewards(work, wish.rewards, offers)
    if wish.names_campaign:
        await applying.apply_campaign(work, wish.campaign, await _campaign(session, program_id=program_id))
    if work.faults:
        raise ValidationFailed(errors=work.faults)
    return Result(work.changes, work.left_alone)


async def _offers(session: AsyncSession, *, program_id: UUID) -> list[Standing]:
    return [
        Standing(
            row.id,
            row.name,
            Offer(
                kind=RewardKind(row.kind),
                value=row.value,
                unit=row.unit,
                cost_points=row.cost_points,
                stock=row.stock_left,
                pooled=row.pooled,
                coupon_days=row.coupon_days,
                metadata=row.notes,
                terms=rewards.terms_of(row),
            ),
        )
        for row in await rewards.offered(session, program_id=program_id)
    ]


async def _campaign(session: AsyncSession, *, program_id: UUID) -> Campaign | None:
    try:
        row = await referrals.active_campaign(session, program_id=program_id)
    except NoActiveCampaign:
        return None
    return Campaign(**{own.name: getattr(row, own.name) for own in fields(Campaign)})


def _check_names(rules: Iterable[Known], offers: Iterable[Standing]) -> None:
    rules_twice, rewards_twice = doubles(known.name for known in rules), doubles(own.name for own in offers)
    if rules_twice or rewards_twice:
        raise NamesNotUnique(earning_rules=rules_twice, rewards=rewards_twice)
