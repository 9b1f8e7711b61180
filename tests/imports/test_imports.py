"""History brought in: all or nothing, once, and counted as it would have been live."""

from typing import Any

from sqlalchemy import text
from tests.shop import Json, Shop

from loyalty.core.db import transaction

TERMS = {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 100}}

COMPARED = [
    """
    SELECT i.value, t.unit, t.pending, t.available, t.version FROM wallets AS t
    JOIN identifiers AS i ON i.program_id = t.program_id AND i.customer_id = t.member_id
    WHERE t.program_id = :id ORDER BY i.value
    """,
    """
    SELECT i.value, t.granted, t.remaining, t.earned_at, t.expires_at FROM lots AS t
    JOIN identifiers AS i ON i.program_id = t.program_id AND i.customer_id = t.member_id
    WHERE t.program_id = :id ORDER BY i.value, t.id
    """,
    """
    SELECT i.value, t.version, t.kind, t.from_account, t.to_account, t.points, t.balance_after, t.available_after,
        t.occurred_at
    FROM entries AS t JOIN identifiers AS i ON i.program_id = t.program_id AND i.customer_id = t.member_id
    WHERE t.program_id = :id ORDER BY i.value, t.version
    """,
    """
    SELECT i.value, t.state, t.attributed_at, t.qualified_at, t.rewarded_at FROM referrals AS t
    JOIN identifiers AS i ON i.program_id = t.program_id AND i.customer_id = t.referee_id
    WHERE t.program_id = :id ORDER BY i.value
    """,
    """
    SELECT o.external_id, own -> 'points' AS points, own -> 'base' AS base, own -> 'lines' AS lines
    FROM order_counts AS t JOIN orders AS o ON o.program_id = t.program_id AND o.id = t.order_id
    CROSS JOIN jsonb_array_elements(t.awards) AS own
    WHERE t.program_id = :id ORDER BY o.external_id
    """,
    """
    SELECT i.value, a.type, a.occurred_at, a.rule_set, t.rule_version, t.points FROM activities AS a
    JOIN identifiers AS i ON i.program_id = a.program_id AND i.customer_id = a.member_id
    LEFT JOIN activity_awards AS t ON t.program_id = a.program_id AND t.activity_id = a.id
    WHERE a.program_id = :id ORDER BY i.value
    """,
]


def joined(customer: str, at: str, **details: Any) -> Json:
    return {"kind": "enrolment", "external_customer_id": customer, "at": at, **details}


def bought(order: str, customer: str | None, at: str, cents: int = 1000, **details: Any) -> Json:
    lines = [{"sku": "shirt", "total": {"amount": cents, "currency": details.get("currency", "EUR")}}]
    named = {} if customer is None else {"external_customer_id": customer}
    return {"kind": "order", "external_id": order, **named, "at": at, "currency": "EUR", "lines": lines, **details}


async def bring_in(shop: Shop, *records: Json) -> tuple[int, int, int, int]:
    done = await shop.post("/v1/imports", {"records": list(records)})
    return done["orders"], done["enrolments"], done["referrals"], done["skipped"]


async def since_ever(shop: Shop) -> None:
    """A euro earned a point before the program came here, too."""
    span = {"active_from": "2025-01-01T00:00:00Z", "active_until": "2026-01-01T12:00:00Z"}
    await shop.post("/v1/earning-rules", {"name": "then", "terms": TERMS, **span})


async def rows(shop: Shop, query: str) -> list[tuple[Any, ...]]:
    async with transaction(shop.sessions) as session:
        return [tuple(row) for row in await session.execute(text(query), {"id": shop.program.id})]


async def balances(shop: Shop) -> dict[str, int]:
    query = """
        SELECT i.value, w.available FROM wallets AS w
        JOIN identifiers AS i ON i.program_id = w.program_id AND i.customer_id = w.member_id
        WHERE w.program_id = :id AND w.unit = 'points'
    """
    return {row[0]: row[1] for row in await rows(shop, query)}


async def faults(shop: Shop, *records: Json) -> list[tuple[str, str]]:
    body = {"records": list(records)}
    problem = await shop.refuses("POST", "/v1/imports", body, status=400, code="import_refused")
    return [(fault["pointer"], fault["code"]) for fault in problem["errors"]]


