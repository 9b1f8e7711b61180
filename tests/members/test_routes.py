"""Members, through the doors."""

from typing import Any

import pytest
from sqlalchemy import text
from tests.shop import Json, Shop

from loyalty.core.db import transaction


async def read(shop: Shop, member: Json) -> Json:
    return await shop.get(f"/v1/members/{member['id']}")


async def patch(shop: Shop, member: Json, body: Any) -> Json:
    return dict((await shop.send("PATCH", f"/v1/members/{member['id']}", body, expect=200)).json())


async def change(shop: Shop, member: Json, status: str, reason: str = "as agreed", **details: Any) -> Json:
    body = {"status": status, "reason": reason, **details}
    return await shop.post(f"/v1/members/{member['id']}/status-changes", body)


async def history(shop: Shop, member: Json) -> list[tuple[str, str, bool]]:
    """Return every identifier the member ever had: kind, value, whether it is live."""
    async with transaction(shop.sessions) as session:
        query = text(
            "SELECT kind, value, removed_at IS NULL FROM identifiers JOIN members ON members.id = customer_id"
            " AND members.program_id = identifiers.program_id"
            " WHERE identifiers.program_id = :program ORDER BY identifiers.id"
        )
        rows = (await session.execute(query, {"program": shop.program.id})).all()
    return [(str(kind), str(value), bool(live)) for kind, value, live in rows]


async def find(shop: Shop, **by: str) -> list[str]:
    reply = await shop.client.get("/v1/members", params=by, headers={"Authorization": f"Bearer {shop.key}"})
    assert reply.status_code == 200, reply.text
    assert (reply.json()["has_more"], reply.json()["next_cursor"]) == (False, None)
    return [row["id"] for row in reply.json()["data"]]


FULL = {
    "external_id": "c-1",
    "email": "Ann.Lee@Example.COM",
    "phone": "+493012345678",
    "card": "4000-1",
    "given_name": "Ann",
    "family_name": "Lee",
    "birth_on": "1990-02-28",
    "locale": "de-DE",
    "attributes": {"shoe size": "38", "empty": ""},
    "metadata": {"crm": "17"},
}


async def test_a_member_is_read_as_enrolled(shop: Shop) -> None:
    member = await shop.post("/v1/members", FULL)
    assert await read(shop, member) == {
        **FULL,
        "email": "ann.lee@example.com",
        "id": member["id"],
        "customer_id": member["customer_id"],
        "status": "active",
        "suspends": None,
        "enrolled_at": "2026-01-01T12:00:00Z",
    }
    assert member["id"].removeprefix("mem_") == member["customer_id"].removeprefix("cus_")


async def test_what_is_not_named_stays_and_null_removes(shop: Shop) -> None:
    member = await shop.post("/v1/members", FULL)
    before = await read(shop, member)
    changed = await patch(shop, member, {"given_name": "Anna", "phone": None, "locale": None, "attributes": None})
    expected = {**before, "given_name": "Anna", "phone": None, "locale": None, "attributes": {}}
    assert changed == expected
    assert await read(shop, member) == expected
    assert await patch(shop, member, {}) == expected
    assert await patch(shop, member, {"attributes": {"a": "b"}}) == {**expected, "attributes": {"a": "b"}}
    assert (await patch(shop, member, {"metadata": {"crm": "18"}}))["metadata"] == {"crm": "18"}
    assert (await patch(shop, member, {"metadata": None}))["metadata"] == {}


async def test_a_member_who_gave_nothing_personal_can_later(shop: Shop) -> None:
    member = await shop.enrol()
    assert (await patch(shop, member, {"family_name": "Lee", "birth_on": "2000-02-29"}))["family_name"] == "Lee"
    assert (await read(shop, member))["birth_on"] == "2000-02-29"


async def test_an_old_identifier_stays_as_history_and_is_free_for_others(shop: Shop) -> None:
    member = await shop.post("/v1/members", {"external_id": "c-1", "email": "old@example.com"})
    await patch(shop, member, {"email": "new@example.com"})
    await patch(shop, member, {"email": None})
    assert await history(shop, member) == [
        ("email", "old@example.com", False),
        ("external_id", "c-1", True),
        ("email", "new@example.com", False),
    ]
    assert await find(shop, email="old@example.com") == []
    heir = await shop.post("/v1/members", {"email": "old@example.com"})
    assert heir["id"] != member["id"]
    assert await find(shop, email="old@example.com") == [heir["id"]]


async def test_naming_the_same_identifier_again_is_no_change(shop: Shop) -> None:
    member = await shop.post("/v1/members", {"external_id": "c-1", "email": "ann@example.com"})
    await patch(shop, member, {"email": "ANN@example.com", "external_id": "c-1"})
    assert sorted(await history(shop, member)) == [("email", "ann@example.com", True), ("external_id", "c-1", True)]


