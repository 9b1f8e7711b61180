"""What of an order counts towards points, and which of its lines rules choose."""

from collections.abc import Sequence
from typing import Final

from loyalty.earning.facts import Purchase
from loyalty.earning.terms import Conditions
from loyalty.orders.rules import Line, LineKind
from loyalty.programs.policies import EarningBase

_MOST_KNOWN: Final = 10_000
Names = tuple[str | None, str | None, str | None]


class Choosers:
    """Which of several conditions choose a line by what it is, as bits: the first is the least.

    It is found once for all goods that none of them tells apart.
    """

    def __init__(self, conditions: Sequence[Conditions]) -> None:
        self._conditions = conditions
        goods = [goods for own in conditions for goods in (own.include, own.exclude)]
        self._skus = frozenset[str]().union(*(own.skus for own in goods))
        self._categories = frozenset[str]().union(*(own.categories for own in goods))
        self._brands = frozenset[str]().union(*(own.brands for own in goods))
        self._known: dict[Names, int] = {}

    def of(self, line: Line) -> int:
        names = (
            line.sku if line.sku in self._skus else None,
            line.category if line.category in self._categories else None,
            line.brand if line.brand in self._brands else None,
        )
        found = self._known.get(names)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[names] = self._find(names)
        return found

    def _find(self, names: Names) -> int:
        return sum(1 << place for place, own in enumerate(self._conditions) if _chooses(own, names))


class Chosen:
    """Some lines of a basket: their indexes, and what they come to."""

    __slots__ = ("base", "bases", "indexes", "pieces", "quantities")

    def __init__(self, basket: "Basket", indexes: Sequence[int]) -> None:
        self.indexes = indexes
        self.bases = [basket.bases[index] for index in indexes]
        self.quantities = [basket.lines[index].quantity for index in indexes]
        self.base = sum(self.bases)
        self.pieces = sum(self.quantities)


class Basket:
    """The lines of a purchase, to be chosen from by what they are."""

    def __init__(self, purchase: Purchase, base: EarningBase, choosers: Choosers) -> None:
        self.lines = purchase.lines
        self.bases = [base_of(line, base) for line in self.lines]
        self._choosers = [
            choosers.of(line) if _counts(line, base) and (line.quantity or line.total_minor) else 0
            for line in self.lines
        ]
        self._found: dict[tuple[int, ...], Chosen] = {}

    @property
    def chosen_by(self) -> int:
        """Which conditions choose any line, as bits."""
        found = 0
        for own in self._choosers:
            found |= own
        return found

    def choose(self, bit: int) -> Chosen:
        """Return the lines that one of the conditions chooses."""
        indexes = tuple([index for index, own in enumerate(self._choosers) if own & bit])
        found = self._found.get(indexes)
        if found is None:
            found = self._found[indexes] = Chosen(self, indexes)
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


def _chooses(conditions: Conditions, names: Names) -> bool:
    include, exclude = conditions.include, conditions.exclude
    return (include.is_anything or include.hold(*names)) and not exclude.hold(*names)
