"""A trial of a write tells what would happen, and nothing of it happens."""

from tests.shop import Json, Shop


async def trial(shop: Shop, path: str, body: Json, *, bearer: str | None = None) -> Json:
    """Send a write without any key, as a trial, and prove that nothing changed."""
    before = await shop.digest()
    headers = {"Authorization": f"Bearer {bearer or shop.key}"}
    reply = await shop.client.post(path, params={"dry_run": "true"}, json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    assert await shop.digest() == before
    found: Json = reply.json()
    return found


async def test_an_order_tells_its_points(shop: Shop) -> None:
    member = await shop.enrol()
    body = shop.order_body(70, customer_id=member["customer_id"])
    tried = await trial(shop, "/v1/orders", body)
    assert (tried["points_earned"], tried["entries"][0]["balance_after"]) == (70, 70)
    placed = await shop.post("/v1/orders", body)
    assert (placed["points_earned"], placed["entries"][0]["balance_after"]) == (70, 70)


async def test_a_payment_tells_what_it_activates(shop: Shop) -> None:
    member = await shop.enrol()
    order = await shop.order(70, customer_id=member["customer_id"], status="placed")
    tried = await trial(shop, f"/v1/orders/{order['id']}/payments", {})
    assert tried["status"] == "paid"
    assert (await shop.wallet(member["id"]))["pending"] == 70


async def test_a_redemption_tells_the_balance_it_would_leave(shop: Shop) -> None:
    member = await shop.enrol()
    await shop.order(70, customer_id=member["customer_id"])
    reward = await shop.reward(cost=50, stock=1)
    body = {"reward_id": reward["id"]}
    assert (await trial(shop, "/v1/redemptions", {**body, "member_id": member["id"]}))["balance_after"] == 20
    bearer = await shop.token(member["id"])
    assert (await trial(shop, "/v1/me/redemptions", body, bearer=bearer))["balance_after"] == 20
    redemption = await shop.post("/v1/me/redemptions", body, bearer=bearer)
    path = f"/v1/me/redemptions/{redemption['id']}/cancellation"
    assert (await trial(shop, path, {}, bearer=bearer))["cancelled_at"] is not None


async def test_a_trial_is_refused_as_the_write_would_be(shop: Shop) -> None:
    member = await shop.enrol()
    reward = await shop.reward(cost=50)
    body = {"reward_id": reward["id"], "member_id": member["id"]}
    await shop.refuses("POST", "/v1/redemptions?dry_run=true", body, status=409, code="not_enough_points")


async def test_a_trial_takes_no_part_in_anybodys_keys(shop: Shop) -> None:
    body = shop.order_body(70)
    await shop.send("POST", "/v1/orders?dry_run=true", body, key="one", expect=200)
    await shop.send("POST", "/v1/orders", body, key="one", expect=201)
    tried = await shop.send("POST", "/v1/orders?dry_run=true", shop.order_body(9), key="one", expect=200)
    assert "idempotency-replayed" not in tried.headers


async def test_what_has_no_trial_refuses_one(shop: Shop) -> None:
    body = {"external_id": "somebody"}
    await shop.refuses("POST", "/v1/members?dry_run=true", body, status=400, code="validation_failed")
