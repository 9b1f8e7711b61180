"""Real commits from many tasks at once: whatever the order, each effect happens once and the books balance."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import text
from tests.conftest import connect, running
from tests.shop import OPENS_AT, Json, Shop, open_shop

from loyalty.app import create_app
from loyalty.core import ids
from loyalty.core.db import transaction
from loyalty.core.settings import Settings
from loyalty.points import service as points
from loyalty.points.rules import WalletKey

T = TypeVar("T")


@pytest.fixture(scope="module")
async def wide(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Litestar]]:
    """A server that works on 32 transactions at once."""
    application = create_app(settings.model_copy(update={"pool_size": 32, "statement_timeout_ms": 60_000}))
    async with running(application), connect(application) as client:
        yield client, application


@pytest.fixture
async def shop(wide: tuple[httpx.AsyncClient, Litestar]) -> Shop:
    return await open_shop(*wide)


async def together(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run calls that all start at the same instant."""
    barrier = asyncio.Barrier(len(calls))

    async def start(call: Coroutine[Any, Any, T]) -> T:
        await barrier.wait()
        return await call

    return await asyncio.gather(*(start(call) for call in calls))


def outcomes(replies: Sequence[httpx.Response]) -> Counter[tuple[int, str]]:
    return Counter((reply.status_code, reply.json()["code"] if reply.status_code >= 400 else "") for reply in replies)


async def count(shop: Shop, query: str) -> int:
    async with transaction(shop.sessions) as session:
        return int((await session.execute(text(query), {"id": shop.program.id})).scalar_one())


async def redeem(shop: Shop, member: Json, reward: Json, key: str | None = None) -> httpx.Response:
    body = {"member_id": member["id"], "reward_id": reward["id"]}
    return await shop.send("POST", "/v1/redemptions", body, key=key)


async def enrolled(shop: Shop, number: int, **details: Any) -> list[Json]:
    return [await shop.enrol(**details) for _ in range(number)]


async def test_a_balance_that_covers_five_of_64_redemptions_pays_for_exactly_five(shop: Shop) -> None:
    member, reward = await shop.enrol(), await shop.reward(cost=7)
    for _ in range(3):
        await shop.order(13, customer_id=member["customer_id"])
    replies = await together([redeem(shop, member, reward) for _ in range(64)])
    assert outcomes(replies) == {(201, ""): 5, (409, "not_enough_points"): 59}
    assert sorted(reply.json()["balance_after"] for reply in replies if reply.status_code == 201) == [4, 11, 18, 25, 32]
    assert (await shop.wallet(member["id"]))["balance"] == 4
    await shop.books_hold()


async def test_the_last_unit_of_stock_goes_to_exactly_one_of_64_members(shop: Shop) -> None:
    reward = await shop.reward(cost=60, stock=1)
    members = await enrolled(shop, 64)
    for member in members:
        await shop.order(99, customer_id=member["customer_id"])
    replies = await together([redeem(shop, member, reward) for member in members])
    assert outcomes(replies) == {(201, ""): 1, (409, "out_of_stock"): 63}
    balances = Counter([(await shop.wallet(member["id"]))["balance"] for member in members])
    assert balances == {39: 1, 99: 63}
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 0
    await shop.books_hold()


async def test_first_orders_of_one_unknown_customer_create_one_customer(shop: Shop) -> None:
    bodies = [shop.order_body(10, external_customer_id="new") for _ in range(32)]
    replies = await together([shop.send("POST", "/v1/orders", body) for body in bodies])
    assert outcomes(replies) == {(201, ""): 32}
    assert len({reply.json()["customer_id"] for reply in replies}) == 1
    assert await count(shop, "SELECT count(*) FROM customers WHERE program_id = :id") == 1


async def test_32_orders_of_one_member_all_count(shop: Shop) -> None:
    member = await shop.enrol()
    bodies = [shop.order_body(number, customer_id=member["customer_id"]) for number in range(1, 33)]
    replies = await together([shop.send("POST", "/v1/orders", body) for body in bodies])
    assert outcomes(replies) == {(201, ""): 32}
    wallet = await shop.wallet(member["id"])
    assert (wallet["balance"], wallet["version"]) == (528, 32)
    await shop.books_hold()


