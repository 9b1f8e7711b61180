"""Limits through the doors: what is left, what returns give back, and that nobody gets the last points twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import httpx
import pytest
from litestar import Litestar
from tests.conftest import connect, running
from tests.earning.till import advance, balances, buy, gave, give_back, line, make_rule, outcomes, start_over
from tests.shop import Json, Shop, open_shop

from loyalty.app import create_app
from loyalty.core.settings import Settings

T = TypeVar("T")
MONTHLY: Json = {"per_member": {"points": 100, "period": "month"}}
A_POINT_A_EURO: Json = {"points": 1, "step_minor": {"EUR": 100}}


@pytest.fixture(scope="module")
async def wide(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Litestar]]:
    """A server that works on 32 transactions at once."""
    application = create_app(settings.model_copy(update={"pool_size": 32, "statement_timeout_ms": 60_000}))
    async with running(application), connect(application) as client:
        yield client, application


@pytest.fixture
async def shop(wide: tuple[httpx.AsyncClient, Litestar]) -> Shop:
    return await start_over(await open_shop(*wide))


async def together(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run calls that all start at the same instant."""
    barrier = asyncio.Barrier(len(calls))

    async def start(call: Coroutine[Any, Any, T]) -> T:
        await barrier.wait()
        return await call

    return await asyncio.gather(*(start(call) for call in calls))


def capped(order: Json) -> list[tuple[int, int, str | None]]:
    return [(own["counted"], own["points"], own["capped_by"]) for own in order["trace"]]


async def spend_euros(shop: Shop, member: Json, *euros: int, **more: Any) -> list[Json]:
    return [await buy(shop, member, line("shirt", 100 * amount), **more) for amount in euros]


async def test_an_order_gives_no_more_than_its_limit_and_a_return_comes_off_the_rest(shop: Shop) -> None:
    await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, limits={"per_order": 50})
    member = await shop.enrol()
    (order,) = await spend_euros(shop, member, 80)
    assert capped(order) == [(80, 50, "per_order")]
    taken = [await give_back(shop, order, total={"amount": 2_000, "currency": "EUR"}) for _ in range(3)]
    assert [own["points_reversed"] for own in taken] == [0, 10, 20]
    await shop.books_hold()


async def test_a_members_month_ends_and_begins_at_midnight_in_the_programs_zone(shop: Shop) -> None:
    rule = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, limits=MONTHLY)
    member, other = await shop.enrol(), await shop.enrol()
    january = await spend_euros(shop, member, 70, 70, 70)
    assert [capped(order) for order in january] == [[(70, 70, None)], [(70, 30, "per_member")], [(70, 0, "per_member")]]
    assert outcomes(january[2], rule) == ["limit_reached"]
    assert gave((await spend_euros(shop, other, 70))[0], rule) == [70]
    await advance(shop, "2026-01-31T22:59:59Z")
    assert gave((await spend_euros(shop, member, 70))[0], rule) == [0]
    await advance(shop, "2026-01-31T23:00:00Z")
    assert [gave(order, rule) for order in await spend_euros(shop, member, 70, 70)] == [[70], [30]]
    assert (await balances(shop, member), await balances(shop, other)) == ({"points": 200}, {"points": 70})
    await shop.books_hold()


@pytest.mark.parametrize(
    ("period", "same", "next_one"),
    [
        ("day", "2026-01-05T22:59:59Z", "2026-01-05T23:00:00Z"),
        ("week", "2026-01-11T22:59:59Z", "2026-01-11T23:00:00Z"),
        ("year", "2026-12-31T22:59:59Z", "2026-12-31T23:00:00Z"),
        ("lifetime", "2031-01-01T00:00:00Z", None),
    ],
)
async def test_a_limit_lasts_for_its_period(shop: Shop, period: str, same: str, next_one: str | None) -> None:
    limit = {"per_member": {"points": 10, "period": period}}
    rule = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, limits=limit)
    member = await shop.enrol()
    assert gave((await spend_euros(shop, member, 30))[0], rule) == [10]
    await advance(shop, same)
    assert gave((await spend_euros(shop, member, 30))[0], rule) == [0]
    if next_one:
        await advance(shop, next_one)
        assert gave((await spend_euros(shop, member, 30))[0], rule) == [10]


