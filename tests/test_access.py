"""Every operation of the OpenAPI document, by every credential, and with another program's objects."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import pytest
from litestar import Litestar
from tests.access.doors import (
    BODIES,
    CLOSED,
    OPERATIONS,
    PASSWORD,
    PUBLIC,
    TERMS,
    Operation,
    World,
    open_paths,
    open_world,
)
from tests.conftest import SECRET, connect, running

from loyalty.access import service as access
from loyalty.access.rules import ALL_KEY_SCOPES, ROLE_SCOPES, KeyKind, Role, Scope, make_key
from loyalty.app import create_app
from loyalty.core import clock, ids
from loyalty.core.db import transaction
from loyalty.core.settings import Settings
from loyalty.core.signing import Keyring
from loyalty.programs.rules import Mode

MISSING = (401, "credentials_missing")
INVALID = (401, "credentials_invalid")
NO_SCOPE = (403, "scope_missing")

WITH_IDS = [operation for operation in OPERATIONS if operation.parameters]
WITH_OBJECTS = [operation for operation in CLOSED if operation.parameters]


def _name(operation: Operation) -> str:
    return operation.id


@pytest.fixture(scope="module")
async def world(client: httpx.AsyncClient, app: Litestar) -> World:
    return await open_world(client, app)


@pytest.fixture(scope="module")
async def other(client: httpx.AsyncClient, app: Litestar) -> World:
    return await open_world(client, app)


@dataclass(frozen=True)
class Credentials:
    """By name: what no operation answers, what only members have, and a key for each missing scope."""

    refused: dict[str, str | None]
    lacking: dict[Scope, str]
    publishable: str
    managers: dict[Role, str]


@pytest.fixture(scope="module")
async def credentials(app: Litestar, world: World) -> Credentials:
    shop, program = world.shop, world.shop.program
    keyring = app.state.keyring
    member_id = ids.parse("mem", world.member["id"])
    assert member_id is not None
    expired = await shop.post("/v1/keys", {"kind": "secret", "name": "old", "expires_at": "2020-01-01T00:00:00Z"})
    ended = await shop.post("/v1/keys", {"kind": "secret", "name": "ended"})
    await shop.post(f"/v1/keys/{ended['key']['id']}/ending", {}, expect=200)
    lacking = {}
    for scope in sorted(ALL_KEY_SCOPES):
        scopes = sorted(ALL_KEY_SCOPES - {scope})
        made = await shop.post("/v1/keys", {"kind": "restricted", "name": f"no {scope}", "scopes": scopes})
        lacking[scope] = made["secret"]
    publishable = await shop.post("/v1/keys", {"kind": "publishable", "name": "page"})
    late = clock.now() - access.MEMBER_TOKEN_LIFE - timedelta(seconds=1)
    stranger = Keyring(Settings(database_url="postgresql://nowhere/none", secret_key="x" * 40))  # type: ignore[arg-type]
    claims = {"prg": ids.encode(program.id), "sub": ids.encode(member_id)}
    minted = {"program_id": program.id, "member_id": member_id}
    last = shop.key[-1]
    refused: dict[str, str | None] = {
        "none": None,
        "empty": "Bearer  ",
        "another scheme": f"Basic {shop.key}",
        "malformed": "lk_nonsense",
        "not ASCII": "Bearer \u00e9.\u00ff.\u00e9",
        "three dots of nothing": "a.b.c",
        "too long": "lk_" + "x" * 3000,
        "wrong checksum": shop.key[:-1] + ("0" if last != "0" else "1"),
        "unknown": make_key(kind=KeyKind.SECRET, mode=Mode.TEST, program_id=program.id),
        "of no program": make_key(kind=KeyKind.SECRET, mode=Mode.TEST, program_id=ids.new()),
        "expired": expired["secret"],
        "ended": ended["secret"],
        "expired session": await _expired_session(app, world),
        "expired member token": access.mint_member_token(**minted, keyring=keyring, real_now=late).credential,
        "token of another secret": access.mint_member_token(
            **minted, keyring=stranger, real_now=clock.now()
        ).credential,
        "token for another purpose": keyring.sign("loyalty:click", claims),
    }
    return Credentials(
        refused=refused,
        lacking=lacking,
        publishable=publishable["secret"],
        managers={role: await world.manager(role) for role in Role},
    )


async def _expired_session(app: Litestar, world: World) -> str:
    email = f"late@{world.shop.program.slug}.example.com"
    then = clock.now() - access.SESSION_LIFE - timedelta(seconds=1)
    async with transaction(world.shop.sessions) as session:
        await access.add_manager(
            session,
            program_id=world.shop.program.id,
            email=email,
            password=PASSWORD,
            role=Role.OWNER,
            passwords=app.state.passwords,
            real_now=then,
        )
    _, cookie = await access.sign_in(
        world.shop.sessions,
        program=world.shop.program.slug,
        email=email,
        password=PASSWORD,
        passwords=app.state.passwords,
        real_now=then,
    )
    return cookie


def test_every_operation_names_its_scope_or_is_public() -> None:
    assert {operation.id for operation in OPERATIONS if operation.scope is None} == set(PUBLIC)


def test_the_document_says_which_operations_are_public() -> None:
    assert {operation.id for operation in OPERATIONS if operation.document.get("security") == []} == set(PUBLIC)


def test_nothing_outside_the_document_is_public_but_health_and_the_reference(app: Litestar) -> None:
    public = {operation.path for operation in OPERATIONS if operation.id in PUBLIC}
    assert open_paths(app) - public == {
        "/health/live",
        "/health/ready",
        "/openapi.json",
        "/reference",
        "/reference/start.js",
        "/reference/files/{file_path}",
    }


async def test_every_operation_answers_the_right_caller(client: httpx.AsyncClient, app: Litestar) -> None:
    """So that below nothing but the credential, or whose object it is, can be what is refused."""
    fresh = await open_world(client, app)
    statuses = {}
    for operation in CLOSED:
        bearer = await _right_caller(fresh, operation)
        body = fresh.request(operation)
        path = fresh.address(operation, **await _own_object(fresh, operation))
        reply = await fresh.call(operation, bearer=bearer, path=path, body=body)
        statuses[operation.id] = reply.status_code
    documented = {
        operation.id: next(int(status) for status in operation.document["responses"] if status.startswith("2"))
        for operation in CLOSED
    }
    assert statuses == documented


async def _own_object(world: World, operation: Operation) -> dict[str, str]:  # noqa: PLR0911 -- one for each
    """Return an object of its own for an operation that can be done once."""
    shop, member = world.shop, world.member["id"]
    match operation.id:
        case "create_my_redemption_cancellation":
            own = {"member_id": member, "reward_id": world.reward["id"]}
            return {"redemption_id": (await shop.post("/v1/redemptions", own))["id"]}
        case "create_order_delivery" | "create_order_return" | "create_order_payment" | "create_order_amendment":
            order = await shop.order(5, customer_id=world.member["customer_id"], status="placed")
            return {"order_id": order["id"]}
        case "create_member_erasure":
            return {"member_id": (await shop.enrol())["id"]}
        case "create_order_claim":
            return {"order_id": (await shop.order(5))["id"]}
        case "create_earning_rule_activation" | "create_earning_rule_retirement":
            rule = {"name": "own", "terms": TERMS, "draft": operation.id.endswith("activation")}
            return {"rule_id": (await shop.post("/v1/earning-rules", rule))["id"]}
        case "create_reward_coupon_codes":
            return {"reward_id": (await shop.reward())["id"]}
        case "create_hold_release":
            return {"hold_id": (await shop.post("/v1/holds", {"member_id": member, "points": 1}))["id"]}
        case "create_lot_reinstatement":
            clock_at = datetime.fromisoformat((await shop.get("/v1/program"))["clock_at"])
            ends = clock.rfc3339(clock_at + timedelta(minutes=1))
            body = {"member_id": member, "points": 1, "reason": "short", "expires_at": ends}
            await shop.post("/v1/adjustments", body)
            lot = (await shop.get(f"/v1/members/{member}/lots"))["data"][0]["id"]
            await shop.post("/v1/test-clock/advance", {"to": ends}, expect=200)
            return {"lot_id": lot}
        case _:
            return {}


async def _right_caller(world: World, operation: Operation) -> str:
    if operation.is_sessions:
        return await world.manager(Role.OWNER)
    return world.token if operation.is_own else world.shop.key


def test_every_operation_with_a_body_has_one_here() -> None:
    assert {operation.id for operation in OPERATIONS if "requestBody" in operation.document} == set(BODIES)


@pytest.mark.parametrize("operation", CLOSED, ids=_name)
async def test_a_caller_who_is_not_known_is_refused(
    operation: Operation, world: World, credentials: Credentials
) -> None:
    before = await world.footprint()
    found = {}
    for name, bearer in credentials.refused.items():
        reply = await world.call(operation, bearer=bearer, body=world.request(operation))
        found[name] = (reply.status_code, reply.json()["code"], reply.headers["www-authenticate"])
    expected = dict.fromkeys(credentials.refused, INVALID)
    expected |= dict.fromkeys(("none", "empty", "another scheme", "too long"), MISSING)
    assert found == {name: (*refusal, "Bearer") for name, refusal in expected.items()}
    assert await world.footprint() == before


@pytest.mark.parametrize("operation", CLOSED, ids=_name)
async def test_a_caller_without_the_scope_is_refused(
    operation: Operation, world: World, credentials: Credentials
) -> None:
    before = await world.footprint()
    bearers = {}
    if operation.is_own:
        bearers["secret key"] = world.shop.key
        bearers |= {str(role): bearer for role, bearer in credentials.managers.items()}
    elif operation.is_sessions:
        bearers |= {"secret key": world.shop.key, "member": world.token}
    else:
        assert operation.scope is not None
        bearers["all but this scope"] = credentials.lacking[operation.scope]
        bearers["member"] = world.token
    if operation.scope is not Scope.CODES_CHECK:
        bearers["publishable key"] = credentials.publishable
    found = {}
    for name, bearer in bearers.items():
        reply = await world.call(operation, bearer=bearer, body=world.request(operation))
        found[name] = (reply.status_code, reply.json()["code"], reply.json()["data"])
    assert found == dict.fromkeys(bearers, (*NO_SCOPE, {"scope": operation.scope}))
    assert await world.footprint() == before


@pytest.mark.parametrize("operation", [found for found in CLOSED if found.id != "delete_manager_session"], ids=_name)
async def test_a_manager_may_do_what_the_role_says(
    operation: Operation, world: World, credentials: Credentials
) -> None:
    """With ids of nothing and a body of nonsense: only whether the door opens is asked, and nothing happens."""
    before = await world.footprint()
    path = world.address(operation, **dict.fromkeys(operation.parameters, "nonsense"))
    body = None if operation.method == "GET" else {"nonsense": 1}
    opened = set()
    for role, bearer in credentials.managers.items():
        reply = await world.call(operation, bearer=bearer, path=path, body=body)
        assert reply.status_code in (200, 400, 403, 404), reply.text
        if reply.status_code != 403:
            opened.add(role)
    assert opened == {role for role in Role if operation.scope in ROLE_SCOPES[role]}
    assert await world.footprint() == before


@pytest.mark.parametrize("operation", WITH_OBJECTS, ids=_name)
async def test_another_programs_object_is_not_there(operation: Operation, world: World, other: World) -> None:
    before = await world.footprint(), await other.footprint()
    bearer = world.token if operation.is_own else world.shop.key
    reply = await world.call(operation, bearer=bearer, path=other.address(operation), body=world.request(operation))
    assert reply.status_code == 404, reply.text
    assert reply.json()["code"].endswith(("_not_found", "_unknown"))
    assert reply.json()["data"] == {}
    assert not any(foreign in reply.text for foreign in other.ids.values())
    assert (await world.footprint(), await other.footprint()) == before


@pytest.mark.parametrize("operation", WITH_OBJECTS, ids=_name)
async def test_an_id_of_nothing_or_of_another_kind_is_not_there(operation: Operation, world: World) -> None:
    before = await world.footprint()
    bearer = world.token if operation.is_own else world.shop.key
    (parameter,) = operation.parameters
    known = world.ids[parameter]
    kind = known.partition("_")[0]
    wrong = {
        "well formed": f"{kind}_{ids.encode(ids.new())}",
        "another kind": f"prg_{known.partition('_')[2]}",
        "no prefix": known.partition("_")[2] or "unknown1",
        "upper case": known.upper() + "X",
        "too long": known + "0",
        "nonsense": "nonsense",
        "junk": "%01%ff%2e%2e",
        "very long": "x" * 3000,
    }
    found = {}
    for name, value in wrong.items():
        path = world.address(operation, **{parameter: value})
        reply = await world.call(operation, bearer=bearer, path=path, body=world.request(operation))
        found[name] = reply.status_code
    expected = dict.fromkeys(wrong, 404)
    if parameter == "code":
        expected = {name: status if status == 400 else 404 for name, status in found.items()}  # a mistyped code is told
    assert found == expected
    assert await world.footprint() == before


async def test_a_body_cannot_name_another_programs_objects(world: World, other: World) -> None:
    mine, theirs, shop = world, other, world.shop
    await shop.refuses(
        "POST",
        "/v1/redemptions",
        {"member_id": theirs.member["id"], "reward_id": mine.reward["id"]},
        status=404,
        code="member_not_found",
    )
    await shop.refuses(
        "POST",
        "/v1/redemptions",
        {"member_id": mine.member["id"], "reward_id": theirs.reward["id"]},
        status=404,
        code="reward_not_found",
    )
    await shop.refuses(
        "POST",
        "/v1/me/redemptions",
        {"reward_id": theirs.reward["id"]},
        status=404,
        code="reward_not_found",
        bearer=mine.token,
    )
    await shop.refuses(
        "POST",
        "/v1/orders",
        shop.order_body(customer_id=theirs.member["customer_id"]),
        status=404,
        code="customer_not_found",
    )
    await shop.refuses(
        "POST",
        "/v1/activities",
        {"member_id": theirs.member["id"], "type": "reviewed"},
        status=404,
        code="member_not_found",
    )


async def test_a_body_cannot_name_an_id_of_another_kind(world: World) -> None:
    shop = world.shop
    for wrong in (world.order["id"], world.member["id"].upper(), "nonsense", "", 1, None, [world.member["id"]]):
        problem = await shop.refuses(
            "POST", "/v1/redemptions", {"member_id": wrong, "reward_id": wrong}, status=400, code="validation_failed"
        )
        assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == [
            ("/reward_id", "id"),
            ("/member_id", "id"),
        ]


async def test_lists_never_show_another_programs_rows(world: World, other: World) -> None:
    theirs, shop = other.member, world.shop
    cursor = (await other.shop.get("/v1/orders?limit=1"))["next_cursor"]
    for path in (
        f"/v1/orders?customer_id={theirs['customer_id']}",
        f"/v1/referrals?advocate_id={theirs['id']}",
        "/v1/members?card=nobody-has-it",
    ):
        assert (await shop.get(path))["data"] == []
    shown = (await shop.get(f"/v1/orders?cursor={cursor}"))["data"]
    own = {order["id"] for order in (await shop.get("/v1/orders?limit=100"))["data"]}
    assert {order["id"] for order in shown} <= own
    found = (await shop.get("/v1/members?email=ann@example.com"))["data"]
    assert [row["id"] for row in found] == [world.member["id"]]


async def test_a_friends_code_of_another_program_brings_nobody(
    client: httpx.AsyncClient, world: World, other: World
) -> None:
    code = other.member["referral_code"]
    link = await client.get(f"/r/{world.shop.program.slug}/{code}", headers={"User-Agent": "Mozilla/5.0"})
    assert (link.status_code, link.json()["code"]) == (404, "referral_code_unknown")
    before = await other.footprint()
    reply = await world.shop.send("POST", "/v1/members", {"external_id": "friend", "referral_code": code})
    if reply.status_code == 201:
        assert reply.json()["attribution"]["advocate_id"] is None
    else:
        assert (reply.status_code, reply.json()["code"]) == (404, "referral_code_unknown")
    assert await other.footprint() == before


async def test_programs_count_their_idempotency_keys_apart(world: World, other: World) -> None:
    first = await world.shop.send("POST", "/v1/orders", world.shop.order_body(1), key="the-same", expect=201)
    second = await other.shop.send("POST", "/v1/orders", other.shop.order_body(2), key="the-same", expect=201)
    assert first.json()["id"] != second.json()["id"]
    assert "idempotency-replayed" not in second.headers


async def test_a_members_token_reaches_only_that_member(world: World) -> None:
    shop = world.shop
    stranger = await shop.enrol()
    token = await shop.token(stranger["id"])
    assert (await shop.get("/v1/me", bearer=token))["id"] == stranger["id"]
    assert (await shop.get("/v1/me/redemptions", bearer=token))["data"] == []
    assert (await shop.get("/v1/me/entries", bearer=token))["data"] == []
    await shop.refuses(
        "POST",
        f"/v1/me/redemptions/{world.redemption['id']}/cancellation",
        {},
        status=404,
        code="redemption_not_found",
        bearer=token,
    )


@pytest.fixture
async def turned(database_url: str) -> AsyncIterator[Litestar]:
    """The same service after its operator changed the secret key, keeping the former as previous."""
    new = "the next secret, which is also long enough"
    settings = Settings(database_url=database_url, secret_key=new, secret_key_previous=SECRET)  # type: ignore[arg-type]
    application = create_app(settings)
    async with running(application):
        yield application


async def test_the_previous_secret_key_still_verifies_and_the_new_one_signs(turned: Litestar, world: World) -> None:
    async with connect(turned) as client:
        old = await client.get("/v1/me", headers={"Authorization": f"Bearer {world.token}"})
        assert (old.status_code, old.json()["id"]) == (200, world.member["id"])
        minted = await client.post(
            f"/v1/members/{world.member['id']}/tokens", headers={"Authorization": f"Bearer {world.shop.key}"}
        )
        new = minted.json()["token"]
        assert (await client.get("/v1/me", headers={"Authorization": f"Bearer {new}"})).status_code == 200
    await world.shop.refuses("GET", "/v1/me", status=401, code="credentials_invalid", bearer=new)
