"""A storefront with a program of its own, as the tests drive it through the public doors."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

import httpx
from litestar import Litestar
from sqlalchemy import text

from loyalty.access import service as access
from loyalty.access.guards import SESSION_COOKIE
from loyalty.access.rules import ALL_KEY_SCOPES, KeyKind
from loyalty.core import clock
from loyalty.core.db import Sessions, transaction
from loyalty.programs import service as programs
from loyalty.programs.rules import Mode, Program, ProgramRules

OPENS_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
Json = dict[str, Any]

_TENANT_TABLES = (
    "activities", "activity_awards", "adjustments", "allocations", "api_keys", "birthday_progress", "cohort_openings",
    "coupon_codes",
    "coupon_discounts", "coupons", "customers", "earning_budgets", "earning_rule_versions", "earning_rules",
    "earning_usage", "entries", "event_floors", "events", "hold_reservations", "holds", "idempotency_keys",
    "identifiers", "lapse_openings", "ledger_openings", "lots",
    "member_merges", "member_passwords", "member_status_changes", "members", "month_openings", "order_award_additions",
    "order_award_reversals", "order_counts", "order_lines", "order_return_lines", "order_returns",
    "order_tenders", "orders", "profiles", "program_settings", "quotes", "redemption_cancellations", "redemptions",
    "referral_campaigns", "referral_clicks", "referral_codes", "referral_rewards", "referral_touches", "referrals",
    "reward_grants", "rewards", "simulation_members", "simulation_months", "simulation_points", "simulation_rules",
    "simulation_usage", "simulations", "tender_refunds", "transfers", "wallet_openings", "wallets",
)  # fmt: skip


@dataclass
class Shop:
    client: httpx.AsyncClient
    sessions: Sessions
    program: Program
    key: str
    numbers: Any = field(default_factory=lambda: count(1))

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        bearer: str | None = None,
        expect: int | None = None,
    ) -> httpx.Response:
        """Send a request, as the storefront unless told; a POST carries a fresh idempotency key unless given one."""
        headers = credentials_of(bearer or self.key)
        if method == "POST":
            headers["Idempotency-Key"] = key or uuid4().hex
        reply = await self.client.request(method, path, json=body, headers=headers)
        assert expect is None or reply.status_code == expect, reply.text
        return reply

    async def get(self, path: str, *, bearer: str | None = None) -> Json:
        return _json(await self.send("GET", path, bearer=bearer, expect=200))

    async def post(self, path: str, body: Any = None, *, bearer: str | None = None, expect: int = 201) -> Json:
        return _json(await self.send("POST", path, body, bearer=bearer, expect=expect))

    async def enrol(self, **details: Any) -> Json:
        return await self.post("/v1/members", {"external_id": f"customer-{next(self.numbers)}", **details})

    def order_body(self, euros: int = 100, **details: Any) -> Json:
        total = {"amount": euros * 100, "currency": "EUR"}
        lines = [{"sku": "shirt", "quantity": 1, "total": total}]
        return {"external_id": f"order-{next(self.numbers)}", "currency": "EUR", "lines": lines, **details}

    async def order(self, euros: int = 100, **details: Any) -> Json:
        return await self.post("/v1/orders", self.order_body(euros, **details))

    async def wallet(self, member_id: str) -> Json:
        wallets = (await self.get(f"/v1/members/{member_id}/wallets"))["data"]
        assert len(wallets) == 1
        return dict(wallets[0])

    async def token(self, member_id: str) -> str:
        return str((await self.post(f"/v1/members/{member_id}/tokens"))["token"])

    async def reward(self, cost: int = 100, **details: Any) -> Json:
        value = {"amount": {"amount": 500, "currency": "EUR"}}
        return await self.post(
            "/v1/rewards", {"name": "5 off", "kind": "amount_off", "value": value, "cost_points": cost, **details}
        )

    async def books_hold(self) -> None:
        verification = await self.get("/v1/ledger/verification")
        assert verification["holds"], verification["differences"]

    async def digest(self) -> Json:
        """A digest of every row of the program: two equal ones mean that nothing changed in between."""
        found = {}
        async with transaction(self.sessions) as session:
            for table in _TENANT_TABLES:
                rows = "md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
                query = f"SELECT {rows} FROM {table} AS t WHERE program_id = :id"  # noqa: S608 -- our own names
                found[table] = (await session.execute(text(query), {"id": self.program.id})).scalar_one()
        return found

    async def refuses(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int,
        code: str,
        key: str | None = None,
        bearer: str | None = None,
    ) -> Json:
        """Send what must be refused, and prove that it changed nothing."""
        before = await self.digest()
        reply = await self.send(method, path, body, key=key, bearer=bearer)
        problem = _json(reply)
        assert (reply.status_code, problem["code"]) == (status, code), reply.text
        assert reply.headers["content-type"].startswith("application/problem+json")
        assert await self.digest() == before
        return problem


def credentials_of(bearer: str) -> dict[str, str]:
    """Return the header that carries a credential: a manager's session is a cookie."""
    return (
        {"Cookie": f"{SESSION_COOKIE}={bearer}"} if bearer.startswith("ls_") else {"Authorization": f"Bearer {bearer}"}
    )


async def open_shop(client: httpx.AsyncClient, app: Litestar, *, zone: str = "Europe/Berlin") -> Shop:
    sessions: Sessions = app.state.sessions
    async with transaction(sessions) as session:
        program = await programs.create(
            session,
            slug=f"shop-{uuid4().hex[:20]}",
            name="Shop",
            mode=Mode.TEST,
            rules=ProgramRules(currencies=("EUR", "JPY"), time_zone=zone),
            clock_at=OPENS_AT,
            actor="test",
            now=OPENS_AT,
        )
        _, key = await access.create_key(
            session,
            program=program,
            kind=KeyKind.SECRET,
            name="storefront",
            scopes=frozenset(),
            maker_scopes=ALL_KEY_SCOPES,
            expires_at=None,
            real_now=clock.now(),
        )
    shop = Shop(client, sessions, program, key)
    await shop.post(
        "/v1/earning-rules",
        {"name": "base", "terms": {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 100}}},
    )
    await shop.post(
        "/v1/referral-campaigns",
        {"name": "friends", "landing_url": "https://shop.test/hi?a=1", "advocate_points": 50, "referee_points": 25},
    )
    return shop


def _json(reply: httpx.Response) -> Json:
    body = reply.json()
    assert isinstance(body, dict)
    return body
