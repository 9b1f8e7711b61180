"""Keys and managers, through the doors."""

from typing import Any, cast

import httpx
import pytest
from sqlalchemy import text
from tests.access.doors import PASSWORD, World, application_of, open_world
from tests.shop import Json, Shop

from loyalty.access import service as access
from loyalty.access.errors import ManagerExists
from loyalty.access.guards import SESSION_COOKIE
from loyalty.access.rules import ALL_KEY_SCOPES, Role, Scope, digest
from loyalty.app import create_app
from loyalty.core import clock, ids
from loyalty.core.db import transaction
from loyalty.core.settings import Settings

LATER, PAST = "2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"


async def make(shop: Shop, *, bearer: str | None = None, **details: Any) -> Json:
    return await shop.post("/v1/keys", {"kind": "secret", "name": "a key", **details}, bearer=bearer)


async def works(shop: Shop, secret: str) -> bool:
    reply = await shop.send("GET", "/v1/keys", bearer=secret)
    assert reply.status_code in (200, 401), reply.text
    return reply.status_code == 200


async def test_a_new_key_works_and_says_what_it_is(shop: Shop) -> None:
    made = await make(shop, name="till 7", expires_at=LATER)
    key, secret = made["key"], made["secret"]
    assert (key["kind"], key["name"], key["expires_at"]) == ("secret", "till 7", LATER)
    assert key["scopes"] == sorted(ALL_KEY_SCOPES)
    assert key["hint"] == f"lk_sk_test…{secret[-4:]}"
    assert secret.startswith(f"lk_sk_test_{ids.encode(shop.program.id)}_")
    assert await works(shop, secret)


async def test_a_secret_is_shown_once_and_kept_nowhere(shop: Shop) -> None:
    made = await make(shop)
    body = made["secret"].rpartition("_")[2][:-4]
    listed = await shop.send("GET", "/v1/keys", expect=200)
    assert made["key"] in listed.json()["data"]
    assert body not in listed.text
    async with transaction(shop.sessions) as session:
        rows = await session.execute(
            text("SELECT t::text, digest FROM api_keys AS t WHERE program_id = :id"), {"id": shop.program.id}
        )
        stored = [tuple(row) for row in rows]
    assert digest(made["secret"]) in {kept for _, kept in stored}
    assert not any(body in row or body.encode().hex() in row for row, _ in stored)


async def test_keys_are_listed_in_the_order_they_were_made(shop: Shop) -> None:
    made = [(await make(shop, name=f"key {number}"))["key"]["id"] for number in range(3)]
    listed = [key["id"] for key in (await shop.get("/v1/keys"))["data"]]
    assert listed[1:] == made


async def test_a_key_that_ends_later_works_beside_its_successor(shop: Shop) -> None:
    old, new = await make(shop, name="old"), await make(shop, name="new")
    ending = await shop.post(f"/v1/keys/{old['key']['id']}/ending", {"at": LATER}, expect=200)
    assert ending["expires_at"] == LATER
    assert await works(shop, old["secret"])
    assert await works(shop, new["secret"])
    await shop.post(f"/v1/keys/{old['key']['id']}/ending", {}, expect=200)
    assert not await works(shop, old["secret"])
    assert await works(shop, new["secret"])


async def test_a_key_can_end_itself(shop: Shop) -> None:
    made = await make(shop)
    await shop.post(f"/v1/keys/{made['key']['id']}/ending", {}, bearer=made["secret"], expect=200)
    assert not await works(shop, made["secret"])


@pytest.mark.parametrize("again", [{"at": LATER}, {}])
async def test_a_key_that_ended_never_works_again(shop: Shop, again: Json) -> None:
    made = await make(shop)
    path = f"/v1/keys/{made['key']['id']}/ending"
    ended = await shop.post(path, {"at": PAST}, expect=200)
    assert ended["expires_at"] == PAST
    await shop.send("POST", path, again)
    assert not await works(shop, made["secret"])


async def test_an_end_can_be_brought_forward_but_not_put_off(shop: Shop) -> None:
    made = await make(shop, expires_at="2098-01-01T00:00:00Z")
    path = f"/v1/keys/{made['key']['id']}/ending"
    assert (await shop.post(path, {"at": LATER}, expect=200))["expires_at"] == "2098-01-01T00:00:00Z"
    assert (await shop.post(path, {"at": "2097-01-01T00:00:00Z"}, expect=200))["expires_at"] == "2097-01-01T00:00:00Z"