async def test_history_is_counted_by_the_rules_of_its_time(shop: Shop) -> None:
    await since_ever(shop)
    assert await bring_in(
        shop,
        joined("ann", "2025-06-01T12:00:00Z"),
        bought("o-1", "ann", "2025-06-02T12:00:00Z", 4_050),
        bought("o-2", None, "2025-06-03T12:00:00Z"),
        bought("o-3", "stranger", "2025-06-03T12:00:00Z"),
    ) == (3, 1, 0, 0)
    assert await balances(shop) == {"ann": 40}
    member = (await shop.get("/v1/members?external_id=ann"))["data"][0]
    assert member["enrolled_at"] == "2025-06-01T12:00:00Z"
    await shop.books_hold()


async def test_orders_before_enrolment_earn_nothing_and_make_no_new_customer(shop: Shop) -> None:
    await since_ever(shop)
    assert await bring_in(
        shop,
        joined("advocate", "2025-05-01T12:00:00Z"),
        bought("o-1", "ann", "2025-06-01T11:59:59Z"),
        joined("ann", "2025-06-01T12:00:00Z", referred_by="advocate"),
        bought("o-2", "ann", "2025-06-01T12:00:01Z"),
    ) == (2, 2, 0, 0)
    assert await balances(shop) == {"advocate": 0, "ann": 10}


async def test_all_faults_are_listed_at_once_and_nothing_is_written(shop: Shop) -> None:
    assert sorted(
        await faults(
            shop,
            joined("bob", "2025-06-02T12:00:00Z"),
            bought("o-1", "bob", "2025-06-01T12:00:00Z"),
            bought("o-1", "bob", "2025-06-02T12:00:00Z"),
            bought("o-2", "bob", "2025-06-04T12:00:00Z", currency="USD"),
            bought("o-3", "bob", "2026-01-01T12:00:00.000001Z"),
        )
    ) == [
        ("/records/1", "out_of_time_order"),
        ("/records/2/external_id", "duplicate"),
        ("/records/3/currency", "currency_not_accepted"),
        ("/records/4", "in_the_future"),
    ]


async def test_an_order_that_differs_in_anything_is_a_fault(shop: Shop) -> None:
    at = "2025-06-01T12:00:00Z"
    await bring_in(shop, bought("o-1", "ann", at))
    for changed in (
        bought("o-1", "ann", at, 1001),
        bought("o-1", "bob", at),
        bought("o-1", None, at),
        bought("o-1", "ann", "2025-06-01T12:00:01Z"),
        bought("o-1", "ann", at, channel="store"),
        bought("o-1", "ann", at, currency="JPY"),
    ):
        fresh = bought("o-2", "new", "2026-01-01T12:00:00Z")
        assert await faults(shop, changed, fresh) == [("/records/0/external_id", "order_differs")]


async def test_records_of_one_instant_are_in_order(shop: Shop) -> None:
    at = "2025-06-01T12:00:00Z"
    await since_ever(shop)
    assert await bring_in(shop, joined("ann", at), bought("o-1", "ann", at), bought("o-2", "ann", at)) == (2, 1, 0, 0)
    assert await balances(shop) == {"ann": 20}


async def test_an_import_that_is_run_again_skips_what_is_there(shop: Shop) -> None:
    await since_ever(shop)
    records = [
        joined("advocate", "2025-05-01T12:00:00Z"),
        joined("ann", "2025-06-01T12:00:00Z", referred_by="advocate"),
        bought("o-1", "ann", "2025-06-02T12:00:00Z"),
    ]
    assert await bring_in(shop, *records) == (1, 2, 1, 0)
    before = await shop.digest()
    assert await bring_in(shop, *records) == (0, 0, 0, 3)
    assert await shop.digest() == before
    assert await bring_in(shop, *records, bought("o-2", "ann", "2025-06-03T12:00:00Z")) == (1, 0, 0, 3)
    assert await balances(shop) == {"advocate": 50, "ann": 45}
    await shop.books_hold()


async def test_an_enrolment_that_the_batch_has_twice_is_a_fault(shop: Shop) -> None:
    """Were it let through, a referral that both name would meet the constraint of one live referral a friend."""
    for second in ("2025-06-01T12:00:00Z", "2025-06-02T12:00:00Z"):
        assert await faults(
            shop,
            joined("advocate", "2025-05-01T12:00:00Z"),
            joined("ann", "2025-06-01T12:00:00Z", referred_by="advocate"),
            joined("ann", second, referred_by="advocate"),
        ) == [("/records/2/external_customer_id", "duplicate")]


async def test_an_enrolment_of_a_later_batch_changes_nothing(shop: Shop) -> None:
    first = [joined("advocate", "2025-05-01T12:00:00Z"), joined("ann", "2025-06-01T12:00:00Z")]
    await bring_in(shop, *first)
    again = joined("ann", "2025-06-02T12:00:00Z", referred_by="advocate")
    assert await bring_in(shop, again) == (0, 0, 0, 1)


