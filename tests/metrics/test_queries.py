from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from loyalty.metrics import queries
from loyalty.metrics import trials as trial_queries
from loyalty.metrics.rules import NO_BUYERS, JoinCounts, RetentionSets, Standing, Trials
from loyalty.metrics.strata import FINE
from loyalty.metrics.windows import Window, first_instant

if TYPE_CHECKING:
    from uuid import UUID

    from tests.metrics.conftest import OpenShop, Shop


def window(shop: Shop, first: str, end: str) -> Window:
    return Window(first=date.fromisoformat(first), end=date.fromisoformat(end), zone=shop.zone)


def sets(retained: int = 0, lost: int = 0, new: int = 0, reactivated: int = 0) -> RetentionSets:
    return RetentionSets(retained=retained, lost=lost, new=new, reactivated=reactivated)


async def buyers(
    shop: Shop, *, as_of: str = "2026-07-15", first: str = "2026-04-01", end: str = "2026-07-01"
) -> RetentionSets:
    found = await queries.list_retention_sets(shop.session, view=shop.view(as_of), window=window(shop, first, end))
    return sum(found.values(), start=NO_BUYERS)


async def test_retained_lost_new_and_reactivated(shop: Shop) -> None:
    people = await shop.customers(10)
    await shop.orders(people[:6], "2026-02-10")  # six in the first quarter
    await shop.orders(people[:4], "2026-05-10")  # four of them again in the second
    await shop.orders(people[6:8], "2025-11-10")  # two had bought before both,
    await shop.orders(people[6:7], "2026-06-30")  # one of whom comes back
    await shop.orders(people[8:9], "2026-04-01T00:00")
    await shop.orders(people[9:], "2026-07-01T00:00")  # after the window
    assert await buyers(shop) == sets(retained=4, lost=2, new=1, reactivated=1)


async def test_an_order_on_a_boundary_belongs_to_the_window_that_begins(shop: Shop) -> None:
    people = await shop.customers(2)
    await shop.orders(people, "2026-03-31T23:59:59")
    await shop.orders(people[:1], "2026-04-01T00:00:00")
    assert await buyers(shop) == sets(retained=1, lost=1)


async def test_what_is_not_a_counted_order(shop: Shop) -> None:
    people = await shop.customers(6)
    await shop.orders(people, "2026-02-10")
    await shop.orders(people[:1], "2026-05-01", cancelled="2026-05-02")
    await shop.orders(people[1:2], "2026-05-01", paid=None)
    await shop.orders(people[2:3], "2026-05-01", paid="2026-07-20")  # paid after as_of
    await shop.orders(people[3:4], "2026-05-01", cancelled="2026-07-20")  # cancelled after as_of: still counts
    await shop.orders(people[4:5], "2026-05-01", recorded="2026-07-20")  # not known at as_of
    await shop.orders([None, None], "2026-05-01")
    assert await buyers(shop) == sets(retained=1, lost=5)
    assert await buyers(shop, as_of="2026-07-25") == sets(retained=2, lost=4)
    second = window(shop, "2026-04-01", "2026-07-01")
    assert await queries.count_orders_left_out(shop.session, view=shop.view("2026-07-15"), window=second) == {
        "cancelled_orders": 1,
        "unpaid_orders": 2,
        "unidentified_orders": 2,
    }


async def test_another_program_is_invisible(shop: Shop, open_shop: OpenShop) -> None:
    other = await open_shop("Europe/Berlin")
    await other.orders(await other.customers(3), "2026-05-01")
    assert await buyers(shop) == NO_BUYERS


async def test_windows_follow_the_local_clock_through_a_clock_change_and_a_leap_day(shop: Shop) -> None:
    people = await shop.customers(3)
    # 29 March 2026 has 23 hours in Berlin: 23:30 is 21:30 UTC.
    await shop.orders(people, "2026-03-28T23:59")
    await shop.orders(people[:1], "2026-03-29T00:00")
    await shop.orders(people[1:2], "2026-03-29T23:30")
    await shop.orders(people[2:], "2026-03-30T00:00")
    assert await buyers(shop, first="2026-03-29", end="2026-03-30") == sets(retained=2, lost=1)
    leaper = await shop.customers(1)
    await shop.orders(leaper, "2024-02-29T23:59")
    await shop.orders(leaper, "2024-03-01T00:00")
    assert await buyers(shop, first="2024-03-01", end="2024-04-01") == sets(retained=1)


