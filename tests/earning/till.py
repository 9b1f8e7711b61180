"""What tests of whole programs share: rules made through the door, baskets by the line, and what came of them."""

from typing import Any

from tests.shop import Json, Shop

OPEN_AT = "2026-01-05T08:00:00Z"
"""A Monday, nine o'clock in Berlin."""


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def make_rule(shop: Shop, kind: str, *, name: str = "rule", **terms: Any) -> str:
    """Create a rule that is in force from now on."""
    return str((await shop.post("/v1/earning-rules", {"name": name, "terms": {"kind": kind, **terms}}))["id"])


async def start_over(shop: Shop, **settings: Any) -> Shop:
    """Move on to the opening day, retire the shop's own rule, and change settings."""
    await advance(shop, OPEN_AT)
    (base,) = (await shop.get("/v1/earning-rules"))["data"]
    await shop.post(f"/v1/earning-rules/{base['id']}/retirement", {}, expect=200)
    if settings:
        await shop.send("PATCH", "/v1/program", settings, expect=200)
    return shop


def line(sku: str, cents: int, quantity: int = 1, *, currency: str = "EUR", **more: Any) -> Json:
    return {"sku": sku, "quantity": quantity, "total": {"amount": cents, "currency": currency}, **more}


async def buy(shop: Shop, member: Json, *lines: Json, **more: Any) -> Json:
    body = {**shop.order_body(customer_id=member["customer_id"]), "lines": list(lines), **more}
    return await shop.post("/v1/orders", {**body, "currency": lines[0]["total"]["currency"]})


async def give_back(shop: Shop, order: Json, **body: Any) -> Json:
    return await shop.post(f"/v1/orders/{order['id']}/returns", body)


async def balances(shop: Shop, member: Json) -> dict[str, int]:
    wallets = (await shop.get(f"/v1/members/{member['id']}/wallets"))["data"]
    return {wallet["unit"]: wallet["balance"] for wallet in wallets}


def gave(order: Json, *rules: str) -> list[int]:
    """Return what each of these rules gave an order."""
    points = {award["rule_id"]: award["points"] for award in order["awards"]}
    return [points.get(rule, 0) for rule in rules]


def outcomes(order: Json, *rules: str) -> list[str]:
    said = {own["rule_id"]: own["outcome"] for own in order["trace"]}
    return [said[rule] for rule in rules]
