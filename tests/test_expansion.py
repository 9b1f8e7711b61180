"""Metadata that callers keep with their things, and related things shown whole where they ask for them."""

import pytest
from tests.shop import Json, Shop

NOTES = {"crm id": "17", "empty": "", "k" * 40: "v" * 500}


async def key_with(shop: Shop, *scopes: str) -> str:
    made = await shop.post("/v1/keys", {"kind": "restricted", "name": "k", "scopes": list(scopes)})
    return str(made["secret"])


async def redeemed(shop: Shop, member: Json, **details: object) -> Json:
    reward = await shop.reward(cost=10, metadata={"shelf": "3"})
    body = {"member_id": member["id"], "reward_id": reward["id"], **details}
    return await shop.post("/v1/redemptions", body)


async def test_metadata_comes_back_as_it_was_given(shop: Shop) -> None:
    member = await shop.enrol(metadata=NOTES)
    assert (await shop.get(f"/v1/members/{member['id']}"))["metadata"] == NOTES
    order = await shop.order(500, customer_id=member["customer_id"], metadata=NOTES)
    assert order["metadata"] == NOTES
    assert (await shop.get("/v1/orders"))["data"][0]["metadata"] == NOTES
    redemption = await redeemed(shop, member, metadata=NOTES)
    assert (await shop.get(f"/v1/redemptions/{redemption['id']}"))["metadata"] == NOTES
    reward = await shop.get(f"/v1/rewards/{redemption['reward_id']}")
    assert reward["metadata"] == {"shelf": "3"}
    path = f"/v1/rewards/{reward['id']}"
    assert (await shop.send("PATCH", path, {"name": "other"}, expect=200)).json()["metadata"] == {"shelf": "3"}
    assert (await shop.send("PATCH", path, {"metadata": {}}, expect=200)).json()["metadata"] == {}


async def test_imported_orders_carry_metadata_too(shop: Shop) -> None:
    total = {"amount": 100, "currency": "EUR"}
    records = [
        {
            "kind": "order",
            "external_id": f"old-{number}",
            "at": "2025-01-01T00:00:00Z",
            "currency": "EUR",
            "lines": [{"sku": "a", "total": total}],
            "metadata": {"row": str(number)},
        }
        for number in range(250)
    ]
    for batch in (records, records[:10]):
        await shop.post("/v1/imports", {"records": batch})
    listed = (await shop.get("/v1/orders?limit=100"))["data"]
    assert all(order["metadata"] == {"row": order["external_id"].removeprefix("old-")} for order in listed)


async def test_other_metadata_is_another_order(shop: Shop) -> None:
    body = shop.order_body(metadata={"a": "1"})
    await shop.post("/v1/orders", body)
    assert (await shop.send("POST", "/v1/orders", body)).status_code == 200
    await shop.refuses("POST", "/v1/orders", {**body, "metadata": {"a": "2"}}, status=409, code="order_differs")


@pytest.mark.parametrize(
    "wrong",
    [
        {str(number): "x" for number in range(51)},
        {"k" * 41: "x"},
        {"": "x"},
        {"k": "v" * 501},
        {"k": 1},
        {"k": None},
        {"k": {"nested": "x"}},
        {"k": "a\nb"},
        [],
        None,
    ],
)
async def test_metadata_is_bounded_text(shop: Shop, wrong: object) -> None:
    problem = await shop.refuses(
        "POST", "/v1/orders", shop.order_body(metadata=wrong), status=400, code="validation_failed"
    )
    assert all(fault["pointer"].startswith("/metadata") for fault in problem["errors"])


async def test_an_order_shows_its_member_where_asked(shop: Shop) -> None:
    member = await shop.enrol(given_name="Ann")
    order = await shop.order(50, customer_id=member["customer_id"])
    other = await shop.order(50, external_customer_id="never-joined")
    assert (await shop.get(f"/v1/orders/{order['id']}"))["member"] is None
    whole = await shop.get(f"/v1/members/{member['id']}")
    assert (await shop.get(f"/v1/orders/{order['id']}?expand=member"))["member"] == whole
    listed = (await shop.get("/v1/orders?expand=member"))["data"]
    assert [(row["id"], row["member"]) for row in listed] == [(other["id"], None), (order["id"], whole)]


async def test_a_redemption_shows_member_and_reward_where_asked(shop: Shop) -> None:
    member = await shop.enrol()
    await shop.order(500, customer_id=member["customer_id"])
    redemption = await redeemed(shop, member)
    path = f"/v1/redemptions/{redemption['id']}"
    whole = await shop.get(f"/v1/members/{member['id']}")
    reward = await shop.get(f"/v1/rewards/{redemption['reward_id']}")
    for asked, expected in (
        ("", (None, None)),
        ("?expand=member", (whole, None)),
        ("?expand=reward", (None, reward)),
        ("?expand=reward&expand=member", (whole, reward)),
    ):
        for found in (
            await shop.get(path + asked),
            (await shop.get(f"/v1/members/{member['id']}/redemptions{asked}"))["data"][0],
        ):
            assert (found["member"], found["reward"]) == expected


async def test_a_referral_shows_its_two_sides_where_asked(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    ids = {"advocate": advocate["id"], "referee": friend["id"]}
    for asked in ([], ["advocate"], ["referee"], ["advocate", "referee"]):
        query = "&".join(f"expand={side}" for side in asked)
        (row,) = (await shop.get(f"/v1/referrals?{query}"))["data"]
        shown = {side: row[side] and row[side]["id"] for side in ids}
        assert shown == {side: ids[side] if side in asked else None for side in ids}


@pytest.mark.parametrize("asked", ["expand=wallet", "expand=", "expand=member&expand=everything", "expand=member,x"])
async def test_only_what_is_listed_can_be_expanded(shop: Shop, asked: str) -> None:
    problem = await shop.refuses("GET", f"/v1/orders?{asked}", status=400, code="validation_failed")
    assert problem["errors"][0]["pointer"] == "query:expand"


async def test_expanding_needs_the_right_to_read_what_is_shown(shop: Shop) -> None:
    member = await shop.enrol()
    await shop.order(500, customer_id=member["customer_id"])
    redemption = await redeemed(shop, member)
    narrow = await key_with(shop, "orders:read", "redemptions:read", "referrals:read")
    for path, scope in (
        ("/v1/orders?expand=member", "members:read"),
        (f"/v1/redemptions/{redemption['id']}?expand=member", "members:read"),
        (f"/v1/redemptions/{redemption['id']}?expand=reward", "rewards:read"),
        ("/v1/referrals?expand=referee", "members:read"),
    ):
        problem = await shop.refuses("GET", path, status=403, code="scope_missing", bearer=narrow)
        assert problem["data"] == {"scope": scope}
        await shop.get(path.partition("?")[0], bearer=narrow)
