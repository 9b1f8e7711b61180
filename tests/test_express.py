"""The short way: what goes it hears the same as by the declared handler, and is declared there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from litestar import Litestar
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import connect, running
from tests.shop import Json, Shop, open_shop

from loyalty.access.express import _CALLERS, Together, Wanted
from loyalty.access.rules import read_credential
from loyalty.app import create_app
from loyalty.core import clock
from loyalty.core.db import transaction
from loyalty.core.express import Express
from loyalty.core.rows import fetch, hurried
from loyalty.core.settings import Settings
from loyalty.points.express import WalletExpress


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what was done on the short way."""
    seen: list[str] = []
    submit = Together.submit

    async def spy(self: Together[Any, Any], wanted: Wanted[Any]) -> Any:
        done = await submit(self, wanted)
        if done is not None:
            seen.append(self.operation)
        return done

    monkeypatch.setattr(Together, "submit", spy)
    return seen


def works_of(app: Litestar) -> list[Together[Any, Any]]:
    express = app.asgi_handler
    assert isinstance(express, Express)
    return list(express.works.values())  # type: ignore[arg-type]


async def member_with_points(shop: Shop, euros: int = 100) -> Json:
    member = await shop.enrol()
    await shop.order(euros, customer_id=member["customer_id"])
    return member


def test_each_short_way_is_that_of_a_declared_operation(app: Litestar) -> None:
    declared = {
        (method, route.path): handler.opt["scope"]
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        for method in handler.http_methods
        if "scope" in handler.opt
    }
    paths = app.openapi_schema.to_schema()["paths"]
    works = works_of(app)
    assert len({work.operation for work in works}) == len(works) > 1
    for work in works:
        (path,) = [path for path in paths if _named(path) == work.address.path and _has(paths, path, work)]
        operation = paths[path][work.address.method.lower()]
        assert operation["operationId"] == work.operation
        (scope,) = [own for (method, route), own in declared.items() if (method, _named(route)) == _key(work)]
        assert scope == work.scope


def _has(paths: Json, path: str, work: Together[Any, Any]) -> bool:
    return work.address.method.lower() in paths[path]


def _key(work: Together[Any, Any]) -> tuple[str, str]:
    return work.address.method, work.address.path


