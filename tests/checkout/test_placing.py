"""Orders placed together: the same as one by one, whatever lies beside them in the group."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.earning.till import OPEN_AT, advance, balances, line, make_rule, start_over
from tests.shop import Json, Shop

from loyalty.checkout import placing
from loyalty.checkout.placing import Known, Placed, Wanted
from loyalty.core import grouping, ids
from loyalty.core.rows import fetch
from loyalty.earning import limiting
from loyalty.members import identifier_queries
from loyalty.orders import service as orders

A_POINT_A_EURO: Json = {"points": 1, "step_minor": {"EUR": 100}}
LIMITED: Json = {"limits": {"per_member": {"points": 90, "period": "month"}, "budget": 400}}


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[list[bool]]:
    """Return, of each group, which of its orders were placed with it; none goes beside another."""
    monkeypatch.setattr(grouping, "_ABREAST", 1)
    seen: list[list[bool]] = []
    place = placing.place

    async def spy(session: AsyncSession, *, wanted: Sequence[Wanted], **more: Any) -> list[Placed | Known | None]:
        found = await place(session, wanted=wanted, **more)
        seen.append([own is not None for own in found])
        return found

    monkeypatch.setattr(placing, "place", spy)
    return seen


def body(shop: Shop, *lines: Json, **more: Any) -> Json:
    return {**shop.order_body(), "lines": list(lines) or [line("tea", 1_000)], **more}


async def test_every_reply_is_what_a_repetition_hears(shop: Shop, groups: list[list[bool]]) -> None:
    await start_over(shop)
    await make_rule(shop, "points_per_amount", **A_POINT_A_EURO)
    await make_rule(shop, "bonus", points=7, unit="stars", conditions={"order_numbers": [1, 2]})
    await make_rule(shop, "points_per_item", points=3, conditions={"attributes": {"level": ["gold"]}})
    await make_rule(shop, "multiplier", percent=150, conditions={"include": {"brands": ["north"]}}, **LIMITED)
    ann = await shop.enrol(attributes={"level": "gold"})
    bob = await shop.enrol(referral_code=ann["referral_code"])
    bodies = [
        body(shop, line("tea", 1_999, 3), line("hat", 5_000, brand="north"), customer_id=ann["customer_id"]),
        body(shop, line("hat", 9_000, brand="north", tax={"amount": 900, "currency": "EUR"}),
             customer_id=bob["customer_id"], channel="app", store="s1", payment_method="card", metadata={"a": "b"}),
        body(shop, customer_id=bob["customer_id"]),
        body(shop, customer_id=ann["customer_id"], status="placed"),
        body(shop, customer_id=ann["customer_id"], placed_at="2026-01-04T08:00:00Z"),
        body(shop, line("post", 500, kind="shipping"), external_customer_id=f"new-{uuid4().hex}"),
        body(shop, email="guest@example.com"),
        body(shop, line("free", 0)),
    ]  # fmt: skip
    keys = [uuid4().hex for _ in bodies]
    first = await asyncio.gather(
        *(shop.send("POST", "/v1/orders", own, key=key, expect=201) for own, key in zip(bodies, keys, strict=True))
    )
    assert sum(sum(group) for group in groups) == len(bodies)
    assert max(len(group) for group in groups) > 1
    for own, key, reply in zip(bodies, keys, first, strict=True):
        again = await shop.send("POST", "/v1/orders", own, key=key, expect=201)
        assert (again.headers["Idempotency-Replayed"], again.json()) == ("true", reply.json())
    referred = [reply.json()["referral"] for reply in first]
    assert [own is not None for own in referred] == [False, True, *[False] * 6]
    await shop.books_hold()


async def test_a_limit_and_a_referral_that_waits_keep_no_group_from_being_placed(
    shop: Shop, groups: list[list[bool]]
) -> None:
    await start_over(shop)
    await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, **LIMITED)
    ann = await shop.enrol()
    for _ in range(2):
        bob = await shop.enrol(referral_code=ann["referral_code"])
        placed = await shop.order(30, customer_id=bob["customer_id"])
        assert placed["referral"] is not None
    assert groups == [[True], [True]]
    await shop.books_hold()


async def test_each_of_a_group_has_its_own_fate(shop: Shop, groups: list[list[bool]]) -> None:
    member = await shop.enrol()
    there = body(shop, customer_id=member["customer_id"])
    await shop.post("/v1/orders", there)
    twice, key = body(shop, customer_id=member["customer_id"]), uuid4().hex
    wanted: list[tuple[Json, str, int, str | None]] = [
        (body(shop, customer_id=member["customer_id"]), uuid4().hex, 201, None),
        (there, uuid4().hex, 200, None),
        ({**there, "channel": "app"}, uuid4().hex, 409, "order_differs"),
        (body(shop, customer_id="cus_00000000000000000000000000"), uuid4().hex, 404, "customer_not_found"),
        ({**body(shop), "currency": "CHF", "lines": [line("x", 5, currency="CHF")]}, uuid4().hex, 409,
         "currency_not_accepted"),
        (body(shop, placed_at="2020-01-01T00:00:00Z"), uuid4().hex, 409, "placed_out_of_time"),
        ({**body(shop), "lines": []}, uuid4().hex, 400, "validation_failed"),
        (twice, key, 201, None),
        (twice, key, 201, None),
        (twice, uuid4().hex, 200, None),
        ({**twice, "channel": "app"}, key, 422, "idempotency_key_reused"),
        (body(shop, customer_id=member["customer_id"]), uuid4().hex, 201, None),
    ]  # fmt: skip
    found = await asyncio.gather(*(shop.send("POST", "/v1/orders", own, key=with_) for own, with_, *_ in wanted))
    told = [(reply.status_code, reply.json().get("code")) for reply in found]
    assert told == [(status, code) for *_, status, code in wanted]
    assert found[7].json() == found[8].json()
    assert Counter(sum(group) for group in groups)[0] < len(groups)
    assert await balances(shop, member) == {"points": 10 + 3 * 10 + 10 - 10}
    await shop.books_hold()


async def test_a_group_that_meets_what_was_just_placed_is_placed_once_more_together(
    shop: Shop, groups: list[list[bool]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where two servers place the same order under two keys at once: neither sees the other's beforehand."""
    member = await shop.enrol()
    there = body(shop, customer_id=member["customer_id"])
    first = await shop.send("POST", "/v1/orders", there, expect=201)
    groups.clear()
    look = orders.recorded

    async def nothing_yet(session: AsyncSession, **more: Any) -> Any:
        return await look(session, **more) if groups else {}

    monkeypatch.setattr(orders, "recorded", nothing_yet)
    other = body(shop, customer_id=member["customer_id"])
    again, new = await asyncio.gather(*(shop.send("POST", "/v1/orders", own) for own in (there, other)))
    assert (again.status_code, new.status_code) == (200, 201)
    assert again.json()["id"] == first.json()["id"]
    assert groups == [[True, True], [False, True]]
    assert not [entry for entry in caplog.records if "not done together" in entry.message]
    assert await balances(shop, member) == {"points": 20}
    await shop.books_hold()