async def test_50_friends_who_name_one_advocate_at_once_are_50_referrals(shop: Shop) -> None:
    advocate = await shop.enrol()
    body = {"referral_code": advocate["referral_code"]}
    friends = [{"external_id": f"friend-{number}", **body} for number in range(50)]
    replies = await together([shop.send("POST", "/v1/members", friend) for friend in friends])
    assert outcomes(replies) == {(201, ""): 50}
    assert {reply.json()["attribution"]["advocate_id"] for reply in replies} == {advocate["id"]}
    assert await count(shop, "SELECT count(DISTINCT referee_id) FROM referrals WHERE program_id = :id") == 50
    assert len({reply.json()["referral_code"] for reply in replies}) == 50
    await shop.books_hold()


@pytest.mark.parametrize("known", [False, True])
async def test_50_enrolments_of_one_customer_are_one_member_with_one_referral(shop: Shop, known: bool) -> None:
    advocates = await enrolled(shop, 5)
    if known:
        await shop.order(10, external_customer_id="friend", status="placed")
    bodies = [
        {"external_id": "friend", "email": "friend@example.com", "referral_code": advocates[n % 5]["referral_code"]}
        for n in range(50)
    ]
    replies = await together([shop.send("POST", "/v1/members", body) for body in bodies])
    assert Counter(reply.status_code for reply in replies) == {201: 1, 409: 49}
    assert {code for status, code in outcomes(replies) if status == 409} <= {"identifier_in_use", "already_a_member"}
    assert await count(shop, "SELECT count(*) FROM members WHERE program_id = :id") == 6
    assert await count(shop, "SELECT count(*) FROM customers WHERE program_id = :id") == 6
    assert await count(shop, "SELECT count(*) FROM referrals WHERE program_id = :id AND ended_at IS NULL") == 1
    assert await count(shop, "SELECT count(*) FROM wallets WHERE program_id = :id") == 6
    assert await count(shop, "SELECT count(*) FROM referral_codes WHERE program_id = :id") == 6


async def test_32_repetitions_of_one_enrolment_are_one_member(shop: Shop) -> None:
    body = {"external_id": "friend", "referral_code": (await shop.enrol())["referral_code"]}
    replies = await together([shop.send("POST", "/v1/members", body, key="once") for _ in range(32)])
    assert outcomes(replies) == {(201, ""): 32}
    assert len({reply.content for reply in replies}) == 1
    assert await count(shop, "SELECT count(*) FROM referrals WHERE program_id = :id") == 1


