"""Members with points, and what they ask for."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx
from tests.shop import Json, Shop


async def rich(shop: Shop, points: int = 100, **details: object) -> Json:
    member = await shop.enrol(**details)
    await shop.post("/v1/adjustments", {"member_id": member["id"], "points": points, "reason": "start"})
    return member


def wanted(member: Json, reward: Json) -> Json:
    return {"member_id": member["id"], "reward_id": reward["id"]}


def gift(member: Json, reward: Json) -> Json:
    return {**wanted(member, reward), "reason": "goodwill"}


async def redeem(shop: Shop, member: Json, reward: Json) -> Json:
    return await shop.post("/v1/redemptions", wanted(member, reward))


async def advance(shop: Shop, to: str) -> None:
    await shop.post("/v1/test-clock/advance", {"to": to}, expect=200)


async def together(shop: Shop, asked: Sequence[tuple[str, Json]]) -> Counter[tuple[int, str]]:
    """Send all at the same time; return how often which answer came."""
    replies = await asyncio.gather(*(shop.send("POST", path, body) for path, body in asked))
    return Counter(map(outcome, replies))


def outcome(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json().get("code", "")


async def add_codes(shop: Shop, reward: Json, *codes: str) -> Json:
    body = {"csv": "\n".join(["code", *codes])}
    return await shop.post(f"/v1/rewards/{reward['id']}/coupon-codes", body, expect=200)
