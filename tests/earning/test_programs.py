"""Programs as shops run them, made of rules and settings alone, and lived through."""

from typing import Any

from tests.earning.till import OPEN_AT, advance, balances, buy, gave, give_back, line, make_rule, outcomes, start_over
from tests.shop import Json, Shop

WEEKDAYS = ["mon", "tue", "wed", "thu", "fri"]


class CoffeeChain:
    """Ten points a coffee, twice that from three to five on weekdays in Berlin, and 25 for every fifth order."""

    def __init__(self, shop: Shop, *rules: str) -> None:
        self.shop = shop
        self.cups, self.happy_hour, self.fifth = rules

    async def sell(self, member: Json, coffees: int) -> list[int]:
        """Sell some coffees and a cake; return what the rules gave."""
        lines = [line("latte", 400 * coffees, coffees, category="coffee"), line("cake", 350, category="food")]
        return gave(await buy(self.shop, member, *lines), self.cups, self.happy_hour, self.fifth)


async def coffee_chain(shop: Shop) -> CoffeeChain:
    await start_over(shop)
    hours = {"windows": [{"weekdays": WEEKDAYS, "from": "15:00", "until": "17:00"}]}
    return CoffeeChain(
        shop,
        await make_rule(shop, "points_per_item", points=10, conditions={"include": {"categories": ["coffee"]}}),
        await make_rule(shop, "multiplier", percent=200, conditions=hours),
        await make_rule(shop, "bonus", points=25, conditions={"every_nth_order": 5}),
    )


async def test_a_coffee_chain_counts_cups_happy_hours_and_every_fifth_order(shop: Shop) -> None:
    chain, member = await coffee_chain(shop), await shop.enrol()
    assert await chain.sell(member, 2) == [20, 0, 0]
    await advance(shop, "2026-01-05T14:00:00Z")  # three o'clock in Berlin
    assert await chain.sell(member, 3) == [30, 30, 0]
    await advance(shop, "2026-01-05T16:00:00Z")
    assert await chain.sell(member, 1) == [10, 0, 0]
    await advance(shop, "2026-01-10T14:30:00Z")  # a Saturday
    assert await chain.sell(member, 1) == [10, 0, 0]
    await advance(shop, "2026-07-06T13:30:00Z")  # summer time: half past three again
    assert await chain.sell(member, 1) == [10, 10, 25]
    assert await chain.sell(member, 1) == [10, 10, 0]
    assert await balances(shop, member) == {"points": 165}
    await shop.books_hold()


async def test_a_cancelled_coffee_is_no_order_on_the_way_to_the_fifth(shop: Shop) -> None:
    chain, member = await coffee_chain(shop), await shop.enrol()
    orders = [await buy(shop, member, line("tea", 300)) for _ in range(4)]
    await shop.post(f"/v1/orders/{orders[0]['id']}/cancellation", {})
    assert [await chain.sell(member, 1) for _ in range(2)] == [[10, 0, 0], [10, 0, 25]]
    assert await balances(shop, member) == {"points": 45}
    await shop.books_hold()


async def test_a_late_report_from_the_till_counts_by_the_hour_of_the_sale(shop: Shop) -> None:
    chain, member = await coffee_chain(shop), await shop.enrol()
    await advance(shop, "2026-01-06T20:00:00Z")
    late = {"placed_at": "2026-01-06T15:59:59Z"}
    order = await buy(shop, member, line("latte", 400, category="coffee"), **late)
    assert (order["late"], gave(order, chain.cups, chain.happy_hour)) == (True, [10, 10])
    await give_back(shop, order)
    assert await balances(shop, member) == {"points": 0}
    await shop.books_hold()


