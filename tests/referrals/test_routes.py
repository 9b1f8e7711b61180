"""Links, codes and attribution through the doors."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import text
from tests.shop import Json, Shop

from loyalty.core import ids
from loyalty.core.db import Sessions, transaction
from loyalty.core.signing import Keyring

PERSON = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1"}
ANOTHER_SECRET = "another secret that this server never had, long enough"


async def link(
    shop: Shop, code: str, *, method: str = "GET", channel: str | None = None, **headers: str
) -> httpx.Response:
    params = {"channel": channel} if channel else {}
    path = f"/r/{shop.program.slug}/{code}"
    return await shop.client.request(method, path, params=params, headers={**PERSON, **headers})


def token_of(reply: httpx.Response) -> str:
    assert reply.status_code == 302, reply.text
    return parse_qs(urlsplit(reply.headers["location"]).query)["loyalty_click"][0]


async def clicks(shop: Shop) -> list[tuple[str, str, str | None]]:
    async with transaction(shop.sessions) as session:
        query = text("SELECT code, kind, channel FROM referral_clicks WHERE program_id = :id ORDER BY id")
        return [(row[0], row[1], row[2]) for row in await session.execute(query, {"id": shop.program.id})]


def touches(member: Json) -> list[tuple[str, str, str]]:
    return [(touch["method"], touch["outcome"], touch["reason"]) for touch in member["attribution"]["touches"]]


def click_claims(shop: Shop, code: str, **changes: Any) -> dict[str, Any]:
    at = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())
    program = ids.encode(shop.program.id)
    return {"prg": program, "code": code, "clk": ids.encode(ids.new()), "at": at, "chn": None, **changes}


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def test_visits_bots_and_looks_ahead_are_recorded_apart(shop: Shop) -> None:
    code = (await shop.enrol())["referral_code"]
    for reply in (
        await link(shop, code, channel="mail"),
        await link(shop, code, method="HEAD"),
        await link(shop, code, **{"User-Agent": "Slackbot-LinkExpanding 1.0"}),
        await link(shop, code, **{"User-Agent": ""}),
        await link(shop, code, **{"Sec-Purpose": "prefetch;prerender"}),
        await link(shop, code, Purpose="prefetch"),
    ):
        assert reply.status_code == 302
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
    assert await clicks(shop) == [
        (code, "visit", "mail"),
        (code, "prefetch", None),
        (code, "bot", None),
        (code, "bot", None),
        (code, "prefetch", None),
        (code, "prefetch", None),
    ]


async def test_a_link_may_be_written_as_people_write_codes(shop: Shop) -> None:
    code = (await shop.enrol())["referral_code"]
    assert (await link(shop, f"{code[:5]}-{code[5:]}".lower())).status_code == 302
    assert await clicks(shop) == [(code, "visit", None)]


async def test_a_mistyped_code_is_told_from_an_unknown_one_and_neither_is_a_click(shop: Shop) -> None:
    code = (await shop.enrol())["referral_code"]
    wrong = ("0" if code[0] != "0" else "2") + code[1:]
    expected = {
        wrong: (400, "referral_code_mistyped"),
        "0000000000": (404, "referral_code_unknown"),
        "ANNA": (404, "referral_code_unknown"),
    }
    for written, problem in expected.items():
        for reply in (await link(shop, written), await shop.send("GET", f"/v1/referral-codes/{written}")):
            assert (reply.status_code, reply.json()["code"]) == problem
    assert await clicks(shop) == []


async def test_a_code_works_in_its_own_program_only(shop: Shop, other_shop: Shop) -> None:
    code = (await other_shop.enrol())["referral_code"]
    assert (await link(shop, code)).json()["code"] == "referral_code_unknown"
    assert (await shop.send("GET", f"/v1/referral-codes/{code}")).json()["code"] == "referral_code_unknown"
    body = {"external_id": "friend", "referral_code": code}
    await shop.refuses("POST", "/v1/members", body, status=404, code="referral_code_unknown")


async def test_a_link_of_no_program_leads_nowhere(shop: Shop) -> None:
    code = (await shop.enrol())["referral_code"]
    reply = await shop.client.get(f"/r/nobodys-shop/{code}", headers=PERSON)
    assert (reply.status_code, reply.json()["code"]) == (404, "program_not_found")


async def test_a_click_binds_the_friend_and_keeps_its_channel(shop: Shop) -> None:
    advocate = await shop.enrol()
    token = token_of(await link(shop, advocate["referral_code"], channel="instagram"))
    friend = await shop.enrol(click_token=token)
    assert friend["attribution"]["advocate_id"] == advocate["id"]
    assert touches(friend) == [("click", "won", "click_accepted")]
    listed = (await shop.get(f"/v1/referrals?advocate_id={advocate['id']}"))["data"]
    assert [(own["referee_id"], own["channel"], own["state"]) for own in listed] == [
        (friend["id"], "instagram", "signed_up")
    ]


async def test_a_typed_code_beats_a_click_and_the_loser_is_kept(shop: Shop) -> None:
    typed, clicked = await shop.enrol(), await shop.enrol()
    token = token_of(await link(shop, clicked["referral_code"]))
    friend = await shop.enrol(referral_code=typed["referral_code"], click_token=token)
    assert friend["attribution"]["advocate_id"] == typed["id"]
    expected = [("code", "won", "code_accepted"), ("click", "lost", "a_stronger_claim_won")]
    assert touches(friend) == expected
    kept = await shop.get(f"/v1/members/{friend['id']}/attribution")
    assert kept == friend["attribution"]


async def test_a_forged_click_loses_and_the_enrolment_succeeds(shop: Shop, app: Litestar) -> None:
    code = (await shop.enrol())["referral_code"]
    settings = app.state.settings.model_copy(update={"secret_key": type(app.state.settings.secret_key)(ANOTHER_SECRET)})
    genuine = token_of(await link(shop, code))
    head, claims, signature = genuine.split(".")
    forged = (
        Keyring(settings).sign("loyalty:click", click_claims(shop, code)),
        Keyring(app.state.settings).sign("loyalty:member", click_claims(shop, code)),
        f"{head}.{claims}.{signature[:-4]}AAAA",
        f"{head}.{claims}.",
        "nonsense",
    )
    for token in forged:
        friend = await shop.enrol(click_token=token)
        assert friend["attribution"]["advocate_id"] is None
        assert touches(friend) == [("click", "refused", "click_not_genuine")]


async def test_a_click_of_another_program_loses_with_the_reason(shop: Shop, other_shop: Shop) -> None:
    token = token_of(await link(other_shop, (await other_shop.enrol())["referral_code"]))
    friend = await shop.enrol(click_token=token)
    assert friend["attribution"]["advocate_id"] is None
    assert touches(friend) == [("click", "refused", "click_of_another_program")]


@pytest.mark.parametrize(
    ("until", "touch"),
    [
        ("2026-01-31T12:00:00Z", ("click", "won", "click_accepted")),
        ("2026-01-31T12:00:01Z", ("click", "refused", "click_outside_window")),
    ],
)
async def test_a_click_counts_for_the_campaigns_thirty_days(
    shop: Shop, until: str, touch: tuple[str, str, str]
) -> None:
    token = token_of(await link(shop, (await shop.enrol())["referral_code"]))
    await advance(shop, until)
    assert touches(await shop.enrol(click_token=token)) == [touch]


async def test_a_click_from_the_future_loses_with_the_reason(shop: Shop, app: Litestar) -> None:
    code = (await shop.enrol())["referral_code"]
    tomorrow = int(datetime(2026, 1, 2, 12, tzinfo=UTC).timestamp())
    token = Keyring(app.state.settings).sign("loyalty:click", click_claims(shop, code, at=tomorrow))
    assert touches(await shop.enrol(click_token=token)) == [("click", "refused", "click_in_the_future")]


async def test_a_wrong_typed_code_refuses_the_enrolment_and_changes_nothing(shop: Shop) -> None:
    code = (await shop.enrol())["referral_code"]
    wrong = ("0" if code[0] != "0" else "2") + code[1:]
    body = {"external_id": "friend", "referral_code": wrong}
    await shop.refuses("POST", "/v1/members", body, status=400, code="referral_code_mistyped", key="once")
    unknown = {**body, "referral_code": "N0B0DY"}
    await shop.refuses("POST", "/v1/members", unknown, status=404, code="referral_code_unknown", key="once")
    right = await shop.send("POST", "/v1/members", {**body, "referral_code": code}, key="once")
    assert right.status_code == 201
    assert right.json()["attribution"]["referral_id"] is not None


async def test_a_new_customer_is_one_who_never_bought(shop: Shop) -> None:
    code = (await shop.enrol())["referral_code"]
    await shop.order(10, external_customer_id="old-friend")
    await shop.order(10, external_customer_id="browsing", status="placed")
    old = await shop.enrol(external_id="old-friend", referral_code=code)
    assert touches(old) == [("code", "refused", "not_a_new_customer")]
    browsing = await shop.enrol(external_id="browsing", referral_code=code)
    assert touches(browsing) == [("code", "won", "code_accepted")]


async def test_a_suspended_advocate_brings_nobody(shop: Shop) -> None:
    advocate = await shop.enrol()
    change = {"status": "suspended", "suspends": "earn", "reason": "review"}
    await shop.post(f"/v1/members/{advocate['id']}/status-changes", change)
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    assert touches(friend) == [("code", "refused", "advocate_not_active")]


async def test_friends_keep_the_terms_of_the_campaign_they_were_bound_under(shop: Shop) -> None:
    advocate = await shop.enrol()
    early = await shop.enrol(referral_code=advocate["referral_code"])
    first = await shop.get("/v1/referral-campaign")
    terms = {"name": "more", "landing_url": "https://shop.test/", "advocate_points": 500, "referee_points": 250}
    second = await shop.post("/v1/referral-campaigns", terms)
    assert (await shop.get("/v1/referral-campaign"))["id"] == second["id"] != first["id"]
    late = await shop.enrol(referral_code=advocate["referral_code"])
    await shop.order(10, customer_id=early["customer_id"])
    assert (await shop.wallet(advocate["id"]))["balance"] == 50
    await shop.order(10, customer_id=late["customer_id"])
    assert (await shop.wallet(advocate["id"]))["balance"] == 550
    assert (await shop.wallet(early["id"]))["balance"] == 35
    assert (await shop.wallet(late["id"]))["balance"] == 260
    await shop.books_hold()


async def test_without_an_active_campaign_links_are_refused_and_codes_lose(shop: Shop, sessions: Sessions) -> None:
    code = (await shop.enrol())["referral_code"]
    token = token_of(await link(shop, code))
    async with transaction(sessions) as session:
        retire = text("UPDATE referral_campaigns SET retired_at = started_at WHERE program_id = :id")
        await session.execute(retire, {"id": shop.program.id})
    refused = await link(shop, code)
    assert (refused.status_code, refused.json()["code"]) == (404, "no_active_campaign")
    assert (await shop.send("GET", "/v1/referral-campaign")).json()["code"] == "no_active_campaign"
    assert [kind for _, kind, _ in await clicks(shop)] == ["visit"]
    friend = await shop.enrol(referral_code=code, click_token=token)
    assert touches(friend) == [("code", "refused", "no_active_campaign"), ("click", "refused", "no_active_campaign")]


async def test_a_referral_of_nothing_for_one_side_pays_the_other(shop: Shop) -> None:
    terms = {"name": "one", "landing_url": "https://shop.test/", "advocate_points": 0, "referee_points": 25}
    await shop.post("/v1/referral-campaigns", terms)
    advocate = await shop.enrol()
    friend = await shop.enrol(referral_code=advocate["referral_code"])
    order = await shop.order(10, customer_id=friend["customer_id"])
    assert order["referral"] == {"referral_id": friend["attribution"]["referral_id"], "referee_points": 25}
    assert (await shop.wallet(advocate["id"]))["version"] == 0
    assert (await shop.wallet(friend["id"]))["balance"] == 35


async def test_a_first_order_below_the_minimum_ends_the_chance(shop: Shop) -> None:
    terms = {"name": "min", "landing_url": "https://shop.test/", "advocate_points": 50, "referee_points": 25}
    await shop.post("/v1/referral-campaigns", {**terms, "minimum": {"amount": 2000, "currency": "EUR"}})
    advocate = await shop.enrol()
    small = await shop.enrol(referral_code=advocate["referral_code"])
    large = await shop.enrol(referral_code=advocate["referral_code"])
    orders = [
        await shop.order(19, customer_id=small["customer_id"]),
        await shop.order(500, customer_id=small["customer_id"]),
        await shop.order(20, customer_id=large["customer_id"]),
    ]
    assert [order["referral"] is not None for order in orders] == [False, False, True]
    assert (await shop.wallet(advocate["id"]))["balance"] == 50


async def test_a_chosen_code_becomes_the_primary_one_and_the_old_one_keeps_working(shop: Shop) -> None:
    member = await shop.enrol()
    path = f"/v1/members/{member['id']}/referral-codes"
    codes = (await shop.post(path, {"code": "anna-2026"}))["data"]
    assert [(own["code"], own["is_primary"]) for own in codes] == [("ANNA2026", True), (member["referral_code"], False)]
    assert codes[0]["link"] == f"http://127.0.0.1:8000/r/{shop.program.slug}/ANNA2026"
    again = (await shop.post(path, {"code": "anna-2027"}))["data"]
    assert [own["is_primary"] for own in again] == [True, False, False]
    for code in ("ANNA2026", "ANNA2O27", member["referral_code"]):
        assert (await link(shop, code)).status_code == 302
        friend = await shop.enrol(referral_code=code)
        assert friend["attribution"]["advocate_id"] == member["id"]


@pytest.mark.parametrize(
    ("code", "reason"), [("ABC", "length"), ("ANNA202626", "length"), ("Admin", "reserved"), ("grass1", "offensive")]
)
async def test_a_code_that_is_not_allowed_is_refused_with_the_reason(shop: Shop, code: str, reason: str) -> None:
    path = f"/v1/members/{(await shop.enrol())['id']}/referral-codes"
    problem = await shop.refuses("POST", path, {"code": code}, status=400, code="referral_code_not_allowed")
    assert problem["data"] == {"reason": reason}


async def test_a_code_that_is_or_was_somebodys_cannot_be_chosen(
    shop: Shop, other_shop: Shop, sessions: Sessions
) -> None:
    anna, bob = await shop.enrol(), await shop.enrol()
    await shop.post(f"/v1/members/{anna['id']}/referral-codes", {"code": "ANNA"})
    path = f"/v1/members/{bob['id']}/referral-codes"
    await shop.refuses("POST", path, {"code": "anna"}, status=409, code="referral_code_taken")
    async with transaction(sessions) as session:
        tombstone = text("UPDATE referral_codes SET retired_at = created_at WHERE program_id = :id AND code = 'ANNA'")
        await session.execute(tombstone, {"id": shop.program.id})
    await shop.refuses("POST", path, {"code": "anna"}, status=409, code="referral_code_taken")
    assert (await link(shop, "ANNA")).json()["code"] == "referral_code_unknown"
    elsewhere = await other_shop.enrol()
    codes = await other_shop.post(f"/v1/members/{elsewhere['id']}/referral-codes", {"code": "ANNA"})
    assert codes["data"][0]["code"] == "ANNA"


async def test_codes_of_a_member_of_another_program_are_not_found(shop: Shop, other_shop: Shop) -> None:
    path = f"/v1/members/{(await other_shop.enrol())['id']}/referral-codes"
    await shop.refuses("POST", path, {"code": "ANNA"}, status=404, code="member_not_found")
    await shop.refuses("GET", path, status=404, code="member_not_found")


async def test_unprintable_addresses_are_refused_and_not_failures(shop: Shop) -> None:
    for path in (
        f"/r/{shop.program.slug}/AB%00CD",
        f"/r/{shop.program.slug}/%00" + "0" * 9,
        "/r/%00/ABCD",
        "/r/%FF/ABCD",
    ):
        reply = await shop.client.get(path, headers=PERSON)
        assert reply.status_code in {400, 404}, (path, reply.text)