async def test_a_referral_within_a_batch_pays_once(shop: Shop) -> None:
    await since_ever(shop)
    assert await bring_in(
        shop,
        joined("advocate", "2025-05-01T12:00:00Z"),
        joined("ann", "2025-06-01T12:00:00Z", referred_by="advocate", channel="mail"),
        bought("o-1", "ann", "2025-06-02T12:00:00Z"),
        bought("o-2", "ann", "2025-06-03T12:00:00Z"),
    ) == (2, 2, 1, 0)
    assert await balances(shop) == {"advocate": 50, "ann": 45}
    query = "SELECT state, method, channel, qualified_at::text FROM referrals WHERE program_id = :id"
    assert await rows(shop, query) == [("rewarded", "import", "mail", "2025-06-02 12:00:00+00")]
    await shop.books_hold()


async def test_a_referral_across_batches_and_then_live_pays_once(shop: Shop) -> None:
    await since_ever(shop)
    await bring_in(shop, joined("advocate", "2025-05-01T12:00:00Z"))
    joins = joined("ann", "2025-06-01T12:00:00Z", referred_by="advocate")
    assert await bring_in(shop, joins, joined("bob", "2025-06-01T12:00:00Z", referred_by="advocate")) == (0, 2, 2, 0)
    await bring_in(shop, bought("o-1", "ann", "2025-06-02T12:00:00Z"))
    await bring_in(shop, bought("o-2", "ann", "2025-06-03T12:00:00Z"))
    assert await balances(shop) == {"advocate": 50, "ann": 45, "bob": 0}
    await shop.order(10, external_customer_id="ann")
    await shop.order(10, external_customer_id="bob")
    await bring_in(shop, bought("o-3", "bob", "2025-06-02T12:00:00Z"))
    assert await balances(shop) == {"advocate": 100, "ann": 55, "bob": 45}
    await shop.books_hold()


async def test_a_live_referral_is_completed_by_an_imported_order_once(shop: Shop) -> None:
    advocate = await shop.enrol(external_id="advocate")
    await shop.enrol(external_id="ann", referral_code=advocate["referral_code"])
    await bring_in(shop, bought("o-1", "ann", "2026-01-01T12:00:00Z"))
    await shop.order(10, external_customer_id="ann")
    assert await balances(shop) == {"advocate": 50, "ann": 45}
    await shop.books_hold()


async def test_an_imported_order_from_before_the_friend_joined_completes_no_referral(shop: Shop) -> None:
    """The order of records must not depend on how history was cut into batches."""
    await bring_in(
        shop, joined("advocate", "2025-05-01T12:00:00Z"), joined("ann", "2025-06-01T12:00:00Z", referred_by="advocate")
    )
    await bring_in(shop, bought("o-1", "ann", "2025-05-20T12:00:00Z"))
    assert await balances(shop) == {"advocate": 0, "ann": 0}


async def test_who_referred_must_be_a_member_by_then(shop: Shop) -> None:
    assert await bring_in(
        shop,
        joined("ann", "2025-06-01T12:00:00Z", referred_by="late"),
        joined("bob", "2025-06-01T12:00:00Z", referred_by="nobody"),
        joined("eve", "2025-06-01T12:00:00Z", referred_by="eve"),
        joined("late", "2025-06-02T12:00:00Z"),
    ) == (0, 4, 0, 0)
    query = "SELECT reason FROM referral_touches WHERE program_id = :id ORDER BY reason"
    assert await rows(shop, query) == [("advocate_joined_later",), ("code_unknown",), ("own_code",)]


async def test_two_who_joined_at_one_instant_cannot_both_have_brought_the_other(shop: Shop) -> None:
    at = "2025-06-01T12:00:00Z"
    assert await bring_in(shop, joined("ann", at, referred_by="bob"), joined("bob", at, referred_by="ann")) == (
        0,
        2,
        1,
        0,
    )
    query = "SELECT outcome, reason FROM referral_touches WHERE program_id = :id ORDER BY outcome"
    assert await rows(shop, query) == [("refused", "advocate_joined_later"), ("won", "import_accepted")]


async def test_imported_facts_keep_their_own_time(shop: Shop) -> None:
    await since_ever(shop)
    await bring_in(shop, joined("ann", "2025-06-01T12:00:00Z"), bought("o-1", "ann", "2025-06-02T12:00:00Z"))
    query = "SELECT placed_at::text, recorded_at::text, imported FROM orders WHERE program_id = :id"
    assert await rows(shop, query) == [("2025-06-02 12:00:00+00", "2025-06-02 12:00:00+00", True)]
    query = "SELECT occurred_at::text, recorded_at::text FROM entries WHERE program_id = :id"
    assert await rows(shop, query) == [("2025-06-02 12:00:00+00", "2025-06-02 12:00:00+00")]


