"""The product's program: 20 rules in force, rewards with stock, a referral campaign, members with points and codes."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from benchmarks.limit import KNOWN_KEYS, REWARDS
from benchmarks.load import Clients, Exhausted, Sample, Script, http
from benchmarks.servers import product_environment

POINTS = 1_000_000
COST = 10
_AT_ONCE = 8
_STOCK = 10_000_000
_PER_BATCH = 1000
Json = dict[str, Any]


@dataclass
class Shop:
    """What requests are made of. Orders that can still be returned are kept as they are made."""

    port: int
    key: str
    members: Sequence[str] = ()
    customers: Sequence[str] = ()
    codes: list[str] = field(default_factory=list)
    rewards: list[str] = field(default_factory=list)
    known: list[bytes] = field(default_factory=list)
    returnable: list[str] = field(default_factory=list)

    def post(self, path: str, body: Json | bytes, *, key: bytes | None = None) -> bytes:
        """Write a POST, under a fresh idempotency key unless given one."""
        written = body if isinstance(body, bytes) else json.dumps(body).encode()
        return http("POST", path, key=self.key, body=written, idempotency_key=key or uuid4().hex.encode())

    def get(self, path: str) -> bytes:
        return http("GET", path, key=self.key)

    def take_returnable(self) -> str:
        if not self.returnable:
            raise Exhausted
        return self.returnable.pop()


def basket(customer_id: str, **details: Any) -> Json:
    """Three lines, of several categories and brands, 79.97 in all."""
    lines = [
        {"sku": "shirt-blue-m", "category": "clothes", "brand": "north", "quantity": 2, "total": _euros(3998)},
        {"sku": "mug-large", "category": "home", "brand": "clay", "quantity": 1, "total": _euros(1499)},
        {"sku": "novel-paperback", "category": "books", "quantity": 1, "total": _euros(2500)},
    ]
    return {
        "customer_id": customer_id,
        "currency": "EUR",
        "channel": "web",
        "payment_method": "card",
        "lines": lines,
        **details,
    }


async def found_shop(database_url: str, *, port: int) -> Shop:
    """Make the program by the operator's commands, its rules and rewards through the API; nobody is in it yet."""
    slug = f"bench-{uuid4().hex[:12]}"
    _loyalty(database_url, "programs", "create", slug, "--name", "Bench", "--mode", "live", "--currency", "EUR",
             "--time-zone", "Europe/Berlin")  # fmt: skip
    shop = Shop(port, _loyalty(database_url, "keys", "create", "--program", slug, "--name", "bench"))
    async with _api(shop) as client:
        campaign = {"name": "friends", "landing_url": "https://shop.test/hi", "advocate_points": 50}
        await _post(client, "/v1/referral-campaigns", {**campaign, "referee_points": 25})
        for number, terms in enumerate(RULES, start=1):
            await _post(client, "/v1/earning-rules", {"name": f"rule {number}", "terms": terms})
        for number in range(REWARDS):
            offer = {"kind": "amount_off", "value": {"amount": _euros(500)}, "cost_points": COST, "stock": _STOCK}
            made = await _post(client, "/v1/rewards", {"name": f"reward {number}", **offer})
            shop.rewards.append(made["id"])
    return shop


async def open_shop(database_url: str, *, port: int, members: int) -> Shop:
    """Make a program whose members, with points and codes, come through the API too."""
    shop = await found_shop(database_url, port=port)
    await _enrol(shop, members)
    async with _api(shop) as client:
        for start in range(0, members, _PER_BATCH):
            names = shop.members[start : start + _PER_BATCH]
            rows = [f"gift-{start + number},{name},{POINTS},to begin with" for number, name in enumerate(names)]
            csv = "\n".join(["external_id,member,points,reason", *rows])
            done = await _post(client, "/v1/adjustment-batches", {"csv": csv})
            assert done["given"] == len(names), done
    await _know(shop)
    return shop