@pytest.mark.parametrize("by", ["external_id", "email", "phone", "card"])
async def test_a_member_is_found_by_each_identifier(shop: Shop, by: str) -> None:
    member = await shop.post("/v1/members", FULL)
    await shop.enrol(email="other@example.com")
    assert await find(shop, **{by: str(FULL[by])}) == [member["id"]]
    assert await find(shop, **{by: "nobody"}) == []


async def test_an_email_is_one_in_any_case(shop: Shop) -> None:
    member = await shop.post("/v1/members", {"email": "Ann@Example.com"})
    for written in ("ann@example.com", "ANN@EXAMPLE.COM", "Ann@Example.com"):
        assert await find(shop, email=written) == [member["id"]]
        await shop.refuses("POST", "/v1/members", {"email": written}, status=409, code="already_a_member")


async def test_an_email_is_found_as_it_was_typed_at_enrolment(shop: Shop) -> None:
    """Enrolment normalises an address (here the full-width domain); the search must do the same."""
    typed = "ann@\uff45xample.com"
    member = await shop.post("/v1/members", {"email": typed})
    assert (await read(shop, member))["email"] == "ann@example.com"
    assert await find(shop, email=typed) == [member["id"]]


async def test_identifiers_other_than_email_are_taken_as_written(shop: Shop) -> None:
    lower = await shop.post("/v1/members", {"external_id": "abc"})
    upper = await shop.post("/v1/members", {"external_id": "ABC"})
    assert await find(shop, external_id="abc") == [lower["id"]]
    assert await find(shop, external_id="ABC") == [upper["id"]]


async def test_one_identifier_at_most_finds_a_member(shop: Shop) -> None:
    await shop.refuses("GET", "/v1/members?card=1&phone=2", status=400, code="nothing_to_find_by")


async def test_a_customer_who_only_bought_is_no_member(shop: Shop) -> None:
    order = await shop.order(10, external_customer_id="buyer")
    assert await find(shop, external_id="buyer") == []
    member_id = order["customer_id"].replace("cus_", "mem_")
    await shop.refuses("GET", f"/v1/members/{member_id}", status=404, code="member_not_found")
    member = await shop.post("/v1/members", {"external_id": "buyer"})
    assert member["customer_id"] == order["customer_id"]
    assert await find(shop, external_id="buyer") == [member["id"]]


@pytest.mark.parametrize("kind", ["external_id", "email", "phone", "card"])
async def test_an_identifier_of_another_is_refused(shop: Shop, kind: str) -> None:
    await shop.post("/v1/members", FULL)
    member = await shop.post("/v1/members", {"external_id": "c-2", "email": "bob@example.com"})
    body = {"given_name": "Bob", kind: FULL[kind]}
    path = f"/v1/members/{member['id']}"
    problem = await shop.refuses("PATCH", path, body, status=409, code="identifier_in_use")
    assert problem["data"] == {"kinds": [kind]}


async def test_identifiers_of_two_customers_enrol_nobody(shop: Shop) -> None:
    await shop.post("/v1/members", {"external_id": "c-1"})
    await shop.post("/v1/members", {"email": "bob@example.com"})
    body = {"external_id": "c-1", "email": "bob@example.com"}
    problem = await shop.refuses("POST", "/v1/members", body, status=409, code="identifier_in_use")
    assert problem["data"] == {"kinds": ["email", "external_id"]}


async def test_a_known_customer_with_another_identifier_of_the_kind_is_refused(shop: Shop) -> None:
    await shop.order(10, external_customer_id="buyer")
    await shop.post("/v1/members", {"external_id": "buyer", "card": "1"})
    body = {"card": "1", "external_id": "another"}
    problem = await shop.refuses("POST", "/v1/members", body, status=409, code="identifier_in_use")
    assert problem["data"] == {"kinds": ["external_id"]}


@pytest.mark.parametrize("suspends", ["earn", "burn", "both"])
async def test_a_suspension_says_from_what_and_ends(shop: Shop, suspends: str) -> None:
    member = await shop.enrol()
    suspended = await change(shop, member, "suspended", "chargebacks", suspends=suspends)
    assert (suspended["status"], suspended["suspends"]) == ("suspended", suspends)
    assert (await read(shop, member))["suspends"] == suspends
    active = await change(shop, member, "active")
    assert (active["status"], active["suspends"]) == ("active", None)


@pytest.mark.parametrize(("suspends", "earned", "redeems"), [("earn", 0, 201), ("burn", 100, 409), ("both", 0, 409)])
async def test_a_suspension_stops_what_it_names(shop: Shop, suspends: str, earned: int, redeems: int) -> None:
    member = await shop.enrol()
    reward = await shop.reward(cost=100)
    await shop.order(100, customer_id=member["customer_id"])
    await change(shop, member, "suspended", suspends=suspends)
    order = await shop.order(100, customer_id=member["customer_id"])
    assert order["points_earned"] == earned
    body = {"member_id": member["id"], "reward_id": reward["id"]}
    reply = await shop.send("POST", "/v1/redemptions", body)
    assert reply.status_code == redeems, reply.text
    assert redeems == 201 or reply.json()["code"] == "member_may_not_burn"