async def test_an_unknown_key_cannot_end(shop: Shop) -> None:
    for key_id in (ids.public("key", ids.new()), ids.public("mem", ids.new()), "nonsense"):
        await shop.refuses("POST", f"/v1/keys/{key_id}/ending", {}, status=404, code="key_not_found")


@pytest.mark.parametrize(
    ("kind", "scopes"),
    [("restricted", []), ("secret", ["orders:read"]), ("publishable", ["codes:check"])],
)
async def test_only_a_restricted_key_names_scopes_and_it_must(shop: Shop, kind: str, scopes: list[str]) -> None:
    body = {"kind": kind, "name": "x", "scopes": scopes}
    problem = await shop.refuses("POST", "/v1/keys", body, status=400, code="scopes_invalid")
    assert problem["data"] == {"kind": kind}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "master"}, "/kind"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"scopes": ["orders:read"] * 33}, "/scopes"),
        ({"name": ""}, "/name"),
        ({"expires_at": "2020-01-01"}, "/expires_at"),
    ],
)
async def test_a_key_of_nonsense_is_refused(shop: Shop, body: Json, pointer: str) -> None:
    sent = {"kind": "restricted", "name": "x", "scopes": ["orders:read"], **body}
    problem = await shop.refuses("POST", "/v1/keys", sent, status=400, code="validation_failed")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


async def test_no_key_has_a_members_scope_or_a_sessions(shop: Shop) -> None:
    for scope in ("me:read", "me:write", "session:own"):
        body = {"kind": "restricted", "name": "x", "scopes": [scope]}
        problem = await shop.refuses("POST", "/v1/keys", body, status=403, code="scope_not_grantable")
        assert problem["data"] == {"scopes": [scope]}


async def test_a_key_passes_on_only_what_it_has(shop: Shop) -> None:
    maker = await make(shop, kind="restricted", scopes=["keys:write", "orders:read", "orders:read"])
    assert maker["key"]["scopes"] == ["keys:write", "orders:read"]
    child = await make(shop, kind="restricted", scopes=["orders:read"], bearer=maker["secret"])
    assert child["key"]["scopes"] == ["orders:read"]
    for body, beyond in (
        ({"kind": "restricted", "scopes": ["orders:read", "orders:write"]}, ["orders:write"]),
        ({"kind": "publishable"}, ["codes:check"]),
        ({"kind": "secret"}, sorted(ALL_KEY_SCOPES - {Scope.KEYS_WRITE, Scope.ORDERS_READ})),
    ):
        problem = await shop.refuses(
            "POST", "/v1/keys", {"name": "x", **body}, status=403, code="scope_not_grantable", bearer=maker["secret"]
        )
        assert problem["data"] == {"scopes": beyond}
    await shop.refuses(
        "POST",
        "/v1/keys",
        {"kind": "restricted", "name": "x", "scopes": ["orders:read"]},
        status=403,
        code="scope_missing",
        bearer=child["secret"],
    )


@pytest.fixture
async def world(shop: Shop) -> World:
    return await open_world(shop.client, application_of(shop))


async def add(shop: Shop, *, email: str, role: Role, password: str = PASSWORD) -> None:
    async with transaction(shop.sessions) as session:
        await access.add_manager(
            session,
            program_id=shop.program.id,
            email=email,
            password=password,
            role=role,
            passwords=application_of(shop).state.passwords,
            real_now=clock.now(),
        )


async def sign_in(shop: Shop, *, email: str, password: str = PASSWORD, program: str | None = None) -> httpx.Response:
    body = {"program": program or shop.program.slug, "email": email, "password": password}
    reply = await shop.client.post("/v1/manager-sessions", json=body)
    shop.client.cookies.clear()
    return reply


async def cookie_of(shop: Shop) -> str:
    """Return the session's cookie of a manager who signs in now."""
    return (await sign_in(shop, email=address(shop))).cookies[SESSION_COOKIE]


def address(shop: Shop) -> str:
    return f"mia@{shop.program.slug}.example.com"


