"""Ways in which loyalty programs are known to lose or invent points, each by name: none of them happens here."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any, Final

import httpx
import pytest
from hypothesis import example, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from litestar import Litestar
from sqlalchemy import text
from tests.conftest import connect, running
from tests.earning.test_rules import ROUNDED
from tests.faults.deeds import DEEDS, prepare
from tests.faults.servers import lock_waiters, locked_wallet, number_of, until
from tests.points.test_concurrency import outcomes, together
from tests.shop import Json, Shop, open_shop

from loyalty.app import create_app
from loyalty.core.db import transaction
from loyalty.core.settings import Settings
from loyalty.earning.terms import Rounding

DECIMALS: Final = ["JPY", "EUR", "KWD"]
"""Currencies with none, two and three."""


@pytest.fixture(scope="module")
async def wide(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Litestar]]:
    """A server that works on 32 transactions at once."""
    application = create_app(settings.model_copy(update={"pool_size": 32, "statement_timeout_ms": 60_000}))
    async with running(application), connect(application) as client:
        yield client, application


@pytest.fixture
async def shop(wide: tuple[httpx.AsyncClient, Litestar]) -> Shop:
    return await open_shop(*wide)


async def buyer(shop: Shop, euros: int = 100) -> tuple[Json, Json]:
    member = await shop.enrol()
    return member, await shop.order(euros, customer_id=member["customer_id"])


async def give(shop: Shop, member: Json, points: int, **details: Any) -> None:
    body = {"member_id": member["id"], "points": points, "reason": "gift", **details}
    await shop.post("/v1/adjustments", body)


async def settings_are(shop: Shop, **changes: Any) -> None:
    await shop.send("PATCH", "/v1/program", changes, expect=200)


async def advance(shop: Shop, to: str) -> httpx.Response:
    return await shop.send("POST", "/v1/test-clock/advance", {"to": to}, expect=200)


async def entries(shop: Shop, member: Json) -> list[Json]:
    """Return a wallet's entries, oldest first."""
    return list(reversed((await shop.get(f"/v1/members/{member['id']}/entries"))["data"]))


async def moves(shop: Shop, member: Json) -> list[tuple[str, int]]:
    return [(entry["kind"], entry["points"]) for entry in await entries(shop, member)]


async def test_the_same_order_accepted_twice_pays_once(shop: Shop) -> None:
    member = await shop.enrol()
    body = shop.order_body(99, customer_id=member["customer_id"])
    replies = await together([shop.send("POST", "/v1/orders", body, key="once") for _ in range(32)])
    assert outcomes(replies) == {(201, ""): 32}
    assert Counter(reply.headers.get("idempotency-replayed") for reply in replies) == {None: 1, "true": 31}
    before = await shop.digest()
    replies.append(await shop.send("POST", "/v1/orders", body, key="once", expect=201))
    assert len({reply.content for reply in replies}) == 1
    assert await shop.digest() == before
    wallet = await shop.wallet(member["id"])
    assert (wallet["balance"], wallet["version"]) == (99, 1)
    assert await number_of(shop, "SELECT count(*) FROM orders WHERE program_id = :id") == 1
    await shop.books_hold()


async def test_a_retry_with_a_fresh_key_pays_once(shop: Shop) -> None:
    """However many retry at once, and even after everything went back."""
    member = await shop.enrol()
    body = shop.order_body(99, customer_id=member["customer_id"])
    replies = await together([shop.send("POST", "/v1/orders", body) for _ in range(32)])
    assert outcomes(replies) == {(201, ""): 1, (200, ""): 31}
    assert len({reply.content for reply in replies}) == 1
    wallet = await shop.wallet(member["id"])
    assert (wallet["balance"], wallet["version"]) == (99, 1)
    assert await number_of(shop, "SELECT count(*) FROM idempotency_keys WHERE program_id = :id") == 33
    await shop.post(f"/v1/orders/{replies[0].json()['id']}/returns", {})
    again = await shop.send("POST", "/v1/orders", body, expect=200)
    assert again.json()["id"] == replies[0].json()["id"]
    assert await moves(shop, member) == [("earn", 99), ("reverse", 99)]
    await shop.books_hold()


