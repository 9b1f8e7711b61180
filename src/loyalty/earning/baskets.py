"""What of an order counts towards points, and which of its lines a rule chooses."""

from loyalty.earning.facts import Purchase
from loyalty.earning.terms import Conditions, Goods
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
        self._named: dict[str, dict[str | None, set[int]]] = {"skus": {}, "categories": {}, "brands": {}}
        for index in self._all:
            line = self.lines[index]
            for name, value in (("skus", line.sku), ("categories", line.category), ("brands", line.brand)):
                self._named[name].setdefault(value, set()).add(index)

    def choose(self, conditions: Conditions) -> list[int]:
        """Return the indexes of the lines that conditions choose."""
        if conditions.include.is_empty and conditions.exclude.is_empty:
            return self._all
        chosen = set(self._all) if conditions.include.is_empty else self._of(conditions.include)
        return sorted(chosen - self._of(conditions.exclude))

    def _of(self, goods: Goods) -> set[int]:
        found: set[int] = set()
        for name, values in (("skus", goods.skus), ("categories", goods.categories), ("brands", goods.brands)):
            for value in values & self._named[name].keys():
                found |= self._named[name][value]
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
