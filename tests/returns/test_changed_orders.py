"""Orders changed and returned by turns: nobody gains by the order of it, and everything keeps its dates."""

import asyncio
import contextlib
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import SecretStr
from tests.conftest import SECRET, connect, drop_database, running
from tests.earning.till import advance, balances, buy, give_back, line, make_rule, start_over
from tests.shop import Json, Shop, open_shop

from loyalty.app import create_app
from loyalty.core import migrate
from loyalty.core.settings import Settings

A_POINT_A_EURO: Json = {"points": 1, "step_minor": {"EUR": 100}}
SUSPENDED: Json = {"status": "suspended", "suspends": "earn", "reason": "checked"}


async def amend(shop: Shop, order: Json, *, expect: int = 201, key: str | None = None, **body: Any) -> Json:
    path = f"/v1/orders/{order['id']}/amendments"
    reply = await shop.send("POST", path, {"currency": "EUR", **body}, expect=expect, key=key)
    found: Json = reply.json()
    return found


async def displaced(shop: Shop, **settings: Any) -> tuple[Json, Json, Json, Json]:
    """Two members with the same order of 99 points: without the hat it earns 10, without the tea as well 50."""
    await start_over(shop, **settings)
    await make_rule(shop, "points_per_amount", unit="points", **A_POINT_A_EURO)
    for sku, points, priority in (("tea", 10, 1), ("hat", 99, 2)):
        await make_rule(
            shop, "points_per_item", unit="points", points=points, priority=priority, combination="exclusive",
            conditions={"include": {"skus": [sku]}},
        )  # fmt: skip
    one, two = await shop.enrol(), await shop.enrol()
    basket = (line("hat", 100), line("tea", 100), line("coat", 5_000))
    return one, two, await buy(shop, one, *basket), await buy(shop, two, *basket)


async def return_both(shop: Shop, parts: Json, whole: Json) -> None:
    hat, tea = {"line": 1, "quantity": 1}, {"line": 2, "quantity": 1}
    await give_back(shop, parts, lines=[hat])
    await give_back(shop, parts, lines=[tea])
    await give_back(shop, whole, lines=[hat, tea])


@pytest.mark.parametrize("how", ["suspended", "closed", "erased"])
async def test_who_may_not_earn_gains_nothing_by_an_amendment_after_a_return(shop: Shop, how: str) -> None:
    """Only who is free to earn gains by an amendment, be something returned before or not."""
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 6_000), line("tea", 4_000))
    await give_back(shop, order, lines=[{"line": 1, "quantity": 1}])
    if how == "erased":
        await shop.post(f"/v1/members/{member['id']}/erasure", {"reason": "asked"}, expect=200)
    else:
        body = SUSPENDED if how == "suspended" else {"status": "closed", "reason": "asked"}
        await shop.post(f"/v1/members/{member['id']}/status-changes", body)
    assert (await amend(shop, order, added=[line("coat", 6_000)]))["points_added"] == 0


async def test_a_repeated_return_says_the_same_after_its_points_expired(shop: Shop) -> None:
    """A replay equals the first reply; points given back with grace expire later, which is the wallet's."""
    settings = {
        "burn": {"rates": {"EUR": {"points": 1, "amount_minor": 1}}},
        "expiry": {"kind": "after", "days": 10},
    }
    await shop.send("PATCH", "/v1/program", settings, expect=200)
    member = await shop.enrol()
    await buy(shop, member, line("gold", 200_000))
    order = await buy(shop, member, line("hat", 3_000), pay_points=1_000)
    await advance(shop, "2026-01-20T12:00:00Z")
    body = {"currency": "EUR", "removed": [{"line": 1, "quantity": 1}], "added": [line("cap", 3_000)]}
    path = f"/v1/orders/{order['id']}/amendments"
    first = await shop.send("POST", path, body, key="once", expect=201)
    await advance(shop, "2026-06-01T12:00:00Z")
    again = await shop.send("POST", path, body, key="once", expect=201)
    assert again.json() == first.json()


async def test_an_erasure_forgets_the_notes_of_returns_and_amendments(shop: Shop) -> None:
    """Erasing a member removes personal data: an order's own metadata, and that of what happened to it."""
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 6_000), metadata={"note": "for Ann Smith"})
    await amend(shop, order, added=[line("cap", 100)], metadata={"note": "for Ann Smith"}, reason="Ann Smith called")
    await give_back(shop, order, metadata={"note": "for Ann Smith"}, reason="Ann Smith called")
    await shop.post(f"/v1/members/{member['id']}/erasure", {"reason": "asked"}, expect=200)
    assert (await shop.get(f"/v1/orders/{order['id']}"))["metadata"] == {}
    for what in ("amendments", "returns"):
        (told,) = (await shop.get(f"/v1/orders/{order['id']}/{what}"))["data"]
        assert "Ann Smith" not in str(told), what


async def test_what_is_added_begins_no_sooner_than_the_payment_lets_it(shop: Shop) -> None:
    """With a delay, an order's points begin so many days after its payment, those of amendments too."""
    await shop.send("PATCH", "/v1/program", {"activation": {"kind": "delay", "days": 5}}, expect=200)
    member = await shop.enrol()
    order = await shop.order(50, customer_id=member["customer_id"], status="placed")
    await advance(shop, "2026-01-06T12:00:00Z")
    await shop.post(f"/v1/orders/{order['id']}/payments", {})
    await amend(shop, order, added=[line("coat", 3_000)], amended_at="2026-01-01T12:00:00Z")
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (80, 0)