async def test_two_sessions_cannot_spend_one_balance(shop: Shop) -> None:
    member, _ = await buyer(shop, 99)
    sessions = [await shop.token(member["id"]) for _ in range(2)]
    wanted = {"reward_id": (await shop.reward(cost=60))["id"]}
    replies = await together([shop.send("POST", "/v1/me/redemptions", wanted, bearer=own) for own in sessions * 16])
    assert outcomes(replies) == {(201, ""): 1, (409, "not_enough_points"): 31}
    assert await moves(shop, member) == [("earn", 99), ("spend", 60)]
    assert (await shop.wallet(member["id"]))["balance"] == 39
    await shop.books_hold()


async def ways_to_take(shop: Shop, member: Json, points: int) -> dict[str, tuple[str, Json]]:
    """Return each door that takes points out of what a member may spend, and what to send there."""
    own, reward = {"member_id": member["id"]}, await shop.reward(cost=points)
    pair = {"from_member_id": member["id"], "to_member_id": (await shop.enrol())["id"]}
    return {
        "redemption": ("/v1/redemptions", {**own, "reward_id": reward["id"]}),
        "hold": ("/v1/holds", {**own, "points": points}),
        "adjustment": ("/v1/adjustments", {**own, "points": -points, "reason": "taken"}),
        "transfer": ("/v1/transfers", {**pair, "points": points}),
    }


@pytest.mark.parametrize("way", ["redemption", "hold", "adjustment", "transfer", "all"])
async def test_of_64_parallel_spends_of_one_balance_one_succeeds(shop: Shop, way: str) -> None:
    member, _ = await buyer(shop, 99)
    ways = await ways_to_take(shop, member, 60)
    calls = list(ways.values()) * 16 if way == "all" else [ways[way]] * 64
    replies = await together([shop.send("POST", path, body) for path, body in calls])
    assert outcomes(replies) == {(201, ""): 1, (409, "not_enough_points"): 63}
    refusals = [reply.json()["data"] for reply in replies if reply.status_code == 409]
    assert refusals == [{"spendable": 39, "requested": 60}] * 63
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["spendable"], wallet["version"]) == (39, 39, 2)
    await shop.books_hold()


async def test_20_parallel_gifts_of_the_same_100_points_give_them_once(shop: Shop) -> None:
    giver, _ = await buyer(shop, 100)
    friends = [await shop.enrol() for _ in range(20)]
    bodies = [{"from_member_id": giver["id"], "to_member_id": friend["id"], "points": 100} for friend in friends]
    replies = await together([shop.send("POST", "/v1/transfers", body) for body in bodies])
    assert outcomes(replies) == {(201, ""): 1, (409, "not_enough_points"): 19}
    assert Counter([(await shop.wallet(friend["id"]))["balance"] for friend in friends]) == {100: 1, 0: 19}
    assert (await shop.wallet(giver["id"]))["balance"] == 0
    await shop.books_hold()


async def test_a_refund_neither_forgets_the_points_earned_nor_reverses_at_todays_rate(shop: Shop) -> None:
    """Since the order the rule gives seven times as much, and another one has come."""
    member, order = await buyer(shop, 100)
    await advance(shop, "2026-01-02T00:00:00Z")
    rule = (await shop.get("/v1/earning-rules"))["data"][0]["id"]
    terms = {"kind": "points_per_amount", "points": 7, "step_minor": {"EUR": 100}}
    await shop.post(f"/v1/earning-rules/{rule}/versions", {"terms": terms, "active_from": "2026-01-02T00:00:00Z"})
    await shop.post("/v1/earning-rules", {"name": "more", "terms": {**terms, "points": 3}})
    todays = await shop.order(10, customer_id=member["customer_id"])
    taken = []
    for bought, body in ((order, {"total": {"amount": 2_500, "currency": "EUR"}}), (order, {}), (todays, {})):
        returned = await shop.post(f"/v1/orders/{bought['id']}/returns", body)
        taken.append((returned["points_reversed"], (await shop.wallet(member["id"]))["balance"]))
    assert taken == [(25, 175), (75, 100), (100, 0)]
    await shop.books_hold()