async def test_a_fashion_shop_leaves_a_brand_out_raises_for_vips_welcomes_and_congratulates(shop: Shop) -> None:
    await start_over(shop)
    await make_rule(shop, "points_per_activity", activity="birthday", points=500)
    no_outlet = {"exclude": {"brands": ["outlet"]}}
    base = await make_rule(
        shop,
        "points_per_amount",
        points=3,
        step_minor={"EUR": 200, "JPY": 300},
        rounding="half_up",
        conditions=no_outlet,
    )
    vip = await make_rule(
        shop, "multiplier", percent=150, rounding="up", conditions={"attributes": {"level": ["vip", "gold"]}}
    )
    first = await make_rule(shop, "bonus", points=100, conditions={"order_numbers": [1], **no_outlet})
    member = await shop.enrol(attributes={"level": "vip"}, birth_on="1990-02-14")
    other = await shop.enrol(attributes={"level": "guest"})
    basket = [line("coat", 12_950, brand="north"), line("shoes", 8_000, brand="outlet"), line("belt", 1_999)]

    order = await buy(shop, member, *basket)
    # 149.49 euros of two brands: 224.235 points, half of 224 more, and the welcome
    assert gave(order, base, vip, first) == [224, 112, 100]
    assert [award["line_points"] for award in order["awards"]] == [[194, 0, 30], [97, 0, 15], [87, 0, 13]]
    assert gave(await buy(shop, other, *basket), base, vip, first) == [224, 0, 100]
    again = await buy(shop, member, line("kimono", 4_950, brand="north", currency="JPY"))
    assert gave(again, base, vip, first) == [50, 25, 0]  # 49.5 points, rounded up at the half
    nothing = await buy(shop, member, line("shoes", 8_000, brand="outlet"))
    assert outcomes(nothing, base, vip, first) == ["no_eligible_line", "nothing_to_multiply", "other_order_number"]

    await shop.send("PATCH", f"/v1/members/{member['id']}", {"attributes": {"level": "guest"}}, expect=200)
    returned = await give_back(shop, order, lines=[{"line": 1, "quantity": 1}])
    # 19.99 euros are left: 30 points, and still half of that more
    assert sorted((own["rule_id"], own["points"]) for own in returned["reversals"]) == [(base, 194), (vip, 97)]
    assert await balances(shop, member) == {"points": 45 + 100 + 75}
    await advance(shop, "2026-02-14T09:00:00Z")
    assert await balances(shop, member) == {"points": 45 + 100 + 75 + 500}
    await shop.books_hold()


async def groceries(shop: Shop) -> tuple[str, str]:
    await start_over(shop, activation={"kind": "delivery"})
    base = await make_rule(shop, "points_per_amount", points=1, step_minor={"EUR": 100})
    return base, await make_rule(shop, "bonus", points=50, conditions={"minimum_minor": {"EUR": 4_000}})


async def waiting(shop: Shop, member: Json) -> tuple[int, int]:
    wallet = await shop.wallet(member["id"])
    return wallet["pending"], wallet["available"]


async def test_a_grocer_takes_back_pieces_and_the_bonus_that_the_basket_no_longer_deserves(shop: Shop) -> None:
    base, bonus = await groceries(shop)
    member = await shop.enrol()
    order = await buy(shop, member, line("wine", 2_997, 3), line("rice", 1_250, 5))
    assert gave(order, base, bonus) == [42, 50]
    assert await waiting(shop, member) == (92, 0)

    one_rice = await give_back(shop, order, lines=[{"line": 2, "quantity": 1}])  # 39.97 euros are left
    assert sorted((own["rule_id"], own["points"], own["pending"]) for own in one_rice["reversals"]) == sorted(
        [(base, 3, 3), (bonus, 50, 50)]
    )
    assert await waiting(shop, member) == (39, 0)
    await shop.post(f"/v1/orders/{order['id']}/deliveries", {})
    assert await waiting(shop, member) == (0, 39)
    two_bottles = await give_back(shop, order, lines=[{"line": 1, "quantity": 2}, {"line": 2, "quantity": 4}])
    assert [(own["points"], own["taken"]) for own in two_bottles["reversals"]] == [(30, 30)]
    assert await waiting(shop, member) == (0, 9)
    await give_back(shop, order)
    assert await waiting(shop, member) == (0, 0)
    await shop.books_hold()