async def test_a_group_has_its_orders_before_the_limits_of_rules(
    shop: Shop, groups: list[list[bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has an order's external id, and waits for a budget, is not waited for by who has the budget."""
    await start_over(shop)
    await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, **LIMITED)
    member = await shop.enrol()
    seen: list[int] = []
    lock = limiting.lock

    async def spy(session: AsyncSession, *, program_id: UUID, **more: Any) -> Any:
        tally = await lock(session, program_id=program_id, **more)
        seen.append((await fetch(session, "SELECT count(*) FROM orders WHERE program_id = $1", program_id))[0][0])
        return tally

    monkeypatch.setattr(limiting, "lock", spy)
    await together(shop, *(body(shop, customer_id=member["customer_id"]) for _ in range(3)))
    assert (groups, seen) == ([[True] * 3], [3])
    await shop.books_hold()


async def test_a_group_that_fails_is_placed_one_by_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("something nobody thought of")

    member = await shop.enrol()
    monkeypatch.setattr(placing, "_count", fail)
    with caplog.at_level(logging.WARNING, logger="loyalty.express"):
        await asyncio.gather(
            *(shop.post("/v1/orders", body(shop, customer_id=member["customer_id"])) for _ in range(5))
        )
    assert "not done together" in caplog.text
    assert await balances(shop, member) == {"points": 50}
    await shop.books_hold()


async def test_a_group_that_the_database_refuses_leaves_nothing_of_a_person_in_the_log(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def not_seen_yet(*_: Any, **__: Any) -> dict[str, UUID]:
        return {}

    await shop.enrol(external_id="ann-of-green-gables")
    monkeypatch.setattr(identifier_queries, "find_by_external_ids", not_seen_yet)
    with caplog.at_level(logging.WARNING):
        await shop.order(external_customer_id="ann-of-green-gables")
    (said,) = [record for record in caplog.records if record.name == "loyalty.express"]
    assert vars(said)["constraint"] == "uq_identifiers_live"
    assert "create_order: not done together: UniqueViolationError" in caplog.text
    assert "green-gables" not in caplog.text


async def test_orders_of_one_member_together_earn_each_once_and_limits_hold(
    shop: Shop, groups: list[list[bool]]
) -> None:
    await start_over(shop)
    await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, **LIMITED)
    members = [await shop.enrol() for _ in range(4)]
    bodies = [body(shop, customer_id=members[n % 4]["customer_id"]) for n in range(96)]
    replies = await asyncio.gather(*(shop.post("/v1/orders", own) for own in bodies))
    given = [(await balances(shop, member)).get("points", 0) for member in members]
    assert (sum(given), max(given)) == (360, 90)
    assert sum(reply["points_earned"] for reply in replies) == 360
    assert max(len(group) for group in groups) > 8
    await shop.books_hold()


async def test_a_key_of_another_program_or_without_the_scope_places_nothing(shop: Shop, other_shop: Shop) -> None:
    weak = await shop.post("/v1/keys", {"kind": "restricted", "name": "weak", "scopes": ["orders:read"]})
    stranger = await other_shop.enrol()
    for bearer, own, status in [
        (weak["secret"], body(shop), 403),
        (other_shop.key, body(shop, customer_id=(await shop.enrol())["customer_id"]), 404),
        (shop.key, body(shop, customer_id=stranger["customer_id"]), 404),
        (f"{shop.key[:-1]}{'1' if shop.key[-1] == '0' else '0'}", body(shop), 401),
    ]:
        assert (await shop.send("POST", "/v1/orders", own, bearer=bearer)).status_code == status


async def test_a_customer_of_the_shops_own_whose_id_looks_like_one_of_ours_is_nobody_else(
    shop: Shop, groups: list[list[bool]]
) -> None:
    ann = await shop.enrol()
    ours = ids.parse("cus", ann["customer_id"])
    assert ours is not None
    theirs, own = [
        body(shop, external_customer_id=ours.hex),
        body(shop, customer_id=ann["customer_id"]),
    ]
    placed = await together(shop, theirs, own)
    assert groups == [[True, True]]
    assert placed[0]["customer_id"] != ann["customer_id"] == placed[1]["customer_id"]
    assert await balances(shop, ann) == {"points": 10}


async def test_a_late_order_beside_one_of_today_keeps_to_the_limits_of_its_own_version(
    shop: Shop, groups: list[list[bool]]
) -> None:
    await start_over(shop)
    then: Json = {"per_member": {"points": 15, "period": "year"}, "budget": 100}
    now: Json = {"per_member": {"points": 15, "period": "month"}}
    ann = await shop.enrol()
    rule = await make_rule(shop, "points_per_amount", **A_POINT_A_EURO, limits=then)
    await advance(shop, "2026-01-06T08:00:00Z")
    terms = {"kind": "points_per_amount", **A_POINT_A_EURO, "limits": now}
    await shop.post(f"/v1/earning-rules/{rule}/versions", {"terms": terms, "active_from": "2026-01-06T08:00:00Z"})
    bought = {"customer_id": ann["customer_id"]}
    for _ in range(2):
        late, today = body(shop, placed_at=OPEN_AT, **bought), body(shop, **bought)
        for pair in ((late, today), (today, late)):
            await together(shop, *({**own, "external_id": uuid4().hex} for own in pair))
    assert groups == [[True, True]] * 4
    assert await balances(shop, ann) == {"points": 15 + 15}


async def test_what_a_late_order_earns_and_loses_at_once_leaves_other_dates_of_the_wallet_alone(
    shop: Shop, groups: list[list[bool]]
) -> None:
    settings = {"late_order_days": 30, "expiry": {"kind": "after", "days": 10}}
    await shop.send("PATCH", "/v1/program", settings, expect=200)
    ann = await shop.enrol()
    bought = {"customer_id": ann["customer_id"]}
    await advance(shop, "2026-01-15T12:00:00Z")
    await shop.order(100, **bought)
    await shop.post("/v1/holds", {"member_id": ann["id"], "points": 5, "expires_in_seconds": 3600})
    late = body(shop, placed_at="2026-01-02T12:00:00Z", **bought)
    await together(shop, late, {**late, "external_id": uuid4().hex}, body(shop, **bought))
    assert [len(group) for group in groups] == [1, 3]
    wallet = await shop.wallet(ann["id"])
    assert (wallet["available"], wallet["held"]) == (105, 5)
    await advance(shop, "2026-01-15T13:00:00Z")
    assert (await shop.wallet(ann["id"]))["held"] == 0
    await advance(shop, "2026-02-01T12:00:00Z")
    assert (await shop.wallet(ann["id"]))["balance"] == 0
    await shop.books_hold()


async def test_an_order_that_completes_no_referral_opens_no_wallet_for_it(shop: Shop, groups: list[list[bool]]) -> None:
    campaign = {"name": "stars", "landing_url": "https://shop.test/", "unit": "stars", "referee_points": 25}
    minimum = {"amount": 2_000, "currency": "EUR"}
    await shop.post("/v1/referral-campaigns", {**campaign, "advocate_points": 50, "minimum": minimum})
    ann = await shop.enrol()
    bob, cid, dan = [await shop.enrol(referral_code=ann["referral_code"]) for _ in range(3)]
    less, free, enough = line("tea", 1_999), line("free", 0), line("tea", 2_000)
    bought = [(bob, less), (bob, enough), (cid, free), (cid, enough)]
    await together(shop, *(body(shop, own, customer_id=who["customer_id"]) for who, own in bought))
    assert [await balances(shop, own) for own in (ann, bob, cid)] == [{"points": 0}, {"points": 39}, {"points": 20}]
    await together(shop, *(body(shop, own, customer_id=dan["customer_id"]) for own in (enough, enough)))
    assert [await balances(shop, own) for own in (ann, dan)] == [
        {"points": 0, "stars": 50},
        {"points": 40, "stars": 25},
    ]
    assert groups == [[True] * 4, [True] * 2]


async def together(shop: Shop, *bodies: Json) -> list[Json]:
    """Place orders in one group."""
    reply = await shop.send("POST", "/v1/orders/batch", {"orders": bodies}, expect=200)
    return [own["order"] for own in reply.json()["results"]]
