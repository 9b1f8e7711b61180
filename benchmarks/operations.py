"""What is measured: one entry an operation, in the table at the end."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from benchmarks import baseline, limit
from benchmarks.limit import KNOWN_KEYS, MEMBERS, Limit
from benchmarks.load import Script, http
from benchmarks.shop import Shop, basket

BaselineScript = Callable[[], Script]
_BATCH = 100


@dataclass(frozen=True)
class Operation:
    """An operation on the product, its limit, and the hand-written counterpart where there is one.

    `uses_orders`: each needs an order that no other one had. `times`: one request does it so many times, and figures
    but those of latency are of one of them. `most_clients`: more would only wait.
    """

    name: str
    product: Callable[[Shop], Script]
    limit: Limit
    baseline: BaselineScript | None = None
    uses_orders: bool = False
    times: int = 1
    most_clients: int = 1000


def order(shop: Shop) -> Script:
    yield from _order(shop, random.choice(shop.customers))


def hot_order(shop: Shop) -> Script:
    yield shop.post("/v1/orders", basket(shop.customers[0], external_id=uuid4().hex))


def single_order(shop: Shop) -> Script:
    """With a parameter it is out of the ordinary, and placed by itself."""
    body = basket(random.choice(shop.customers), external_id=uuid4().hex)
    yield shop.post("/v1/orders?dry_run=false", body)


def batch(shop: Shop) -> Script:
    orders = [basket(random.choice(shop.customers), external_id=uuid4().hex) for _ in range(_BATCH)]
    placed = yield shop.post("/v1/orders/batch", {"orders": orders})
    assert placed.count(b'"status":201') == _BATCH, placed[:500]


def quote(shop: Shop) -> Script:
    yield shop.post("/v1/quotes", basket(random.choice(shop.customers)))


def quoted_order(shop: Shop) -> Script:
    """Two requests, as a till makes them: ask what it comes to, then order just that."""
    body = basket(random.choice(shop.customers))
    quoted = yield shop.post("/v1/quotes", body)
    yield shop.post("/v1/orders", {**body, "external_id": uuid4().hex, "quote_id": json.loads(quoted)["id"]})


def redemption(shop: Shop) -> Script:
    body = {"member_id": random.choice(shop.members), "reward_id": random.choice(shop.rewards)}
    yield shop.post("/v1/redemptions", body)


def spend(shop: Shop) -> Script:
    """Two requests: lock points, then take them."""
    held = yield shop.post("/v1/holds", {"member_id": random.choice(shop.members), "points": 1})
    yield shop.post(f"/v1/holds/{json.loads(held)['id']}/capture", {})


def wallet(shop: Shop) -> Script:
    yield shop.get(f"/v1/members/{random.choice(shop.members)}/wallets")


def replay(shop: Shop) -> Script:
    yield random.choice(shop.known)


def enrolment(shop: Shop) -> Script:
    yield shop.post("/v1/members", {"external_id": uuid4().hex, "referral_code": random.choice(shop.codes)})


def give_back(shop: Shop) -> Script:
    body = {"lines": [{"line": 1, "quantity": 1}]}
    yield shop.post(f"/v1/orders/{shop.take_returnable()}/returns", body)


def _order(shop: Shop, customer: str) -> Script:
    reply = yield shop.post("/v1/orders", basket(customer, external_id=uuid4().hex))
    shop.returnable.append(reply[7 : reply.index(b'"', 7)].decode())  # it begins {"id":"ord_…"


def _baseline_order(member: int, *, external_id: str, key: bytes) -> bytes:
    body = {**basket("", external_id=external_id), "member_id": member}
    return http("POST", "/orders", key=baseline.KEY, body=json.dumps(body).encode(), idempotency_key=key)


def baseline_order() -> Script:
    external_id = uuid4().hex
    yield _baseline_order(random.randint(1, MEMBERS), external_id=external_id, key=external_id.encode())


def baseline_hot_order() -> Script:
    external_id = uuid4().hex
    yield _baseline_order(1, external_id=external_id, key=external_id.encode())


def baseline_replay() -> Script:
    """Each is an order the first time, and known from then on."""
    number = random.randint(1, KNOWN_KEYS)
    yield _baseline_order(number, external_id=f"known-{number}", key=b"known-%d" % number)


def baseline_spend() -> Script:
    body = json.dumps({"member_id": random.randint(1, MEMBERS), "points": 1}).encode()
    held = yield http("POST", "/holds", key=baseline.KEY, body=body)
    yield http("POST", f"/holds/{json.loads(held)['id']}/capture", key=baseline.KEY, body=b"")


def baseline_wallet() -> Script:
    yield http("GET", f"/members/{random.randint(1, MEMBERS)}/wallet", key=baseline.KEY)


ORDER = Operation("order", order, limit.ORDER, baseline_order)
QUOTE = Operation("quote", quote, limit.QUOTE)
OPERATIONS = (
    ORDER,
    Operation("order, by itself", single_order, limit.ORDER, baseline_order),
    Operation("orders, a hundred at once", batch, limit.ORDER, baseline_order, times=_BATCH, most_clients=8),
    Operation("order, one member", hot_order, limit.HOT_ORDER, baseline_hot_order),
    QUOTE,
    Operation("quote, then order", quoted_order, limit.ORDER),
    Operation("redemption", redemption, limit.REDEMPTION),
    Operation("spend with hold", spend, limit.SPEND, baseline_spend),
    Operation("wallet", wallet, limit.WALLET, baseline_wallet),
    Operation("replay", replay, limit.REPLAY, baseline_replay),
    Operation("enrolment", enrolment, limit.ENROLMENT),
    Operation("return", give_back, limit.RETURN, uses_orders=True),
)