async def test_a_basket_at_the_minimum_keeps_its_bonus_and_a_cent_below_loses_it(shop: Shop) -> None:
    _, bonus = await groceries(shop)
    member = await shop.enrol()
    order = await buy(shop, member, line("wine", 4_001))
    cent: Json = {"total": {"amount": 1, "currency": "EUR"}}
    assert (await give_back(shop, order, **cent))["reversals"] == []
    (lost, _) = sorted((await give_back(shop, order, **cent))["reversals"], key=lambda own: -int(own["points"]))
    assert (lost["rule_id"], lost["points"]) == (bonus, 50)
    assert await waiting(shop, member) == (39, 0)
    await shop.books_hold()


async def airline(shop: Shop) -> tuple[str, str]:
    """Five miles a euro, which expire at midsummer and at the end of a year, and segments that say who is frequent."""
    await start_over(shop, unit="miles", expiry={"kind": "dates", "dates": ["06-30", "12-31"]})
    flights: Json = {"include": {"categories": ["flight"]}}
    miles = await make_rule(shop, "points_per_amount", points=5, step_minor={"EUR": 100}, conditions=flights)
    return miles, await make_rule(shop, "points_per_item", unit="segments", points=1, conditions=flights)


async def test_an_airline_counts_miles_and_segments_apart(shop: Shop) -> None:
    miles, segments = await airline(shop)
    member = await shop.enrol()
    order = await buy(shop, member, line("ber-osl", 23_990, 2, category="flight"), line("bag", 3_000, category="extra"))
    assert gave(order, miles, segments) == [1_199, 2]  # 239.90 euros: 1199.5 miles
    assert await balances(shop, member) == {"miles": 1_199, "segments": 2}
    returned = await give_back(shop, order, lines=[{"line": 1, "quantity": 1}])
    assert sorted((own["rule_id"], own["points"]) for own in returned["reversals"]) == [(miles, 600), (segments, 1)]
    assert await balances(shop, member) == {"miles": 599, "segments": 1}
    await shop.books_hold()


async def test_an_airlines_miles_expire_on_the_next_date_of_its_calendar(shop: Shop) -> None:
    await airline(shop)
    member = await shop.enrol()

    async def lots(unit: str) -> list[tuple[Any, ...]]:
        found = (await shop.get(f"/v1/members/{member['id']}/lots?unit={unit}"))["data"]
        return [(lot["granted"], lot["remaining"], lot["expires_at"]) for lot in found]

    await buy(shop, member, line("ber-osl", 10_000, category="flight"))
    await advance(shop, "2026-06-30T21:59:59Z")  # the last second of the day in Berlin
    await buy(shop, member, line("ber-osl", 2_000, category="flight"))
    assert await balances(shop, member) == {"miles": 600, "segments": 2}
    await advance(shop, "2026-06-30T22:00:00Z")
    await buy(shop, member, line("ber-osl", 1_000, category="flight"))
    assert await balances(shop, member) == {"miles": 50, "segments": 1}
    summer, winter = "2026-06-30T22:00:00Z", "2026-12-31T23:00:00Z"
    assert sorted(await lots("miles")) == [(50, 50, winter), (100, 0, summer), (500, 0, summer)]
    assert sorted(await lots("segments")) == [(1, 0, summer), (1, 0, summer), (1, 1, winter)]
    await shop.books_hold()


async def test_the_opening_day_is_the_monday_that_these_programs_count_from(shop: Shop) -> None:
    await start_over(shop)
    assert (await shop.get("/v1/program"))["clock_at"] == OPEN_AT
    member = await shop.enrol()
    order = await buy(shop, member, line("latte", 400))
    assert (order["awards"], order["trace"]) == ([], [])