async def test_a_closed_membership_stays_closed(shop: Shop) -> None:
    member = await shop.enrol()
    closed = await change(shop, member, "closed", "asked to leave")
    assert closed["status"] == "closed"
    path = f"/v1/members/{member['id']}/status-changes"
    for body in ({"status": "active"}, {"status": "suspended", "suspends": "both"}, {"status": "closed"}):
        await shop.refuses("POST", path, {**body, "reason": "please"}, status=409, code="member_closed")
    order = await shop.order(100, customer_id=member["customer_id"])
    assert order["points_earned"] == 0


async def test_a_change_of_status_is_kept_with_reason_and_actor(shop: Shop) -> None:
    member = await shop.enrol()
    await change(shop, member, "suspended", "chargebacks", suspends="burn")
    await shop.post("/v1/test-clock/advance", {"to": "2026-01-05T12:00:00Z"}, expect=200)
    await change(shop, member, "active", "paid up")
    async with transaction(shop.sessions) as session:
        query = text(
            "SELECT status, suspends, reason, actor LIKE 'key\\_%', occurred_at::date::text FROM member_status_changes"
            " WHERE program_id = :program ORDER BY id"
        )
        rows = [tuple(row) for row in await session.execute(query, {"program": shop.program.id})]
    assert rows == [
        ("suspended", "burn", "chargebacks", True, "2026-01-01"),
        ("active", None, "paid up", True, "2026-01-05"),
    ]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"status": "suspended", "reason": "x"}, ("/suspends", "suspends")),
        ({"status": "active", "suspends": "earn", "reason": "x"}, ("/suspends", "suspends")),
        ({"status": "closed", "suspends": "both", "reason": "x"}, ("/suspends", "suspends")),
        ({"status": "gone", "reason": "x"}, ("/status", "enum")),
        ({"status": "suspended", "suspends": "all", "reason": "x"}, ("/suspends", "enum")),
        ({"status": "active"}, ("/reason", "missing")),
        ({"status": "active", "reason": ""}, ("/reason", "string_too_short")),
        ({"status": "active", "reason": "x" * 501}, ("/reason", "string_too_long")),
        ({"status": "active", "reason": "x", "actor": "me"}, ("/actor", "extra_forbidden")),
    ],
)
async def test_a_change_of_status_of_nonsense_is_refused(shop: Shop, body: Json, fault: tuple[str, str]) -> None:
    member = await shop.enrol()
    path = f"/v1/members/{member['id']}/status-changes"
    problem = await shop.refuses("POST", path, body, status=400, code="validation_failed")
    assert [(found["pointer"], found["code"]) for found in problem["errors"]] == [fault]


@pytest.mark.parametrize("limit", [1, 7, 20, 44, 45, 46, 100])
async def test_pages_over_all_members_neither_skip_nor_repeat(many: tuple[Shop, list[str]], limit: int) -> None:
    shop, enrolled = many
    seen: list[str] = []
    path = f"/v1/members?limit={limit}"
    page = await shop.get(path)
    while True:
        seen += [row["id"] for row in page["data"]]
        assert page["has_more"] == (len(seen) < len(enrolled))
        if not page["has_more"]:
            break
        assert len(page["data"]) == limit
        page = await shop.get(f"{path}&cursor={page['next_cursor']}")
    assert page["next_cursor"] is None
    assert seen == enrolled


async def test_a_member_who_joins_between_pages_moves_nobody(shop: Shop) -> None:
    first = [(await shop.enrol())["id"] for _ in range(4)]
    page = await shop.get("/v1/members?limit=2")
    late = await shop.enrol()
    rest = await shop.get(f"/v1/members?limit=100&cursor={page['next_cursor']}")
    assert [row["id"] for row in page["data"] + rest["data"]] == [*first, late["id"]]


@pytest.fixture
async def many(shop: Shop) -> tuple[Shop, list[str]]:
    enrolled = [(await shop.enrol())["id"] for _ in range(45)]
    return shop, sorted(enrolled)


async def test_a_token_is_minted_for_a_member_only(shop: Shop) -> None:
    order = await shop.order(10, external_customer_id="buyer")
    member_id = order["customer_id"].replace("cus_", "mem_")
    await shop.refuses("POST", f"/v1/members/{member_id}/tokens", status=404, code="member_not_found")


async def test_every_change_is_told(shop: Shop) -> None:
    member = await shop.enrol()
    await patch(shop, member, {"given_name": "Ann"})
    await change(shop, member, "suspended", suspends="earn")
    await change(shop, member, "closed")
    async with transaction(shop.sessions) as session:
        query = text("SELECT type FROM events WHERE program_id = :program AND type LIKE 'member.%' ORDER BY id")
        told = list((await session.execute(query, {"program": shop.program.id})).scalars())
    assert told[-3:] == ["member.updated", "member.suspended", "member.closed"]
