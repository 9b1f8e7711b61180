"""What a configuration says, part by part, and how each is written: as the API takes it, unless it asks for nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from loyalty.core.clock import rfc3339
from loyalty.earning.definitions import write_terms
from loyalty.earning.outlook import Outlook, Step
from loyalty.earning.terms import Terms, kind_of
from loyalty.programs.rules import ProgramRules
from loyalty.rewards.rules import RewardKind
from loyalty.rewards.rules import Terms as RewardTerms

Written = dict[str, Any]


@dataclass(frozen=True)
class Offer:
    """A reward; `pooled` ones issue codes of the shop's own, and have no other stock."""

    kind: RewardKind
    value: Mapping[str, Any]
    unit: str
    cost_points: int
    stock: int | None
    pooled: bool
    coupon_days: int | None
    metadata: Mapping[str, str]
    terms: RewardTerms

    @property
    def worth(self) -> tuple[object, ...]:
        """What a reward is for good: coupons that were given say the same as long as they live."""
        return self.kind, self.value, self.unit

    def has_other_stock_than(self, other: "Offer") -> bool:
        return (self.stock, self.pooled) != (other.stock, other.pooled)


@dataclass(frozen=True)
class Standing:
    """A reward that is not retired."""

    reward_id: UUID
    name: str
    offer: Offer


@dataclass(frozen=True)
class Campaign:
    name: str
    landing_url: str
    window_days: int
    unit: str
    advocate_points: int
    referee_points: int
    minimum_minor: int
    minimum_currency: str


@dataclass(frozen=True)
class Wish:
    """What a document asks for; parts that it does not name are None, and a campaign that it names may be none."""

    settings: Mapping[str, object] | None
    earning_rules: list[tuple[str, Outlook]] | None
    rewards: list[tuple[str, Offer]] | None
    names_campaign: bool
    campaign: Campaign | None


def write_settings(rules: ProgramRules) -> Written:
    return {**asdict(rules), "expiry": _named(asdict(rules.expiry)), "activation": _named(asdict(rules.activation))}


def write_rule(outlook: Outlook) -> Written:
    """Write what a rule says that is not over."""
    versions = [_write_step(step) for step in outlook.steps]
    versions += [{"terms": _write_terms(draft), "draft": True} for draft in outlook.drafts]
    return {**versions[0], **_named({"later": versions[1:]})}


def write_offer(offer: Offer) -> Written:
    terms = offer.terms
    return {
        "kind": offer.kind,
        **_named({"value": dict(offer.value)}),
        "cost_points": offer.cost_points,
        "unit": offer.unit,
        **({"stock": offer.stock} if offer.stock is not None else {}),
        **_named(
            {
                "pooled": offer.pooled,
                "coupon_days": offer.coupon_days,
                "available_from": rfc3339(terms.available_from) if terms.available_from else None,
                "available_until": rfc3339(terms.available_until) if terms.available_until else None,
                "per_member": asdict(terms.per_member) if terms.per_member else None,
                "member_attributes": {name: sorted(values) for name, values in terms.member_attributes.items()},
                "metadata": dict(offer.metadata),
            }
        ),
    }


def write_campaign(campaign: Campaign) -> Written:
    written = asdict(campaign)
    amount, currency = written.pop("minimum_minor"), written.pop("minimum_currency")
    return {**written, **({"minimum": {"amount": amount, "currency": currency}} if amount else {})}


def _write_step(step: Step) -> Written:
    until = step.active_until
    return {
        "terms": _write_terms(step.terms),
        "active_from": rfc3339(step.active_from),
        **({"active_until": rfc3339(until)} if until else {}),
    }


def _write_terms(terms: Terms) -> Written:
    return {"kind": kind_of(terms.gives), **{name: said for name, said in write_terms(terms).items() if said != {}}}


def _named(fields: Written) -> Written:
    return {name: value for name, value in fields.items() if value}
