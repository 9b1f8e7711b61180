"""The ground under every route: how anything is refused, and that a refusal leaves nothing behind."""

import asyncio
import gc
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar, get, post
from sqlalchemy import text
from tests.conftest import SECRET, connect, running
from tests.shop import Json, Shop

from loyalty.app import create_app
from loyalty.core import ids
from loyalty.core.db import transaction
from loyalty.core.money import MAX_INTEGER
from loyalty.core.paging import encode_cursor
from loyalty.core.settings import Settings
from loyalty.core.web import MAX_BODY_BYTES, Session

REQUEST_ID: Final = re.compile(r"^req_[0-7][0-9a-hjkmnp-tv-z]{25}$")
JSON: Final = {"Content-Type": "application/json"}
NAUGHT: Final = "postgresql://nobody:nothing@127.0.0.1:1/nowhere"


class _OutOfOrderError(Exception):
    """What a handler with a bug raises."""


@get("/broken", opt={"scope": None})
async def broken() -> None:
    raise _OutOfOrderError


@get("/broken-after-writing")
async def broken_after_writing(session: Session) -> None:
    await session.execute(text("INSERT INTO scratch VALUES (1, 1)"))
    raise _OutOfOrderError


@post("/write-what-commit-refuses")
async def write_what_commit_refuses(session: Session) -> dict[str, str]:
    """Insert a row whose foreign key is only looked at by COMMIT."""
    await session.execute(text("INSERT INTO scratch VALUES (2, 404)"))
    return {"said": "it is stored"}


@post("/write-what-commit-takes")
async def write_what_commit_takes(session: Session) -> dict[str, str]:
    await session.execute(text("INSERT INTO scratch VALUES (3, 3)"))
    return {"said": "it is stored"}


@pytest.fixture(scope="module")
async def scratch(settings: Settings) -> AsyncIterator[Litestar]:
    """The service with four more routes, and a table whose foreign key is deferred to COMMIT."""
    application = create_app(settings)
    for handler in (broken, broken_after_writing, write_what_commit_refuses, write_what_commit_takes):
        application.register(handler)
    async with running(application):
        async with transaction(application.state.sessions) as session:
            await session.execute(text("CREATE TABLE scratch (id int PRIMARY KEY, other int NOT NULL)"))
            await session.execute(
                text("ALTER TABLE scratch ADD FOREIGN KEY (other) REFERENCES scratch DEFERRABLE INITIALLY DEFERRED")
            )
        yield application
        async with transaction(application.state.sessions) as session:
            await session.execute(text("DROP TABLE scratch"))