async def test_a_return_gives_back_to_the_month_of_its_order(shop: Shop) -> None:
    rule = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, limits=MONTHLY)
    member = await shop.enrol()
    first, second = await spend_euros(shop, member, 90, 90)
    assert (gave(first, rule), gave(second, rule)) == ([90], [10])
    # 40 euros of 90 go back and no points of the 10, for what is left would still earn 10.
    assert (await give_back(shop, second, total={"amount": 4_000, "currency": "EUR"}))["points_reversed"] == 0
    assert (await give_back(shop, first, total={"amount": 3_000, "currency": "EUR"}))["points_reversed"] == 30
    assert [gave(order, rule) for order in await spend_euros(shop, member, 20, 20)] == [[20], [10]]

    await advance(shop, "2026-02-01T12:00:00Z")
    assert [gave(order, rule) for order in await spend_euros(shop, member, 95)] == [[95]]
    assert (await give_back(shop, first))["points_reversed"] == 60
    assert [gave(order, rule) for order in await spend_euros(shop, member, 20)] == [[5]]
    late = await spend_euros(shop, member, 70, placed_at="2026-01-31T12:00:00Z")
    assert gave(late[0], rule) == [60]
    assert await balances(shop, member) == {"points": 10 + 30 + 95 + 5 + 60}
    await shop.books_hold()


async def test_a_budget_is_shared_by_all_members_and_regains_what_goes_back(shop: Shop) -> None:
    rule = await make_rule(shop, "bonus", points=40, limits={"budget": 100})
    members = [await shop.enrol() for _ in range(4)]
    orders = [(await spend_euros(shop, member, 10))[0] for member in members]
    assert [gave(order, rule) for order in orders] == [[40], [40], [20], [0]]
    assert outcomes(orders[3], rule) == ["limit_reached"]
    await give_back(shop, orders[2])
    await give_back(shop, orders[0])
    again = [(await spend_euros(shop, member, 10))[0] for member in members[:3]]
    assert [gave(order, rule) for order in again] == [[40], [20], [0]]
    await shop.books_hold()


async def test_a_trial_uses_up_no_limit(shop: Shop) -> None:
    rule = await make_rule(shop, "bonus", points=40, limits={"budget": 40, **MONTHLY})
    member = await shop.enrol()
    body = shop.order_body(10, customer_id=member["customer_id"])
    before = await shop.digest()
    for _ in range(2):
        assert gave(await shop.post("/v1/orders?dry_run=true", body, expect=200), rule) == [40]
    assert await shop.digest() == before
    assert gave(await shop.post("/v1/orders", body), rule) == [40]


async def test_the_last_points_of_a_budget_are_not_given_twice_in_64_orders_at_once(shop: Shop) -> None:
    rule = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, limits={"budget": 100})
    stars = await make_rule(shop, "bonus", points=3, unit="stars", limits={"budget": 20})
    members = [await shop.enrol() for _ in range(64)]
    orders = [result for (result,) in await together([spend_euros(shop, member, 7) for member in members])]
    # 14 times 7 and what is left of 100; 6 times 3 and what is left of 20.
    assert Counter(gave(order, rule)[0] for order in orders) == {7: 14, 2: 1, 0: 49}
    assert Counter(gave(order, stars)[0] for order in orders) == {3: 6, 2: 1, 0: 57}
    found = [await balances(shop, member) for member in members]
    assert sum(own.get("points", 0) for own in found) == 100
    assert sum(own.get("stars", 0) for own in found) == 20
    await shop.books_hold()


async def test_returns_and_orders_at_once_never_pass_a_budget(shop: Shop) -> None:
    rule = await make_rule(shop, "bonus", points=10, limits={"budget": 160})
    members = [await shop.enrol() for _ in range(32)]
    orders = [(await spend_euros(shop, member, 5))[0] for member in members]
    assert sum(gave(order, rule)[0] for order in orders) == 160
    calls = [give_back(shop, order) for order in orders[:16]]
    more = [buy(shop, member, line("shirt", 500)) for member in members[16:]]
    await together([*calls, *more])
    found = [await balances(shop, member) for member in members]
    left = sum(own.get("points", 0) for own in found)
    (last,) = await spend_euros(shop, members[0], 5)
    assert left <= 160
    assert gave(last, rule) == [min(10, 160 - left)]
    await shop.books_hold()


async def test_a_first_order_bonus_is_given_once_in_32_orders_at_once(shop: Shop) -> None:
    first = await make_rule(shop, "bonus", points=100, conditions={"order_numbers": [1]})
    third = await make_rule(shop, "bonus", points=7, conditions={"every_nth_order": 3})
    member = await shop.enrol()
    orders = [result for (result,) in await together([spend_euros(shop, member, 5) for _ in range(32)])]
    assert Counter(gave(order, first)[0] for order in orders) == {100: 1, 0: 31}
    assert Counter(gave(order, third)[0] for order in orders) == {7: 10, 0: 22}
    assert await balances(shop, member) == {"points": 170}
    await shop.books_hold()


async def test_a_members_limit_is_not_passed_in_32_orders_at_once(shop: Shop) -> None:
    rule = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, limits=MONTHLY)
    member = await shop.enrol()
    orders = [result for (result,) in await together([spend_euros(shop, member, 9) for _ in range(32)])]
    assert Counter(gave(order, rule)[0] for order in orders) == {9: 11, 1: 1, 0: 20}
    assert await balances(shop, member) == {"points": 100}
    await shop.books_hold()