async def test_imported_history_equals_the_same_days_lived(shop: Shop, other_shop: Shop) -> None:
    """One program lives through some days, the other imports them: who has which points, and why, is the same."""
    live, imported = shop, other_shop
    welcome = {"kind": "points_per_activity", "activity": "signed_up", "points": 10, "limits": {"budget": 35}}
    for each in (live, imported):
        await each.post("/v1/earning-rules", {"name": "welcome", "terms": welcome})
    facts = [
        joined("ann", "2026-01-02T08:00:00Z"),
        bought("o-1", "ann", "2026-01-02T09:00:00Z", 4_999),
        bought("o-2", "eve", "2026-01-02T10:00:00Z", 1_000),
        joined("bob", "2026-01-03T08:00:00Z", referred_by="ann"),
        joined("eve", "2026-01-03T09:00:00Z", referred_by="ann"),
        bought("o-3", "eve", "2026-01-03T10:00:00Z", 2_345),
        bought("o-4", "bob", "2026-01-03T11:00:00Z", 99),
        joined("dan", "2026-01-04T08:00:00Z", referred_by="bob"),
        bought("o-5", "dan", "2026-01-04T09:00:00Z", 7_000),
        bought("o-6", "ann", "2026-01-04T10:00:00Z", 0),
        bought("o-7", "bob", "2026-01-04T11:00:00Z", 150_000),
        bought("o-8", None, "2026-01-04T12:00:00Z", 5_000),
    ]
    codes: dict[str, str] = {}
    for fact in facts:
        await live.post("/v1/test-clock/advance", {"to": fact["at"]}, expect=200)
        if fact["kind"] == "enrolment":
            advocate = fact.get("referred_by")
            code = {} if advocate is None else {"referral_code": codes[advocate]}
            member = await live.enrol(external_id=fact["external_customer_id"], **code)
            codes[fact["external_customer_id"]] = member["referral_code"]
        else:
            await live.post("/v1/orders", {name: fact[name] for name in fact if name not in {"kind", "at"}})
    await imported.post("/v1/test-clock/advance", {"to": facts[-1]["at"]}, expect=200)
    assert await bring_in(imported, *facts) == (8, 4, 2, 0)

    assert await balances(live) == await balances(imported) == {"ann": 109, "bob": 1585, "dan": 100, "eve": 33}
    for query in COMPARED:
        assert await rows(live, query) == await rows(imported, query)
    await live.books_hold()
    await imported.books_hold()


async def test_a_batch_is_bounded(shop: Shop) -> None:
    records = [joined(f"p-{n}", "2025-06-01T12:00:00Z") for n in range(1_001)]
    for wrong in ([], records):
        await shop.refuses("POST", "/v1/imports", {"records": wrong}, status=400, code="validation_failed")
    assert await bring_in(shop, *records[:1_000]) == (0, 1_000, 0, 0)
    await shop.books_hold()


async def test_a_thousand_orders_of_one_member_count_exactly(shop: Shop) -> None:
    await since_ever(shop)
    await bring_in(shop, joined("ann", "2025-06-01T12:00:00Z"))
    orders = [bought(f"o-{n}", "ann", "2025-06-02T12:00:00Z", 100 * n) for n in range(1_000)]
    assert await bring_in(shop, *orders) == (1_000, 0, 0, 0)
    assert await balances(shop) == {"ann": 499_500}
    await shop.books_hold()


async def test_a_hold_still_ends_after_history_that_was_over_was_brought_in(shop: Shop) -> None:
    await shop.send("PATCH", "/v1/program", {"expiry": {"kind": "after", "days": 10}}, expect=200)
    await since_ever(shop)
    await bring_in(shop, joined("ann", "2025-06-01T12:00:00Z"))
    ann = (await shop.order(100, external_customer_id="ann"))["customer_id"].replace("cus_", "mem_")
    await shop.post("/v1/holds", {"member_id": ann, "points": 5, "expires_in_seconds": 3600})
    days = ("2025-06-02", "2025-07-02", "2025-08-02", "2025-12-30")
    await bring_in(shop, *(bought(f"o-{day}", "ann", f"{day}T12:00:00Z") for day in days))
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-01T13:00:00Z"}, expect=200)
    wallet = await shop.wallet(ann)
    assert (wallet["available"], wallet["held"]) == (110, 0)
    await shop.books_hold()
