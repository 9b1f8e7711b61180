"""Whatever is sent to whichever operation, no answer is a 5xx and no refusal changes anything (LEDGER F17)."""

import base64
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from tests.access.doors import BODIES, OPERATIONS, Operation, World, open_world
from tests.shop import Json

FUZZ: Final = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
WITH_BODY: Final = [operation for operation in OPERATIONS if operation.id in BODIES]
PAGED: Final = [
    operation
    for operation in OPERATIONS
    if any(parameter["in"] == "query" for parameter in operation.document.get("parameters", []))
]

INTEGERS: Final = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400]),
    st.integers(-(10**20), 10**20),
)
STRINGS: Final = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "\x00",
            "a\x00b",
            "\ud800",
            "\U0001f4a9" * 3,
            "\u202e\ufeff",
            "x" * 300,
            "x" * 70_000,
            "null",
            "' OR 1=1 --",
            "%s %n {0} ${x}",
            "../../etc/passwd",
            "0" * 40,
            "1e400",
            "NaN",
            "2026-01-01T12:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "0001-01-01T00:00:00+23:59",
            "2026-13-01T25:61:61Z",
            "1900-01-01T00:00:00-23:59",
            "2200-12-31T23:59:59-23:59",
            "EUR",
            "mem_" + "0" * 26,
            "cus_" + "7" + "z" * 25,
            "ann@example.com",
            "a@b",
            "+490000000",
        ]
    ),
    st.text(max_size=30),
)
SCALARS: Final = st.one_of(st.none(), st.booleans(), INTEGERS, st.floats(), STRINGS)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
RAW: Final = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b" ",
            b"\xff\xfe{}",
            b'"\xed\xa0\x80"',
            b'{"a":1,"a":2}',
            b'{"name":"x","name":null}',
            b'{"a":NaN}',
            b'{"a":-Infinity}',
            b'{"a":1e400}',
            b'{"a":-0.0}',
            b'{"a":' + b"9" * 400 + b"}",
            b'{"a":' + b"9" * 5_000 + b"}",
            b"[" * 10_000,
            b"[" * 900 + b"]" * 900,
            b"[" * 10_000 + b"]" * 10_000,
            b'{"a":' * 10_000 + b"null" + b"}" * 10_000,
            b'{"a":"' + b"x" * 1_000_000 + b'"}',
            b"<xml/>",
            b"a=b&c=d",
        ]
    ),
)
PARTS: Final = st.one_of(
    STRINGS.map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="")),
    st.sampled_from(
        ["%00", "%ff%fe", "%", "%zz", "%2F..%2F", "..", ".", "x" * 5_000, "%F0%9F%92%A9", ";a=b", "%0d%0aX-A:b"]
    ),
)
CURSORS: Final = st.one_of(
    PARTS,
    st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode().rstrip("=")),
    INTEGERS.map(lambda number: base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")),
    st.sampled_from(["MA", "LTE", "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA", "2aA", "w6k", "77yR"]),
)
HEADERS: Final = st.one_of(
    st.binary(max_size=80).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")),
    st.sampled_from([b"", b" ", b"\xff", b"x" * 20_000, b"a, b", b'"', b'"\xc3\xa9"', b"\x7f"]),
)
CREDENTIALS: Final = st.one_of(
    HEADERS,
    HEADERS.map(lambda raw: b"Bearer " + raw),
    st.sampled_from(
        [
            b"Bearer a.b.c",
            b"Bearer ..",
            b"Bearer e30.e30.e30",
            b"Bearer " + base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=") + b".bnVsbA.AA",
            b"Bearer " + base64.urlsafe_b64encode(b'{"alg":["HS256"],"crit":[1]}').rstrip(b"=") + b".e30.AA",
            b"Bearer " + base64.urlsafe_b64encode(b"[" * 1_400).rstrip(b"=") + b".e30.AA",
            b"Bearer lk_sk_test_" + b"0" * 26 + b"_" + b"0" * 39,
            b"Bearer ls_" + b"7" + b"z" * 25 + b"_" + b"0" * 39,
            b"bearer x",
            b"Basic Og==",
        ]
    ),
)