async def test_a_partial_refund_does_not_void_the_whole_referral_reward(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    order = await shop.order(40, customer_id=friend["customer_id"])
    body = {"total": {"amount": 1_000, "currency": "EUR"}}
    assert (await shop.post(f"/v1/orders/{order['id']}/returns", body))["points_reversed"] == 10
    (referral,) = (await shop.get(f"/v1/referrals?advocate_id={advocate['id']}"))["data"]
    assert referral["state"] == "rewarded"
    assert (await shop.wallet(advocate["id"]))["balance"] == 50
    assert (await shop.wallet(friend["id"]))["balance"] == 25 + 30
    await shop.books_hold()


async def test_a_cancelled_redemption_returns_every_point_to_its_own_lot_with_its_own_expiry(shop: Shop) -> None:
    member, _ = await buyer(shop, 20)
    await give(shop, member, 30, expires_at="2026-03-01T00:00:00Z")
    await give(shop, member, 40, expires_at="2026-02-01T00:00:00Z")
    lots = f"/v1/members/{member['id']}/lots"

    async def left() -> list[int]:
        return [lot["remaining"] for lot in (await shop.get(lots))["data"]]

    before, wallet = await shop.get(lots), await shop.wallet(member["id"])
    made = []
    for cost, remaining in ((50, [0, 20, 20]), (15, [0, 5, 20])):
        body = {"member_id": member["id"], "reward_id": (await shop.reward(cost=cost))["id"]}
        made.append(await shop.post("/v1/redemptions", body))
        assert await left() == remaining
    await shop.post(f"/v1/redemptions/{made[0]['id']}/cancellation", {})
    assert await left() == [40, 15, 20]
    await shop.post(f"/v1/redemptions/{made[1]['id']}/cancellation", {})
    assert await shop.get(lots) == before
    assert await shop.wallet(member["id"]) == {**wallet, "version": 7}
    found = (await entries(shop, member))[3:]
    assert (await moves(shop, member))[3:] == [("spend", 50), ("spend", 15), ("restore", 50), ("restore", 15)]
    assert [own["corrects_id"] for own in found] == [None, None, found[0]["id"], found[1]["id"]]
    assert [own["balance_after"] for own in found] == [40, 25, 75, 90]
    for ends, balance in (("2026-02-01T00:00:00Z", 50), ("2026-03-01T00:00:00Z", 20)):
        await advance(shop, ends)
        assert (await shop.wallet(member["id"]))["balance"] == balance
    await shop.books_hold()


async def test_expiry_subtracts_no_points_already_spent(shop: Shop) -> None:
    """It takes what is left of a lot, not what was in it, and takes it once."""
    await settings_are(shop, expiry={"kind": "after", "days": 1})
    member, _ = await buyer(shop, 100)
    reward = await shop.reward(cost=70)
    await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    for to in ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"):
        await advance(shop, to)
        assert await moves(shop, member) == [("earn", 100), ("spend", 70), ("expire", 30)]
        assert (await shop.wallet(member["id"]))["balance"] == 0
    assert (await entries(shop, member))[-1]["occurred_at"] == "2026-01-02T23:00:00Z"
    await shop.books_hold()


@pytest.mark.parametrize(
    ("first", "spend", "moved"),
    [
        ("spend", 201, [("earn", 100), ("spend", 70), ("expire", 30)]),
        ("expiry", 409, [("earn", 100), ("expire", 100)]),
    ],
)
async def test_expiry_while_a_spend_runs_takes_what_the_spend_leaves_or_leaves_it_nothing(
    settings: Settings, shop: Shop, first: str, spend: int, moved: list[tuple[str, int]]
) -> None:
    """Both were sent before either was done: they queue for the wallet in this order."""
    await settings_are(shop, expiry={"kind": "after", "days": 1})
    member, _ = await buyer(shop, 100)
    wanted = {"member_id": member["id"], "reward_id": (await shop.reward(cost=70))["id"]}
    calls = {
        "spend": partial(shop.send, "POST", "/v1/redemptions", wanted),
        "expiry": partial(advance, shop, "2026-03-01T00:00:00Z"),
    }
    sent = {}
    async with locked_wallet(settings, shop, member):
        for name in sorted(calls, key=lambda name: name != first):
            sent[name] = asyncio.create_task(calls[name]())
            await until(partial(_wait_in_line, shop, len(sent)))
    assert [(await sent[name]).status_code for name in ("expiry", "spend")] == [200, spend]
    assert await moves(shop, member) == moved
    await advance(shop, "2026-04-01T00:00:00Z")
    assert await moves(shop, member) == moved
    assert (await shop.wallet(member["id"]))["balance"] == 0
    await shop.books_hold()


async def _wait_in_line(shop: Shop, number: int) -> bool:
    return await lock_waiters(shop) >= number


async def test_the_balance_shown_is_what_every_deduction_may_take(shop: Shop) -> None:
    """Points that wait, are held, have expired or begun unnoticed, are of another unit, were given or spent."""
    member, _ = await buyer(shop, 100)
    friend, _ = await buyer(shop, 20)
    await give(shop, member, 30, expires_at="2026-01-05T00:00:00Z")
    await give(shop, member, 25, activates_at="2026-01-03T00:00:00Z", expires_at="2026-01-04T00:00:00Z")
    await give(shop, member, 15, activates_at="2026-01-06T00:00:00Z")
    await give(shop, member, 50, activates_at="2026-02-01T00:00:00Z")
    await give(shop, member, 70, unit="stars")
    await shop.order(40, customer_id=member["customer_id"], status="placed")
    await shop.post("/v1/transfers", {"from_member_id": friend["id"], "to_member_id": member["id"], "points": 20})
    spent = {"member_id": member["id"], "reward_id": (await shop.reward(cost=10))["id"]}
    await shop.post("/v1/redemptions", spent)
    await shop.post("/v1/holds", {"member_id": member["id"], "points": 12, "expires_in_seconds": 604_800})
    async with transaction(shop.sessions) as session:
        later = text("UPDATE programs SET clock_at = '2026-01-07Z' WHERE id = :id")
        await session.execute(later, {"id": shop.program.id})
    await shop.books_hold()

    wallet, _ = (await shop.get(f"/v1/members/{member['id']}/wallets"))["data"]
    shown = {name: wallet[name] for name in ("available", "spendable", "pending", "held", "debt", "balance")}
    assert shown == {"available": 135, "spendable": 135, "pending": 90, "held": 12, "debt": 0, "balance": 237}
    token = await shop.token(member["id"])
    assert wallet in (await shop.get("/v1/me", bearer=token))["wallets"]
    covered, beyond = await ways_to_take(shop, member, 135), await ways_to_take(shop, member, 136)
    for way, (path, body) in covered.items():
        await shop.post(f"{path}?dry_run=true", body, expect=200)
        problem = await shop.refuses("POST", path, beyond[way][1], status=409, code="not_enough_points")
        assert problem["data"] == {"spendable": 135, "requested": 136}
    offers = (await shop.get("/v1/me/rewards", bearer=token))["data"]
    missing = {offer["cost_points"]: offer["points_missing"] for offer in offers}
    assert missing == {10: 0, 135: 0, 136: 1}
    assert (await shop.post(*covered["redemption"]))["balance_after"] == 102
    problem = await shop.refuses("POST", "/v1/redemptions", spent, status=409, code="not_enough_points")
    assert problem["data"] == {"spendable": 0, "requested": 10}
    await shop.books_hold()


@dataclass(frozen=True)
class Purchase:
    """An order of some lines under a rule of `points` for each `step`; `gone` is how much of it goes back by when."""

    currency: str
    points: int
    step: int
    rounding: Rounding
    lines: tuple[int, ...]
    gone: tuple[int, ...]

    def earns(self, total: int) -> int:
        return ROUNDED[self.rounding](Fraction(total * self.points, self.step))


@st.composite
def purchases(draw: st.DrawFn) -> Purchase:
    lines = draw(st.lists(st.integers(0, 10**4) | st.integers(0, 10**11), min_size=1, max_size=4).filter(any))
    return Purchase(
        currency=draw(st.sampled_from(DECIMALS)),
        points=draw(st.integers(1, 1_000)),
        step=draw(st.integers(1, 10) | st.integers(1, 100_000)),
        rounding=draw(st.sampled_from(Rounding)),
        lines=tuple(lines),
        gone=tuple(sorted({*draw(st.sets(st.integers(1, sum(lines)), max_size=3)), sum(lines)})),
    )


@effort(max_examples=20, derandomize=True)
@given(bought=purchases())
@example(Purchase("EUR", 1, 49, Rounding.DOWN, (49,), (49,)))  # 49 * (1 / 49) is a little less than 1
@example(Purchase("KWD", 1, 1_000, Rounding.DOWN, (1_005, 995), (1, 1_999, 2_000)))
@example(Purchase("JPY", 3, 10, Rounding.HALF_UP, (1, 1, 1), (1, 2, 3)))  # 0.3 + 0.3 + 0.3 - 0.9 is not 0
@example(Purchase("JPY", 1, 10, Rounding.HALF_UP, (5, 20), (20, 25)))  # round(2.5) is 2, and round(0.5) is 0
async def test_rounding_turns_no_point_into_nothing_and_none_into_a_fraction(
    wide: tuple[httpx.AsyncClient, Litestar], bought: Purchase
) -> None:
    shop = await open_shop(*wide)
    await settings_are(shop, currencies=DECIMALS)
    terms = {"points": bought.points, "step_minor": {bought.currency: bought.step}, "rounding": bought.rounding}
    rule = {"name": "drawn", "terms": {"kind": "points_per_amount", "unit": "stars", **terms}}
    await shop.post("/v1/earning-rules", rule)
    member = await shop.enrol()

    def money(amount: int) -> Json:
        return {"amount": amount, "currency": bought.currency}

    async def stars() -> list[Any]:
        wallets = (await shop.get(f"/v1/members/{member['id']}/wallets"))["data"]
        return [own[name] for own in wallets for name in ("balance", "available", "debt") if own["unit"] == "stars"]

    lines = [{"sku": "shirt", "total": money(amount)} for amount in bought.lines]
    body = {**shop.order_body(customer_id=member["customer_id"]), "currency": bought.currency, "lines": lines}
    order = await shop.post("/v1/orders", body)
    awards = [own for own in order["awards"] if own["unit"] == "stars"]
    points = bought.earns(sum(bought.lines))
    assert [(own["points"], sum(own["line_points"])) for own in awards] == ([(points, points)] if points else [])
    for before, gone in pairwise((0, 0, *bought.gone)):
        if gone:
            await shop.post(f"/v1/orders/{order['id']}/returns", {"total": money(gone - before)})
        left = bought.earns(sum(bought.lines) - gone)
        found = await stars()
        assert found == ([left, left, 0] if points else [])
        assert {type(number) for number in found} <= {int}
    assert left == 0
    await shop.books_hold()


@asynccontextmanager
async def no_commit_succeeds(shop: Shop) -> AsyncIterator[None]:
    """Let every entry break a foreign key that only COMMIT looks at: what caused it is no customer."""
    key = "FOREIGN KEY (program_id, source_id) REFERENCES customers (program_id, id)"
    async with transaction(shop.sessions) as session:
        deferred = f"ADD CONSTRAINT refused {key} DEFERRABLE INITIALLY DEFERRED NOT VALID"
        await session.execute(text(f"ALTER TABLE entries {deferred}"))
    try:
        yield
    finally:
        async with transaction(shop.sessions) as session:
            await session.execute(text("ALTER TABLE entries DROP CONSTRAINT refused"))


@pytest.mark.parametrize("name", DEEDS)
async def test_nobody_hears_201_when_the_commit_fails(shop: Shop, name: str) -> None:
    deed = await prepare(shop, name)
    before = await shop.digest()
    async with no_commit_succeeds(shop):
        lost = await shop.send("POST", deed.path, deed.body, key="once")
    assert (lost.status_code, lost.json()["code"]) == (500, "internal_error")
    assert await shop.digest() == before
    done = await shop.send("POST", deed.path, deed.body, key="once", expect=201)
    assert "idempotency-replayed" not in done.headers
    again = await shop.send("POST", deed.path, deed.body, key="once", expect=201)
    assert (again.content, again.headers["idempotency-replayed"]) == (done.content, "true")
    assert (await shop.wallet(deed.member["id"]))["balance"] == deed.balance
    await shop.books_hold()
