"""Months of entries are taken off, and nothing changes but what is told of them."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from asyncpg import Connection
from sqlalchemy import text
from tests.shop import Json, Shop
from tests.test_months import connection, database, database_of, own_shop, shop_in, started, typed

from loyalty.books import openings
from loyalty.books import service as books
from loyalty.core import clock, ids, months
from loyalty.core.db import transaction
from loyalty.points.errors import EntriesStraddle

__all__ = ["connection", "database", "own_shop"]

LONG_AGO = timedelta(days=130)
AGO = timedelta(days=95)
PUBLIC_ID = re.compile(r"^[a-z]{3}_[0-9a-z]{26}$")
OF_ENTRIES = {"entries", "balance_after"}


@pytest.fixture
async def another_shop(server_url: str) -> AsyncIterator[Shop]:
    async with database_of(server_url) as url, shop_in(url) as shop:
        yield shop


@contextmanager
def ids_of(ago: timedelta) -> Iterator[None]:
    """Let everything be written as if the real clock stood so long ago."""
    count, past = iter(range(1 << 60)), ids.floor(clock.now() - ago).int
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "new", lambda: UUID(int=past + (next(count) << 64 | uuid4().int >> 64)))
        yield


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def divide(shop: Shop) -> None:
    await months.divide(shop.sessions, "entries", now=clock.now() - LONG_AGO)
    async with transaction(shop.sessions) as session:
        await months.extend(session, "entries", now=clock.now())


async def seal(shop: Shop) -> None:
    more = True
    while more:
        async with transaction(shop.sessions) as session:
            more = await books.seal_next(session, program=shop.program, now=clock.now(), real_now=clock.now())


def until(ago: timedelta) -> datetime:
    """Return the end of the month that lies so long ago."""
    return datetime.fromisoformat(f"{month(ago)}-01").replace(tzinfo=UTC)


def month(ago: timedelta) -> str:
    """Return the month after the one that lies so long ago."""
    return f"{(clock.now() - ago).replace(day=1) + timedelta(days=31):%Y-%m}"


async def past(shop: Shop) -> Json:
    """Two periods: earned, spent, paid with, held, transferred, expired, reinstated, merged, owed."""
    with ids_of(LONG_AGO):
        burn = {"rates": {"EUR": {"points": 10, "amount_minor": 100}}, "least_points": 10, "most_percent": 50}
        policy = {"expiry": {"kind": "after", "days": 30}, "clawback": "allow_debt", "burn": burn}
        await shop.send("PATCH", "/v1/program", policy, expect=200)
        ann, bob, cid, dan, eve = [await shop.enrol() for _ in range(5)]
        first = await shop.order(100, customer_id=ann["customer_id"])
        reward = await shop.reward(cost=30)
        taken = await shop.post("/v1/redemptions", {"member_id": ann["id"], "reward_id": reward["id"]})
        await shop.post("/v1/transfers", {"from_member_id": ann["id"], "to_member_id": bob["id"], "points": 20})
        await shop.post("/v1/adjustments", {"member_id": bob["id"], "points": 200, "reason": "sorry"})
        paid = await shop.order(80, customer_id=bob["customer_id"], pay_points=60)
        await shop.order(70, customer_id=bob["customer_id"], status="placed")
        merged = await shop.order(40, customer_id=cid["customer_id"])
        lapsing = await shop.order(100, customer_id=eve["customer_id"])
        owing = await shop.order(50, customer_id=dan["customer_id"])
        await shop.post("/v1/redemptions", {"member_id": dan["id"], "reward_id": reward["id"]})
        await shop.post(f"/v1/orders/{owing['id']}/returns", {})
        given = await shop.post("/v1/redemptions", {"member_id": cid["id"], "reward_id": reward["id"]})
        await advance(shop, "2026-02-05T12:00:00Z")
        await shop.post("/v1/adjustments", {"member_id": bob["id"], "points": 90, "reason": "sorry"})
        held = await shop.post("/v1/holds", {"member_id": bob["id"], "points": 15, "expires_in_seconds": 604_800})
    with ids_of(AGO):
        merge = {"from_member_id": cid["id"], "into_member_id": ann["id"], "reason": "the same person"}
        await shop.post("/v1/member-merges", merge)
        await advance(shop, "2026-02-10T12:00:00Z")
        lot = next(own for own in (await shop.get(f"/v1/members/{ann['id']}/lots"))["data"] if own["granted"] == 100)
        reinstated = {"expires_at": "2026-06-01T00:00:00Z", "reason": "asked"}
        await shop.post(f"/v1/lots/{lot['id']}/reinstatement", reinstated)
        late = await shop.order(30, customer_id=ann["customer_id"])
        for order in (late, lapsing):
            await shop.post(f"/v1/orders/{order['id']}/returns", {"total": {"amount": 1_000, "currency": "EUR"}})
        await shop.order(10, customer_id=dan["customer_id"])
        assert (await shop.wallet(dan["id"]))["debt"] == 20
    return {
        "members": [ann, bob, dan, eve],
        "orders": [first, paid, late, merged, lapsing],
        "redemptions": [taken, given],
        "hold": held,
    }


async def present(shop: Shop, was: Json) -> list[Any]:
    """Undo what had happened, and go on; return what is told of it."""
    told: list[Any] = [await shop.post(f"/v1/redemptions/{own['id']}/cancellation", {}) for own in was["redemptions"]]
    for order in was["orders"]:
        half = {"total": {"amount": 1_500, "currency": "EUR"}}
        told.append(await shop.post(f"/v1/orders/{order['id']}/returns", half))
        told.append(await shop.post(f"/v1/orders/{order['id']}/cancellation", {}))
    await shop.post(f"/v1/holds/{was['hold']['id']}/capture", {"points": 5})
    await shop.order(25, customer_id=was["members"][1]["customer_id"])
    await advance(shop, "2026-07-01T12:00:00Z")
    return told


async def state(shop: Shop, was: Json) -> list[Any]:
    told: list[Any] = [
        await shop.get("/v1/ledger/roll-forward?from=2025-12&to=2026-07"),
        await shop.get("/v1/ledger/cohorts"),
        await shop.get("/v1/ledger/verification"),
    ]
    for member in was["members"]:
        told += [await shop.get(f"/v1/members/{member['id']}/{what}") for what in ("wallets", "lots")]
    return told


def alike(told: Any) -> Any:
    """Leave out what two houses name differently, and what is told of entries."""
    if isinstance(told, list):
        return [alike(each) for each in told]
    if isinstance(told, dict):
        return {name: alike(value) for name, value in told.items() if name not in OF_ENTRIES | {"code", "as_of"}}
    return told[:3] if isinstance(told, str) and PUBLIC_ID.match(told) else told


@pytest.mark.parametrize("is_cut_off", [False, True], ids=["taken off", "ended before that"])
async def test_what_openings_stand_for_counts_as_before(
    own_shop: Shop, another_shop: Shop, database: str, connection: Connection, *, is_cut_off: bool
) -> None:
    await divide(own_shop)
    was, there = [await past(shop) for shop in (own_shop, another_shop)]
    entries = (await own_shop.get("/v1/ledger/verification"))["entries"]
    balance = {one["id"]: (await own_shop.wallet(one["id"]))["balance"] for one in was["members"]}
    refused = await typed(database, "detach", "entries", "--before", month(LONG_AGO), expect=1)
    assert "not sealed yet" in refused[0]
    await seal(own_shop)
    for ago in (LONG_AGO, AGO):
        if is_cut_off:
            async with transaction(own_shop.sessions) as session:
                assert await openings.open_books(session, program=own_shop.program, until=until(ago), now=clock.now())
        else:
            assert await typed(database, "detach", "entries", "--before", month(ago))
            assert await typed(database, "detach", "entries", "--before", month(ago)) == []
        proof = await own_shop.get("/v1/ledger/seals/verification")
        assert (proof["holds"], proof["opening"]["until"][:7]) == (True, month(ago))
        assert alike(await state(own_shop, was)) == alike(await state(another_shop, there))
    assert await connection.fetchval("SELECT count(*) FROM entries") == (entries if is_cut_off else 0)
    assert (await own_shop.get("/v1/ledger/verification"))["entries"] == entries
    for one in was["members"]:
        page = await own_shop.get(f"/v1/members/{one['id']}/entries")
        assert (page["data"], page["opening"]["balance"]) == ([], balance[one["id"]])
    assert alike(await present(own_shop, was)) == alike(await present(another_shop, there))
    assert alike(await state(own_shop, was)) == alike(await state(another_shop, there))
    verified = await typed(database, "ledger", "verify", "--program", own_shop.program.slug)
    assert any("Opening balances hold" in line for line in verified)


async def test_what_is_told_of_entries_begins_with_the_opening(own_shop: Shop, database: str) -> None:
    await divide(own_shop)
    was = await past(own_shop)
    await seal(own_shop)
    redemption = f"/v1/redemptions/{was['redemptions'][0]['id']}"
    assert (await own_shop.get(redemption))["balance_after"] == 70
    await typed(database, "detach", "entries", "--before", month(AGO))
    assert (await own_shop.get(redemption))["balance_after"] is None
    assert (await own_shop.get(f"/v1/orders/{was['orders'][0]['id']}"))["entries"] == []
    for euros in (5, 6):
        await own_shop.order(euros, customer_id=was["members"][0]["customer_id"])
    entries = f"/v1/members/{was['members'][0]['id']}/entries"
    whole, first = [await own_shop.get(f"{entries}?limit={limit}") for limit in (100, 1)]
    assert whole["data"][-1]["version"] == whole["opening"]["version"] + 1
    assert whole["data"][-1]["balance_after"] == whole["opening"]["balance"] + whole["data"][-1]["points"]
    assert (first["has_more"], first["opening"]) == (True, None)
    token = await own_shop.token(was["members"][0]["id"])
    assert await own_shop.get("/v1/me/entries?limit=100", bearer=token) == whole


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE wallet_openings SET available = available + 1",
        "UPDATE lapse_openings SET points = points - 1",
        "DELETE FROM lapse_openings",
        "UPDATE month_openings SET points = points + 1",
        "UPDATE cohort_openings SET month = month - interval '1 month'",
        "UPDATE ledger_openings SET digest = '\\x00'",
        "UPDATE ledger_openings SET entries = entries + 1",
        "UPDATE ledger_seals SET entries = 999 WHERE until = (SELECT min(until) FROM ledger_seals)",
        "UPDATE lots SET granted = granted + 1, remaining = remaining + 1 WHERE granted = 40",
        "INSERT INTO allocations SELECT program_id, entry_id, id, 1 FROM lots WHERE granted = 40",
        "UPDATE ledger_seals SET digest = '\\x00' WHERE until = (SELECT until FROM ledger_openings)",
    ],
)
async def test_openings_that_were_changed_are_found(own_shop: Shop, database: str, statement: str) -> None:
    await divide(own_shop)
    await past(own_shop)
    await seal(own_shop)
    await typed(database, "detach", "entries", "--before", month(AGO))
    async with transaction(own_shop.sessions) as session:
        await session.execute(text(statement))
    assert not (await own_shop.get("/v1/ledger/seals/verification"))["holds"]
    assert "The opening balances are not as they were made." in await typed(
        database, "ledger", "verify", "--program", own_shop.program.slug, expect=1
    )


async def test_entries_out_of_order_stay(own_shop: Shop) -> None:
    member = await own_shop.enrol()
    with ids_of(AGO):
        await own_shop.order(10, customer_id=member["customer_id"])
    with ids_of(LONG_AGO):
        await own_shop.order(10, customer_id=member["customer_id"])
    await seal(own_shop)
    async with own_shop.sessions() as session:
        with pytest.raises(EntriesStraddle):
            await openings.open_books(session, program=own_shop.program, until=until(LONG_AGO), now=clock.now())


async def test_books_that_do_not_hold_are_not_closed(own_shop: Shop, database: str) -> None:
    await divide(own_shop)
    await past(own_shop)
    await seal(own_shop)
    async with transaction(own_shop.sessions) as session:
        await session.execute(text("UPDATE wallets SET available = available + 1 WHERE debt = 0"))
    refused = await typed(database, "detach", "entries", "--before", month(AGO), expect=1)
    assert "do not hold" in refused[0]


async def test_entries_of_late_stay(own_shop: Shop, database: str) -> None:
    await divide(own_shop)
    await past(own_shop)
    await seal(own_shop)
    await typed(database, "detach", "entries", "--before", "2100-01")
    async with transaction(own_shop.sessions) as session:
        oldest = (await months.parts(session, "entries"))[0]
    assert oldest.until > clock.now() - timedelta(days=31)


async def test_what_ended_while_it_was_taken_off_is_finished(
    own_shop: Shop, database: str, connection: Connection
) -> None:
    await divide(own_shop)
    await past(own_shop)
    await seal(own_shop)
    command = ("detach", "entries", "--before", month(LONG_AGO))
    reading = connection.transaction()
    await reading.start()
    await connection.fetch("SELECT FROM entries")
    process = await started(database, *command)
    while not await connection.fetchval("SELECT count(*) FROM pg_inherits WHERE inhdetachpending"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    process.kill()
    await process.wait()
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query ~ '^ALTER'"
    )
    await reading.rollback()
    (gone,) = await typed(database, *command)
    assert gone.startswith("entries_before_")
    assert not await connection.fetchval("SELECT count(*) FROM pg_inherits WHERE inhdetachpending")
    await own_shop.books_hold()
