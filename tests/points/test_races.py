"""Every pair of operations that change one wallet, run at once with real commits.

Whatever the order they happen to get: each effect happens once, nothing is spent that is not there, what the replies
say adds up to what the wallet holds, and nobody hears of a deadlock. `LOYALTY_RACES=64` gives every pair 64 calls.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import combinations_with_replacement, permutations
from random import Random
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import text
from tests.conftest import connect, running
from tests.faults.servers import lock_waiters, locked_wallet, number_of, until
from tests.points.test_concurrency import outcomes, together
from tests.shop import Json, Shop, open_shop

from loyalty.app import create_app
from loyalty.core import ids
from loyalty.core.db import transaction
from loyalty.core.settings import Settings
from loyalty.points import service as points
from loyalty.programs import service as programs

FEW, MANY = 16, 64
LAPSED_AT: Final = "2026-01-01T18:00:00Z"
RACE_AT: Final = "2026-01-02T12:00:00Z"
DATED_END: Final = "2026-01-05T00:00:00Z"
LATER: Final = "2026-06-01T00:00:00Z"
WEEK: Final = 604_800

TAKERS: Final = ("redeem", "same_redeem", "hold", "adjust_down", "transfer_out")
CONTESTED: Final = {
    ("redeem", "hold"),
    ("redeem", "cancel_redemption"),
    ("redeem", "return"),
    ("redeem", "transfer_out"),
    ("redeem", "settle"),
    ("hold", "settle"),
    ("capture", "release"),
    ("pay", "cancel_order"),
    ("return", "cancel_order"),
    ("adjust_down", "extend"),
    ("transfer_out", "transfer_in"),
    ("reinstate", "settle"),
}
"""The pairs that want the very same points or rows of each other: they get 64 calls even in a hurry."""


@dataclass(frozen=True)
class Call:
    """A request to be sent, or with `path` None a run of the job that settles what is due."""

    operation: str
    path: str | None
    body: Any = None
    key: str = field(default_factory=lambda: uuid4().hex)


@dataclass
class Arena:
    """A wallet that a pair of operations fights over.

    `n` is how many calls each operation makes, `k` how many orders, holds or redemptions those share. The wallet has
    5n points that end soon (`dated`), 2n - 1 that never do, and what the operations need besides.
    """

    shop: Shop
    pair: tuple[str, str]
    n: int
    member: Json = field(default_factory=dict)
    partner: Json = field(default_factory=dict)
    reward: Json = field(default_factory=dict)
    orders: list[Json] = field(default_factory=list)
    holds: list[Json] = field(default_factory=list)
    redemptions: list[Json] = field(default_factory=list)
    dated: Json = field(default_factory=dict)
    lapsed: Json = field(default_factory=dict)

    @property
    def k(self) -> int:
        return self.n // 4

    @property
    def settles(self) -> bool:
        return "settle" in self.pair

    def wants(self, *operations: str) -> bool:
        return any(operation in self.pair for operation in operations)

    async def give(self, member: Json, amount: int, **details: Any) -> None:
        body = {"member_id": member["id"], "points": amount, "reason": "race", **details}
        await self.shop.post("/v1/adjustments", body)

    async def furnish(self) -> None:
        """Fill the wallet, and make what the pair's operations work on."""
        self.member = await self.shop.enrol()
        whose = {"member_id": self.member["id"]}
        if self.wants("reinstate") and not self.settles:
            await self.give(self.member, 5 * self.n, expires_at=LAPSED_AT)
            await self.shop.post("/v1/test-clock/advance", {"to": RACE_AT}, expect=200)
            self.lapsed = await self.lot(LAPSED_AT)
        await self.give(self.member, 5 * self.n, expires_at=DATED_END)
        await self.give(self.member, 2 * self.n - 1)
        if self.wants("transfer_in", "transfer_out"):
            self.partner = await self.shop.enrol()
            await self.give(self.partner, 10 * (self.n // 2) + 5)
        if self.wants("redeem", "same_redeem", "cancel_redemption"):
            self.reward = await self.shop.reward(cost=10)
        if self.wants("cancel_redemption"):
            body = {**whose, "reward_id": self.reward["id"]}
            self.redemptions = [await self.shop.post("/v1/redemptions", body) for _ in range(self.k)]
        if self.wants("capture", "release"):
            body = {**whose, "points": 10, "expires_in_seconds": WEEK}
            self.holds = [await self.shop.post("/v1/holds", body) for _ in range(self.k)]
        if self.wants("pay", "return", "cancel_order"):
            status = {"status": "placed"} if self.wants("pay") else {}
            customer = {"customer_id": self.member["customer_id"]}
            self.orders = [await self.shop.order(10, **customer, **status) for _ in range(self.k)]
        if self.wants("extend", "settle"):
            self.dated = await self.lot(DATED_END)
        if self.settles and self.wants("reinstate"):
            self.lapsed = self.dated

    async def lot(self, ends_at: str) -> Json:
        lots = (await self.shop.get(f"/v1/members/{self.member['id']}/lots"))["data"]
        (found,) = [lot for lot in lots if lot["expires_at"] == ends_at]
        return dict(found)

    async def let_time_pass(self) -> None:
        """Move the program's clock past the end of the dated lot, while no job looks."""
        past = datetime.fromisoformat(DATED_END) + timedelta(hours=1)
        async with transaction(self.shop.sessions) as session:
            later = text("UPDATE programs SET clock_at = :past WHERE id = :id")
            await session.execute(later, {"id": self.shop.program.id, "past": past})

    async def settle(self) -> None:
        async with transaction(self.shop.sessions) as session:
            program = await programs.get(session, program_id=self.shop.program.id)
            assert program.clock_at is not None
            await points.settle_due(session, program=program, now=program.clock_at, limit=200)

    async def send(self, call: Call) -> httpx.Response:
        if call.path is None:
            await self.settle()
            return httpx.Response(200)
        return await self.shop.send("POST", call.path, call.body, key=call.key)

    async def history(self, since: int) -> list[tuple[str, int, int]]:
        """Return kind, points and available points after each entry above a version, in order of version."""
        query = "SELECT kind, points, available_after FROM entries WHERE program_id = :program_id"
        mine = " AND member_id = :member_id AND version > :since ORDER BY version"
        member_id = ids.parse("mem", self.member["id"])
        own = {"program_id": self.shop.program.id, "member_id": member_id, "since": since}
        async with transaction(self.shop.sessions) as session:
            return [(row[0], row[1], row[2]) for row in await session.execute(text(query + mine), own)]


Maker = Callable[[Arena, int], list[Call]]


def _plainly(operation: str, path: str, body: Callable[[Arena], Json]) -> Maker:
    """Make calls that each stand for themselves."""
    return lambda arena, number: [Call(operation, path, body(arena)) for _ in range(number)]


def _in_turn(operation: str, path: str, what: Callable[[Arena], list[Json]], body: Any = None) -> Maker:
    """Make calls that take the same few things in turn."""
    return lambda arena, number: [
        Call(operation, path.format(id=what(arena)[turn % len(what(arena))]["id"]), body) for turn in range(number)
    ]


def _under_one_key(operation: str, path: str, body: Callable[[Arena], Json]) -> Maker:
    return lambda arena, number: [Call(operation, path, body(arena), key="once")] * number


def _order(arena: Arena) -> Json:
    return arena.shop.order_body(10, customer_id=arena.member["customer_id"])


def _given(amount: int) -> Callable[[Arena], Json]:
    return lambda arena: {"member_id": arena.member["id"], "points": amount, "reason": "race"}


def _redemption(arena: Arena) -> Json:
    return {"member_id": arena.member["id"], "reward_id": arena.reward["id"]}


def _transfer(arena: Arena, *, out: bool) -> Json:
    giver, receiver = (arena.member, arena.partner) if out else (arena.partner, arena.member)
    return {"from_member_id": giver["id"], "to_member_id": receiver["id"], "points": 10}


def _later(name: str, path: str) -> Maker:
    body = {"expires_at": LATER, "reason": "race"}
    what: dict[str, Callable[[Arena], list[Json]]] = {
        "extend": lambda arena: [arena.dated],
        "reinstate": lambda arena: [arena.lapsed],
    }
    return _in_turn(name, path, what[name], body)


def _to_hold(arena: Arena) -> Json:
    return {"member_id": arena.member["id"], "points": 10, "expires_in_seconds": WEEK}


def _taken_back(reply: Json) -> int:
    return -sum(int(row["pending"] + row["taken"] + row["owed"]) for row in reply["reversals"])


@dataclass(frozen=True)
class Operation:
    """`effect` is what one success does to the balance; `refusals` are the only other answers it may give."""

    make: Maker
    effect: Callable[[Json], int]
    refusals: frozenset[tuple[int, str]] = frozenset()


def _always(amount: int) -> Callable[[Json], int]:
    return lambda _: amount


_POOR: Final = frozenset({(409, "not_enough_points")})
_FOUR_EUROS: Final = {"total": {"amount": 400, "currency": "EUR"}}

OPERATIONS: Final[dict[str, Operation]] = {
    "earn": Operation(_plainly("earn", "/v1/orders", _order), _always(10)),
    "same_order": Operation(_under_one_key("same_order", "/v1/orders", _order), _always(10)),
    "pay": Operation(
        _in_turn("pay", "/v1/orders/{id}/payments", lambda arena: arena.orders, {}),
        _always(0),
        frozenset({(409, "order_already_paid"), (409, "order_cancelled")}),
    ),
    "redeem": Operation(_plainly("redeem", "/v1/redemptions", _redemption), _always(-10), _POOR),
    "same_redeem": Operation(_under_one_key("same_redeem", "/v1/redemptions", _redemption), _always(-10), _POOR),
    "cancel_redemption": Operation(
        _in_turn("cancel_redemption", "/v1/redemptions/{id}/cancellation", lambda arena: arena.redemptions, {}),
        _always(10),
        frozenset({(409, "redemption_already_cancelled")}),
    ),
    "hold": Operation(_plainly("hold", "/v1/holds", _to_hold), _always(0), _POOR),
    "capture": Operation(
        _in_turn("capture", "/v1/holds/{id}/capture", lambda arena: arena.holds, {}),
        _always(-10),
        frozenset({(200, ""), (409, "hold_ended")}),
    ),
    "release": Operation(
        _in_turn("release", "/v1/holds/{id}/release", lambda arena: arena.holds),
        _always(0),
        frozenset({(200, ""), (409, "hold_ended")}),
    ),
    "return": Operation(
        _in_turn("return", "/v1/orders/{id}/returns", lambda arena: arena.orders, _FOUR_EUROS),
        _taken_back,
        frozenset({(409, "return_exceeds_order"), (409, "order_cancelled")}),
    ),
    "cancel_order": Operation(
        _in_turn("cancel_order", "/v1/orders/{id}/cancellation", lambda arena: arena.orders, {}),
        _taken_back,
        frozenset({(409, "order_cancelled")}),
    ),
    "adjust_down": Operation(_plainly("adjust_down", "/v1/adjustments", _given(-10)), _always(-10), _POOR),
    "adjust_up": Operation(_plainly("adjust_up", "/v1/adjustments", _given(10)), _always(10)),
    "transfer_out": Operation(
        _plainly("transfer_out", "/v1/transfers", lambda arena: _transfer(arena, out=True)), _always(-10), _POOR
    ),
    "transfer_in": Operation(
        _plainly("transfer_in", "/v1/transfers", lambda arena: _transfer(arena, out=False)), _always(10), _POOR
    ),
    "extend": Operation(
        _later("extend", "/v1/lots/{id}/extension"), _always(0), frozenset({(409, "lot_has_nothing_to_extend")})
    ),
    "reinstate": Operation(
        _later("reinstate", "/v1/lots/{id}/reinstatement"),
        lambda reply: int(reply["points"]),
        frozenset({(409, "lot_has_nothing_expired")}),
    ),
    "settle": Operation(
        lambda _, number: [Call("settle", None) for _ in range(number)], _always(0), frozenset({(200, "")})
    ),
}


def _most_gained(arena: Arena, operation: str) -> int:
    """Return how many spendable points an operation's calls may add at most."""
    return {
        "earn": 10 * arena.n,
        "adjust_up": 10 * arena.n,
        "same_order": 10,
        "transfer_in": 10 * arena.n,
        "pay": 10 * arena.k,
        "cancel_redemption": 10 * arena.k,
        "release": 10 * arena.k,
        "reinstate": 5 * arena.n,
    }.get(operation, 0)


def _most_lost(arena: Arena, operation: str) -> int:
    """Return how many spendable points an operation that asks nobody's leave may take at most."""
    return {"return": 8 * arena.k, "cancel_order": 10 * arena.k}.get(operation, 0)


def _successes(arena: Arena, operation: str) -> range:
    """Return how often an operation that is no taker succeeds, beside the other of its pair."""
    n, k = arena.n, arena.k
    other = arena.pair[arena.pair[0] == operation]
    calls = 2 * n if other == operation else n
    exactly = {
        "earn": calls,
        "adjust_up": calls,
        "same_order": 1,
        "pay": k,
        "cancel_redemption": k,
        "capture": k,
        "release": k,
        "return": 2 * k,
        "cancel_order": k,
        "reinstate": 1,
        "transfer_in": n // 2,
        "extend": 0 if other == "settle" else 1,
        "settle": 0,
    }[operation]
    least, most = {
        ("pay", "cancel_order"): (0, k),
        ("return", "cancel_order"): (0, 2 * k),
        ("capture", "release"): (0, k),
        ("release", "capture"): (0, k),
        ("transfer_in", "transfer_out"): (n // 2, n),
        ("extend", "cancel_redemption"): (1, 1 + k),
        ("extend", "release"): (1, 1 + k),
    }.get((operation, other), (exactly, exactly))
    if operation == "extend" and other in TAKERS and other != "same_redeem":
        least = 0
    return range(least, most + 1)


@pytest.fixture(scope="module")
async def wide(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, Litestar]]:
    """A server that works on 32 transactions at once."""
    application = create_app(settings.model_copy(update={"pool_size": 32, "statement_timeout_ms": 60_000}))
    async with running(application), connect(application) as client:
        yield client, application


@pytest.fixture
async def shop(wide: tuple[httpx.AsyncClient, Litestar]) -> Shop:
    return await open_shop(*wide)


_PAIRS: Final = list(combinations_with_replacement(OPERATIONS, 2))


def test_every_contested_pair_is_among_the_pairs() -> None:
    assert set(CONTESTED) <= set(_PAIRS)
    assert len(_PAIRS) == len(OPERATIONS) * (len(OPERATIONS) + 1) // 2 == 171


@pytest.mark.parametrize("pair", _PAIRS, ids="-".join)
async def test_a_pair_at_once_adds_up_to_what_its_replies_say(shop: Shop, pair: tuple[str, str]) -> None:
    number = MANY if pair in CONTESTED else max(FEW, int(os.environ.get("LOYALTY_RACES", FEW)))
    arena = Arena(shop, pair, number // 2)
    await arena.furnish()
    before = await shop.wallet(arena.member["id"])
    partner = await shop.wallet(arena.partner["id"]) if arena.partner else None
    if arena.settles:
        await arena.let_time_pass()
    calls = [call for name in pair for call in OPERATIONS[name].make(arena, arena.n)]
    if "same_order" in pair or "same_redeem" in pair:
        calls = _one_body_a_key(calls)
    Random("-".join(pair)).shuffle(calls)  # noqa: S311 -- the same order in every run
    replies = await together([arena.send(call) for call in calls])
    await arena.settle()

    won: dict[str, list[Json]] = {name: [] for name in pair}
    for name in won:
        answers = [reply for call, reply in zip(calls, replies, strict=True) if call.operation == name]
        assert set(outcomes(answers)) <= {(201, ""), *OPERATIONS[name].refusals}, name
        fresh = [one for one in answers if one.status_code == 201 and "idempotency-replayed" not in one.headers]
        won[name] = [reply.json() for reply in fresh]
        if name.startswith("same_"):
            assert len({reply.content for reply in answers if reply.status_code == 201}) <= 1
    made = [reply["id"] for name in won if name not in ("pay", "capture", "release") for reply in won[name]]
    assert len(made) == len(set(made))

    history = await arena.history(before["version"])
    after = await shop.wallet(arena.member["id"])
    expired = sum(amount for kind, amount, _ in history if kind == "expire")
    captured = 10 * len(won.get("capture", []))
    assert expired == (arena.dated["remaining"] - captured if arena.settles else 0)
    effects = sum(OPERATIONS[name].effect(reply) for name in won for reply in won[name])
    assert after["balance"] == before["balance"] + effects - expired
    assert after["version"] == before["version"] + len(history)
    assert min([after["pending"], after["held"], *(available for _, _, available in history)]) >= 0
    assert after["debt"] == 0
    if partner is not None:
        given = 10 * (len(won.get("transfer_out", [])) - len(won.get("transfer_in", [])))
        assert (await shop.wallet(arena.partner["id"]))["balance"] == partner["balance"] + given
    await shop.books_hold()

    spendable = before["available"] - (arena.dated["remaining"] - arena.dated["reserved"] if arena.settles else 0)
    _assert_who_won(arena, won, spendable)
    _assert_refusals_tell_the_truth(calls, replies, {spendable, *(available for _, _, available in history)})
    if pair in CONTESTED:
        await _assert_replays_change_nothing(arena, calls, replies)


def _one_body_a_key(calls: Sequence[Call]) -> list[Call]:
    """Let calls under one key be the very same call: each order made for a call has a number of its own."""
    first: dict[tuple[str, str], Call] = {}
    return [first.setdefault((call.operation, call.key), call) for call in calls]


def _assert_who_won(arena: Arena, won: dict[str, list[Json]], spendable: int) -> None:
    """As many succeeded as must, and not one more."""
    for name, replies in won.items():
        if name not in TAKERS:
            assert len(replies) in _successes(arena, name), name
    takers = [name for name in arena.pair if name in TAKERS]
    if takers:
        asked = (
            1
            if arena.pair == ("same_redeem", "same_redeem")
            else sum(1 if name == "same_redeem" else arena.n for name in takers)
        )
        others = [name for name in arena.pair if name not in TAKERS]
        least = (spendable - sum(_most_lost(arena, name) for name in others)) // 10
        most = (spendable + sum(_most_gained(arena, name) for name in others)) // 10
        taken = sum(len(won[name]) for name in set(takers))
        assert min(asked, least) <= taken <= min(asked, most)
    if arena.pair == ("capture", "release"):
        assert len(won["capture"]) + len(won["release"]) == arena.k
    if arena.pair == ("return", "cancel_order"):
        assert sum(reply["points_reversed"] for name in won for reply in won[name]) == 10 * arena.k
    elif arena.wants("return") or arena.wants("cancel_order"):
        share = 8 if arena.wants("return") else 10
        name = "return" if arena.wants("return") else "cancel_order"
        assert sum(reply["points_reversed"] for reply in won[name]) == share * arena.k


def _assert_refusals_tell_the_truth(calls: Sequence[Call], replies: Sequence[httpx.Response], seen: set[int]) -> None:
    """Whoever hears that there are not enough points hears how many there were, and there were so many at some time."""
    for call, reply in zip(calls, replies, strict=True):
        if reply.status_code == 409 and reply.json()["code"] == "not_enough_points":
            facts = reply.json()["data"]
            assert facts["requested"] == 10
            assert 0 <= facts["spendable"] < 10
            if call.operation != "transfer_in":
                assert facts["spendable"] in seen


async def _assert_replays_change_nothing(
    arena: Arena, calls: Sequence[Call], replies: Sequence[httpx.Response]
) -> None:
    """Everything that succeeded is sent once more: each answer is the first one's, and no row is another."""
    done = {
        call.key: (call, reply)
        for call, reply in zip(calls, replies, strict=True)
        if call.path is not None and reply.status_code in (200, 201)
    }
    was = await arena.shop.digest()
    again = await together([arena.send(call) for call, _ in done.values()])
    for (_, first), reply in zip(done.values(), again, strict=True):
        assert (reply.status_code, reply.content) == (first.status_code, first.content)
        assert reply.headers["idempotency-replayed"] == "true"
    assert await arena.shop.digest() == was


async def test_one_return_reported_under_32_keys_at_once_is_one_return(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(10, customer_id=member["customer_id"])
    body = {"external_id": "rma-1", **_FOUR_EUROS}
    path = f"/v1/orders/{order['id']}/returns"
    replies = await together([shop.send("POST", path, body) for _ in range(32)])
    assert outcomes(replies) == {(201, ""): 1, (200, ""): 31}
    assert len({reply.content for reply in replies}) == 1
    assert (await shop.wallet(member["id"]))["balance"] == 6
    await shop.books_hold()


async def test_one_adjustment_sent_under_32_keys_at_once_is_one_adjustment(shop: Shop) -> None:
    member = await shop.enrol()
    body = {"member_id": member["id"], "points": 10, "reason": "r", "external_id": "row-1"}
    replies = await together([shop.send("POST", "/v1/adjustments", body) for _ in range(32)])
    assert outcomes(replies) == {(201, ""): 1, (200, ""): 31}
    assert len({reply.content for reply in replies}) == 1
    assert (await shop.wallet(member["id"]))["balance"] == 10
    await shop.books_hold()


async def test_a_return_and_a_cancellation_under_the_same_keys_at_once_reverse_each_point_once(shop: Shop) -> None:
    """The same thirty-two keys for two operations: a key is an operation's own."""
    member = await shop.enrol()
    order = await shop.order(10, customer_id=member["customer_id"])
    calls = [
        shop.send("POST", f"/v1/orders/{order['id']}/{what}", body, key=f"key-{number}")
        for number in range(16)
        for what, body in (("returns", _FOUR_EUROS), ("cancellation", {}))
    ]
    replies = await together(calls)
    done = Counter(reply.request.url.path.rpartition("/")[2] for reply in replies if reply.status_code == 201)
    assert done["cancellation"] == 1
    assert done["returns"] in (0, 1, 2)
    assert set(outcomes(replies)) <= {(201, ""), (409, "order_cancelled"), (409, "return_exceeds_order")}
    assert (await shop.wallet(member["id"]))["balance"] == 0
    await shop.books_hold()


MERGED: Final = [name for name in OPERATIONS if name != "settle"]


@pytest.mark.parametrize("name", MERGED)
async def test_an_operation_that_a_merge_overtakes_leaves_no_point_behind_in_the_wallet_that_ended(
    shop: Shop, settings: Settings, name: str
) -> None:
    """The wallet is under lock, the merge waits for it first, the operation's calls stand behind the merge."""
    arena = Arena(shop, (name, "merge"), FEW // 2)
    await arena.furnish()
    heir = await shop.enrol()
    members = [member for member in (arena.member, heir, arena.partner) if member]
    before = sum([(await shop.wallet(member["id"]))["balance"] for member in members])
    into = {"from_member_id": arena.member["id"], "into_member_id": heir["id"], "reason": "race"}
    calls = OPERATIONS[name].make(arena, arena.n)
    if name.startswith("same_"):
        calls = _one_body_a_key(calls)
    async with locked_wallet(settings, shop, arena.member):
        merge = asyncio.create_task(arena.send(Call("merge", "/v1/member-merges", into)))
        await until(lambda: _at_least_wait(shop, 1))
        behind = asyncio.create_task(together([arena.send(call) for call in calls]))
        await until(lambda: _at_least_wait(shop, 2))
    merged, answers = await merge, await behind
    answers = [await _again(arena, call, reply) for call, reply in zip(calls, answers, strict=True)]
    answers = [
        await arena.send(call) if _hears_of_a_merge(reply) else reply
        for call, reply in zip(calls, answers, strict=True)
    ]
    assert max(reply.status_code for reply in [merged, *answers]) < 500
    fresh = [one for one in answers if one.status_code == 201 and "idempotency-replayed" not in one.headers]
    moves = 0 if name.startswith("transfer") else sum(OPERATIONS[name].effect(reply.json()) for reply in fresh)
    assert sum([(await shop.wallet(member["id"]))["balance"] for member in members]) == before + moves
    await shop.books_hold()
    if name in ("capture", "release"):
        assert outcomes([merged]) == {(409, "member_has_live_holds"): 1}
        return
    assert merged.status_code == 201
    ended = await shop.wallet(arena.member["id"])
    assert (ended["available"], ended["pending"], ended["held"], ended["debt"]) == (0, 0, 0, 0)


def _hears_of_a_merge(reply: httpx.Response) -> bool:
    """Whether a call waited for a customer who was merged meanwhile: sent again, it finds the other one."""
    return reply.status_code == 503 and reply.json()["code"] == "merged_just_now"


async def _again(arena: Arena, call: Call, reply: httpx.Response) -> httpx.Response:
    """Send a call again that was told that its customer was merged just now; no other refusal is one for the moment."""
    if reply.status_code != 503:
        return reply
    assert reply.json()["code"] == "merged_just_now"
    return await arena.send(call)


async def _at_least_wait(shop: Shop, number: int) -> bool:
    return await lock_waiters(shop) >= number


async def test_merges_in_all_directions_at_once_end_in_one_member_with_all_points(shop: Shop) -> None:
    """Four memberships of one person, and every merge of two of them: three happen, in whatever order."""
    members = [await shop.enrol() for _ in range(4)]
    for number, member in enumerate(members, start=1):
        given = {"member_id": member["id"], "points": 10**number, "reason": "race"}
        await shop.post("/v1/adjustments", given)
    pairs = [_merge(one, other) for one, other in permutations(members, 2)]
    replies = await together([shop.send("POST", "/v1/member-merges", call.body) for call in pairs * 2])
    assert set(outcomes(replies)) <= {(201, ""), (409, "member_already_merged"), (409, "member_closed")}
    assert len({reply.json()["id"] for reply in replies if reply.status_code == 201}) == 3
    balances = [(await shop.wallet(member["id"]))["balance"] for member in members]
    assert sorted(balances) == [0, 0, 0, 11_110]
    await shop.books_hold()


def _merge(giver: Json, receiver: Json) -> Call:
    body = {"from_member_id": giver["id"], "into_member_id": receiver["id"], "reason": "race"}
    return Call("merge", "/v1/member-merges", body)


async def test_an_order_in_a_merged_members_name_beside_the_same_merge_again_is_no_deadlock(shop: Shop) -> None:
    """The merge locks both in order of id and waits; the order locks the one that ended, then wants the other."""
    stays, ended = await shop.enrol(), await shop.enrol()
    assert (await shop.send("POST", "/v1/member-merges", _merge(ended, stays).body)).status_code == 201
    body = shop.order_body(10, customer_id=ended["customer_id"])
    replies = await _in_line_for(
        shop,
        stays,
        shop.send("POST", "/v1/member-merges", _merge(ended, stays).body),
        shop.send("POST", "/v1/orders", body),
    )
    assert [reply.status_code for reply in replies] == [409, 201]
    assert (await shop.wallet(stays["id"]))["balance"] == 10
    await shop.books_hold()


async def test_a_merge_onwards_beside_an_order_in_the_name_of_one_merged_before_is_no_deadlock(shop: Shop) -> None:
    """The merge writes to everyone merged before into the one that ends; the order has such a one under lock."""
    before, ends, stays = await shop.enrol(), await shop.enrol(), await shop.enrol()
    assert (await shop.send("POST", "/v1/member-merges", _merge(before, ends).body)).status_code == 201
    body = shop.order_body(10, customer_id=before["customer_id"])
    replies = await _in_line_for(
        shop,
        ends,
        shop.send("POST", "/v1/member-merges", _merge(ends, stays).body),
        shop.send("POST", "/v1/orders", body),
    )
    assert outcomes(replies) == {(201, ""): 1, (503, "merged_just_now"): 1}
    await shop.send("POST", "/v1/orders", body, expect=201)
    assert (await shop.wallet(stays["id"]))["balance"] == 10
    await shop.books_hold()


async def test_a_friend_who_joins_while_their_advocate_is_merged_is_brought_by_the_heir(shop: Shop) -> None:
    heir, advocate = await shop.enrol(), await shop.enrol()
    friend = {"external_id": "friend", "referral_code": advocate["referral_code"]}
    replies = await _in_line_for(
        shop,
        advocate,
        shop.send("POST", "/v1/member-merges", _merge(advocate, heir).body),
        shop.send("POST", "/v1/members", friend),
        table="members",
    )
    assert outcomes(replies) == {(201, ""): 2}
    joined = replies[1].json()
    assert joined["attribution"]["advocate_id"] == heir["id"]
    await shop.order(100, customer_id=joined["customer_id"])
    assert (await shop.wallet(heir["id"]))["balance"] == 50
    await shop.books_hold()


async def _in_line_for(
    shop: Shop, member: Json, *calls: Coroutine[Any, Any, httpx.Response], table: str = "customers"
) -> list[httpx.Response]:
    """Let calls queue for a customer's row in this very order, then let go of it."""
    own = {"program_id": shop.program.id, "id": ids.parse("cus", member["customer_id"])}
    tasks = []
    async with transaction(shop.sessions) as session:
        query = f"SELECT 1 FROM {table} WHERE program_id = :program_id AND id = :id FOR UPDATE"  # noqa: S608 -- ours
        assert (await session.execute(text(query), own)).scalar_one() == 1
        for call in calls:
            tasks.append(asyncio.create_task(call))
            await until(partial(_at_least_wait, shop, len(tasks)))
    return list(await asyncio.gather(*tasks))


async def test_captures_of_holds_that_run_out_at_that_moment_happen_or_are_refused_and_never_both(shop: Shop) -> None:
    member = await shop.enrol()
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": 200, "reason": "race"})
    body = {"member_id": member["id"], "points": 10, "expires_in_seconds": 60}
    holds = [await shop.post("/v1/holds", body) for _ in range(16)]
    captures = [shop.send("POST", f"/v1/holds/{held['id']}/capture", {}) for held in holds]
    past = {"to": "2026-01-01T12:01:00Z"}
    calls = [*captures[:8], shop.send("POST", "/v1/test-clock/advance", past, expect=200), *captures[8:]]
    replies = await together(calls)
    answers = [*replies[:8], *replies[9:]]
    assert set(outcomes(answers)) <= {(201, ""), (409, "hold_ended")}
    states = [(await shop.get(f"/v1/holds/{held['id']}"))["state"] for held in holds]
    assert states == ["captured" if reply.status_code == 201 else "expired" for reply in answers]
    captured = outcomes(answers)[201, ""]
    wallet = await shop.wallet(member["id"])
    assert (wallet["available"], wallet["held"]) == (200 - 10 * captured, 0)
    await shop.books_hold()


async def test_points_that_end_while_they_are_spent_are_spent_or_expire_and_never_both(shop: Shop) -> None:
    member, reward = await shop.enrol(), await shop.reward(cost=10)
    given = {"member_id": member["id"], "points": 405, "reason": "race", "expires_at": LAPSED_AT}
    await shop.post("/v1/adjustments", given)
    body = {"member_id": member["id"], "reward_id": reward["id"]}
    spends = [shop.send("POST", "/v1/redemptions", body) for _ in range(40)]
    calls = [*spends[:20], shop.send("POST", "/v1/test-clock/advance", {"to": LAPSED_AT}, expect=200), *spends[20:]]
    replies = await together(calls)
    answers = [*replies[:20], *replies[21:]]
    assert set(outcomes(answers)) <= {(201, ""), (409, "not_enough_points")}
    spent = 10 * outcomes(answers)[201, ""]
    expired = "SELECT sum(points)::bigint FROM entries WHERE program_id = :id AND kind = 'expire'"
    assert await number_of(shop, expired) == 405 - spent
    assert (await shop.wallet(member["id"]))["balance"] == 0
    await shop.books_hold()


async def test_returns_of_points_already_spent_become_debt_that_later_points_pay_once(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"clawback": "allow_debt"}, expect=200)
    member, reward = await shop.enrol(), await shop.reward(cost=10)
    customer = {"customer_id": member["customer_id"]}
    bought = [await shop.order(10, **customer) for _ in range(16)]
    for _ in range(12):
        await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})
    body = {"member_id": member["id"], "reward_id": reward["id"]}
    calls = [
        *(shop.send("POST", f"/v1/orders/{order['id']}/returns", {}) for order in bought),
        *(shop.send("POST", "/v1/orders", shop.order_body(10, **customer)) for _ in range(8)),
        *(shop.send("POST", "/v1/redemptions", body) for _ in range(8)),
    ]
    Random(1).shuffle(calls)  # noqa: S311 -- the same order in every run
    replies = await together(calls)
    assert set(outcomes(replies)) <= {(201, ""), (409, "not_enough_points")}
    spent = sum(reply.request.url.path == "/v1/redemptions" and reply.status_code == 201 for reply in replies)
    assert outcomes(replies)[201, ""] == 24 + spent
    wallet = await shop.wallet(member["id"])
    assert wallet["balance"] == 160 - 120 - 160 + 80 - 10 * spent
    assert min(wallet["available"], wallet["debt"]) == 0
    assert wallet["debt"] == 40 + 10 * spent
    await shop.books_hold()
