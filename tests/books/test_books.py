"""The program's own books: roll-forward, cohorts, and the chain of sealed days."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from tests.shop import Json, Shop

from loyalty.books import rules
from loyalty.books import service as books
from loyalty.core import clock, ids
from loyalty.core.db import transaction
from loyalty.programs import service as programs

GRACE = timedelta(minutes=90)


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def year(shop: Shop) -> tuple[Json, Json]:
    """Two members and three months: earned, spent, restored, expired, reinstated, returned, given, adjusted."""
    policy = {"expiry": {"kind": "after", "days": 40}, "clawback": "allow_debt"}
    await shop.send("PATCH", "/v1/program", policy, expect=200)
    ann, bob = await shop.enrol(), await shop.enrol()
    order = await shop.order(100, customer_id=ann["customer_id"])
    reward = await shop.reward(cost=30)
    body = {"member_id": ann["id"], "reward_id": reward["id"]}
    first = await shop.post("/v1/redemptions", body)
    await shop.post("/v1/redemptions", body)
    await shop.post(f"/v1/redemptions/{first['id']}/cancellation", {})
    await shop.post("/v1/transfers", {"from_member_id": ann["id"], "to_member_id": bob["id"], "points": 20})
    await advance(shop, "2026-02-05T12:00:00Z")
    await shop.post("/v1/adjustments", {"member_id": bob["id"], "points": 15, "reason": "sorry"})
    await shop.post(f"/v1/orders/{order['id']}/returns", {"total": {"amount": 6_000, "currency": "EUR"}})
    await advance(shop, "2026-03-01T12:00:00Z")
    lot = next(lot for lot in (await shop.get(f"/v1/members/{bob['id']}/lots"))["data"] if lot["granted"] == 20)
    await shop.post(f"/v1/lots/{lot['id']}/reinstatement", {"expires_at": "2026-06-01T00:00:00Z", "reason": "asked"})
    await shop.order(5, customer_id=ann["customer_id"])
    return ann, bob


def moves(month: Json) -> Json:
    return {name: value for name, value in month.items() if value and name not in {"month", "opening", "closing"}}


async def test_the_liability_rolls_forward_month_by_month_to_todays_balances(shop: Shop) -> None:
    await year(shop)
    found = await shop.get("/v1/ledger/roll-forward?from=2026-01&to=2026-03")
    january, february, march = found["months"]
    assert (january["opening"], moves(january), january["closing"]) == (0, {"issued": 100, "redeemed": -30}, 70)
    assert (february["opening"], moves(february), february["closing"]) == (
        70,
        {"adjusted": 15, "reversed": -60, "expired": -20},
        5,
    )
    assert (march["opening"], moves(march)) == (5, {"issued": 5, "expired": 20})
    assert march["closing"] == found["balances"] == found["lots"] - found["debt"]
    assert found["holds"] is True
    short = await shop.get("/v1/ledger/roll-forward?from=2026-03&to=2026-03")
    assert short["months"] == [march]


async def test_each_cohort_tells_what_became_of_its_points(shop: Shop) -> None:
    await year(shop)
    found = await shop.get("/v1/ledger/cohorts")
    assert [(cohort["month"], cohort["issued"], cohort["remaining"]) for cohort in found["cohorts"]] == [
        ("2026-01", 100, 0),
        ("2026-02", 0, 15),
        ("2026-03", 5, 20),
    ]
    january = found["cohorts"][0]
    assert (january["redeemed"], january["reversed"], january["expired"]) == (-30, -50, -20)
    assert january["breakage"] == 0.4
    assert found["holds"] is True
    assert sum(cohort["remaining"] for cohort in found["cohorts"]) == found["lots"]


async def test_a_program_without_points_has_empty_books_that_hold(shop: Shop) -> None:
    found = await shop.get("/v1/ledger/roll-forward")
    assert len(found["months"]) == 12
    assert (found["months"][-1]["month"], found["months"][-1]["closing"], found["holds"]) == ("2026-01", 0, True)
    assert await shop.get("/v1/ledger/cohorts") == {
        "unit": "points", "as_of": "2026-01-01T12:00:00Z", "cohorts": [], "lots": 0, "debt": 0, "balances": 0,
        "holds": True,
    }  # fmt: skip


@pytest.mark.parametrize("asked", ["from=2026-13", "from=2026-02&to=2026-01", "from=1990-01&to=2026-01", "to=soon"])
async def test_months_of_nonsense_are_refused(shop: Shop, asked: str) -> None:
    await shop.refuses("GET", f"/v1/ledger/roll-forward?{asked}", status=400, code="months_out_of_order")


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["issued", "redeemed"]), st.integers(-99, 99))))
def test_months_always_continue_each_other(drawn: list[tuple[int, str, int]]) -> None:
    by_key: dict[tuple[int, str], int] = {}
    for month, account, points in drawn:
        by_key[month, account] = by_key.get((month, account), 0) + points
    first = datetime(2024, 1, 1, tzinfo=UTC).date()
    moved = [(rules._shift(first, month), account, points) for (month, account), points in sorted(by_key.items())]
    months = rules.roll_forward(moved, first=rules._shift(first, 5), last=rules._shift(first, 20))
    assert len(months) == 16
    assert all(one.closing == next_.opening for one, next_ in pairwise(months))
    assert months[-1].closing == sum(points for month, _, points in moved if month <= rules._shift(first, 20))


async def seal(shop: Shop, *, days: int = 1) -> bool:
    """Seal what is closed so many days from now, a while after midnight."""
    now = clock.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    then = midnight + timedelta(days=days) + GRACE if days else now
    async with transaction(shop.sessions) as session:
        program = await programs.get(session, program_id=shop.program.id)
        return await books.seal_next(session, program=program, now=program.now(now), real_now=then)


async def proof(shop: Shop) -> Json:
    return await shop.get("/v1/ledger/seals/verification")


async def tamper(shop: Shop, statement: str, **values: Any) -> None:
    """Change the ledger as only somebody can who owns the database and takes the rights back first."""
    async with transaction(shop.sessions) as session:
        for table in ("entries", "allocations"):
            await session.execute(text(f"GRANT UPDATE, DELETE ON {table} TO CURRENT_USER"))
        await session.execute(text(statement.replace("OWN", OWN)), {"id": shop.program.id, **values})
        for table in ("entries", "allocations"):
            await session.execute(text(f"REVOKE UPDATE, DELETE ON {table} FROM CURRENT_USER"))


async def test_a_closed_day_is_sealed_once_and_the_next_links_to_it(shop: Shop) -> None:
    await year(shop)
    assert await seal(shop, days=0) is False
    assert await seal(shop) is True
    assert await seal(shop) is False
    assert await seal(shop, days=2) is True
    one, two = (await shop.get("/v1/ledger/seals"))["data"]
    assert (two["since"], two["entries"]) == (one["until"], 0)
    assert one["entries"] == len(await all_entries(shop))
    found = await proof(shop)
    assert found == {"holds": True, "seals": 2, "head": two["digest"], "opening": None, "broken": []}
    page = await shop.get("/v1/ledger/seals?limit=1")
    assert (await shop.get(f"/v1/ledger/seals?limit=1&cursor={page['next_cursor']}"))["data"] == [two]


async def all_entries(shop: Shop) -> list[Any]:
    async with transaction(shop.sessions) as session:
        query = text("SELECT id FROM entries WHERE program_id = :id")
        return list((await session.execute(query, {"id": shop.program.id})).scalars())


OWN = "id = (SELECT min(id::text)::uuid FROM entries WHERE program_id = :id AND kind = 'spend') AND program_id = :id"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET points = points + 1 WHERE OWN",
        "UPDATE entries SET recorded_at = recorded_at + interval '1 second' WHERE OWN",
        "UPDATE entries SET occurred_at = occurred_at - interval '1 second' WHERE OWN",
        "UPDATE entries SET source_id = member_id WHERE OWN",
        "UPDATE entries SET corrects_id = id WHERE OWN",
        "UPDATE entries SET balance_after = 0, available_after = 0 WHERE OWN",
        "UPDATE entries SET id = gen_random_uuid() WHERE OWN",
        "DELETE FROM entries WHERE OWN",
        "UPDATE allocations SET points = points - 1 WHERE program_id = :id",
        "DELETE FROM allocations WHERE program_id = :id",
    ],
)
async def test_any_change_of_a_sealed_day_is_found_and_located(shop: Shop, statement: str) -> None:
    await year(shop)
    await seal(shop)
    await seal(shop, days=2)
    before = (await shop.get("/v1/ledger/seals"))["data"]
    await tamper(shop, statement)
    found = await proof(shop)
    assert found["holds"] is False
    assert [broken["until"] for broken in found["broken"]] == [before[0]["until"]]


async def test_an_entry_slipped_into_a_sealed_day_is_found(shop: Shop) -> None:
    await year(shop)
    await seal(shop)
    member = await shop.enrol()
    await shop.order(5, customer_id=member["customer_id"])
    (broken,) = (await proof(shop))["broken"]
    assert broken["entries_found"] == broken["entries_sealed"] + 1


async def test_a_seal_made_anew_breaks_the_one_after_it(shop: Shop) -> None:
    await year(shop)
    for days in (1, 2, 3):
        await seal(shop, days=days)
    seals = (await shop.get("/v1/ledger/seals"))["data"]
    async with transaction(shop.sessions) as session:
        forged = text("UPDATE ledger_seals SET digest = '\\x00' WHERE program_id = :id AND until = :until")
        await session.execute(forged, {"id": shop.program.id, "until": datetime.fromisoformat(seals[1]["until"])})
    assert [broken["until"] for broken in (await proof(shop))["broken"]] == [seals[1]["until"], seals[2]["until"]]
    async with transaction(shop.sessions) as session:
        gone = text("DELETE FROM ledger_seals WHERE program_id = :id AND until = :until")
        await session.execute(gone, {"id": shop.program.id, "until": datetime.fromisoformat(seals[1]["until"])})
    assert [broken["until"] for broken in (await proof(shop))["broken"]] == [seals[2]["until"]]


@given(st.floats(31_536_000, 7_226_582_400))
def test_ids_know_when_they_were_made(seconds: float) -> None:
    at = datetime.fromtimestamp(int(seconds * 1000) / 1000, UTC)
    assert abs(ids.made_at(ids.floor(at)) - at) <= timedelta(milliseconds=1)
    assert ids.floor(at - timedelta(hours=1)) < ids.floor(at) < ids.floor(at + timedelta(hours=1))


def test_a_new_id_was_made_just_now() -> None:
    before, made, after = clock.now(), ids.made_at(ids.new()), clock.now()
    assert before - timedelta(milliseconds=1) <= made <= after


async def test_the_worker_seals_closed_days(shop: Shop) -> None:
    assert "ledger.sealed" not in await told(shop)
    await year(shop)
    await seal(shop)
    assert "ledger.sealed" in await told(shop)


async def told(shop: Shop) -> set[str]:
    async with transaction(shop.sessions) as session:
        query = text("SELECT DISTINCT type FROM events WHERE program_id = :id")
        return set((await session.execute(query, {"id": shop.program.id})).scalars())