async def test_standing_is_that_of_the_first_instant_of_the_earlier_window(shop: Shop) -> None:
    people = await shop.customers(8)
    await shop.orders(people, "2026-02-10")
    await shop.orders(people[::2], "2026-05-10")
    await shop.enrol(people[0:1], "2025-12-31")
    await shop.enrol(people[1:2], "2026-01-01T00:00")  # at the very instant
    await shop.enrol(people[2:3], "2026-01-01T00:00:01")
    await shop.enrol(people[3:4], "2026-06-30T23:59")
    await shop.enrol(people[4:5], "2026-07-01T00:00")  # after both windows
    await shop.enrol(people[5:6], "2025-06-01", closed="2026-03-01")
    await shop.enrol(people[6:7], "2025-06-01", closed="2025-12-01")  # a former member
    found = await queries.list_retention_sets(
        shop.session, view=shop.view("2026-07-15"), window=window(shop, "2026-04-01", "2026-07-01")
    )
    assert found == {
        Standing.MEMBER: sets(retained=1, lost=1),
        Standing.JOINED_DURING: sets(retained=1, lost=1),
        Standing.LEFT_DURING: sets(lost=1),
        Standing.NON_MEMBER: sets(retained=2, lost=1),
    }


async def test_repeat_buyers_need_a_second_day_in_time_and_entrants_must_be_mature(shop: Shop) -> None:
    people = await shop.customers(6)
    await shop.orders(people[:5], "2026-01-10")
    await shop.orders(people[0:1], "2026-01-10T18:00")  # the same day is one purchase day
    await shop.orders(people[1:2], "2026-02-09")  # day 30
    await shop.orders(people[2:3], "2026-02-10")  # day 31
    await shop.orders(people[3:4], "2026-01-11T00:01")
    await shop.orders(people[5:], "2026-01-20")
    first = window(shop, "2026-01-01", "2026-02-01")

    async def found(as_of: str) -> tuple[int, int, int]:
        counts = await queries.count_repeat_buyers(shop.session, view=shop.view(as_of), window=first, horizon_days=30)
        return counts.entrants, counts.repeated, counts.immature

    assert await found("2026-03-01") == (6, 2, 0)
    assert await found("2026-02-19") == (5, 2, 1)
    assert await found("2026-02-10") == (5, 2, 1)
    assert await found("2026-02-09T23:59") == (0, 0, 6)


async def referrers(shop: Shop, *, as_of: str = "2026-07-15") -> dict[str, int]:
    counts = await queries.count_referrers(
        shop.session,
        view=shop.view(as_of),
        window=window(shop, "2026-04-01", "2026-07-01"),
        tenured_by=first_instant(date(2026, 6, 1), zone=shop.zone),
    )
    return {name: getattr(counts, name) for name in counts.__slots__ if getattr(counts, name)}


async def test_members_count_once_if_eligible_for_an_instant_of_the_window(shop: Shop) -> None:
    people = await shop.customers(8)
    await shop.enrol(people[0:1], "2026-01-01")
    await shop.enrol(people[1:2], "2026-06-01T00:00")  # tenured to the instant
    await shop.enrol(people[2:3], "2026-06-30T23:59")
    await shop.enrol(people[3:4], "2026-07-01T00:00")  # after
    await shop.enrol(people[4:5], "2026-01-01", closed="2026-04-01T00:00")  # before
    await shop.enrol(people[5:6], "2026-01-01", closed="2026-04-01T00:01")
    await shop.enrol(people[6:7], "2026-01-01", status="suspended")
    await shop.enrol(await shop.customers(1, erased="2026-03-01"), "2026-01-01")
    await shop.enrol(await shop.customers(1, erased="2026-05-01"), "2026-01-01")
    assert await referrers(shop) == {"members": 6, "tenured": 5, "suspended": 1}


async def test_a_referral_counts_when_it_qualified_in_the_window_and_is_approved(shop: Shop) -> None:
    advocates = await shop.enrol(await shop.customers(6), "2026-01-01")
    late = await shop.enrol(await shop.customers(1), "2026-06-20")
    friends = await shop.enrol(await shop.customers(12), "2026-07-05")
    made = iter(friends)

    async def refer(advocate: UUID, qualified: str | None, approved: str | None, ended: str | None = None) -> None:
        await shop.refer(
            advocate, next(made), attributed="2026-03-20", qualified=qualified, approved=approved, ended=ended
        )

    await refer(advocates[0], "2026-04-01T00:00", "2026-04-15")
    await refer(advocates[0], "2026-05-01", "2026-05-15")  # the same advocate again
    await refer(advocates[1], "2026-06-30T23:59", "2026-07-14")
    await refer(advocates[2], "2026-06-30T23:59", "2026-07-16")  # not yet approved at as_of
    await refer(advocates[3], "2026-05-01", "2026-05-15", "2026-06-01")  # reversed
    await refer(advocates[4], "2026-07-01T00:00", "2026-07-14")  # qualified after
    await refer(advocates[5], None, None)
    await refer(late[0], "2026-06-25", "2026-07-09")
    await refer(friends[11], "2026-06-25", "2026-07-09")  # an advocate who was no member yet
    assert await referrers(shop) == {
        "members": 7,
        "tenured": 6,
        "approved": 3,
        "approved_tenured": 2,
        "qualified": 4,
        "ended": 1,
        "by_others": 1,
        "waiting": 1,
    }
    later = await referrers(shop, as_of="2026-07-20")
    assert (later["approved"], later.get("waiting", 0)) == (4, 0)


