"""What a simulation tells, through the doors, with figures that can be worked out by hand."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from tests.earning.till import advance, balances, buy, give_back, line, make_rule, start_over
from tests.shop import Json, Shop
from tests.simulations.trying import (
    A_POINT_A_EURO,
    AFTER,
    BURN,
    STATE,
    TWO_A_EURO,
    ask,
    draft,
    draft_rule,
    figures,
    found,
    sides,
    tried,
    work,
)

from loyalty.core.db import transaction
from loyalty.simulations import service as simulations


async def test_a_draft_is_set_beside_what_was_given_by_month_rule_and_member(shop: Shop) -> None:
    await start_over(shop, burn=BURN)
    base = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO)
    ann, bob = await shop.enrol(), await shop.enrol()
    await buy(shop, ann, line("tea", 10_050))
    await advance(shop, "2026-01-31T22:59:59Z")
    await buy(shop, bob, line("tea", 4_000))
    await advance(shop, "2026-01-31T23:00:00Z")
    await buy(shop, ann, line("hat", 3_000))
    await draft(shop, base, "points_per_amount", **TWO_A_EURO, conditions={"include": {"skus": ["tea"]}})
    bonus = await draft_rule(shop, "bonus", points=5, unit="stars", conditions={"minimum_minor": {"EUR": 5_000}})
    await advance(shop, AFTER)
    report = await tried(shop)

    def money(amount: int, currency: str) -> Json:
        return {"amount": amount, "currency": currency}

    def points(today: int, other: int, cents: tuple[int, int]) -> Json:
        euros = {"today": money(cents[0], "EUR"), "tried": money(cents[1], "EUR")}
        yen = {"today": money(today, "JPY"), "tried": money(other, "JPY"), "difference": money(other - today, "JPY")}
        euros["difference"] = money(cents[1] - cents[0], "EUR")
        return {"unit": "points", "points": sides(today, other), "cost": [euros, yen]}

    stars = {"unit": "stars", "points": sides(0, 5), "cost": []}
    assert (report["orders"], report["orders_done"], report["orders_total"]) == (3, 3, 3)
    assert report["points"] == [points(170, 281, (113, 187)), stars]
    assert report["by_month"] == [
        {"month": "2026-01", "orders": 2, "points": [points(140, 281, (93, 187)), stars]},
        {"month": "2026-02", "orders": 1, "points": [points(30, 0, (20, 0))]},
    ]
    assert report["by_rule"] == [
        {"rule_id": base, "unit": "points", "orders": sides(3, 2), "points": sides(170, 281)},
        {"rule_id": bonus, "unit": "stars", "orders": sides(0, 1), "points": sides(0, 5)},
    ]
    assert report["gained"] == [
        {"member_id": ann["id"], "unit": "points", "points": sides(130, 201)},
        {"member_id": bob["id"], "unit": "points", "points": sides(40, 80)},
        {"member_id": ann["id"], "unit": "stars", "points": sides(0, 5)},
    ]
    assert report["lost"] == []
    assert [(own["rule_id"], own["version"], own["is_draft"]) for own in report["rules"]] == [
        (base, 2, True),
        (bonus, 1, True),
    ]
    assert report["rates"] == BURN["rates"]
    assert (report["from"], report["until"]) == ("2026-01-01T00:00:00Z", AFTER)


async def test_orders_that_could_not_earn_or_were_cancelled_are_left_out_and_returns_are_not_taken_off(
    shop: Shop,
) -> None:
    (base,) = [rule["id"] for rule in (await shop.get("/v1/earning-rules"))["data"]]
    ann, out = await shop.enrol(), await shop.enrol()
    await buy(shop, ann, line("tea", 10_000))
    await give_back(shop, await buy(shop, ann, line("tea", 5_000)))
    gone = await buy(shop, ann, line("tea", 7_000))
    await shop.post(f"/v1/orders/{gone['id']}/cancellation", {})
    await shop.order(50, external_customer_id="stranger")
    await shop.order(50)
    before_joining = "2026-01-01T11:59:59Z"
    await shop.order(50, customer_id=ann["customer_id"], placed_at=before_joining)
    suspended = {"status": "suspended", "suspends": "earn", "reason": "asked to"}
    await buy(shop, out, line("tea", 2_000))
    await shop.post(f"/v1/members/{out['id']}/status-changes", suspended)
    await buy(shop, out, line("tea", 3_000))
    await draft(shop, base, "points_per_amount", **TWO_A_EURO)
    await advance(shop, AFTER)
    report = await tried(shop)
    assert report["orders"] == 3
    assert [own["points"] for own in report["points"]] == [sides(170, 340)]
    # Six are of known customers and were not cancelled; three of these could not earn.
    assert (report["orders_done"], report["orders_total"]) == (6, 6)


async def test_nothing_is_written_but_the_simulation_itself(shop: Shop) -> None:
    await make_rule(shop, "bonus", points=40, limits={"budget": 60, "per_member": {"points": 50, "period": "year"}})
    member = await shop.enrol()
    for _ in range(3):
        await shop.order(100, customer_id=member["customer_id"])
    await draft_rule(shop, "bonus", points=7)
    await advance(shop, AFTER)
    before, balance = await shop.digest(), await balances(shop, member)
    await tried(shop)
    after = await shop.digest()
    assert {name for name in before if before[name] != after[name]} == {
        "events",
        "simulation_members",
        "simulation_months",
        "simulation_points",
        "simulation_rules",
        "simulation_usage",
        "simulations",
    }
    assert await balances(shop, member) == balance
    await shop.books_hold()


async def test_the_most_affected_are_few_and_in_order(shop: Shop) -> None:
    await start_over(shop)
    base = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO)
    members = [await shop.enrol() for _ in range(50)]
    for index, member in enumerate(members):
        sku = "tea" if index % 2 else "hat"
        await buy(shop, member, line(sku, 100 * (10 + index // 4)))
    await draft(shop, base, "points_per_amount", **TWO_A_EURO, conditions={"include": {"skus": ["tea"]}})
    await advance(shop, AFTER)
    report = await tried(shop)

    def expected(first: int) -> list[tuple[str, int]]:
        own = [(member["id"], 10 + index // 4) for index, member in enumerate(members) if index % 2 == first]
        return sorted(own, key=lambda pair: (-pair[1], pair[0]))[:20]

    gained = [(own["member_id"], own["points"]["difference"]) for own in report["gained"]]
    lost = [(own["member_id"], -own["points"]["difference"]) for own in report["lost"]]
    assert (gained, lost) == (expected(1), expected(0))


async def test_orders_recorded_after_a_simulation_was_asked_for_are_not_looked_at(shop: Shop) -> None:
    member = await shop.enrol()
    await buy(shop, member, line("tea", 1_000))
    await advance(shop, "2026-01-02T00:00:00Z")
    window: Json = {"until": "2026-01-02T00:00:00Z"}
    simulation = await ask(shop, **window)
    await buy(shop, member, line("tea", 1_000), placed_at="2026-01-01T13:00:00Z")
    await work(shop)
    assert (await found(shop, simulation))["orders"] == 1
    assert (await tried(shop, **window))["orders"] == 2


async def test_a_window_holds_its_beginning_and_not_its_end(shop: Shop) -> None:
    member = await shop.enrol()
    for at in ("2026-01-02T12:00:00Z", "2026-01-03T12:00:00Z", "2026-01-04T12:00:00Z"):
        await advance(shop, at)
        await buy(shop, member, line("tea", 1_000))
    window: Json = {"from": "2026-01-02T12:00:00Z", "until": "2026-01-04T12:00:00Z"}
    report = await tried(shop, **window)
    assert (report["orders"], report["orders_total"]) == (2, 2)


async def test_a_simulation_without_orders_or_rules_ends_too(shop: Shop) -> None:
    await start_over(shop)
    await advance(shop, AFTER)
    report = await tried(shop)
    assert (report["rules"], report["orders_total"], report["points"], report["by_month"]) == ([], 0, [], [])


async def test_what_is_old_is_forgotten_and_what_was_only_needed_on_the_way_at_once(shop: Shop) -> None:
    member = await shop.enrol()
    await make_rule(shop, "bonus", points=4, limits={"per_member": {"points": 50, "period": "day"}})
    for _ in range(3):
        await buy(shop, member, line("tea", 1_000))
    await advance(shop, "2026-01-02T00:00:00Z")
    ended = await ask(shop, until="2026-01-02T00:00:00Z")
    await work(shop)
    waiting = await ask(shop, until="2026-01-02T00:00:00Z")
    asked_at, rows = datetime(2026, 1, 2, tzinfo=UTC), await _rows(shop)
    assert all(rows[table] for table in STATE)
    before = await found(shop, ended)

    async def forget(*, days: int, limit: int = 100) -> int:
        async with transaction(shop.sessions) as session:
            return await simulations.forget(
                session, program_id=shop.program.id, before=asked_at + timedelta(days=days), limit=limit
            )

    assert await forget(days=0, limit=1) == 1
    assert await forget(days=0) == 0
    assert await _rows(shop) == {**rows, **dict.fromkeys(STATE, 0)}
    assert await found(shop, ended) == before
    assert await forget(days=1) == 1
    await shop.refuses("GET", f"/v1/simulations/{ended}", status=404, code="simulation_not_found")
    assert (await found(shop, waiting))["state"] == "queued"


async def test_a_member_who_is_forgotten_stays_a_number(shop: Shop) -> None:
    (base,) = [rule["id"] for rule in (await shop.get("/v1/earning-rules"))["data"]]
    member = await shop.enrol(email="ann@example.com")
    await buy(shop, member, line("tea", 1_000))
    await draft(shop, base, "points_per_amount", **TWO_A_EURO)
    await advance(shop, AFTER)
    before = await tried(shop)
    await shop.post(f"/v1/members/{member['id']}/erasure", {"reason": "asked"}, expect=200)
    assert figures(await tried(shop)) == figures(before)


async def _rows(shop: Shop) -> dict[str, int]:
    tables = (*STATE, "simulation_points", "simulation_months", "simulation_rules", "simulations")
    async with transaction(shop.sessions) as session:
        return {
            table: (
                await session.execute(
                    text(f"SELECT count(*) FROM {table} WHERE program_id = :id"),  # noqa: S608 -- our own names
                    {"id": shop.program.id},
                )
            ).scalar_one()
            for table in tables
        }