class Fuzzed:
    """A world, and what it looked like after the last request."""

    def __init__(self, world: World, footprint: Json) -> None:
        self.world = world
        self.footprint = footprint

    async def send(
        self, operation: Operation, path: str, *, content: bytes | None, headers: dict[bytes, bytes]
    ) -> None:
        try:
            request = self.world.shop.client.build_request(operation.method, path, content=content, headers=headers)
        except httpx.InvalidURL:
            return
        reply = await self.world.shop.client.send(request)
        assert reply.status_code < 500, (operation.id, path, headers, reply.text)
        after = await self.world.footprint()
        if reply.status_code >= 400:
            assert after == self.footprint, (operation.id, path, headers, reply.text)
            assert operation.method == "HEAD" or reply.json()["code"]
        self.footprint = after

    def bearer(self, operation: Operation) -> dict[bytes, bytes]:
        token = self.world.token if operation.is_own else self.world.shop.key
        return {
            b"authorization": f"Bearer {token}".encode(),
            b"idempotency-key": uuid4().hex.encode(),
            b"content-type": b"application/json",
        }


@pytest.fixture(scope="module")
async def fuzzed(client: httpx.AsyncClient, app: Litestar) -> Fuzzed:
    world = await open_world(client, app)
    return Fuzzed(world, await world.footprint())


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in _places(item, (*path, key)))]


def _changed(value: Any, place: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not place:
        return change(value)
    copy = value.copy()
    copy[place[0]] = _changed(value[place[0]], place[1:], change)
    return copy


@FUZZ
@given(operation=st.sampled_from(WITH_BODY), data=st.data())
async def test_a_good_body_with_one_thing_changed(fuzzed: Fuzzed, operation: Operation, data: st.DataObject) -> None:
    body = fuzzed.world.request(operation)
    place = data.draw(st.sampled_from(_places(body)))
    value = data.draw(VALUES)
    changed = _changed(body, place, lambda old: {**old, data.draw(st.text(max_size=8)): value} if old == {} else value)
    await fuzzed.send(
        operation, fuzzed.world.address(operation), content=_dump(changed), headers=fuzzed.bearer(operation)
    )


@FUZZ
@given(operation=st.sampled_from(WITH_BODY), content=st.one_of(RAW, VALUES.map(_dump)))
async def test_a_body_of_anything(fuzzed: Fuzzed, operation: Operation, content: bytes) -> None:
    await fuzzed.send(operation, fuzzed.world.address(operation), content=content, headers=fuzzed.bearer(operation))


@FUZZ
@given(
    operation=st.sampled_from(OPERATIONS),
    credential=CREDENTIALS,
    name=st.sampled_from(["cookie", "x-forwarded-for", "accept", "request-id", "user-agent"]),
    value=HEADERS,
)
async def test_a_credential_of_anything(
    fuzzed: Fuzzed, operation: Operation, credential: bytes, name: str, value: bytes
) -> None:
    body = fuzzed.world.request(operation)
    headers = {**fuzzed.bearer(operation), b"authorization": credential, name.encode(): value}
    content = None if body is None else _dump(body)
    await fuzzed.send(operation, fuzzed.world.address(operation), content=content, headers=headers)


@FUZZ
@given(operation=st.sampled_from(OPERATIONS), key=HEADERS, kind=HEADERS)
async def test_headers_of_anything(fuzzed: Fuzzed, operation: Operation, key: bytes, kind: bytes) -> None:
    body = fuzzed.world.request(operation)
    headers = {**fuzzed.bearer(operation), b"idempotency-key": key, b"content-type": kind}
    content = None if body is None else _dump(body)
    await fuzzed.send(operation, fuzzed.world.address(operation), content=content, headers=headers)


@FUZZ
@given(operation=st.sampled_from([operation for operation in OPERATIONS if operation.parameters]), data=st.data())
async def test_an_address_of_anything(fuzzed: Fuzzed, operation: Operation, data: st.DataObject) -> None:
    replaced = {name: data.draw(PARTS) for name in operation.parameters}
    body = fuzzed.world.request(operation)
    path = fuzzed.world.address(operation, **replaced)
    content = None if body is None else _dump(body)
    await fuzzed.send(operation, path, content=content, headers=fuzzed.bearer(operation))


@FUZZ
@given(operation=st.sampled_from(PAGED), data=st.data())
async def test_a_query_of_anything(fuzzed: Fuzzed, operation: Operation, data: st.DataObject) -> None:
    names = [parameter["name"] for parameter in operation.document["parameters"] if parameter["in"] == "query"]
    chosen = data.draw(st.lists(st.sampled_from([*names, "unknown"]), min_size=1, max_size=3))
    query = "&".join(f"{name}={data.draw(CURSORS if name == 'cursor' else PARTS)}" for name in chosen)
    path = f"{fuzzed.world.address(operation)}?{query}"
    await fuzzed.send(operation, path, content=None, headers=fuzzed.bearer(operation))