async def test_what_is_added_to_an_imported_order_does_not_wait_for_a_delivery(shop: Shop) -> None:
    """An imported order counts as delivered, and nobody will report that it was."""
    await shop.send("PATCH", "/v1/program", {"activation": {"kind": "delivery"}}, expect=200)
    await advance(shop, "2026-01-05T12:00:00Z")
    enrolment = {"kind": "enrolment", "external_customer_id": "old", "at": "2026-01-02T12:00:00Z"}
    bought = {
        "kind": "order", "external_id": "old-1", "external_customer_id": "old", "at": "2026-01-03T12:00:00Z",
        "currency": "EUR", "lines": [line("hat", 5_000)],
    }  # fmt: skip
    reply = await shop.send("POST", "/v1/imports", {"records": [enrolment, bought]})
    assert reply.status_code in (200, 201), reply.text
    orders = (await shop.get("/v1/orders"))["data"]
    member = {"id": orders[0]["customer_id"].replace("cus_", "mem_")}
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (0, 50)
    await amend(shop, orders[0], added=[line("coat", 3_000)])
    wallet = await shop.wallet(member["id"])
    assert (wallet["pending"], wallet["available"]) == (0, 80)


async def test_an_order_as_it_stands_comes_to_what_its_lines_come_to(shop: Shop) -> None:
    """GET shows the order as it stands: `total` is the sum of its `lines`."""
    member = await shop.enrol()
    order = await buy(shop, member, line("hat", 6_000))
    await amend(shop, order, added=[line("coat", 3_000)])
    shown = await shop.get(f"/v1/orders/{order['id']}")
    assert shown["total"]["amount"] == sum(own["total"]["amount"] for own in shown["lines"])


async def test_a_return_in_parts_brings_no_expired_points_back_to_life(shop: Shop) -> None:
    """Parts equal the whole, which takes 49 expired points and leaves nothing to spend."""
    one, two, parts, whole = await displaced(shop, expiry={"kind": "after", "days": 3})
    await advance(shop, "2026-01-11T08:00:00Z")
    assert await balances(shop, one) == await balances(shop, two) == {"points": 0}
    await return_both(shop, parts, whole)
    assert await balances(shop, one) == await balances(shop, two) == {"points": 0}


async def test_what_comes_back_by_a_return_expires_when_it_would_have(shop: Shop) -> None:
    """What comes back has its own dates, so parts equal the whole a month later, too."""
    one, two, parts, whole = await displaced(shop, expiry={"kind": "after", "days": 30})
    await advance(shop, "2026-01-11T08:00:00Z")
    await return_both(shop, parts, whole)
    assert await balances(shop, one) == await balances(shop, two) == {"points": 50}
    await advance(shop, "2026-02-06T08:00:00Z")
    assert await balances(shop, one) == await balances(shop, two)


async def test_what_comes_back_by_a_return_is_spendable_as_it_was(shop: Shop) -> None:
    """Points that were spendable do not wait once more for the delay after a payment."""
    one, two, parts, whole = await displaced(shop, activation={"kind": "delay", "days": 5})
    await advance(shop, "2026-01-11T08:00:00Z")
    assert [(await shop.wallet(own["id"]))["available"] for own in (one, two)] == [99, 99]
    await return_both(shop, parts, whole)
    assert [(await shop.wallet(own["id"]))["available"] for own in (one, two)] == [50, 50]


async def test_a_budget_is_not_overshot_where_points_let_go_of_one_rule_make_up_for_another(shop: Shop) -> None:
    """Budgets regain what is reversed, and are never overshot."""
    await start_over(shop)
    hats, coats = {"include": {"skus": ["hat"]}}, {"include": {"skus": ["coat"]}}
    await make_rule(shop, "points_per_amount", unit="points", **A_POINT_A_EURO, conditions=hats)
    await make_rule(
        shop, "points_per_amount", unit="points", **A_POINT_A_EURO, conditions=coats, limits={"budget": 100}
    )
    one, two, three = [await shop.enrol() for _ in range(3)]
    order = await buy(shop, one, line("hat", 6_000), line("tea", 100))
    reward = await shop.reward(cost=60)
    await shop.post("/v1/redemptions", {"member_id": one["id"], "reward_id": reward["id"]})
    await give_back(shop, order, lines=[{"line": 1, "quantity": 1}])
    assert (await amend(shop, order, added=[line("coat", 6_000)]))["points_added"] == 0
    await buy(shop, two, line("coat", 6_000))
    await buy(shop, one, line("hat", 10_000))
    await give_back(shop, order, lines=[{"line": 3, "quantity": 1}])
    await buy(shop, three, line("coat", 10_000))
    given = [(await balances(shop, own))["points"] for own in (two, three)]
    assert sum(given) <= 100, given


async def test_a_downgrade_does_not_forget_points_that_a_return_gave_back(server_url: str) -> None:
    """A downgrade is refused where the schema before has no place for what is there."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(server_url.replace("+asyncpg", ""))
    await admin.execute(f"CREATE DATABASE {name}")
    url = f"{server_url.rpartition('/')[0]}/{name}"
    try:
        await asyncio.to_thread(migrate.upgrade, url)
        settings = Settings(database_url=url, secret_key=SecretStr(SECRET))
        application = create_app(settings)
        async with running(application), connect(application) as client:
            shop = await open_shop(client, application)
            one, _, parts, whole = await displaced(shop)
            await return_both(shop, parts, whole)
            assert await balances(shop, one) == {"points": 50}
        with contextlib.suppress(Exception):  # a refusal would be fine
            await asyncio.to_thread(migrate.downgrade, url, revision="0013")
        await asyncio.to_thread(migrate.upgrade, url)
        application = create_app(settings)
        async with running(application), connect(application) as client:
            shop.client, shop.sessions = client, application.state.sessions
            await give_back(shop, parts)
            assert await balances(shop, one) == {"points": 0}
    finally:
        await drop_database(server_url, name)
        await admin.close()