async def test_new_customers_with_a_live_binding(shop: Shop) -> None:
    (advocate,) = await shop.enrol(await shop.customers(1), "2026-01-01")
    people = await shop.enrol(await shop.customers(5), "2026-03-25")
    await shop.orders(people[:4], "2026-05-01")
    await shop.orders(people[3:4], "2026-02-01")  # not new
    await shop.orders(people[4:], "2026-05-01", cancelled="2026-05-02")  # no counted order
    await shop.orders(await shop.customers(2), "2026-06-01")  # customers who are no members
    await shop.refer(advocate, people[0], attributed="2026-03-25")
    await shop.refer(advocate, people[1], attributed="2026-03-25", ended="2026-04-10", state="rejected")
    await shop.refer(advocate, people[3], attributed="2026-03-25")
    await shop.refer(advocate, people[4], attributed="2026-03-25")
    counts = await queries.count_referred_customers(
        shop.session, view=shop.view("2026-07-15"), window=window(shop, "2026-04-01", "2026-07-01")
    )
    assert (counts.newcomers, counts.referred, counts.ended) == (5, 1, 1)


async def trials(shop: Shop, *, as_of: str = "2026-07-15", horizon_days: int = 30) -> Trials:
    return await trial_queries.find_trials(
        shop.session,
        view=shop.view(as_of),
        window=window(shop, "2026-01-01", "2026-07-01"),
        grid=FINE,
        grace_days=1,
        horizon_days=horizon_days,
    )


async def joins(shop: Shop) -> JoinCounts:
    return await trial_queries.count_joins(
        shop.session, view=shop.view("2026-07-15"), window=window(shop, "2026-01-01", "2026-07-01"), grace_days=1
    )


def by_arm(found: Trials) -> dict[tuple[int, bool], tuple[int, int]]:
    """Trials and returns by class of rank and arm."""
    counted: dict[tuple[int, bool], tuple[int, int]] = {}
    for cell in found.cells:
        key = (cell.stratum.rank, cell.joined)
        held = counted.get(key, (0, 0))
        counted[key] = (held[0] + cell.trials, held[1] + cell.returned)
    return counted


async def test_an_enrolment_belongs_to_the_order_it_names_and_no_later_order_is_a_trial(shop: Shop) -> None:
    (person,) = await shop.customers(1)
    await shop.orders([person], "2026-01-10")
    named = await shop.orders([person], "2026-01-20T12:00")
    await shop.orders([person], "2026-01-25")
    await shop.enrol([person], "2026-01-20T11:50", orders=named)  # ten minutes before the order that it names
    assert by_arm(await trials(shop)) == {(1, False): (1, 1), (2, True): (1, 1)}


async def test_an_enrolment_that_names_none_belongs_to_the_last_order_at_or_before_it(shop: Shop) -> None:
    (person,) = await shop.customers(1)
    await shop.orders([person], "2026-01-10")
    await shop.orders([person], "2026-01-20T12:00")
    await shop.orders([person], "2026-01-20T12:30")
    await shop.enrol([person], "2026-01-20T12:00")
    assert by_arm(await trials(shop)) == {(1, False): (1, 1), (2, True): (1, 0)}


async def test_orders_of_one_instant_go_by_their_ids(shop: Shop) -> None:
    (person,) = await shop.customers(1)
    same = [*await shop.orders([person], "2026-01-20"), *await shop.orders([person], "2026-01-20")]
    await shop.enrol([person], "2026-01-20", orders=[min(same)])
    assert by_arm(await trials(shop)) == {(1, True): (1, 0)}


async def test_an_enrolment_away_from_an_order_leaves_it_a_control(shop: Shop) -> None:
    people = await shop.customers(5)
    orders = await shop.orders(people[:3], "2026-01-10")
    await shop.enrol(people[0:1], "2026-01-11T23:00")  # the day after is within the grace
    await shop.enrol(people[1:2], "2026-01-12T00:00")
    await shop.enrol(people[2:3], "2026-01-12T00:00", orders=orders[2:])  # claims the order too late
    await shop.enrol(people[3:4], "2026-01-12")
    await shop.orders(people[3:4], "2026-01-13")  # a member already
    cancelled = await shop.orders(people[4:], "2026-02-01", cancelled="2026-02-02")
    await shop.enrol(people[4:], "2026-02-01", orders=cancelled)
    found = await trials(shop)
    assert by_arm(found) == {(1, True): (1, 0), (1, False): (2, 0)}
    assert found.controls_joining_later == 2
    assert await joins(shop) == JoinCounts(joins=5, order_not_counted=1, before_first_order=1, away_from_an_order=2)


