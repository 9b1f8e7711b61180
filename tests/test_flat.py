"""What is done for a member reads as much whatever they have behind them, and however many lots they have."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import pytest
from tests.shop import Shop

from benchmarks import copying
from benchmarks.crowd import Crowd, Names
from benchmarks.plans import Explaining, Read, listening, whole_tables
from loyalty.core import clock, ids
from loyalty.core.db import transaction
from loyalty.core.settings import Settings
from loyalty.points import service as points
from loyalty.points.rules import EntryKind, Source, SourceKind, WalletKey

CROWD = 400
HISTORY = 600
LOTS = 400
_SLACK = 60
"""So many rows more may be looked at: a statement reads a few lots ahead, and pages are longer."""


@dataclass(frozen=True)
class People:
    """Members of the same program: somebody, somebody with a long history, somebody with many lots."""

    young: str
    aged: str
    rich: str


@pytest.fixture
async def people(shop: Shop, settings: Settings) -> People:
    """Bring in a crowd, and give one of it points in many lots."""
    url = settings.database_url.replace("+asyncpg", "")
    both = await asyncpg.connect(url), await asyncpg.connect(url)
    rule_id = await both[0].fetchval(
        "SELECT rule_id FROM earning_rule_versions WHERE program_id = $1 AND version = 1 LIMIT 1", shop.program.id
    )
    crowd = Crowd(shop.program.id, rule_id, CROWD)
    aged = Crowd(shop.program.id, rule_id, 1, rounds=HISTORY, first=CROWD)
    await copying.load(both, [crowd, aged])
    key = WalletKey(shop.program.id, crowd.name(1), "points")
    async with transaction(shop.sessions) as session:
        book = await points.open_book(session, program=shop.program, keys=[key], now=clock.now())
        for number in range(LOTS):
            source = Source(SourceKind.ORDER, ids.new())
            at = book.now - timedelta(days=number % 50)
            book.award(key, points=10, kind=EntryKind.EARN, source=source, occurred_at=at)
        await points.post(session, book)
    await both[1].execute("ANALYZE entries, lots, orders, wallets, allocations, members, customers")
    for connection in both:
        await connection.close()
    return People(Names("mem", crowd)[0], Names("mem", aged)[0], Names("mem", crowd)[1])


async def order(shop: Shop, member: str) -> None:
    await shop.order(50, customer_id=member.replace("mem_", "cus_"))


async def wallets(shop: Shop, member: str) -> None:
    await shop.get(f"/v1/members/{member}/wallets")


async def redemption(shop: Shop, member: str) -> None:
    await shop.post("/v1/redemptions", {"member_id": member, "reward_id": (await shop.reward(cost=25))["id"]})


async def spend_with_hold(shop: Shop, member: str) -> None:
    held = await shop.post("/v1/holds", {"member_id": member, "points": 25})
    await shop.get(f"/v1/members/{member}/wallets")
    await shop.post(f"/v1/holds/{held['id']}/capture", {})


async def give_back(shop: Shop, member: str) -> None:
    placed = await shop.order(50, customer_id=member.replace("mem_", "cus_"))
    await shop.post(f"/v1/orders/{placed['id']}/cancellation", {})


async def entries(shop: Shop, member: str) -> None:
    await shop.get(f"/v1/members/{member}/entries?limit=5")


async def lots(shop: Shop, member: str) -> None:
    await shop.get(f"/v1/members/{member}/lots?limit=5")


@pytest.mark.parametrize("operation", [order, wallets, redemption, spend_with_hold, give_back, entries, lots])
async def test_nothing_reads_what_is_long_past(
    shop: Shop, people: People, operation: Callable[[Shop, str], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    looked_at = {}
    for who in (people.young, people.aged, people.rich):
        explaining = Explaining("enable_seqscan = off")
        with listening(explaining):
            explaining.begin()
            await operation(shop, who)
        runs = [plan for own in explaining.plans.values() for plan in own]
        assert not set().union(*(whole_tables(plan) for plan in runs))
        looked_at[who] = sum(Read.of(plan).looked_at for plan in runs)
    assert [record.getMessage() for record in caplog.records if record.name == "loyalty.express"] == []
    assert looked_at[people.young] > 0
    assert max(looked_at.values()) <= looked_at[people.young] + _SLACK
