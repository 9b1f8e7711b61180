"""The facts of an order and of its moment that rules ask for; how those that a return needs, and awards, are kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, Self
from uuid import UUID

from loyalty.earning.rules import Allowance, Award, PaidAward, RuleVersion
from loyalty.orders.rules import Line
from loyalty.programs.policies import EarningBase

_TOTALS: Final = EarningBase()


@dataclass(frozen=True)
class Moment:
    """The facts of the moment that rules ask for. `local` is the instant in the program's zone.

    `order_number` counts the customer's orders from 1; `allowed` is what the rules with limits may still give; `base`
    is the program's word on what of a line counts. `barred` are the rules that asked for other attributes, where the
    moment has passed and these are not kept: they are personal.
    """

    local: datetime
    base: EarningBase = _TOTALS
    attributes: Mapping[str, str] = field(default_factory=dict)
    order_number: int | None = None
    allowed: Mapping[UUID, Allowance] = field(default_factory=dict)
    barred: frozenset[UUID] | None = None

    def bars(self, rule: RuleVersion) -> bool:
        """Tell whether a rule asks for attributes that the member has not."""
        asked = rule.terms.conditions.attributes
        if not asked:
            return False
        if self.barred is not None:
            return rule.rule_id in self.barred
        return any(self.attributes.get(name) not in values for name, values in asked.items())


class Bought(Protocol):
    """What is kept of an order, wherever it is kept."""

    @property
    def currency(self) -> str: ...
    @property
    def channel(self) -> str | None: ...
    @property
    def store(self) -> str | None: ...
    @property
    def payment_method(self) -> str | None: ...


@dataclass(frozen=True)
class Purchase:
    """An order as rules look at it."""

    currency: str
    lines: Sequence[Line]
    channel: str | None = None
    store: str | None = None
    payment_method: str | None = None

    @classmethod
    def of(cls, order: Bought, lines: Sequence[Line]) -> Self:
        return cls(order.currency, lines, order.channel, order.store, order.payment_method)


def write_facts(rules: Iterable[RuleVersion], moment: Moment) -> dict[str, Any]:
    """Write down the facts that rules asked for, so that a return counts by those of the order."""
    facts = {
        "barred": [str(rule.rule_id) for rule in rules if moment.bars(rule)],
        "order_number": moment.order_number,
        "base": {} if moment.base == _TOTALS else asdict(moment.base),
        "allowed": {str(rule_id): [own.member, own.budget] for rule_id, own in moment.allowed.items()},
    }
    return {name: value for name, value in facts.items() if value}


def read_facts(facts: Mapping[str, Any], *, local: datetime) -> Moment:
    return Moment(
        local,
        base=EarningBase(**facts.get("base", {})),
        barred=frozenset(UUID(rule_id) for rule_id in facts.get("barred", ())),
        order_number=facts.get("order_number"),
        allowed={UUID(rule_id): Allowance(*own) for rule_id, own in facts.get("allowed", {}).items()},
    )


def write_award(award: Award, entry_id: UUID | None) -> dict[str, Any]:
    """Write down what a rule gave an order, with the entry that has its points."""
    return {
        "rule": str(award.rule.rule_id),
        "version": award.rule.version,
        "unit": award.rule.terms.unit,
        "base": award.base_minor,
        "points": award.points,
        "lines": award.line_points,
        "entry": None if entry_id is None else str(entry_id),
    }


def read_award(written: Mapping[str, Any]) -> PaidAward:
    return PaidAward(
        rule_id=UUID(written["rule"]),
        rule_version=written["version"],
        unit=written["unit"],
        base_minor=written["base"],
        points=written["points"],
        line_points=tuple(written["lines"]),
        entry_id=None if written["entry"] is None else UUID(written["entry"]),
    )