async def test_a_manager_signs_in_and_acts_under_their_own_name(shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    reply = await sign_in(shop, email=address(shop).upper())
    assert reply.status_code == 201
    token = reply.cookies[SESSION_COOKIE]
    assert token.startswith(f"ls_{ids.encode(shop.program.id)}_")
    assert token not in reply.text
    assert reply.json()["expires_at"] > clock.rfc3339(clock.now())
    assert (reply.json()["role"], reply.json()["program_slug"]) == ("owner", shop.program.slug)
    assert await shop.get("/v1/manager-sessions/current", bearer=token) == reply.json()
    assert (await shop.get("/v1/program", bearer=token))["slug"] == shop.program.slug
    rule = await shop.post(
        "/v1/earning-rules",
        {"name": "mine", "terms": {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 100}}},
        bearer=token,
    )
    assert rule["versions"][0]["created_by"].startswith("mgr_")


async def test_a_session_is_kept_as_its_digest_only(shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    token = await cookie_of(shop)
    async with transaction(shop.sessions) as session:
        query = text("SELECT digest, t::text FROM manager_sessions AS t WHERE program_id = :id")
        ((kept, row),) = (await session.execute(query, {"id": shop.program.id})).all()
        query = text("SELECT t::text FROM managers AS t WHERE email = :email")
        account = (await session.execute(query, {"email": address(shop)})).scalar_one()
    assert kept == digest(token)
    assert token not in row
    assert PASSWORD not in account
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in account


async def test_every_way_to_fail_signing_in_looks_the_same(shop: Shop, other_shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    failures = {
        "password": await sign_in(shop, email=address(shop), password="wrong horse battery staple"),
        "e-mail": await sign_in(shop, email="nobody@example.com"),
        "program": await sign_in(shop, email=address(shop), program="there-is-none"),
        "role": await sign_in(other_shop, email=address(shop)),
    }
    heard = {}
    for name, reply in failures.items():
        problem = reply.json()
        problem.pop("request_id")
        heard[name] = (reply.status_code, problem)
    expected = {
        "type": "urn:loyalty:problem:sign_in_refused",
        "title": "The program, e-mail or password is wrong.",
        "status": 401,
        "code": "sign_in_refused",
        "data": {},
        "errors": [],
    }
    assert heard == dict.fromkeys(failures, (401, expected))
    async with transaction(shop.sessions) as session:
        programs = {"one": shop.program.id, "other": other_shop.program.id}
        query = text("SELECT count(*) FROM manager_sessions WHERE program_id IN (:one, :other)")
        assert (await session.execute(query, programs)).scalar_one() == 0


async def test_a_session_of_one_program_opens_no_other(shop: Shop, other_shop: Shop) -> None:
    for place in (shop, other_shop):
        await add(place, email=address(shop), role=Role.OWNER)
    token = await cookie_of(shop)
    assert (await shop.get("/v1/program", bearer=token))["slug"] == shop.program.slug
    moved = token.replace(ids.encode(shop.program.id), ids.encode(other_shop.program.id))
    await other_shop.refuses("GET", "/v1/program", status=401, code="credentials_invalid", bearer=moved)


async def test_a_role_that_changes_counts_from_the_next_request(shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    token = await cookie_of(shop)
    await shop.get("/v1/keys", bearer=token)
    await add(shop, email=address(shop), role=Role.ANALYST)
    await shop.refuses("GET", "/v1/keys", status=403, code="scope_missing", bearer=token)
    assert (await shop.get("/v1/program", bearer=token))["slug"] == shop.program.slug


async def test_an_account_cannot_be_taken_over_by_adding_it_elsewhere(shop: Shop, other_shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    with pytest.raises(ManagerExists):
        await add(other_shop, email=address(shop), role=Role.OWNER, password="another password, entirely")
    assert (await sign_in(shop, email=address(shop))).status_code == 201
    assert (await sign_in(other_shop, email=address(shop))).status_code == 401


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (Role.OWNER, {"read", "member", "reward", "order", "key"}),
        (Role.MANAGER, {"read", "member", "reward", "order"}),
        (Role.SUPPORT, {"read", "member"}),
        (Role.ANALYST, {"read"}),
    ],
)
async def test_what_each_role_may_do(world: World, role: Role, may: set[str]) -> None:
    shop, bearer = world.shop, await world.manager(role)
    member = f"/v1/members/{world.member['id']}"
    replies = {
        "read": await shop.send("GET", member, bearer=bearer),
        "member": await shop.send("PATCH", member, {"given_name": "Ann"}, bearer=bearer),
        "reward": await shop.send("PATCH", f"/v1/rewards/{world.reward['id']}", {"cost_points": 9}, bearer=bearer),
        "order": await shop.send("POST", "/v1/orders", shop.order_body(), bearer=bearer),
        "key": await shop.send("POST", "/v1/keys", {"kind": "publishable", "name": "p"}, bearer=bearer),
    }
    assert {name for name, reply in replies.items() if reply.is_success} == may
    assert {reply.json()["code"] for reply in replies.values() if not reply.is_success} <= {"scope_missing"}


async def test_no_key_gets_a_sessions_scope_from_a_session(shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    body = {"kind": "restricted", "name": "x", "scopes": ["session:own"]}
    token = await cookie_of(shop)
    await shop.refuses("POST", "/v1/keys", body, status=403, code="scope_not_grantable", bearer=token)


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    head, *marks = (await sign_in(shop, email=address(shop))).headers["set-cookie"].split("; ")
    assert head.startswith(f"{SESSION_COOKIE}=ls_")
    assert sorted(mark.lower() for mark in marks) == ["httponly", "max-age=43200", "path=/", "samesite=strict"]


async def test_over_https_the_cookie_is_secure(settings: Settings, shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    application = create_app(settings.model_copy(update={"public_url": "https://loyalty.shop.test"}))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(cast(Any, application)), base_url="https://t.test"
    ) as client:
        body = {"program": shop.program.slug, "email": address(shop), "password": PASSWORD}
        reply = await client.post("/v1/manager-sessions", json=body)
        assert "; Secure" in reply.headers["set-cookie"]
        assert (await client.get("/v1/manager-sessions/current")).status_code == 200
        gone = await client.delete("/v1/manager-sessions/current")
        assert (gone.status_code, gone.content) == (204, b"")
        assert (await client.get("/v1/manager-sessions/current")).json()["code"] == "credentials_missing"


async def test_who_signs_out_is_out_with_that_cookie_and_no_other(shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    token, elsewhere = await cookie_of(shop), await cookie_of(shop)
    await shop.send("DELETE", "/v1/manager-sessions/current", bearer=token, expect=204)
    await shop.refuses("GET", "/v1/program", status=401, code="credentials_invalid", bearer=token)
    assert (await shop.get("/v1/program", bearer=elsewhere))["slug"] == shop.program.slug


async def test_signing_in_forgets_ones_expired_sessions(shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    await cookie_of(shop)
    async with transaction(shop.sessions) as session:
        expire = text("UPDATE manager_sessions SET expires_at = '2020-01-01Z' WHERE program_id = :id")
        await session.execute(expire, {"id": shop.program.id})
    await cookie_of(shop)
    async with transaction(shop.sessions) as session:
        query = text("SELECT count(*) FROM manager_sessions WHERE program_id = :id")
        assert (await session.execute(query, {"id": shop.program.id})).scalar_one() == 1


async def test_a_session_is_no_bearer_token_and_a_key_no_cookie(shop: Shop) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    token = await cookie_of(shop)
    for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"{SESSION_COOKIE}={shop.key}"}):
        reply = await shop.client.get("/v1/program", headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (401, "credentials_invalid")


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Origin": "https://evil.test"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://test"}, False),
        ({}, False),
    ],
)
async def test_another_sites_page_cannot_act_with_a_managers_cookie(
    shop: Shop, headers: dict[str, str], refused: bool
) -> None:
    await add(shop, email=address(shop), role=Role.OWNER)
    sent = {**headers, "Cookie": f"{SESSION_COOKIE}={await cookie_of(shop)}", "Host": "test"}
    before = await shop.digest()
    reply = await shop.client.patch("/v1/program", json={"name": "Renamed"}, headers=sent)
    assert (reply.status_code == 403) is refused
    if refused:
        assert reply.json()["code"] == "cross_site_request"
        assert await shop.digest() == before
    assert (await shop.client.get("/v1/program", headers=sent)).status_code == 200
