"""Birthdays, which come by themselves: by the job, and on the way of the test clock."""

import asyncio
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from tests.earning.till import advance, balances, make_rule
from tests.shop import Json, Shop

from loyalty import worker
from loyalty.activities.rules import birthdays_on, next_birthday
from loyalty.core.db import transaction
from loyalty.programs import service as programs

BIRTHDAY: Json = {"activity": "birthday", "points": 50}


async def celebrated(shop: Shop, member: Json) -> list[tuple[str, int]]:
    found = (await shop.get(f"/v1/activities?member_id={member['id']}"))["data"]
    return [(row["occurred_at"], row["points_earned"]) for row in reversed(found) if row["type"] == "birthday"]


async def test_each_birthday_is_paid_at_the_start_of_its_local_day_once_a_year(shop: Shop) -> None:
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    ann, leap, none = (
        await shop.enrol(birth_on="1990-03-10"),
        await shop.enrol(birth_on="2000-02-29"),
        await shop.enrol(),
    )
    await advance(shop, "2026-03-09T22:59:59Z")
    assert await celebrated(shop, ann) == []
    assert await celebrated(shop, leap) == [("2026-02-27T23:00:00Z", 50)]
    await advance(shop, "2028-03-01T00:00:00Z")
    assert await celebrated(shop, ann) == [("2026-03-09T23:00:00Z", 50), ("2027-03-09T23:00:00Z", 50)]
    assert (await celebrated(shop, leap))[1:] == [("2027-02-27T23:00:00Z", 50), ("2028-02-28T23:00:00Z", 50)]
    assert (await celebrated(shop, none), await balances(shop, leap)) == ([], {"points": 150})
    await shop.books_hold()


async def test_points_of_a_birthday_expire_on_the_way_of_the_clock(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"expiry": {"kind": "after", "days": 30}}, expect=200)
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    member = await shop.enrol(birth_on="1990-02-10")
    await advance(shop, "2027-02-20T00:00:00Z")
    found = (await shop.get(f"/v1/members/{member['id']}/entries"))["data"]
    assert [(entry["kind"], entry["occurred_at"][:10]) for entry in reversed(found)] == [
        ("earn", "2026-02-09"), ("expire", "2026-03-12"), ("earn", "2027-02-09"),
    ]  # fmt: skip


async def test_who_joined_after_it_began_or_may_not_earn_gets_nothing(shop: Shop) -> None:
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    suspended = await shop.enrol(birth_on="1990-02-10")
    body = {"status": "suspended", "suspends": "earn", "reason": "checked"}
    await shop.post(f"/v1/members/{suspended['id']}/status-changes", body)
    await advance(shop, "2026-02-11T12:00:00Z")
    late = await shop.enrol(birth_on="1990-02-10")
    await advance(shop, "2026-02-12T06:00:00Z")
    today = await shop.enrol(birth_on="1990-02-12")
    await advance(shop, "2026-02-13T12:00:00Z")
    found = [await celebrated(shop, member) for member in (suspended, late, today)]
    assert found == [[], [], []]


async def test_a_change_of_the_date_brings_no_second_birthday_in_a_year(shop: Shop) -> None:
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    member = await shop.enrol(birth_on="1990-02-10")
    await advance(shop, "2026-02-11T12:00:00Z")
    await shop.send("PATCH", f"/v1/members/{member['id']}", {"birth_on": "1990-03-10"}, expect=200)
    await advance(shop, "2026-04-01T00:00:00Z")
    assert await balances(shop, member) == {"points": 50}


async def test_who_was_merged_or_erased_has_no_birthday_of_their_own(shop: Shop) -> None:
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    kept, merged, erased = [await shop.enrol(birth_on="1990-02-10") for _ in range(3)]
    pair = {"from_member_id": merged["id"], "into_member_id": kept["id"], "reason": "one person"}
    await shop.post("/v1/member-merges", pair)
    await shop.post(f"/v1/members/{erased['id']}/erasure", {"reason": "asked"}, expect=200)
    await advance(shop, "2026-02-11T12:00:00Z")
    assert await celebrated(shop, kept) == [("2026-02-09T23:00:00Z", 50)]
    assert await balances(shop, kept) == {"points": 50}
    await shop.books_hold()


async def test_workers_beside_each_other_pay_each_member_once(shop: Shop) -> None:
    await make_rule(shop, "points_per_activity", **BIRTHDAY)
    await worker.run_due_jobs(shop.sessions)
    members = [await shop.enrol(birth_on="1990-01-03") for _ in range(12)]
    async with transaction(shop.sessions) as session:
        to = datetime(2026, 1, 3, 12, tzinfo=UTC)
        await programs.advance_clock(session, program_id=shop.program.id, to=to, real_now=to)
        await session.execute(text("UPDATE jobs SET run_at = '2020-01-01' WHERE name = 'celebrate_birthdays'"))
    await asyncio.gather(*(worker.run_due_jobs(shop.sessions) for _ in range(3)))
    await worker.run_due_jobs(shop.sessions)
    assert [await balances(shop, member) for member in members] == [{"points": 50}] * 12
    await shop.books_hold()


@pytest.mark.parametrize(
    ("day", "whose"),
    [
        (date(2028, 2, 28), {(2, 28)}),
        (date(2028, 2, 29), {(2, 29)}),
        (date(2027, 2, 28), {(2, 28), (2, 29)}),
        (date(2027, 3, 1), {(3, 1)}),
    ],
)
def test_who_was_born_on_a_leap_day_has_a_birthday_every_year(day: date, whose: set[tuple[int, int]]) -> None:
    assert birthdays_on(day) == whose


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_the_next_birthday_is_the_first_day_that_is_one(born: date, after: date) -> None:
    found = next_birthday(born.month, born.day, after=after)
    days = (date.fromordinal(n) for n in range(after.toordinal() + 1, after.toordinal() + 368))
    assert found == next(day for day in days if (born.month, born.day) in birthdays_on(day))