async def test_32_first_orders_of_one_friend_complete_the_referral_once(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    bodies = [shop.order_body(10, customer_id=friend["customer_id"]) for _ in range(32)]
    replies = await together([shop.send("POST", "/v1/orders", body) for body in bodies])
    assert outcomes(replies) == {(201, ""): 32}
    assert Counter(reply.json()["referral"] is not None for reply in replies) == {True: 1, False: 31}
    assert (await shop.wallet(advocate["id"]))["balance"] == 50
    assert (await shop.wallet(friend["id"]))["balance"] == 345
    await shop.books_hold()


async def test_payments_of_a_friends_placed_orders_complete_the_referral_once(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    orders = [await shop.order(10, customer_id=friend["customer_id"], status="placed") for _ in range(16)]
    replies = await together([shop.send("POST", f"/v1/orders/{order['id']}/payments", {}) for order in orders])
    assert outcomes(replies) == {(201, ""): 16}
    assert (await shop.wallet(advocate["id"]))["balance"] == 50
    wallet = await shop.wallet(friend["id"])
    assert (wallet["balance"], wallet["available"], wallet["pending"]) == (185, 185, 0)
    await shop.books_hold()


async def test_32_payments_of_one_order_are_one(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(99, customer_id=member["customer_id"], status="placed")
    path = f"/v1/orders/{order['id']}/payments"
    replies = await together([shop.send("POST", path, {}) for _ in range(32)])
    assert outcomes(replies) == {(201, ""): 1, (409, "order_already_paid"): 31}
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["pending"], wallet["version"]) == (99, 0, 2)
    await shop.books_hold()


async def test_32_repetitions_of_one_payment_hear_the_same(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(99, customer_id=member["customer_id"], status="placed")
    path = f"/v1/orders/{order['id']}/payments"
    replies = await together([shop.send("POST", path, {}, key="once") for _ in range(32)])
    assert outcomes(replies) == {(201, ""): 32}
    assert len({reply.content for reply in replies}) == 1
    assert (await shop.wallet(member["id"]))["version"] == 2
    await shop.books_hold()


async def test_32_cancellations_of_one_redemption_are_one(shop: Shop) -> None:
    member, reward = await shop.enrol(), await shop.reward(cost=60, stock=3)
    await shop.order(99, customer_id=member["customer_id"])
    redemption = (await redeem(shop, member, reward)).json()
    path = f"/v1/redemptions/{redemption['id']}/cancellation"
    replies = await together([shop.send("POST", path, {}) for _ in range(32)])
    assert outcomes(replies) == {(201, ""): 1, (409, "redemption_already_cancelled"): 31}
    wallet = await shop.wallet(member["id"])
    assert (wallet["balance"], wallet["version"]) == (99, 3)
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 3
    await shop.books_hold()


async def test_spends_and_cancellations_in_one_wallet_never_overdraw_it(shop: Shop) -> None:
    member, reward = await shop.enrol(), await shop.reward(cost=10, stock=1000)
    for _ in range(4):
        await shop.order(20, customer_id=member["customer_id"])
    made = [(await redeem(shop, member, reward)).json() for _ in range(8)]
    assert (await shop.wallet(member["id"]))["balance"] == 0
    cancels = [shop.send("POST", f"/v1/redemptions/{own['id']}/cancellation", {}) for own in made]
    spends = [redeem(shop, member, reward) for _ in range(24)]
    mixed = [call for pair in zip(spends[:8], cancels, strict=True) for call in pair] + spends[8:]
    replies = await together(mixed)
    done = [reply for reply in replies if reply.status_code == 201]
    spent = sum(reply.request.url.path == "/v1/redemptions" for reply in done)
    assert len(done) - spent == 8
    assert outcomes(replies) == {(201, ""): 8 + spent, (409, "not_enough_points"): 24 - spent}
    assert (await shop.wallet(member["id"]))["balance"] == 80 - 10 * spent
    assert (await shop.get(f"/v1/rewards/{reward['id']}"))["stock_left"] == 1000 - spent
    await shop.books_hold()


async def test_spends_and_earnings_in_one_wallet_do_not_lose_each_other(shop: Shop) -> None:
    member, reward = await shop.enrol(), await shop.reward(cost=10)
    await shop.order(100, customer_id=member["customer_id"])
    bodies = [shop.order_body(3, customer_id=member["customer_id"]) for _ in range(20)]
    calls = [call for body in bodies for call in (shop.send("POST", "/v1/orders", body), redeem(shop, member, reward))]
    replies = await together(calls)
    done = Counter(reply.request.url.path for reply in replies if reply.status_code == 201)
    assert done["/v1/orders"] == 20
    assert 10 <= done["/v1/redemptions"] <= 16
    assert (await shop.wallet(member["id"]))["balance"] == 160 - 10 * done["/v1/redemptions"]
    await shop.books_hold()


async def test_first_orders_of_friends_who_are_each_others_advocates_do_not_deadlock(shop: Shop) -> None:
    """Every order pays two wallets, and each wallet is the advocate's in some orders and the friend's in another."""
    root = await shop.enrol()
    left, right = await enrolled(shop, 2, referral_code=root["referral_code"])
    friends = []
    for _ in range(12):
        friends += await enrolled(shop, 1, referral_code=left["referral_code"])
        friends += await enrolled(shop, 1, referral_code=right["referral_code"])
    chain = [left]
    for _ in range(12):
        chain += await enrolled(shop, 1, referral_code=chain[-1]["referral_code"])
    buyers = [*friends, *chain[:0:-1], left, right]
    bodies = [shop.order_body(10, customer_id=buyer["customer_id"]) for buyer in buyers]
    replies = await together([shop.send("POST", "/v1/orders", body) for body in bodies])
    assert outcomes(replies) == {(201, ""): 38}
    assert all(reply.json()["referral"] for reply in replies)
    balances = {member["id"]: (await shop.wallet(member["id"]))["balance"] for member in (root, left, right, chain[-1])}
    assert balances == {root["id"]: 100, left["id"]: 35 + 13 * 50, right["id"]: 35 + 12 * 50, chain[-1]["id"]: 35}
    await shop.books_hold()


async def test_a_batch_imported_twice_at_once_is_imported_once(shop: Shop) -> None:
    batch = await _history(shop, people=6)
    replies = await together([shop.send("POST", "/v1/imports", batch) for _ in range(4)])
    _once_or_again(replies)
    assert (await shop.send("POST", "/v1/imports", batch, expect=201)).json() == {
        "orders": 0,
        "enrolments": 0,
        "referrals": 0,
        "skipped": 18,
    }
    assert await _balances(shop) == {20 + 50: 1, 20 + 50 + 25: 4, 20 + 25: 1}
    await shop.books_hold()


async def test_orders_of_known_members_imported_twice_at_once_count_once(shop: Shop) -> None:
    batch = await _history(shop, people=6)
    joined = [record for record in batch["records"] if record["kind"] == "enrolment"]
    bought = [record for record in batch["records"] if record["kind"] == "order"]
    await shop.post("/v1/imports", {"records": joined})
    replies = await together([shop.send("POST", "/v1/imports", {"records": bought}) for _ in range(8)])
    _once_or_again(replies)
    assert await count(shop, "SELECT count(*) FROM orders WHERE program_id = :id") == 12
    assert await count(shop, "SELECT count(*) FROM referral_rewards WHERE program_id = :id") == 10
    assert await count(shop, "SELECT sum(available)::bigint FROM wallets WHERE program_id = :id") == 12 * 10 + 5 * 75
    await shop.books_hold()


async def test_an_import_beside_live_orders_of_the_same_friends_pays_each_referral_once(shop: Shop) -> None:
    advocate = await shop.enrol(external_id="advocate")
    friends = [await shop.enrol(external_id=f"f-{n}", referral_code=advocate["referral_code"]) for n in range(12)]
    records = [_order(f"past-{n}", f"f-{n}", at="2026-01-01T12:00:00Z") for n in range(12)]
    live = [shop.send("POST", "/v1/orders", shop.order_body(10, customer_id=own["customer_id"])) for own in friends]
    replies = await together([shop.send("POST", "/v1/imports", {"records": records}), *live])
    assert outcomes(replies) == {(201, ""): 13}
    assert (await shop.wallet(advocate["id"]))["balance"] == 12 * 50
    assert [(await shop.wallet(own["id"]))["balance"] for own in friends] == [45] * 12
    await shop.books_hold()


def _order(order: str, customer: str, *, at: str) -> Json:
    lines = [{"sku": "shirt", "total": {"amount": 1000, "currency": "EUR"}}]
    external = {"external_id": order, "external_customer_id": customer}
    return {"kind": "order", **external, "at": at, "currency": "EUR", "lines": lines}


async def _history(shop: Shop, *, people: int) -> Json:
    """People who each joined through the one before and then bought twice, when a euro earned a point as well."""
    terms = {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 100}}
    since = {"active_from": "2025-01-01T00:00:00Z", "active_until": "2026-01-01T12:00:00Z"}
    await shop.post("/v1/earning-rules", {"name": "then", "terms": terms, **since})
    joined = [
        {
            "kind": "enrolment",
            "external_customer_id": f"p-{n}",
            "at": f"2025-06-01T12:00:{n:02}Z",
            **({"referred_by": f"p-{n - 1}"} if n else {}),
        }
        for n in range(people)
    ]
    first = [_order(f"first-{n}", f"p-{n}", at=f"2025-06-02T12:00:{n:02}Z") for n in range(people)]
    second = [_order(f"second-{n}", f"p-{n}", at=f"2025-06-03T12:00:{n:02}Z") for n in range(people)]
    return {"records": [*joined, *first, *second]}


def _once_or_again(replies: Sequence[httpx.Response]) -> None:
    """One import did the work; the others found it done, or were told to try again."""
    assert set(outcomes(replies)) <= {(201, ""), (409, "concurrent_change"), (503, "busy")}
    assert [reply.json()["orders"] for reply in replies if reply.status_code == 201 and reply.json()["orders"]] == [12]


async def _balances(shop: Shop) -> Counter[int]:
    async with transaction(shop.sessions) as session:
        query = text("SELECT available FROM wallets WHERE program_id = :id")
        return Counter((await session.execute(query, {"id": shop.program.id})).scalars())


async def test_books_that_open_new_wallets_never_wait_for_each_other(shop: Shop) -> None:
    """Many books want overlapping sets of units, none of which is there at first, each in an order of its own."""
    member_id = ids.parse("mem", (await shop.enrol())["id"])
    assert member_id is not None
    units = ["gems", "miles", "points", "stars"]
    wanted = [units[turn % 4 :] + units[: turn % 3] for turn in range(24)]

    async def open_book(names: list[str]) -> int:
        keys = {WalletKey(shop.program.id, member_id, unit) for unit in names}
        async with transaction(shop.sessions) as session:
            return len((await points.open_book(session, program=shop.program, keys=keys, now=OPENS_AT)).wallets)

    assert await asyncio.gather(*(open_book(names) for names in wanted)) == [len(set(names)) for names in wanted]