async def do(
    shop: Shop, script: Callable[[], Script], *, times: int, clients: int = _AT_ONCE, port: int | None = None
) -> Sample:
    """Do an operation so many times, all of which must succeed."""
    done = await Clients(script, ports=[port or shop.port], clients=clients).each(times)
    assert not done.errors, done.refusal
    return done


async def _enrol(shop: Shop, members: int) -> None:
    numbers = iter(range(members))

    def enrolment() -> Script:
        yield shop.post("/v1/members", {"external_id": f"customer-{next(numbers)}"})

    made = [json.loads(reply) for reply in (await do(shop, enrolment, times=members)).replies]
    shop.members = [own["id"] for own in made]
    shop.customers = [own["customer_id"] for own in made]
    shop.codes = [own["referral_code"] for own in made]


async def _know(shop: Shop) -> None:
    """Place orders whose very requests are sent again as replays."""
    for number in range(KNOWN_KEYS):
        body = basket(shop.customers[number % len(shop.customers)], external_id=f"known-{number}")
        shop.known.append(shop.post("/v1/orders", body))
    requests = iter(shop.known)

    def order() -> Script:
        yield next(requests)

    placed = await do(shop, order, times=KNOWN_KEYS)
    assert len(json.loads(placed.replies[0])["awards"]) == AWARDS


def _api(shop: Shop) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {shop.key}"}
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{shop.port}", headers=headers, timeout=60)


async def _post(client: httpx.AsyncClient, path: str, body: Json) -> Json:
    reply = await client.post(path, json=body, headers={"Idempotency-Key": uuid4().hex})
    assert reply.is_success, reply.text
    found = reply.json()
    assert isinstance(found, dict)
    return found


def _loyalty(database_url: str, *arguments: str) -> str:
    command = [sys.executable, "-m", "loyalty", *arguments]
    environment = product_environment(database_url)
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def _euros(minor: int) -> Json:
    return {"amount": minor, "currency": "EUR"}


def _per_amount(points: int, **conditions: Any) -> Json:
    return {"kind": "points_per_amount", "points": points, "step_minor": {"EUR": 100}, "conditions": conditions}


def _per_item(points: int, **conditions: Any) -> Json:
    return {"kind": "points_per_item", "points": points, "conditions": conditions}


def _bonus(points: int, **conditions: Any) -> Json:
    return {"kind": "bonus", "points": points, "conditions": conditions}


def _multiplier(percent: int, **conditions: Any) -> Json:
    return {"kind": "multiplier", "percent": percent, "conditions": conditions}


RULES: tuple[Json, ...] = (
    _per_amount(1),
    _per_amount(1, include={"categories": ["clothes"]}),
    _per_amount(2, include={"categories": ["tools", "garden"]}),
    _per_amount(2, include={"brands": ["south"]}),
    _per_amount(1, channels=["store"]),
    _per_amount(1, channels=["app"], payment_methods=["card"]),
    _per_item(5, include={"categories": ["books"]}),
    _per_item(3, include={"brands": ["steel", "glass"]}),
    _per_item(10, include={"skus": ["shirt-blue-m"]}),
    _per_item(10, include={"skus": ["shirt-red-m"]}),
    _per_item(1, payment_methods=["invoice"]),
    _bonus(20, minimum_minor={"EUR": 5000}),
    _bonus(50, minimum_minor={"EUR": 10000}),
    _bonus(10, include={"categories": ["shoes"]}, minimum_minor={"EUR": 3000}),
    _bonus(10, windows=[{"weekdays": ["sat", "sun"]}], stores=["opening"]),
    _bonus(5, windows=[{"from": "00:00", "until": "24:00"}]),
    {**_multiplier(200, include={"categories": ["garden"]}), "combination": "best"},
    {**_multiplier(150, include={"categories": ["clothes", "books"]}), "combination": "best"},
    _multiplier(120, include={"brands": ["south"]}),
    _multiplier(300, stores=["opening"]),
)
"""None has a limit or counts orders, so that orders share no row."""
AWARDS = 7
"""So many of the rules count for the basket, whatever the day; their points are one entry and one lot."""
