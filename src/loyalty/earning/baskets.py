"""What of an order counts towards points, and which of its lines a rule chooses."""

from collections.abc import Iterable

from loyalty.earning.facts import Purchase
from loyalty.earning.terms import Conditions
from loyalty.orders.rules import Line, LineKind
from loyalty.programs.policies import EarningBase


class Basket:
    """The lines of a purchase, to be chosen from by what they are."""

    def __init__(self, purchase: Purchase, base: EarningBase) -> None:
        self.lines = purchase.lines
        self.bases = [base_of(line, base) for line in self.lines]
        self._all = [
            index
            for index, line in enumerate(self.lines)
            if _counts(line, base) and (line.quantity or line.total_minor)
        ]
        self._named: dict[str, dict[str | None, set[int]]] = {"sku": {}, "category": {}, "brand": {}}
        for index in self._all:
            line = self.lines[index]
            for what, name in (("sku", line.sku), ("category", line.category), ("brand", line.brand)):
                self._named[what].setdefault(name, set()).add(index)

    def choose(self, conditions: Conditions) -> list[int]:
        """Return the indexes of the lines that conditions choose."""
        include, exclude = conditions.include.named, conditions.exclude.named
        if not include and not exclude:
            return self._all
        chosen = self._of(include) if include else set(self._all)
        return sorted(chosen - self._of(exclude) if exclude else chosen)

    def _of(self, goods: Iterable[tuple[str, frozenset[str]]]) -> set[int]:
        found: set[int] = set()
        for what, names in goods:
            there = self._named[what]
            for name in names & there.keys():
                found |= there[name]
        return found


def base_of(line: Line, policy: EarningBase) -> int:
    """Return what of a line counts towards points, in minor units."""
    if not _counts(line, policy):
        return 0
    amount = line.total_minor
    amount += line.discount_minor if policy.before_discounts else 0
    amount -= line.tax_minor if policy.without_tax else 0
    amount -= 0 if policy.paid_with_points else line.points_minor
    return max(0, amount)


def _counts(line: Line, policy: EarningBase) -> bool:
    match line.kind:
        case LineKind.PRODUCT:
            return True
        case LineKind.GIFT_CARD:
            return policy.gift_cards
        case LineKind.SHIPPING:
            return policy.shipping
