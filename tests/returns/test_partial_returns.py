"""However an order comes back in parts, its rules lose what they would have lost at once."""

from collections import Counter
from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from tests.earning import drawn

from loyalty.earning.evaluation import judge_order
from loyalty.earning.facts import Moment, Purchase
from loyalty.earning.rules import Given, RuleVersion, compare
from loyalty.earning.terms import Combination, Conditions, Goods, PointsPerAmount, Terms
from loyalty.orders.returning import BoughtLine, ReturnedLine, WantedLine, after, plan
from loyalty.orders.rules import Line


@st.composite
def line_with_tax_or_points(draw: st.DrawFn) -> Line:
    line = draw(drawn.lines())
    line = replace(line, quantity=max(1, line.quantity))
    return replace(line, tax_minor=0) if draw(st.booleans()) else replace(line, points_minor=0)


PURCHASES = drawn.purchases(line_with_tax_or_points())


@st.composite
def parts(draw: st.DrawFn, bought: list[BoughtLine]) -> list[ReturnedLine]:
    """Draw pieces and amounts that go back, of one line each, and never more than was bought."""
    found: list[ReturnedLine] = []
    for own in bought:
        pieces, left = own.quantity_left, own.minor_left
        for _ in range(draw(st.integers(0, 3))):
            quantity, total = draw(st.integers(0, pieces)), draw(st.integers(0, left) | st.just(left))
            pieces, left = pieces - quantity, left - total
            found.append(ReturnedLine(own.number, quantity, total))
    return found


class Counted:
    """An order under rules: what they gave for it, and what is left of that after each return."""

    def __init__(self, rules: list[RuleVersion], purchase: Purchase, moment: Moment) -> None:
        self.rules, self.purchase, self.moment = rules, purchase, moment
        self.bought = [BoughtLine(n, line, 0, 0) for n, line in enumerate(purchase.lines, start=1)]
        self.gave = self.due()
        self.taken: Counter[UUID] = Counter()

    def due(self) -> Counter[UUID]:
        left = replace(self.purchase, lines=[own.remaining() for own in self.bought])
        verdicts = judge_order(self.rules, purchase=left, moment=self.moment)
        return Counter({own.rule.rule_id: own.points for own in verdicts if own.counts})

    def take_back(self, *returned: ReturnedLine) -> None:
        self.bought = after(self.bought, returned)
        due = self.due()
        left = {rule.rule_id: self.gave[rule.rule_id] - self.taken[rule.rule_id] for rule in self.rules}
        given = [Given(rule.rule_id, 1, rule.terms.unit, left[rule.rule_id]) for rule in self.rules]
        excess, lacks = compare(given, due=due, most=self.by_unit(self.gave))
        for own in excess:
            assert 0 < own.points <= left[own.rule_id] - due[own.rule_id]
            self.taken[own.rule_id] += own.points
        for lack in lacks:
            assert 0 < lack.points == lack.anew <= due[lack.rule_id] - left[lack.rule_id]
            self.taken[lack.rule_id] -= lack.points

    def by_unit(self, points: Counter[UUID]) -> dict[str, int]:
        units = {rule.rule_id: rule.terms.unit for rule in self.rules}
        return {unit: sum(own for rule, own in points.items() if units[rule] == unit) for unit in drawn.UNITS}

    @property
    def lost(self) -> dict[str, int]:
        return self.by_unit(self.taken)

    @property
    def should_lose(self) -> dict[str, int]:
        """What an order earns no longer; it never earns more by what goes back."""
        before, left = self.by_unit(self.gave), self.by_unit(self.due())
        return {unit: max(0, before[unit] - left[unit]) for unit in drawn.UNITS}


@given(st.data(), drawn.rules(drawn.any_terms), PURCHASES)
def test_parts_in_any_order_take_what_the_whole_takes_which_is_what_it_no_longer_earns(
    data: st.DataObject, rules: list[RuleVersion], purchase: Purchase
) -> None:
    moment = data.draw(drawn.moments(rules))
    one, other, whole = (Counted(rules, purchase, moment) for _ in range(3))
    returned = data.draw(parts(one.bought))
    for own in returned:
        one.take_back(own)
    for own in data.draw(st.permutations(returned)):
        other.take_back(own)
    sums = [
        ReturnedLine(
            number,
            sum(own.quantity for own in returned if own.number == number),
            sum(own.total_minor for own in returned if own.number == number),
        )
        for number in sorted({own.number for own in returned})
    ]
    whole.take_back(*sums)
    assert whole.lost == whole.should_lose
    assert one.lost == other.lost == whole.lost


@given(st.data(), drawn.rules(drawn.any_terms), PURCHASES)
def test_an_order_that_came_back_by_pieces_amounts_and_the_rest_has_lost_all(
    data: st.DataObject, rules: list[RuleVersion], purchase: Purchase
) -> None:
    """As storefronts ask for it: so many pieces, an amount over all lines, and in the end everything that is left."""
    order = Counted(rules, purchase, data.draw(drawn.moments(rules)))
    for own in order.bought[:2]:
        pieces = data.draw(st.integers(0, own.quantity_left - 1))
        if pieces:
            order.take_back(*plan(order.bought, lines=[WantedLine(own.number, pieces, None)], total_minor=None))
    amount = data.draw(st.integers(0, sum(own.minor_left for own in order.bought)))
    if amount:
        order.take_back(*plan(order.bought, lines=None, total_minor=amount))
    assert order.lost == order.should_lose
    if any(own.minor_left or own.quantity_left for own in order.bought):
        order.take_back(*plan(order.bought, lines=None, total_minor=None))
    assert order.lost == order.by_unit(order.gave)


def test_what_another_rule_gives_instead_stays() -> None:
    """Three points a euro of hats are the best until the hat goes back; then a point a euro of everything is."""
    hats = Conditions(include=Goods(skus=frozenset({"hat"})))
    per_euro = {"EUR": 100}
    rules = [
        RuleVersion(UUID(int=n), 1, Terms("points", gives, asks, combination=Combination.BEST), drawn.MONDAY, None)
        for n, gives, asks in [
            (1, PointsPerAmount(3, per_euro), hats),
            (2, PointsPerAmount(1, per_euro), Conditions()),
        ]
    ]
    order = Counted(rules, Purchase("EUR", [Line("hat", 1, 6_000), Line("tea", 1, 10_000)]), Moment(drawn.MONDAY))
    assert order.gave == {UUID(int=1): 180}
    order.take_back(ReturnedLine(1, 1, 6_000))
    assert order.taken == {UUID(int=1): 80}


def test_what_is_left_of_a_line_is_as_if_only_that_had_been_bought() -> None:
    bought = BoughtLine(1, Line("hat", 3, 900, discount_minor=301, tax_minor=144, points_minor=99), 1, 300)
    assert bought.remaining() == Line("hat", 2, 600, discount_minor=200, tax_minor=96, points_minor=99)
    assert replace(bought, returned_minor=900).remaining() == Line("hat", 0, 0, points_minor=99)
    given_away = BoughtLine(1, Line("hat", 4, 0, discount_minor=400), 3, 0)
    assert given_away.remaining() == Line("hat", 1, 0, discount_minor=100)
