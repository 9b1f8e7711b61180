"""The three actors' days, whole, through the public doors."""

from tests.shop import Shop


async def test_a_shopper_earns_redeems_and_cancels(shop: Shop) -> None:
    member = await shop.enrol(email="Ann@Example.com")
    reward = await shop.reward(cost=60)
    order = await shop.order(99, customer_id=member["customer_id"])
    assert order["points_earned"] == 99
    assert [entry["balance_after"] for entry in order["entries"]] == [99]

    token = await shop.token(member["id"])
    offers = (await shop.get("/v1/me/rewards", bearer=token))["data"]
    assert [(offer["id"], offer["points_missing"]) for offer in offers] == [(reward["id"], 0)]
    redemption = await shop.post("/v1/me/redemptions", {"reward_id": reward["id"]}, bearer=token)
    assert redemption["balance_after"] == 39
    assert len(redemption["coupon"]["code"]) == 16

    again = await shop.send("POST", "/v1/me/redemptions", {"reward_id": reward["id"]}, bearer=token)
    assert again.status_code == 409
    assert again.json()["data"] == {"spendable": 39, "requested": 60}

    cancelled = await shop.post(f"/v1/me/redemptions/{redemption['id']}/cancellation", {}, bearer=token)
    assert cancelled["cancelled_at"] is not None
    me = await shop.get("/v1/me", bearer=token)
    assert me["wallets"][0]["spendable"] == 99
    kinds = [entry["kind"] for entry in (await shop.get("/v1/me/entries", bearer=token))["data"]]
    assert kinds == ["restore", "spend", "earn"]
    await shop.books_hold()


async def test_an_advocate_brings_a_friend_and_both_are_paid_once(shop: Shop) -> None:
    advocate = await shop.enrol()
    link = (await shop.get(f"/v1/members/{advocate['id']}/referral-codes"))["data"][0]["link"]
    path = "/r/" + link.split("/r/")[1]
    visit = await shop.client.get(f"{path}?channel=instagram", headers={"User-Agent": "Mozilla/5.0 (iPhone)"})
    assert visit.status_code == 302
    landing = visit.headers["location"]
    assert landing.startswith("https://shop.test/hi?a=1&loyalty_click=")

    friend = await shop.enrol(click_token=landing.split("loyalty_click=")[1])
    assert friend["attribution"]["advocate_id"] == advocate["id"]
    first = await shop.order(40, customer_id=friend["customer_id"])
    assert first["referral"] == {"referral_id": friend["attribution"]["referral_id"], "referee_points": 25}
    second = await shop.order(40, customer_id=friend["customer_id"])
    assert second["referral"] is None

    assert (await shop.wallet(advocate["id"]))["balance"] == 50
    assert (await shop.wallet(friend["id"]))["balance"] == 40 + 25 + 40
    listed = (await shop.get(f"/v1/referrals?advocate_id={advocate['id']}"))["data"]
    assert [(row["state"], row["channel"], row["method"]) for row in listed] == [("rewarded", "instagram", "click")]
    await shop.books_hold()


async def test_a_manager_reads_the_reports(shop: Shop) -> None:
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    await shop.order(40, customer_id=friend["customer_id"])
    await shop.order(40, external_customer_id="a stranger".replace(" ", "-"))
    await shop.order(40)
    await shop.post("/v1/test-clock/advance", {"to": "2026-02-01T12:00:00Z"}, expect=200)
    rate = await shop.get("/v1/metrics/referral-rate?from=2026-01-01&to=2026-02-01")
    assert (rate["numerator"], rate["denominator"], rate["value"]) == (1, 2, 0.5)
    share = await shop.get("/v1/metrics/referred-customer-share?from=2026-01-01&to=2026-02-01")
    assert (share["numerator"], share["denominator"]) == (1, 2)
    compared = await shop.get("/v1/metrics/members-versus-non-members")
    assert compared["association_raw"]["label"] == "association_raw"