def _named(path: str) -> str:
    """Write every parameter of a path as {}."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


async def test_every_write_on_the_short_way_is_repeated_as_it_was_told(shop: Shop, taken: list[str]) -> None:
    member, reward = await member_with_points(shop), await shop.reward(cost=10, coupon_days=3)
    hold = await shop.post("/v1/holds", {"member_id": member["id"], "points": 5})
    wanted: list[tuple[str, Json]] = [
        ("/v1/members", {"external_id": "ann", "referral_code": member["referral_code"], "given_name": "Ann"}),
        ("/v1/orders", shop.order_body(customer_id=member["customer_id"])),
        ("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"], "metadata": {"a": "b"}}),
        ("/v1/holds", {"member_id": member["id"], "points": 7, "metadata": {"cart": "1"}}),
        (f"/v1/holds/{hold['id']}/capture", {"points": 3}),
    ]
    taken.clear()
    for path, body in wanted:
        key = uuid4().hex
        first = await shop.send("POST", path, body, key=key, expect=201)
        again = await shop.send("POST", path, body, key=key, expect=201)
        slow = await shop.client.post(path, json=body, headers=out_of_the_ordinary(shop) | {"Idempotency-Key": key})
        assert first.json() == again.json() == slow.json()
        assert slow.status_code == 201
        replayed = [reply.headers.get("Idempotency-Replayed") for reply in (first, again, slow)]
        assert replayed == [None, "true", "true"]
        assert first.headers["Request-Id"].startswith("req_")
    operations = ("create_member", "create_order", "create_redemption", "create_hold", "create_hold_capture")
    assert taken == [own for own in operations for _ in range(2)]
    await shop.books_hold()


async def test_balances_read_together_are_those_read_alone(shop: Shop, taken: list[str]) -> None:
    members = [await member_with_points(shop, euros) for euros in (10, 20, 30)]
    paths = [f"/v1/members/{own['id']}/wallets" for own in [*members, members[0]]]
    nobody = "/v1/members/mem_00000000000000000000000000/wallets"
    taken.clear()
    together = await asyncio.gather(*(shop.send("GET", path) for path in [*paths, nobody]))
    assert taken == ["list_member_wallets"] * len(paths)
    alone = [await shop.client.get(path, headers=out_of_the_ordinary(shop)) for path in paths]
    assert len(taken) == len(paths)
    assert [reply.json() for reply in together[:-1]] == [reply.json() for reply in alone]
    assert [reply.json()["data"][0]["available"] for reply in alone] == [10, 20, 30, 10]
    assert together[-1].json()["code"] == "member_not_found"


def out_of_the_ordinary(shop: Shop) -> dict[str, str]:
    """Return headers with which the declared handler answers."""
    return {"Authorization": f"Bearer {shop.key}", "Request-Id": "req_00000000000000000000000000"}


@pytest.mark.parametrize("bad", ["", "Bearer", "Bearer x", "Basic eA==", "Bearer lk_sk_test_0_0"])
async def test_who_has_no_key_is_refused_by_the_declared_handler(shop: Shop, bad: str, taken: list[str]) -> None:
    member = await shop.enrol()
    taken.clear()
    reply = await shop.client.get(f"/v1/members/{member['id']}/wallets", headers={"Authorization": bad})
    assert (reply.status_code, taken) == (401, [])


async def test_a_key_without_the_scope_spoils_nothing_for_others(shop: Shop, taken: list[str]) -> None:
    member = await member_with_points(shop)
    taken.clear()
    made = await shop.post("/v1/keys", {"kind": "restricted", "name": "till", "scopes": ["orders:write"]})
    path = f"/v1/members/{member['id']}/wallets"
    replies = await asyncio.gather(
        *(shop.send("GET", path, bearer=bearer) for bearer in (shop.key, made["secret"], shop.key))
    )
    assert [reply.status_code for reply in replies] == [200, 403, 200]
    assert taken == ["list_member_wallets"] * 2


async def test_a_key_that_was_good_before_and_has_ended_changes_nothing(shop: Shop, taken: list[str]) -> None:
    member = await member_with_points(shop)
    made = await shop.post("/v1/keys", {"kind": "secret", "name": "till"})
    body = {"member_id": member["id"], "points": 7}
    assert (await shop.send("POST", "/v1/holds", body, bearer=made["secret"])).status_code == 201
    await shop.post(f"/v1/keys/{made['key']['id']}/ending", {}, expect=200)
    taken.clear()
    ended, beside = await asyncio.gather(
        shop.send("POST", "/v1/holds", body, bearer=made["secret"]), shop.send("POST", "/v1/holds", body)
    )
    assert (ended.status_code, beside.status_code) == (401, 201)
    assert taken == ["create_hold"]
    assert (await shop.wallet(member["id"]))["held"] == 14
    await shop.books_hold()


async def test_after_a_group_that_failed_nobody_begins_before_it_is_known_who_calls(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/v1/members/{(await member_with_points(shop))['id']}/wallets"
    before = (await shop.send("GET", path)).json()
    credential = read_credential(shop.key)
    assert credential in _CALLERS

    async def fails(*_: Any, **__: Any) -> Any:
        raise ArithmeticError

    monkeypatch.setattr(WalletExpress, "do", fails)
    assert (await shop.send("GET", path)).json() == before
    assert credential not in _CALLERS


async def test_a_clock_that_was_moved_is_that_of_the_next_group(shop: Shop) -> None:
    member = await member_with_points(shop)
    body = {"member_id": member["id"], "points": 7}
    for day in range(3):
        to = f"2027-01-0{1 + day}T08:00:00Z"
        await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)
        assert (await shop.post("/v1/holds", body))["created_at"] == to


async def test_too_many_waiting_is_told_as_busy(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    member = await shop.enrol()
    monkeypatch.setattr("loyalty.core.grouping._MOST_WAITING", 0)
    reply = await shop.send("GET", f"/v1/members/{member['id']}/wallets")
    assert (reply.status_code, reply.json()["code"]) == (503, "too_many_waiting")
    assert int(reply.headers["Retry-After"]) >= 1


async def test_who_waits_for_a_connection_waits_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    do_group = Together._do_group

    async def spy(self: Together[Any, Any], program_id: UUID, wanted: Sequence[Wanted[Any]]) -> Any:
        groups.append(len(wanted))
        return await do_group(self, program_id, wanted)

    monkeypatch.setattr(Together, "_do_group", spy)
    few = create_app(settings.model_copy(update={"pool_size": 1, "pool_timeout_ms": 500}))
    async with running(few), connect(few) as client:
        shop = await open_shop(client, few)
        path = f"/v1/members/{(await shop.enrol())['id']}/wallets"
        async with transaction(shop.sessions) as session:
            await fetch(session, "SELECT")
            replies = await asyncio.gather(*(shop.send("GET", path) for _ in range(500)))
        assert {(reply.status_code, reply.json()["code"]) for reply in replies} == {(503, "busy")}
        assert 0 < len(groups) < 5


async def test_a_key_that_ends_while_a_connection_is_waited_for_opens_nothing(settings: Settings) -> None:
    few = create_app(settings.model_copy(update={"pool_size": 1}))
    async with running(few), connect(few) as client:
        shop = await open_shop(client, few)
        path = f"/v1/members/{(await shop.enrol())['id']}/wallets"
        async with transaction(shop.sessions) as session:
            await fetch(session, "SELECT")
            asked = asyncio.create_task(shop.send("GET", path))
            await asyncio.sleep(0.1)
            ended = "UPDATE api_keys SET expires_at = $2 WHERE program_id = $1"
            await fetch(session, ended, shop.program.id, clock.now())
        assert (await asked).status_code == 401


@pytest.mark.parametrize("kept", [True, False])
async def test_a_group_whose_commit_nobody_heard_of_is_told_as_it_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    @asynccontextmanager
    async def lost(engine: AsyncEngine, **details: Any) -> AsyncIterator[AsyncSession]:
        async with hurried(engine, **details) as session:
            yield session
            if not kept:
                raise ConnectionError("the database went away")
        raise ConnectionError("the database went away")

    member, reward = await member_with_points(shop), await shop.reward(cost=10)
    monkeypatch.setattr("loyalty.access.express.hurried", lost)
    body = {"member_id": member["id"], "reward_id": reward["id"]}
    replies = await asyncio.gather(*(shop.send("POST", "/v1/redemptions", body, expect=201) for _ in range(3)))
    replayed = {reply.headers.get("Idempotency-Replayed") for reply in replies}
    assert replayed == ({"true"} if kept else {None})
    assert (await shop.wallet(member["id"]))["available"] == 70
    await shop.books_hold()


async def test_a_reply_is_json_of_its_stated_length(shop: Shop) -> None:
    member = await shop.enrol()
    reply: httpx.Response = await shop.send("GET", f"/v1/members/{member['id']}/wallets")
    assert reply.headers["content-type"] == "application/json"
    assert int(reply.headers["content-length"]) == len(reply.content)


async def test_quotes_given_together_are_those_given_alone(shop: Shop, taken: list[str]) -> None:
    burn = {"rates": {"EUR": {"points": 10, "amount_minor": 5}}, "least_points": 10, "most_percent": 50}
    await shop.send("PATCH", "/v1/program", {"burn": burn}, expect=200)
    limits = {"per_member": {"points": 90, "period": "month"}, "budget": 400}
    for terms in (
        {"kind": "bonus", "points": 7, "unit": "stars", "conditions": {"order_numbers": [2]}},
        {"kind": "points_per_item", "points": 3, "conditions": {"attributes": {"level": ["gold"]}}},
        {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 50}, "limits": limits},
    ):
        await shop.post("/v1/earning-rules", {"name": "more", "terms": terms})
    ann = {"external_id": "ann", **await shop.enrol(external_id="ann", attributes={"level": "gold"})}
    await shop.order(30, customer_id=ann["customer_id"])
    await shop.order(5, external_customer_id="a-guest")
    basket = shop.order_body()
    del basket["external_id"]
    bodies: list[Json] = [
        {**basket, "customer_id": ann["customer_id"]},
        {**basket, "customer_id": ann["customer_id"]},
        {**basket, "channel": "app"},
        {**basket, "external_customer_id": "nobody-yet"},
        {**basket, "external_customer_id": "a-guest"},
        {**basket, "external_customer_id": ann["external_id"]},
        {**basket, "customer_id": "cus_00000000000000000000000000"},
        {**basket, "currency": "CHF", "lines": []},
        {**basket, "customer_id": ann["customer_id"], "pay_points": 20},
    ]
    taken.clear()
    together = await asyncio.gather(*(shop.send("POST", "/v1/quotes", body) for body in bodies))
    assert taken == ["create_quote"] * 6
    alone = [await shop.client.post("/v1/quotes", json=body, headers=out_of_the_ordinary(shop)) for body in bodies]
    assert [reply.status_code for reply in together] == [201, 201, 201, 201, 201, 201, 404, 400, 201]
    assert [_told(reply) for reply in together] == [_told(reply) for reply in alone]
    assert together[0].json()["offer"] is not None
    assert _told(together[5]) == _told(together[0])
    placed = {**shop.order_body(), "customer_id": ann["customer_id"], "quote_id": together[0].json()["id"]}
    done = await shop.post("/v1/orders", placed)
    assert done["awards"] == together[0].json()["awards"]


async def test_orders_that_name_their_quotes_are_placed_with_others(shop: Shop, taken: list[str]) -> None:
    ann, bob = await shop.enrol(), await shop.enrol()
    buyers: list[Json] = [{"customer_id": ann["customer_id"]}, {"external_customer_id": "new"}, {}]
    old = await _quoted(shop, customer_id=ann["customer_id"])
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-01T12:15:00Z"}, expect=200)
    good = [await _quoted(shop, **buyer) for buyer in buyers]
    other = {**(await _quoted(shop, customer_id=bob["customer_id"])), "channel": "app"}
    unknown = {**shop.order_body(), "external_customer_id": "never", "quote_id": "quo_00000000000000000000000000"}
    taken.clear()
    bodies = [*good, {**old, "external_id": "too-late"}, other, unknown, shop.order_body()]
    replies = await asyncio.gather(*(shop.send("POST", "/v1/orders", body) for body in bodies))
    assert [reply.status_code for reply in replies] == [201, 201, 201, 409, 409, 404, 201]
    assert [reply.json()["code"] for reply in replies[3:6]] == [
        "quote_expired",
        "quote_is_for_other",
        "quote_not_found",
    ]
    assert taken == ["create_order"] * 4
    assert replies[0].json()["points_earned"] > 0
    assert await _known(shop, "new", "never") == ["new"]
    await shop.books_hold()


async def test_an_order_unlike_its_quote_leaves_nothing_and_takes_nobody_with_it(shop: Shop, taken: list[str]) -> None:
    ann, bob = await shop.enrol(), await shop.enrol()
    fair, anns = await _quoted(shop), await _quoted(shop, customer_id=ann["customer_id"])
    rule = (await shop.get("/v1/earning-rules"))["data"][0]["id"]
    terms = {"kind": "points_per_amount", "points": 2, "step_minor": {"EUR": 100}}
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-01T12:05:00Z"}, expect=200)
    await shop.post(f"/v1/earning-rules/{rule}/versions", {"terms": terms})
    strangers = {**(await _quoted(shop, customer_id=ann["customer_id"])), "external_customer_id": "stranger"}
    del strangers["customer_id"]
    plain = shop.order_body(customer_id=bob["customer_id"])
    taken.clear()
    bodies = [fair, anns, strangers, plain]
    replies = await asyncio.gather(*(shop.send("POST", "/v1/orders", body) for body in bodies))
    codes = [reply.json().get("code") for reply in replies]
    assert codes == [None, "quote_differs", "quote_is_for_other", None]
    assert taken == ["create_order"] * 2
    (difference,) = replies[1].json()["data"]["differences"]
    assert difference == {"figure": f"points_of_{rule}", "quoted": 100, "now": 200}
    assert await _known(shop, "stranger") == []
    taken.clear()
    await shop.post("/v1/orders", {**anns, "quote_id": None})
    assert taken == ["create_order"]
    assert [(await shop.wallet(own["id"]))["available"] for own in (ann, bob)] == [200, 200]
    await shop.books_hold()


async def test_quotes_of_what_only_one_can_have_are_kept_for_one(shop: Shop) -> None:
    """Both quotes told of all that a budget has left."""
    terms = {"kind": "bonus", "points": 60, "limits": {"budget": 60}}
    await shop.post("/v1/earning-rules", {"name": "the first", "terms": terms})
    buyers = [await shop.enrol() for _ in range(2)]
    bodies = [await _quoted(shop, customer_id=own["customer_id"]) for own in buyers]
    replies = await asyncio.gather(*(shop.send("POST", "/v1/orders", body) for body in (*bodies, shop.order_body())))
    codes = [reply.json().get("code") for reply in replies]
    assert sorted(codes, key=str) == [None, None, "quote_differs"]
    assert [reply.json()["points_earned"] for reply in replies[:2] if reply.is_success] == [160]
    late = bodies[codes.index("quote_differs")]
    batch = {"orders": [{**late, "external_id": "in-a-batch"}, shop.order_body()]}
    results = (await shop.send("POST", "/v1/orders/batch", batch, expect=200)).json()["results"]
    assert [own["status"] for own in results] == [409, 201]
    await shop.books_hold()


async def test_what_was_quoted_and_placed_is_told_again_when_the_quote_is_over(shop: Shop, taken: list[str]) -> None:
    member = await shop.enrol()
    body = await _quoted(shop, customer_id=member["customer_id"])
    first = await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-01T13:00:00Z"}, expect=200)
    taken.clear()
    again, fresh = await asyncio.gather(
        shop.send("POST", "/v1/orders", body, key="once"),
        shop.send("POST", "/v1/orders", {**body, "external_id": "another"}),
    )
    assert (again.status_code, again.json()) == (201, first.json())
    assert fresh.json()["code"] == "quote_expired"
    assert taken == ["create_order"]


async def _quoted(shop: Shop, **buyer: Any) -> Json:
    """Return an order as it was just quoted."""
    body: Json = {**shop.order_body(), **buyer}
    quote = await shop.post("/v1/quotes", {name: value for name, value in body.items() if name != "external_id"})
    return {**body, "quote_id": quote["id"]}


async def _known(shop: Shop, *external_ids: str) -> list[str]:
    """Return which of these are customers."""
    statement = "SELECT value FROM identifiers WHERE program_id = $1 AND value = ANY($2) ORDER BY value"
    async with transaction(shop.sessions) as session:
        return [row["value"] for row in await fetch(session, statement, shop.program.id, list(external_ids))]


def _told(reply: httpx.Response) -> Json:
    return {name: value for name, value in reply.json().items() if name not in ("id", "request_id")}
