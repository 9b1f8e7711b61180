"""What differs between a configuration as it is and as it is wished, and so is to change."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from loyalty.configuration.document import Offer


class Part(StrEnum):
    SETTINGS = "settings"
    EARNING_RULE = "earning_rule"
    REWARD = "reward"
    REFERRAL_CAMPAIGN = "referral_campaign"


class Action(StrEnum):
    """What is done to a thing; one that cannot change into what is wished is retired and made anew: `replace`."""

    CREATE = "create"
    CHANGE = "change"
    REPLACE = "replace"
    RETIRE = "retire"


class Why(StrEnum):
    """Why something is not brought about.

    `over`: it had ended by now. `draft`: drafts that are not named stay. `stock`: how many are left is nobody's wish.
    """

    OVER = "over"
    DRAFT = "draft"
    STOCK = "stock"


@dataclass(frozen=True)
class FieldChange:
    """A field by its path within the thing, dotted; null where it is not named."""

    field: str
    before: object
    after: object


@dataclass(frozen=True)
class Change:
    part: Part
    name: str | None
    action: Action
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True)
class LeftAlone:
    part: Part
    name: str
    why: Why


@dataclass(frozen=True)
class Result:
    """What a configuration changed, in its own order, and what it left alone though it says otherwise."""

    changes: list[Change]
    left_alone: list[LeftAlone]


def compare(before: Mapping[str, object], after: Mapping[str, object], *, within: str = "") -> Iterator[FieldChange]:
    """Yield the fields that differ, each by itself down to lists, which are one value."""
    for name in [*before, *(name for name in after if name not in before)]:
        old, new, path = before.get(name), after.get(name), f"{within}{name}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from compare(old, new, within=f"{path}.")
        elif old != new:
            yield FieldChange(path, old, new)


def doubles(names: Iterable[str]) -> list[str]:
    """Return the names that more than one thing has."""
    return sorted(name for name, times in Counter(names).items() if times > 1)


def settle_offer(wished: Offer, there: Offer) -> Offer:
    """Return a wish as a reward that is there can meet it.

    Whether its stock is counted is configured, how many are left is not; and who was given codes goes on issuing codes.
    """
    pooled = wished.pooled or there.pooled
    goes_on = wished.worth == there.worth and wished.stock is not None and there.stock is not None
    stock = there.stock if goes_on else wished.stock
    return replace(wished, pooled=pooled, stock=None if pooled else stock)
