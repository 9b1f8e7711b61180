from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Self

import msgspec
from pydantic import Field, ValidationError

from loyalty.configuration.document import Campaign, Offer, Wish
from loyalty.configuration.rules import Result
from loyalty.configuration.service import Configuration
from loyalty.core import ids, yaml
from loyalty.core.errors import ValidationFailed
from loyalty.core.fields import CrossChecked, FieldFault, Flag, faults_in
from loyalty.earning.outlook import Outlook, outlook
from loyalty.earning.rules import RuleVersion
from loyalty.earning.schemas import RuleIn, RuleVersionIn
from loyalty.programs.rules import ProgramRules
from loyalty.programs.schemas import SettingsPatch, TimeZone
from loyalty.referrals.schemas import CampaignIn
from loyalty.rewards.schemas import RewardIn

VERSION: Final = 1
_MOST_THINGS: Final = 1000


class SettingsIn(SettingsPatch):
    """Settings to have; what is not named stays. The time zone can only be the one that the program has."""

    time_zone: TimeZone | None = None


class LaterVersionIn(RuleVersionIn):
    """What a rule says from a date on, or a draft."""

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        yield from super().faults_between(raw)
        if raw.get("draft") is not True and raw.get("active_from") is None:
            yield ("active_from",), "missing", "What takes over later should say when"


class ConfiguredRuleIn(RuleIn):
    """A rule by its name. `later` are further versions: those that take over on a date, and drafts.

    Without `active_from` it holds already, or from now on. When it began is of no account where it is in force.
    """

    later: Annotated[list[LaterVersionIn], Field(max_length=20)] = Field(default_factory=list)

    def outlook(self, *, unit: str, now: datetime) -> Outlook:
        written = [(own, own.terms.terms(unit=unit)) for own in (self, *self.later)]
        begins = min([now, *(own.active_from for own in self.later if own.active_from)])
        rule_id = ids.new()
        versions = [
            RuleVersion(rule_id, 0, terms, own.active_from or begins, own.active_until)
            for own, terms in written
            if not own.draft
        ]
        return outlook(versions, [terms for own, terms in written if own.draft], now=now)


class ConfiguredRewardIn(RewardIn):
    """A reward by its name. `stock` is what a new one begins with; a `pooled` one issues codes of your own alone.

    One that is there keeps what is left of it; of another kind, value or unit, it is retired and made anew.
    """

    pooled: Flag = False

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        yield from super().faults_between(raw)
        if raw.get("pooled") is True and raw.get("stock") is not None:
            yield ("stock",), "stock", "The stock of a pooled reward is what is left of its codes"

    def offer(self, *, unit: str) -> Offer:
        return Offer(
            kind=self.kind,
            value=self.value.model_dump(exclude_none=True),
            unit=self.unit or unit,
            cost_points=self.cost_points,
            stock=self.stock,
            pooled=self.pooled,
            coupon_days=self.coupon_days,
            metadata=self.metadata,
            terms=self.terms(),
        )


class ConfigurationIn(CrossChecked):
    """What is to be configured from now on. A part that is not named stays; of one that is, what is not in it ends."""

    version: Annotated[int, Field(ge=VERSION, le=VERSION, strict=True)]
    settings: SettingsIn = Field(default_factory=SettingsIn)
    earning_rules: Annotated[list[ConfiguredRuleIn], Field(max_length=_MOST_THINGS)] = Field(default_factory=list)
    rewards: Annotated[list[ConfiguredRewardIn], Field(max_length=_MOST_THINGS)] = Field(default_factory=list)
    referral_campaign: CampaignIn | None = None

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read YAML, and so JSON. Raises ValidationFailed with every fault."""
        try:
            return cls.model_validate(yaml.read(content))
        except ValidationError as error:
            raise ValidationFailed(errors=faults_in(error.errors(include_url=False))) from error

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        for part in ("earning_rules", "rewards"):
            things = raw.get(part)
            names = [
                thing.get("name") if isinstance(thing, Mapping) else None
                for thing in (things if isinstance(things, list) else [])
            ]
            counts = Counter(name for name in names if isinstance(name, str))
            for index, name in enumerate(names):
                if isinstance(name, str) and counts[name] > 1:
                    yield (part, index, "name"), "double_name", "Another one here has this name"

    def wish(self, rules: ProgramRules, *, now: datetime) -> Wish:
        """Return what is asked for, of a program with these settings."""
        named, settings = self.model_fields_set, self.settings.changes
        unit, currency = self.settings.unit or rules.unit, (self.settings.currencies or rules.currencies)[0]
        campaign = self.referral_campaign
        return Wish(
            settings=settings if "settings" in named else None,
            earning_rules=[(own.name, own.outlook(unit=unit, now=now)) for own in self.earning_rules]
            if "earning_rules" in named
            else None,
            rewards=[(own.name, own.offer(unit=unit)) for own in self.rewards] if "rewards" in named else None,
            names_campaign="referral_campaign" in named,
            campaign=Campaign(**campaign.terms(unit=unit, currency=currency)) if campaign else None,
        )


class ConfigurationOut(msgspec.Struct):
    """What is configured from now on, as it can be applied again, here or in another program."""

    version: int
    settings: dict[str, Any]
    earning_rules: list[dict[str, Any]]
    rewards: list[dict[str, Any]]
    referral_campaign: dict[str, Any] | None


class FieldChangeOut(msgspec.Struct):
    """A field by its dotted path; null where it is not named."""

    field: str
    before: Any
    after: Any


class ChangeOut(msgspec.Struct):
    """A thing that is created, changed (`fields`), retired, or replaced: retired and made anew."""

    part: str
    name: str | None
    action: str
    fields: list[FieldChangeOut]


class LeftAloneOut(msgspec.Struct):
    """What stays though it is said otherwise.

    `why`: its end is over, a draft that is not named stays, or how much of its stock is left is not configured.
    """

    part: str
    name: str
    why: str


class ConfigurationResult(msgspec.Struct):
    """What changed, or would; nothing if all was so already."""

    dry_run: bool
    changes: list[ChangeOut]
    left_alone: list[LeftAloneOut]


def configuration_out(found: Configuration) -> ConfigurationOut:
    return ConfigurationOut(VERSION, found.settings, found.earning_rules, found.rewards, found.referral_campaign)


def configuration_yaml(found: ConfigurationOut) -> str:
    return yaml.write(msgspec.to_builtins(found))


def configuration_result(result: Result, *, dry_run: bool) -> ConfigurationResult:
    return ConfigurationResult(
        dry_run=dry_run,
        changes=[
            ChangeOut(
                own.part, own.name, own.action, [FieldChangeOut(to.field, to.before, to.after) for to in own.fields]
            )
            for own in result.changes
        ],
        left_alone=[LeftAloneOut(own.part, own.name, own.why) for own in result.left_alone],
    )