async def test_returns_begin_after_the_grace_and_end_with_the_horizon(shop: Shop) -> None:
    people = await shop.customers(5)
    await shop.orders(people, "2026-01-10")
    await shop.orders(people[0:1], "2026-01-11")  # inside the grace: no trial
    await shop.orders(people[1:2], "2026-01-12")
    await shop.orders(people[2:3], "2026-02-10")  # day 31 = grace + horizon
    await shop.orders(people[3:4], "2026-02-11")
    found = await trials(shop)
    assert by_arm(found)[1, False] == (4, 2)
    assert found.inside_grace == 1


async def test_only_trials_whose_outcome_is_known_count(shop: Shop) -> None:
    people = await shop.customers(2)
    await shop.orders(people[:1], "2026-01-10")
    await shop.orders(people[1:], "2026-01-11")
    assert (await trials(shop, as_of="2026-02-10T23:00")).immature == 2
    found = await trials(shop, as_of="2026-02-11")
    assert (found.immature, by_arm(found)) == (1, {(1, False): (1, 0)})


async def test_strata_are_known_at_the_order(shop: Shop) -> None:
    (person,) = await shop.customers(1)
    await shop.orders([person], "2026-01-31", total_minor=1_000)
    await shop.orders([person], "2026-02-10", total_minor=2_000, channel="shop")
    await shop.orders([person], "2026-02-10", total_minor=3_000, currency="USD")
    found = {
        (c.stratum.rank, c.stratum.month, c.stratum.currency, c.stratum.spend, c.stratum.gap, c.stratum.channel)
        for c in (await trials(shop)).cells
    }

    def spend(minor: int) -> int:
        return sum(edge <= minor for edge in FINE.spend_edges)

    assert found == {
        (1, date(2026, 1, 1), "EUR", spend(1_000), 0, ""),
        (2, date(2026, 2, 1), "EUR", spend(1_500), 2, "shop"),
        (3, date(2026, 2, 1), "USD", spend(3_000), 2, ""),
    }


async def test_the_placebo_is_the_gap_before_the_previous_one(shop: Shop) -> None:
    short, long = await shop.customers(2)
    for day in ("2026-01-01", "2026-01-31", "2026-04-01"):
        await shop.orders([short], day)
    for day in ("2026-01-01", "2026-02-01", "2026-04-01"):
        await shop.orders([long], day)
    found = await trials(shop)
    third = [cell for cell in found.cells if cell.stratum.rank == 3]
    assert [(cell.placebo_trials, cell.placebo_short) for cell in third] == [(2, 1)]
    assert sum(cell.placebo_trials for cell in found.cells) == 2


async def test_nobody_at_all_gives_no_trials(shop: Shop) -> None:
    found = await trials(shop)
    assert (found.cells, found.spread.customers, found.immature) == ((), 0, 0)


async def test_orders_by_channel_and_who_placed_them(shop: Shop) -> None:
    people = await shop.customers(3)
    await shop.enrol(people[:1], "2026-01-01")
    await shop.orders(people, "2026-02-01", channel="web")
    await shop.orders([None, None], "2026-02-01", channel="till")
    await shop.orders([None], "2026-02-01")
    await shop.orders(people[:1], "2025-12-01")
    found = await trial_queries.list_linkable(
        shop.session, view=shop.view("2026-07-15"), first=date(2026, 1, 1), end=date(2026, 7, 1), channels=2
    )
    assert [(one.channel, one.members, one.others, one.unidentified) for one in found] == [
        ("web", 1, 2, 0),
        ("till", 0, 0, 2),
        (None, 0, 0, 1),
    ]


async def test_ever_members_and_others(shop: Shop) -> None:
    people = await shop.customers(4)
    await shop.orders(people, "2026-02-01")
    await shop.orders(people[:3], "2026-03-01")
    await shop.enrol(people[:2], "2026-06-01")
    counts = await trial_queries.count_ever_members(
        shop.session, view=shop.view("2026-07-15"), window=window(shop, "2026-01-01", "2026-07-01")
    )
    assert (counts.members, counts.members_repeated, counts.others, counts.others_repeated) == (2, 2, 2, 1)


async def test_a_zone_west_of_greenwich(open_shop: OpenShop) -> None:
    shop = await open_shop("America/Los_Angeles")
    people = await shop.customers(1)
    await shop.orders(people, "2026-03-31T23:30")  # 1 April in UTC
    await shop.orders(people, "2026-04-01T00:30")
    assert await buyers(shop) == sets(retained=1)
