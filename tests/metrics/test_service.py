from __future__ import annotations

from datetime import date
from math import isclose
from typing import TYPE_CHECKING

import msgspec
import pytest

from loyalty.metrics import comparison, service
from loyalty.metrics.errors import HorizonRefused
from loyalty.metrics.schemas import Remark
from loyalty.metrics.windows import Window

if TYPE_CHECKING:
    from tests.metrics.conftest import Shop

    from loyalty.metrics.schemas import Figure

EFFECT_WORDS = ("lift", "uplift", "drives", "drove", "boost", "impact")


def second_quarter(shop: Shop) -> Window:
    return Window(first=date(2026, 4, 1), end=date(2026, 7, 1), zone=shop.zone)


def codes(warnings: list[Remark]) -> list[str]:
    return [warning.code for warning in warnings]


def fraction(figure: Figure) -> tuple[float | None, int, int]:
    return figure.value, figure.numerator, figure.denominator


async def test_500_customers_of_whom_450_remain(shop: Shop) -> None:
    people = await shop.customers(500)
    await shop.orders(people, "2026-02-10")
    await shop.orders(people[:450], "2026-05-10")
    await shop.orders([None], "2026-05-10")
    view = shop.view("2026-07-15")
    kept = await service.retention_rate(shop.session, view=view)
    assert fraction(kept) == (0.9, 450, 500)
    assert (kept.metric, kept.definition_version, kept.mode) == ("retention_rate", 1, "calendar")
    assert (kept.window.from_, kept.window.to) == (date(2026, 4, 1), date(2026, 7, 1))
    assert kept.previous_window.from_ == date(2026, 1, 1)
    assert (kept.retained, kept.lost, kept.new, kept.reactivated) == (450, 50, 0, 0)
    assert kept.interval is not None
    assert (kept.interval.method, round(kept.interval.low, 4), round(kept.interval.high, 4)) == (
        "wilson",
        0.8706,
        0.9233,
    )
    assert kept.excluded == {"cancelled_orders": 0, "unpaid_orders": 0, "unidentified_orders": 1}
    assert (kept.small_sample, kept.warnings) == (False, [])
    lost = await service.churn_rate(shop.session, view=view)
    assert fraction(lost) == (0.1, 50, 500)
    textbook = await service.crr_textbook(shop.session, view=view)
    assert fraction(textbook) == (0.9, 450, 500)
    assert textbook.interval is None
    assert codes(textbook.warnings) == ["counts_new_and_returning_customers"]


@pytest.mark.parametrize(("start", "lost", "rate"), [(500, 20, 0.04), (1_000, 50, 0.05)])
async def test_the_textbook_churn_rates(shop: Shop, start: int, lost: int, rate: float) -> None:
    people = await shop.customers(start)
    await shop.orders(people, "2026-02-10")
    await shop.orders(people[lost:], "2026-05-10")
    assert fraction(await service.churn_rate(shop.session, view=shop.view("2026-07-15"))) == (rate, lost, start)


async def test_new_customers_raise_the_textbook_rate_alone(shop: Shop) -> None:
    people = await shop.customers(20)
    await shop.orders(people[:10], "2026-02-10")
    await shop.orders(people[5:], "2026-05-10")
    view = shop.view("2026-07-15")
    textbook = await service.crr_textbook(shop.session, view=view)
    assert fraction(textbook) == (1.5, 15, 10)
    assert fraction(textbook.net_of_new) == (0.5, 5, 10)
    assert textbook.net_of_new.excluded["new_customers"] == 10
    assert fraction(await service.retention_rate(shop.session, view=view)) == (0.5, 5, 10)


async def test_nobody_gives_null_and_a_window_in_progress_says_so(shop: Shop) -> None:
    found = await service.retention_rate(shop.session, view=shop.view("2026-06-15"), window=second_quarter(shop))
    assert fraction(found) == (None, 0, 0)
    assert found.interval is None
    assert found.small_sample
    assert codes(found.warnings) == ["window_unfinished"]


async def test_the_repeat_rate_looks_at_the_latest_mature_entrants(shop: Shop) -> None:
    people = await shop.customers(5)
    await shop.orders(people[:4], "2026-02-10")
    await shop.orders(people[:1], "2026-03-10")
    await shop.orders(people[4:], "2026-06-20")
    view = shop.view("2026-07-15")
    found = await service.repeat_purchase_rate(shop.session, view=view)
    assert fraction(found) == (0.25, 1, 4)
    assert (found.window.from_, found.window.to, found.matured) == (date(2026, 1, 16), date(2026, 4, 16), True)
    late = await service.repeat_purchase_rate(shop.session, view=view, window=second_quarter(shop), horizon_days=60)
    assert fraction(late) == (None, 0, 0)
    assert (late.matured, late.excluded["immature_customers"]) == (False, 1)
    assert codes(late.warnings) == ["immature_entrants_left_out"]


