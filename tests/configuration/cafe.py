"""A coffee house's program as its manager keeps it in a file, and how tests send and read such files."""

from collections.abc import Mapping
from typing import Any

from tests.shop import Json, Shop, credentials_of

DAY = "2026-01-02T12:00:00Z"
UNCHANGED: Json = {"dry_run": False, "changes": [], "left_alone": []}
EMPTY: Json = {"version": 1, "earning_rules": [], "rewards": [], "referral_campaign": None}

CAFE = """\
version: 1
settings:
  currencies: [EUR]
  unit: beans
  expiry: {kind: after, months: 12, round_up_to: month}
  clawback: allow_debt
  burn:
    rates:
      EUR: {points: 100, amount_minor: 100}
    most_percent: 50
earning_rules:
- name: A bean a euro
  terms:
    kind: points_per_amount
    points: 1
    step_minor: {EUR: 100}
- name: Happy hour
  terms:
    kind: multiplier
    percent: 200
    conditions:
      include: {categories: [coffee]}
      windows:
      - {weekdays: [mon, tue, wed, thu, fri], from: 14:00, until: 16:00}
    limits: {budget: 10000}
- name: Review
  terms: {kind: points_per_activity, activity: reviewed, points: 20, limits: {per_member: {points: 20, period: month}}}
- name: Christmas
  draft: true
  terms: {kind: bonus, points: 24}
rewards:
- name: Coffee
  kind: free_product
  value: {sku: flat-white}
  cost_points: 100
  coupon_days: 30
- name: Tote bag
  kind: perk
  value: {description: A bag of cloth}
  cost_points: 400
  stock: 50
  per_member: {count: 1, period: year}
  metadata: {shelf: "12"}
- name: Birthday cake
  kind: amount_off
  value: {amount: {amount: 500, currency: EUR}, minimum: {amount: 1000, currency: EUR}}
  cost_points: 0
  member_attributes: {club: [gold]}
- name: Partner voucher
  kind: gift_card
  value: {amount: {amount: 1000, currency: EUR}}
  cost_points: 900
  pooled: true
referral_campaign:
  name: Bring a friend
  landing_url: https://cafe.example.com/friends
  advocate_points: 50
  referee_points: 25
  minimum: {amount: 500, currency: EUR}
"""


async def exported(shop: Shop) -> Json:
    return await shop.get("/v1/configuration")


async def put(shop: Shop, document: Json, *, dry_run: bool = False, expect: int = 200) -> Json:
    path = f"/v1/configuration{'?dry_run=true' if dry_run else ''}"
    return dict((await shop.send("PUT", path, document, expect=expect)).json())


async def put_yaml(shop: Shop, content: str | bytes, *, expect: int = 200) -> Json:
    headers = {**credentials_of(shop.key), "Content-Type": "application/yaml"}
    reply = await shop.client.put("/v1/configuration", content=content, headers=headers)
    assert reply.status_code == expect, reply.text
    return dict(reply.json())


async def exported_yaml(shop: Shop) -> str:
    headers = {**credentials_of(shop.key), "Accept": "application/yaml"}
    reply = await shop.client.get("/v1/configuration", headers=headers)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/yaml")
    return reply.text


async def start_empty(shop: Shop) -> Shop:
    """Let a day pass, since nothing ends at the instant it began, and retire what a test's shop opens with."""
    await advance(shop, DAY)
    await put(shop, EMPTY)
    return shop


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


def told(result: Mapping[str, Any]) -> list[str]:
    """Return what a reply says of its changes, a line each."""
    return [" ".join(filter(None, (own["action"], own["part"], own["name"]))) for own in result["changes"]]


def fields(result: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields of the one thing that changed."""
    (change,) = result["changes"]
    return {own["field"]: (own["before"], own["after"]) for own in change["fields"]}


def named(things: list[Json], name: str) -> Json:
    return next(thing for thing in things if thing["name"] == name)