@pytest.fixture
def collected_by_hand() -> Iterator[None]:
    """Hold the garbage collector back, so that it cannot tidy up what a request should have."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


async def _rows(application: Litestar) -> list[tuple[int, int]]:
    async with transaction(application.state.sessions) as session:
        return [tuple(row) for row in await session.execute(text("SELECT id, other FROM scratch ORDER BY id"))]


def _held(application: Litestar) -> int:
    return int(application.state.sessions.kw["bind"].pool.checkedout())


def _check_problem(reply: httpx.Response, *, status: int, code: str) -> Json:
    problem: Json = reply.json()
    assert (reply.status_code, problem["status"], problem["code"]) == (status, status, code), reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["cache-control"] == "no-store"
    assert problem["type"] == f"urn:loyalty:problem:{code}"
    assert problem["title"]
    assert sorted(problem) == ["code", "data", "errors", "request_id", "status", "title", "type"]
    assert REQUEST_ID.match(problem["request_id"]), problem
    assert reply.headers.get_list("request-id") == [problem["request_id"]]
    return problem


def _faults(problem: Json) -> set[tuple[str, str]]:
    found = [(fault["pointer"], fault["code"]) for fault in problem["errors"]]
    assert len(found) == len(set(found)), found
    assert all(fault["detail"] for fault in problem["errors"])
    return set(found)


# The request's id


async def test_a_well_formed_request_id_is_kept(client: httpx.AsyncClient, shop: Shop) -> None:
    own = ids.public("req", ids.new())
    headers = {"Request-Id": own, "Authorization": f"Bearer {shop.key}"}
    reply = await client.get("/v1/program", headers=headers)
    assert reply.headers.get_list("request-id") == [own]
    refused = await client.get("/v1/program", headers={"Request-Id": own})
    assert (refused.headers["request-id"], refused.json()["request_id"]) == (own, own)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "x",
        "req_",
        "req_" + "a" * 25,
        "req_" + "a" * 27,
        "REQ_" + "a" * 26,
        "req_" + "a" * 25 + "\n",
        "req_" + "é" * 26,
    ],
)
async def test_any_other_request_id_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    reply = await client.get("/v1/program", headers=[(b"request-id", sent.encode("latin-1"))])
    problem = _check_problem(reply, status=401, code="credentials_missing")
    assert problem["request_id"] != sent


async def test_two_requests_have_two_ids(client: httpx.AsyncClient) -> None:
    replies = [await client.get("/health/live") for _ in range(2)]
    assert len({reply.headers["request-id"] for reply in replies}) == 2


# What the server itself refuses


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/members/x/y/z", "/v2/members", "/openapi", "/schema"])
async def test_an_address_of_nothing_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    _check_problem(await client.get(path), status=404, code="not_found")


async def test_a_method_of_nothing_is_a_problem(client: httpx.AsyncClient) -> None:
    reply = await client.delete("/v1/members")
    _check_problem(reply, status=405, code="method_not_allowed")
    assert {"GET", "POST"} <= {method.strip() for method in reply.headers["allow"].split(",")}


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/rewards"])
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", "", None]
)
async def test_a_body_that_does_not_say_it_is_json_is_refused(shop: Shop, path: str, kind: str | None) -> None:
    headers = {"Authorization": f"Bearer {shop.key}", "Idempotency-Key": uuid4().hex}
    headers |= {} if kind is None else {"Content-Type": kind}
    reply = await shop.client.post(path, content=b"{}", headers=headers)
    _check_problem(reply, status=415, code="content_type_not_supported")


async def test_json_with_a_character_set_is_json(shop: Shop) -> None:
    body = json.dumps({"name": "ship", "kind": "free_shipping", "cost_points": 5}).encode()
    headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json; charset=utf-8"}
    assert (await shop.client.post("/v1/rewards", content=body, headers=headers)).status_code == 201


async def _post(shop: Shop, content: bytes, *, path: str = "/v1/orders") -> httpx.Response:
    headers = {**JSON, "Authorization": f"Bearer {shop.key}", "Idempotency-Key": uuid4().hex}
    return await shop.client.post(path, content=content, headers=headers)


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/rewards"])
async def test_a_body_past_the_limit_is_refused(shop: Shop, path: str) -> None:
    before = await shop.digest()
    head, tail = b'{"external_id":"', b'"}'
    largest = head + b"x" * (MAX_BODY_BYTES - len(head) - len(tail)) + tail
    assert (await _post(shop, largest, path=path)).json()["code"] == "validation_failed"
    reply = await _post(shop, largest + b" ", path=path)
    _check_problem(reply, status=413, code="body_too_large")
    assert await shop.digest() == before


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/rewards"])
@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e400}',
        b'{"a": 01}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\x"}',
        b'{"a": "tab\there"}',
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"9" * 5_000 + b"}",
        b"{} {}",
        b"\x00",
        b" ",
    ],
    ids=lambda content: repr(content[:20]),
)
async def test_what_is_not_json_is_refused(shop: Shop, path: str, content: bytes) -> None:
    _check_problem(await _post(shop, content, path=path), status=400, code="malformed_request")


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/rewards"])
async def test_json_that_is_not_utf8_is_refused(shop: Shop, path: str) -> None:
    _check_problem(await _post(shop, b'{"a": "\xff"}', path=path), status=400, code="malformed_request")


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/rewards"])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
async def test_json_nested_without_end_is_refused(shop: Shop, path: str, opened: bytes, closed: bytes) -> None:
    endless = opened * 100_000 + b"1" + closed * 100_000
    _check_problem(await _post(shop, endless, path=path), status=400, code="malformed_request")
    # How deep is too deep depends on the interpreter; what can still be read is no body of ours.
    deep = await _post(shop, opened * 10_000 + b"1" + closed * 10_000, path=path)
    assert deep.status_code == 400
    assert deep.json()["code"] in {"malformed_request", "validation_failed"}


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/rewards"])
async def test_a_body_that_is_missing_is_a_fault(shop: Shop, path: str) -> None:
    problem = _check_problem(await _post(shop, b"", path=path), status=400, code="validation_failed")
    assert _faults(problem) == {("", "missing")}


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/rewards"])
@pytest.mark.parametrize("content", [b"[]", b"null", b"1", b'"text"', b"true", b"[{}]"])
async def test_a_body_that_is_no_object_is_a_fault(shop: Shop, path: str, content: bytes) -> None:
    problem = _check_problem(await _post(shop, content, path=path), status=400, code="validation_failed")
    assert _faults(problem) == {("", "model_type")}


# What fails on our side


async def test_a_handler_with_a_bug_is_a_problem_that_tells_nothing(scratch: Litestar) -> None:
    async with connect(scratch) as client:
        problem = _check_problem(await client.get("/broken"), status=500, code="internal_error")
    assert (problem["data"], problem["errors"]) == ({}, [])
    assert "OutOfOrder" not in json.dumps(problem)


async def test_what_a_failing_handler_wrote_is_gone(scratch: Litestar) -> None:
    async with connect(scratch) as client:
        _check_problem(await client.get("/broken-after-writing"), status=500, code="internal_error")
    assert 1 not in dict(await _rows(scratch))


async def test_a_commit_that_fails_is_never_a_201(scratch: Litestar) -> None:
    async with connect(scratch) as client:
        reply = await client.post("/write-what-commit-refuses")
        _check_problem(reply, status=500, code="internal_error")
        assert "stored" not in reply.text
        assert 2 not in dict(await _rows(scratch))
        stored = await client.post("/write-what-commit-takes")
        assert (stored.status_code, stored.json()) == (201, {"said": "it is stored"})
    assert await _rows(scratch) == [(3, 3)]


@asynccontextmanager
async def _service(settings: Settings, **changes: Any) -> AsyncIterator[Litestar]:
    application = create_app(settings.model_copy(update=changes))
    async with running(application):
        yield application


def _check_busy(reply: httpx.Response) -> None:
    _check_problem(reply, status=503, code="busy")
    assert reply.headers["retry-after"] == "1"


async def test_without_a_connection_to_be_had_the_answer_is_503(settings: Settings, shop: Shop) -> None:
    before = await shop.digest()
    async with _service(settings, pool_size=1, pool_timeout_ms=100) as small, connect(small) as client:
        headers = {"Authorization": f"Bearer {shop.key}", "Idempotency-Key": "k"}
        async with transaction(small.state.sessions) as holder, asyncio.timeout(10):
            await holder.execute(text("SELECT 1"))
            _check_busy(await client.get("/v1/program", headers=headers))
            _check_busy(await client.post("/v1/orders", json=shop.order_body(), headers=headers))
            _check_busy(await client.get("/health/ready"))
            assert (await client.get("/health/live")).json() == {"status": "live"}
        assert (await client.get("/v1/program", headers=headers)).status_code == 200
    assert await shop.digest() == before


async def test_without_a_database_the_answer_is_503() -> None:
    settings = Settings(database_url=NAUGHT, secret_key=SECRET)  # type: ignore[arg-type]
    key = "lk_sk_test_" + "0" * 26
    async with _service(settings) as alone, connect(alone) as client, asyncio.timeout(10):
        _check_busy(await client.get("/health/ready"))
        _check_busy(
            await client.post(
                "/v1/manager-sessions", json={"program": "a", "email": "a@b.example.com", "password": "p"}
            )
        )
        reply = await client.get("/v1/program", headers={"Authorization": f"Bearer {key}"})
        _check_problem(reply, status=401, code="credentials_invalid")
        assert (await client.get("/health/live")).json() == {"status": "live"}


async def test_a_connection_that_died_is_503_and_the_next_request_answers(settings: Settings, shop: Shop) -> None:
    async with _service(settings, pool_size=1) as small, connect(small) as client:
        headers = {"Authorization": f"Bearer {shop.key}"}
        assert (await client.get("/v1/program", headers=headers)).status_code == 200
        async with transaction(small.state.sessions) as session:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        async with transaction(shop.sessions) as session:
            await session.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        first = await client.get("/v1/program", headers=headers)
        assert first.status_code in (200, 503), first.text
        if first.status_code == 503:
            _check_busy(first)
        assert (await client.get("/v1/program", headers=headers)).status_code == 200


async def test_a_statement_past_its_time_is_503(settings: Settings, shop: Shop) -> None:
    async with _service(settings, statement_timeout_ms=200) as hasty, connect(hasty) as client:
        async with transaction(shop.sessions) as holder:
            await holder.execute(text("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"))
            reply = await client.get("/v1/orders", headers={"Authorization": f"Bearer {shop.key}"})
        _check_busy(reply)


async def test_the_same_key_still_at_work_is_told_so(settings: Settings, shop: Shop) -> None:
    body, key = shop.order_body(), uuid4().hex
    headers = {"Authorization": f"Bearer {shop.key}", "Idempotency-Key": key}
    async with _service(settings, lock_timeout_ms=200) as hasty, connect(hasty) as client:
        async with transaction(shop.sessions) as first:
            await first.execute(
                text(
                    "INSERT INTO idempotency_keys"
                    " (program_id, operation, key, fingerprint, resource_id, status, recorded_at)"
                    " VALUES (:program, 'create_order', :key, '', :id, 201, :at)"
                ),
                {"program": shop.program.id, "key": key, "id": ids.new(), "at": shop.program.clock_at},
            )
            before = await shop.digest()
            reply = await client.post("/v1/orders", json=body, headers=headers)
            _check_problem(reply, status=409, code="request_in_progress")
            assert await shop.digest() == before
            await first.rollback()
        assert (await client.post("/v1/orders", json=body, headers=headers)).status_code == 201


@pytest.mark.usefixtures("collected_by_hand")
async def test_no_refusal_keeps_a_connection(settings: Settings, shop: Shop) -> None:
    """A refusal must give its connection back itself: else ten callers without a header stop a pool of ten."""
    member = await shop.enrol()
    token = await shop.token(member["id"])
    order = shop.order_body()
    unknown = f"{shop.key[:-39]}{'0' * 39}"
    limited = (await shop.post("/v1/keys", {"kind": "restricted", "name": "r", "scopes": ["events:read"]}))["secret"]
    requests: dict[str, tuple[str, str, str, Any, str | None]] = {
        "checksum": ("GET", "/v1/program", unknown, None, None),
        "ended": ("GET", "/v1/program", await _ended_key(shop), None, None),
        "scope missing": ("GET", "/v1/program", limited, None, None),
        "scope missing, with a body": ("POST", "/v1/orders", limited, order, "k"),
        "a member elsewhere": ("GET", "/v1/program", token, None, None),
        "a key on a member's own": ("GET", "/v1/me", shop.key, None, None),
        "no idempotency key": ("POST", "/v1/orders", shop.key, order, None),
        "a bad idempotency key": ("POST", "/v1/orders", shop.key, order, "not visible"),
        "faults": ("POST", "/v1/orders", shop.key, {}, "k"),
        "a fault in the query": ("GET", "/v1/orders?limit=0", shop.key, None, None),
        "not there": ("GET", "/v1/orders/nonsense", shop.key, None, None),
    }
    held = {}
    async with _service(settings, pool_size=len(requests) + 1) as service, connect(service) as client:
        for name, (method, path, bearer, body, idempotency_key) in requests.items():
            headers = {"Authorization": f"Bearer {bearer}"}
            headers |= {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
            reply = await client.request(method, path, json=body, headers=headers)
            assert 400 <= reply.status_code < 500, reply.text
            held[name] = _held(service)
            await _tidied(service)
    assert held == dict.fromkeys(requests, 0)


async def _tidied(application: Litestar) -> None:
    """Let the garbage collector give back what the request has not, so that the next request is judged by itself."""
    for _ in range(200):
        gc.collect()
        if not _held(application):
            return
        await asyncio.sleep(0.01)


async def _ended_key(shop: Shop) -> str:
    made = await shop.post("/v1/keys", {"kind": "secret", "name": "ended"})
    await shop.post(f"/v1/keys/{made['key']['id']}/ending", {}, expect=200)
    return str(made["secret"])


# Every fault of a body at once


def _line(**details: Any) -> Json:
    return {"sku": "shirt", "quantity": 1, "total": {"amount": 100, "currency": "EUR"}, **details}


async def _faults_of(shop: Shop, path: str, body: Any) -> set[tuple[str, str]]:
    problem = await shop.refuses("POST", path, body, status=400, code="validation_failed")
    return _faults(problem)


async def test_every_fault_of_an_order_is_listed_at_once(shop: Shop) -> None:
    body = {
        "external_id": "with space",
        "customer_id": "mem_x",
        "external_customer_id": "",
        "email": "nobody@",
        "currency": "eur",
        "channel": "-web",
        "placed_at": "2026-01-01T12:00:00",
        "status": "shipped",
        "colour": "red",
        "lines": [
            _line(quantity=0),
            _line(quantity=True),
            _line(quantity="1"),
            _line(quantity=1.0),
            _line(total={"amount": -1, "currency": "EURO"}),
            _line(total={"amount": 1.5, "currency": "EUR"}),
            _line(total={"amount": "100", "currency": 978}),
            _line(total={"amount": True, "currency": None}),
            _line(total={"amount": MAX_INTEGER + 1}),
            _line(total=100),
            _line(sku="nul\x00here", category="tab\there", **{"a/b~c": 1}),
            _line(sku="x" * 65, category=""),
            [],
        ],
    }
    assert await _faults_of(shop, "/v1/orders", body) == {
        ("/external_id", "string_pattern_mismatch"),
        ("/customer_id", "id"),
        ("/external_customer_id", "string_too_short"),
        ("/email", "email"),
        ("/currency", "string_pattern_mismatch"),
        ("/channel", "string_pattern_mismatch"),
        ("/placed_at", "timezone_aware"),
        ("/status", "literal_error"),
        ("/colour", "extra_forbidden"),
        ("/lines/0/quantity", "greater_than_equal"),
        ("/lines/1/quantity", "int_type"),
        ("/lines/2/quantity", "int_type"),
        ("/lines/3/quantity", "int_type"),
        ("/lines/4/total/amount", "greater_than_equal"),
        ("/lines/4/total/currency", "string_too_long"),
        ("/lines/5/total/amount", "int_type"),
        ("/lines/6/total/amount", "int_type"),
        ("/lines/6/total/currency", "string_type"),
        ("/lines/7/total/amount", "int_type"),
        ("/lines/7/total/currency", "string_type"),
        ("/lines/8/total/amount", "less_than_equal"),
        ("/lines/8/total/currency", "missing"),
        ("/lines/9/total", "model_type"),
        ("/lines/10/sku", "string_pattern_mismatch"),
        ("/lines/10/category", "string_pattern_mismatch"),
        ("/lines/10/a~1b~0c", "extra_forbidden"),
        ("/lines/11/sku", "string_too_long"),
        ("/lines/11/category", "string_too_short"),
        ("/lines/12", "model_type"),
    }


async def test_an_order_that_contradicts_itself_says_where(shop: Shop) -> None:
    body = shop.order_body(
        customer_id="cus_" + "0" * 26,
        external_customer_id="ann",
        lines=[
            _line(total={"amount": MAX_INTEGER, "currency": "EUR"}),
            _line(total={"amount": 1, "currency": "USD"}),
            _line(total={"amount": 1, "currency": "JPY"}),
        ],
    )
    assert await _faults_of(shop, "/v1/orders", body) == {
        ("/external_customer_id", "customer"),
        ("/lines/1/total/currency", "currency"),
        ("/lines/2/total/currency", "currency"),
        ("/lines", "total"),
    }


async def test_a_fault_between_fields_is_listed_beside_faults_of_fields(shop: Shop) -> None:
    body = shop.order_body(
        colour="red",
        lines=[_line(total={"amount": -1, "currency": "EUR"}), _line(total={"amount": 1, "currency": "USD"})],
    )
    assert await _faults_of(shop, "/v1/orders", body) == {
        ("/colour", "extra_forbidden"),
        ("/lines/0/total/amount", "greater_than_equal"),
        ("/lines/1/total/currency", "currency"),
    }


async def test_an_order_has_one_to_five_hundred_lines(shop: Shop) -> None:
    few = await _faults_of(shop, "/v1/orders", shop.order_body(lines=[]))
    many = await _faults_of(shop, "/v1/orders", shop.order_body(lines=[_line()] * 501))
    assert (few, many) == ({("/lines", "too_short")}, {("/lines", "too_long")})
    placed = await shop.post("/v1/orders", shop.order_body(lines=[_line()] * 500))
    assert placed["total"] == {"amount": 50_000, "currency": "EUR"}


@pytest.mark.parametrize(
    ("placed_at", "code"),
    [
        ("2026-01-01T12:00:00", "timezone_aware"),
        ("2026-01-01", "time_type"),
        ("yesterday", "time_type"),
        ("", "time_type"),
        ("1899-12-31T23:59:59Z", "time_out_of_bounds"),
        ("2201-01-01T00:00:00Z", "time_out_of_bounds"),
        ("2026-02-30T00:00:00Z", "datetime_from_date_parsing"),
        (1767268800, "time_type"),
        (1767268800.5, "time_type"),
        (True, "time_type"),
    ],
)
async def test_a_time_is_written_with_its_zone(shop: Shop, placed_at: Any, code: str) -> None:
    assert await _faults_of(shop, "/v1/orders", shop.order_body(placed_at=placed_at)) == {("/placed_at", code)}


@pytest.mark.parametrize("placed_at", ["1767268800", "1767268800.5", "1767268800000"])
async def test_a_number_in_quotes_is_no_time(shop: Shop, placed_at: str) -> None:
    """Read as seconds since 1970 it would be the very moment at which this shop opens."""
    found = await _faults_of(shop, "/v1/orders", shop.order_body(placed_at=placed_at))
    assert {pointer for pointer, _ in found} == {"/placed_at"}


@pytest.mark.parametrize("birth_on", [0, 86400, "0", "86400", "2000-01-01T00:00:00", True, 1.0])
async def test_a_birthday_is_a_written_date(shop: Shop, birth_on: Any) -> None:
    found = await _faults_of(shop, "/v1/members", {"external_id": "born", "birth_on": birth_on})
    assert {pointer for pointer, _ in found} == {"/birth_on"}


async def test_every_fault_of_a_member_is_listed_at_once(shop: Shop) -> None:
    body = {
        "external_id": "ö",
        "email": "ann@example.com\x00",
        "phone": "0301234567",
        "card": "4 4",
        "given_name": "line\nbreak",
        "family_name": "x" * 101,
        "birth_on": "1899-12-31",
        "locale": "german",
        "attributes": {"colour": 1, "size": "x" * 501, "nul": "\x00"},
        "referral_code": "",
        "channel": " web",
        "external_order_id": "\x7f",
    }
    assert await _faults_of(shop, "/v1/members", body) == {
        ("/external_id", "string_pattern_mismatch"),
        ("/email", "string_pattern_mismatch"),
        ("/phone", "string_pattern_mismatch"),
        ("/card", "string_pattern_mismatch"),
        ("/given_name", "string_pattern_mismatch"),
        ("/family_name", "string_too_long"),
        ("/birth_on", "birth_on"),
        ("/locale", "string_pattern_mismatch"),
        ("/attributes/colour", "string_type"),
        ("/attributes/size", "string_too_long"),
        ("/attributes/nul", "string_pattern_mismatch"),
        ("/referral_code", "string_too_short"),
        ("/channel", "string_pattern_mismatch"),
        ("/external_order_id", "string_pattern_mismatch"),
    }


async def test_a_record_of_an_import_is_named_by_its_place(shop: Shop) -> None:
    good = {"kind": "enrolment", "external_customer_id": "ann", "at": "2025-01-01T00:00:00Z"}
    body = {"records": [good, {"kind": "gift"}, {**good, "at": 0}, {**good, "kind": "order"}, 1]}
    found = await _faults_of(shop, "/v1/imports", body)
    assert {pointer.split("/")[2] for pointer, _ in found} == {"1", "2", "3", "4"}


async def test_a_pointer_into_a_record_of_an_import_resolves(shop: Shop) -> None:
    body = {"records": [{"kind": "enrolment", "external_customer_id": "ann", "at": 0}]}
    assert await _faults_of(shop, "/v1/imports", body) == {("/records/0/at", "time_type")}


async def test_a_pointer_to_a_key_of_attributes_resolves(shop: Shop) -> None:
    body = {"external_id": "ann", "attributes": {"x" * 41: "long"}}
    assert await _faults_of(shop, "/v1/members", body) == {(f"/attributes/{'x' * 41}", "string_too_long")}


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("limit=0", {"query:limit"}),
        ("limit=101", {"query:limit"}),
        ("limit=-1", {"query:limit"}),
        ("limit=many", {"query:limit"}),
        ("limit=", {"query:limit"}),
        ("limit=9" + "9" * 30, {"query:limit"}),
        ("cursor=" + "x" * 201, {"query:cursor"}),
        ("limit=0&cursor=" + "x" * 201, {"query:limit", "query:cursor"}),
    ],
)
async def test_faults_of_the_query_are_named(shop: Shop, query: str, faults: set[str]) -> None:
    problem = await shop.refuses("GET", f"/v1/members?{query}", status=400, code="validation_failed")
    assert {fault["pointer"] for fault in problem["errors"]} == faults


@pytest.mark.parametrize("query", ["limit=ten", "limit=1.5", "limit="])
async def test_a_number_in_the_query_is_written_in_digits(shop: Shop, query: str) -> None:
    problem = await shop.refuses("GET", f"/v1/members?{query}", status=400, code="validation_failed")
    assert [fault["pointer"] for fault in problem["errors"]] == ["query:limit"]


async def test_a_time_in_the_query_is_no_number(shop: Shop) -> None:
    path = "/v1/metrics/retention-rate?as_of=1767268800"
    problem = await shop.refuses("GET", path, status=400, code="validation_failed")
    assert [fault["pointer"] for fault in problem["errors"]] == ["query:as_of"]


async def test_a_parameter_is_named_as_the_caller_wrote_it(shop: Shop) -> None:
    path = "/v1/metrics/retention-rate?from=x&to=y"
    problem = await shop.refuses("GET", path, status=400, code="validation_failed")
    assert {fault["pointer"] for fault in problem["errors"]} == {"query:from", "query:to"}


@pytest.mark.parametrize("key", [None, "", '""', "a b", "x" * 256, "é", "\x7f"])
async def test_an_idempotency_key_is_needed_and_visible(shop: Shop, key: str | None) -> None:
    before = await shop.digest()
    headers = [(b"authorization", f"Bearer {shop.key}".encode())]
    if key is not None:
        headers.append((b"idempotency-key", key.encode("latin-1")))
    reply = await shop.client.post("/v1/orders", json=shop.order_body(), headers=headers)
    code = "idempotency_key_missing" if key is None else "idempotency_key_invalid"
    _check_problem(reply, status=400, code=code)
    assert await shop.digest() == before


async def test_a_key_in_quotes_is_the_same_key(shop: Shop) -> None:
    body = shop.order_body()
    first = await shop.send("POST", "/v1/orders", body, key="quoted-key", expect=201)
    again = await shop.send("POST", "/v1/orders", body, key='"quoted-key"', expect=201)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"


async def test_the_same_key_with_another_body_is_refused(shop: Shop) -> None:
    body = shop.order_body()
    await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    changed = {**body, "channel": "app"}
    await shop.refuses("POST", "/v1/orders", changed, key="once", status=422, code="idempotency_key_reused")


async def test_the_order_of_fields_and_spaces_make_no_other_request(shop: Shop) -> None:
    body = shop.order_body()
    first = await shop.send("POST", "/v1/orders", body, key="once", expect=201)
    turned = json.dumps(dict(reversed(body.items())), indent=2).encode()
    headers = {**JSON, "Authorization": f"Bearer {shop.key}", "Idempotency-Key": "once"}
    again = await shop.client.post("/v1/orders", content=turned, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())


async def test_readiness_knows_the_version_of_the_schema(client: httpx.AsyncClient) -> None:
    reply = await client.get("/health/ready")
    assert (reply.status_code, sorted(reply.json())) == (200, ["schema", "status"])


# What PostgreSQL could not store must not reach it


@pytest.mark.parametrize(
    "path",
    [
        "/v1/members?external_id=%00",
        "/v1/members?email=a%00@example.com",
        "/v1/members?phone=%00",
        "/v1/members?card=%00",
        "/v1/members/{member_id}/entries?unit=%00",
        "/v1/referral-codes/%00",
        "/r/%00/ABCDE",
        "/r/{slug}/%00",
        "/r/{slug}/{code}?channel=%00",
        "/reference/files/%00",
        "/v1/events?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5",
        "/v1/members/{member_id}/entries?cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5",
        "/v1/orders?cursor=AAAA",
        "/v1/members?external_id=%ED%A0%80",
        "/v1/members/%F0%9F%92%A9",
    ],
)
async def test_what_postgresql_cannot_read_is_the_callers_fault(shop: Shop, path: str) -> None:
    member = await shop.enrol()
    before = await shop.digest()
    url = path.format(member_id=member["id"], slug=shop.program.slug, code=member["referral_code"])
    reply = await shop.client.get(url, headers={"Authorization": f"Bearer {shop.key}"})
    assert reply.status_code in (200, 400, 404), reply.text
    if reply.status_code == 200:
        assert reply.json()["data"] == []
    assert await shop.digest() == before


@pytest.mark.parametrize("body", [b"{bad", b"1e400", b'"\\ud800"', b"\xff", b"1" * 400])
async def test_a_body_that_is_no_json_is_refused_even_where_none_is_expected(shop: Shop, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json", "Idempotency-Key": "k"}
    reply = await shop.client.post("/v1/holds/hld_0/release", content=body, headers=headers)
    assert reply.status_code in (400, 404), reply.text


@pytest.mark.parametrize("origin", ["http://[", "http://a]b", "http://[::1"])
async def test_an_origin_that_is_none_is_nobodys(shop: Shop, origin: str) -> None:
    body = {"program": shop.program.slug, "email": "a@example.com", "password": "whatever it is"}
    reply = await shop.client.post("/v1/manager-sessions", json=body, headers={"Origin": origin})
    assert (reply.status_code, reply.json()["code"]) == (403, "cross_site_request")


async def test_a_trial_is_what_the_last_parameter_says(shop: Shop) -> None:
    member = await shop.enrol()
    body = {"member_id": member["id"], "points": 5, "reason": "r"}
    headers = {"Authorization": f"Bearer {shop.key}"}
    for query, status in (("dry_run=false&dry_run=true", 200), ("dry_run=true&dry_run=false", 400), ("dry_run=1", 200)):
        reply = await shop.client.post(f"/v1/adjustments?{query}", json=body, headers=headers)
        assert reply.status_code == status, (query, reply.text)
    assert (await shop.wallet(member["id"]))["balance"] == 0


async def test_a_cursor_beyond_the_calendar_is_refused(shop: Shop) -> None:
    for instant in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        cursor = encode_cursor(instant)
        await shop.refuses("GET", f"/v1/ledger/seals?cursor={cursor}", status=400, code="cursor_invalid")