@pytest.mark.parametrize("days", [0, 731])
async def test_a_horizon_out_of_bounds_is_refused(shop: Shop, days: int) -> None:
    with pytest.raises(HorizonRefused):
        await service.repeat_purchase_rate(shop.session, view=shop.view("2026-07-15"), horizon_days=days)


async def test_the_referral_rate_ends_before_the_hold(shop: Shop) -> None:
    advocates = await shop.enrol(await shop.customers(4), "2026-01-01")
    friends = await shop.enrol(await shop.customers(3), "2026-06-20")
    await shop.refer(advocates[0], friends[0], attributed="2026-05-01", qualified="2026-05-02", approved="2026-05-16")
    await shop.refer(advocates[1], friends[1], attributed="2026-06-01", qualified="2026-06-30", approved="2026-07-14")
    await shop.refer(advocates[2], friends[2], attributed="2026-06-01", qualified="2026-06-29")
    view = shop.view("2026-07-15")
    found = await service.referral_rate(shop.session, view=view, hold_days=14)
    assert (found.window.from_, found.window.to, found.mature_through) == (
        date(2026, 4, 2),
        date(2026, 7, 1),
        date(2026, 7, 1),
    )
    assert fraction(found) == (2 / 7, 2, 7)
    assert fraction(found.tenured) == (2 / 4, 2, 4)
    assert fraction(found.qualified) == (3 / 7, 3, 7)
    assert found.excluded["referrals_not_approved"] == 1
    assert found.tenured.excluded["members_joined_recently"] == 3
    assert codes(found.warnings) == []
    assert codes(found.qualified.warnings) == ["provisional"]
    early = await service.referral_rate(shop.session, view=view, hold_days=30, window=second_quarter(shop))
    assert codes(early.warnings) == ["window_not_mature"]


async def test_the_share_of_new_customers_who_were_referred(shop: Shop) -> None:
    (advocate,) = await shop.enrol(await shop.customers(1), "2026-01-01")
    people = await shop.enrol(await shop.customers(4), "2026-04-02")
    await shop.orders(people, "2026-05-01")
    await shop.refer(advocate, people[0], attributed="2026-04-02")
    found = await service.referred_customer_share(shop.session, view=shop.view("2026-07-15"))
    assert fraction(found) == (0.25, 1, 4)


async def test_raw_association_by_standing(shop: Shop) -> None:
    members, others, joiners = await shop.customers(70), await shop.customers(80), await shop.customers(12)
    for group in (members, others, joiners):
        await shop.orders(group, "2026-02-10")
    await shop.orders(members[:56], "2026-05-10")
    await shop.orders(others[:48], "2026-05-10")
    await shop.enrol(members, "2025-06-01")
    await shop.enrol(joiners, "2026-02-10")
    await shop.orders([None, None], "2026-02-10", total_minor=150)
    await shop.orders([None], "2026-05-10", total_minor=99, currency="USD")
    found = await comparison.raw_association(shop.session, view=shop.view("2026-07-15"), window=second_quarter(shop))
    assert (found.label, found.note) == ("association_raw", "self-selected groups")
    assert {group.standing: (group.numerator, group.denominator) for group in found.groups} == {
        "member": (56, 70),
        "non_member": (48, 80),
        "joined_during": (0, 12),
        "left_during": (0, 0),
    }
    assert found.difference is not None
    assert isclose(found.difference, 0.2)
    assert found.difference_interval is not None
    assert (round(found.difference_interval.low, 4), round(found.difference_interval.high, 4)) == (0.0524, 0.3339)
    assert [(one.orders, one.revenue.amount, one.revenue.currency) for one in found.unidentified_previous] == [
        (2, 300, "EUR")
    ]
    assert [(one.orders, one.revenue.amount, one.revenue.currency) for one in found.unidentified] == [(1, 99, "USD")]


async def test_small_groups_are_hidden_and_their_difference_withheld(shop: Shop) -> None:
    members, others = await shop.customers(9), await shop.customers(40)
    for group in (members, others):
        await shop.orders(group, "2026-02-10")
    await shop.enrol(members, "2025-06-01")
    view, window = shop.view("2026-07-15"), second_quarter(shop)
    found = await comparison.raw_association(shop.session, view=view, window=window)
    assert [group.standing for group in found.groups if group.suppressed] == ["member", "non_member"]
    assert all(group.denominator is None for group in found.groups if group.suppressed)
    assert (found.difference, found.difference_withheld_because) == (None, "group_suppressed")
    more = await shop.customers(5)
    await shop.orders(more, "2026-02-10")
    await shop.enrol(more, "2025-06-01")
    found = await comparison.raw_association(shop.session, view=view, window=window)
    assert [(group.denominator, group.small_sample) for group in found.groups[:2]] == [(14, True), (40, False)]
    assert (found.difference, found.difference_withheld_because) == (None, "small_sample")


