"""What tests of simulations share: asking for one, and doing what the worker would do for it."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tests.shop import Json, Shop

from loyalty.core import ids
from loyalty.core.db import transaction
from loyalty.schedule.service import JOBS, Moment

YEAR: Final = {"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"}
AFTER: Final = "2027-01-01T00:00:00Z"
NOW: Final = datetime.fromisoformat(AFTER)
A_POINT_A_EURO: Final[Json] = {"points": 1, "step_minor": {"EUR": 100}}
TWO_A_EURO: Final[Json] = {"points": 2, "step_minor": {"EUR": 100}}
BURN: Final[Json] = {"rates": {"EUR": {"points": 3, "amount_minor": 2}, "JPY": {"points": 1, "amount_minor": 1}}}
STATE: Final = ("simulation_members", "simulation_usage")


async def ask(shop: Shop, **body: Any) -> str:
    """Ask for rules to be tried on the year's orders, unless told otherwise."""
    return str((await shop.post("/v1/simulations", {**YEAR, **body}))["id"])


async def batch(shop: Shop, *, limit: int = 500) -> int:
    """Do what one transaction of the job does."""
    async with transaction(shop.sessions) as session:
        return await JOBS["simulate"].work(session, shop.program, Moment(NOW, NOW), limit)


async def work(shop: Shop, *, limit: int = 500) -> None:
    """Do what one run of the job does."""
    while await batch(shop, limit=limit) == limit:
        pass


async def found(shop: Shop, simulation_id: str) -> Json:
    return await shop.get(f"/v1/simulations/{simulation_id}")


async def tried(shop: Shop, *, limit: int = 500, **body: Any) -> Json:
    """Try rules, to the end, and return what was found."""
    simulation_id = await ask(shop, **body)
    await work(shop, limit=limit)
    report = await found(shop, simulation_id)
    assert report["state"] == "finished", report
    return report


def figures(report: Json) -> Json:
    """Return what a simulation found, apart from which one it is."""
    names = ("orders", "points", "by_month", "by_rule", "gained", "lost", "orders_done", "orders_total")
    return {name: report[name] for name in names}


async def draft(shop: Shop, rule: str, kind: str, **terms: Any) -> int:
    """Draft other terms for a rule; return the version."""
    body = {"terms": {"kind": kind, **terms}, "draft": True}
    changed = await shop.post(f"/v1/earning-rules/{rule}/versions", body)
    return int(changed["versions"][-1]["version"])


async def draft_rule(shop: Shop, kind: str, **terms: Any) -> str:
    """Draft a rule that there was not before."""
    body = {"name": "new", "terms": {"kind": kind, **terms}, "draft": True}
    return str((await shop.post("/v1/earning-rules", body))["id"])


def sides(today: int, tried: int) -> Json:
    return {"today": today, "tried": tried, "difference": tried - today}


def uuid(prefix: str, public: str) -> UUID:
    parsed = ids.parse(prefix, public)
    assert parsed is not None
    return parsed