async def test_adjusted_association_of_300_joins(shop: Shop) -> None:
    joiners, others = await shop.customers(300), await shop.customers(600)
    orders = await shop.orders(joiners, "2026-01-10T12:00")
    await shop.orders(others, "2026-01-10T12:00")
    await shop.enrol(joiners, "2026-01-10T11:00", orders=orders)
    await shop.orders(joiners[:150], "2026-02-10")
    await shop.orders(others[:240], "2026-02-10")
    await shop.orders([None] * 30, "2026-02-10", channel="till")
    found = await comparison.adjusted_association(
        shop.session,
        view=shop.view("2026-07-15"),
        window=Window(first=date(2026, 1, 1), end=date(2026, 2, 1), zone=shop.zone),
        horizon_days=90,
    )
    assert (found.label, found.note) == ("association_adjusted", "differences in unmeasured intent remain")
    assert (found.joins, found.joins_with_controls, found.controls, found.strata, found.overlap) == (
        300,
        300,
        600,
        1,
        1.0,
    )
    assert (found.joined_rate, found.control_rate) == (0.5, 0.4)
    assert found.value is not None
    assert isclose(found.value, 0.1)
    assert found.interval is not None
    # One trial a customer in one stratum: the variance is that of two independent rates, but for terms of order 1/n.
    assert isclose(found.interval.low, 0.1 - 1.96 * (0.25 / 300 + 0.24 / 600) ** 0.5, abs_tol=2e-4)
    assert found.risk_ratio is not None
    assert isclose(found.risk_ratio.value, 1.25)
    assert round(found.risk_ratio.e_value, 2) == 1.81
    assert 1 < found.risk_ratio.e_value_of_limit < found.risk_ratio.e_value
    assert found.mantel_haenszel_difference is not None
    assert isclose(found.mantel_haenszel_difference, 0.1)
    assert (found.placebo, found.placebo_missing_because) == (None, "no_placebo")
    assert found.worst_case_difference is not None
    assert isclose(found.worst_case_difference, 0.05)
    assert found.naive.value is not None
    assert isclose(found.naive.value, 0.1)
    assert found.naive.times_adjusted is not None
    assert isclose(found.naive.times_adjusted, 1.0)
    assert [(one.channel, one.linkable_share_members, one.linkable_share_others) for one in found.linkable] == [
        (None, 1.0, 1.0),
        ("till", None, 0.0),
    ]
    assert [one.covariate for one in found.balance if one.flagged] == []
    assert found.warnings == []
    assert found.withheld_because is None


async def test_too_few_joins_withhold_the_adjusted_association(shop: Shop) -> None:
    people = await shop.customers(40)
    orders = await shop.orders(people, "2026-01-10")
    await shop.enrol(people[:20], "2026-01-10", orders=orders[:20])
    found = await comparison.members_versus_non_members(shop.session, view=shop.view("2026-07-15"))
    adjusted = found.association_adjusted
    assert (adjusted.value, adjusted.withheld_because) == (None, "fewer_than_200_joins")
    assert (adjusted.joins, adjusted.overlap) == (20, 1.0)
    assert (adjusted.interval, adjusted.risk_ratio, adjusted.worst_case_difference) == (None, None, None)
    assert adjusted.window.to == date(2026, 4, 15)


async def test_no_reply_speaks_of_an_effect(shop: Shop) -> None:
    joiners, others = await shop.customers(220), await shop.customers(220)
    orders = await shop.orders(joiners, "2026-01-10")
    await shop.orders(others, "2026-01-10")
    await shop.enrol(joiners, "2026-01-10", orders=orders)
    view = shop.view("2026-07-15")
    replies: list[msgspec.Struct] = [
        await comparison.members_versus_non_members(shop.session, view=view),
        await service.retention_rate(shop.session, view=view),
        await service.churn_rate(shop.session, view=view),
        await service.crr_textbook(shop.session, view=view),
        await service.repeat_purchase_rate(shop.session, view=view),
        await service.referral_rate(shop.session, view=view, hold_days=14),
        await service.referred_customer_share(shop.session, view=view),
    ]
    for reply in replies:
        text = msgspec.json.encode(reply).decode().casefold()
        assert not [word for word in EFFECT_WORDS if word in text]
    remarks = [*vars(service).values(), *vars(comparison).values()]
    texts = [remark.text.casefold() for remark in remarks if isinstance(remark, Remark)]
    assert texts
    assert not [text for text in texts for word in EFFECT_WORDS if word in text]
