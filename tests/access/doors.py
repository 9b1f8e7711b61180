"""Every operation of the API, read from the OpenAPI document, and a request that each would answer."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import ASGIRoute, HTTPRoute
from sqlalchemy import text
from tests.shop import Json, Shop, credentials_of, open_shop

from loyalty.access import service as access
from loyalty.access.guards import SESSION_COOKIE
from loyalty.access.rules import Role, Scope
from loyalty.app import create_app
from loyalty.core import clock
from loyalty.core.db import transaction
from loyalty.core.reference import openapi_json
from loyalty.core.settings import Settings

PUBLIC: Final = ("create_manager_session", "create_member_session", "follow_referral_link", "head_referral_link")
PASSWORD: Final = "correct horse battery staple"
_PARAMETER: Final = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    scope: Scope | None
    document: Json

    @property
    def parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)

    @property
    def is_own(self) -> bool:
        """Whether members do this for themselves."""
        return self.path == "/v1/me" or self.path.startswith("/v1/me/")

    @property
    def is_sessions(self) -> bool:
        """Whether signed-in managers alone do this."""
        return self.scope is Scope.SESSION_OWN


@dataclass
class World:
    """A shop with one of everything that has an id."""

    shop: Shop
    member: Json
    order: Json
    activity: Json
    reward: Json
    redemption: Json
    key: Json
    rule: Json
    token: str
    coupon: str
    hold: Json
    adjustment: Json
    transfer: Json
    lot: str
    merge: Json
    spare: Json
    simulation: Json

    @property
    def ids(self) -> dict[str, str]:
        return {
            "member_id": self.member["id"],
            "order_id": self.order["id"],
            "activity_id": self.activity["id"],
            "reward_id": self.reward["id"],
            "redemption_id": self.redemption["id"],
            "key_id": self.key["id"],
            "rule_id": self.rule["id"],
            "hold_id": self.hold["id"],
            "adjustment_id": self.adjustment["id"],
            "transfer_id": self.transfer["id"],
            "lot_id": self.lot,
            "merge_id": self.merge["id"],
            "simulation_id": self.simulation["id"],
            "code": self.member["referral_code"],
            "program_slug": self.shop.program.slug,
        }

    def address(self, operation: Operation, **other: str) -> str:
        return operation.path.format(**{**self.ids, **other})

    async def footprint(self) -> Json:
        """Tell whether anything of the program changed, its sessions, roles and clock included."""
        found = await self.shop.digest()
        async with transaction(self.shop.sessions) as session:
            for table, column in (
                ("programs", "id"),
                ("manager_roles", "program_id"),
                ("manager_sessions", "program_id"),
            ):
                query = f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t WHERE {column} = :id"  # noqa: E501, S608
                found[table] = tuple((await session.execute(text(query), {"id": self.shop.program.id})).one())
        return found

    async def call(
        self, operation: Operation, *, bearer: str | None, path: str | None = None, body: Any = None
    ) -> httpx.Response:
        """Send a request as a caller would, with a header of its own for every repeatable write."""
        headers = {b"Idempotency-Key": f"{operation.id}-{next(self.shop.numbers)}".encode()}
        if bearer is not None:
            sent = {"Authorization": bearer} if " " in bearer else credentials_of(bearer)
            headers |= {name.encode(): value.encode("latin-1") for name, value in sent.items()}
        return await self.shop.client.request(
            operation.method, path or self.address(operation), json=body, headers=headers
        )

    def request(self, operation: Operation) -> Any:
        """Return a body that the operation takes; None for those that have none."""
        make = BODIES.get(operation.id)
        return None if make is None else make(self)

    async def manager(self, role: Role) -> str:
        """Sign a manager of this role in."""
        email = f"{role}-{next(self.shop.numbers)}@{self.shop.program.slug}.example.com"
        async with transaction(self.shop.sessions) as session:
            await access.add_manager(
                session,
                program_id=self.shop.program.id,
                email=email,
                password=PASSWORD,
                role=role,
                passwords=application_of(self.shop).state.passwords,
                real_now=clock.now(),
            )
        reply = await self.shop.client.post(
            "/v1/manager-sessions", json={"program": self.shop.program.slug, "email": email, "password": PASSWORD}
        )
        assert reply.status_code == 201, reply.text
        cookie = reply.cookies[SESSION_COOKIE]
        self.shop.client.cookies.clear()
        return cookie


def application_of(shop: Shop) -> Litestar:
    transport = shop.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    found = transport.app
    assert isinstance(found, Litestar)
    return found


async def open_world(client: httpx.AsyncClient, app: Litestar) -> World:
    shop = await open_shop(client, app)
    member = await shop.enrol(email="ann@example.com")
    await shop.order(500, customer_id=member["customer_id"])
    reward = await shop.reward(cost=10)
    return World(
        shop=shop,
        member=member,
        order=await shop.order(50, customer_id=member["customer_id"], status="placed"),
        activity=await shop.post("/v1/activities", {"member_id": member["id"], "type": "reviewed"}),
        reward=reward,
        coupon=(await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]}))["coupon"][
            "code"
        ],
        redemption=await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]}),
        key=(await shop.post("/v1/keys", {"kind": "restricted", "name": "spare", "scopes": ["events:read"]}))["key"],
        rule=(await shop.get("/v1/earning-rules"))["data"][0],
        token=await shop.token(member["id"]),
        hold=await shop.post("/v1/holds", {"member_id": member["id"], "points": 5}),
        adjustment=await shop.post("/v1/adjustments", _given(member, expires_at="2026-03-01T00:00:00Z")),
        transfer=await shop.post(
            "/v1/transfers", {"from_member_id": member["id"], "to_member_id": (await shop.enrol())["id"], "points": 1}
        ),
        spare=await shop.enrol(),
        merge=await shop.post(
            "/v1/member-merges",
            {"from_member_id": (await shop.enrol())["id"], "into_member_id": member["id"], "reason": "the same"},
        ),
        simulation=await shop.post("/v1/simulations", _LAST_MONTH),
        lot=(await shop.get(f"/v1/members/{member['id']}/lots"))["data"][0]["id"],
    )


def _given(member: Json, **details: Any) -> Json:
    return {"member_id": member["id"], "points": 20, "reason": "goodwill", **details}


_LAST_MONTH: Final = {"from": "2025-12-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}
TERMS: Final = {"kind": "points_per_amount", "points": 2, "step_minor": {"EUR": 100}}

BODIES: Final[dict[str, Callable[[World], Any]]] = {
    "advance_test_clock": lambda _: {"to": "2026-01-01T13:00:00Z"},
    "apply_configuration": lambda _: {
        "version": 1,
        "settings": {"late_order_days": 8},
        "referral_campaign": {
            "name": "by file",
            "landing_url": "https://shop.test/",
            "advocate_points": 1,
            "referee_points": 1,
        },
    },
    "create_activity": lambda world: {"member_id": world.member["id"], "type": "checked_in"},
    "create_adjustment": lambda world: _given(world.member),
    "create_adjustment_batch": lambda world: {
        "csv": f"external_id,member,points,reason\nrow-{next(world.shop.numbers)},{world.member['id']},5,gift\n"
    },
    "create_quote": lambda world: {
        "currency": "EUR",
        "customer_id": world.member["customer_id"],
        "lines": [{"sku": "book", "total": {"amount": 100, "currency": "EUR"}}],
    },
    "create_coupon_check": lambda world: {"code": world.coupon, "member_id": world.member["id"]},
    "create_coupon_use": lambda world: {"code": world.coupon},
    "create_earning_rule": lambda _: {"name": "more", "terms": TERMS},
    "create_earning_rule_activation": lambda _: {"active_from": "2026-06-01T00:00:00Z"},
    "create_earning_rule_retirement": lambda _: {"at": "2026-07-01T00:00:00Z"},
    "create_earning_rule_version": lambda _: {"terms": TERMS, "active_from": "2026-06-01T00:00:00Z"},
    "create_hold": lambda world: {"member_id": world.member["id"], "points": 5},
    "create_hold_capture": lambda _: {"points": 5},
    "create_import": lambda world: {
        "records": [
            {
                "kind": "enrolment",
                "external_customer_id": f"old-{next(world.shop.numbers)}",
                "at": "2025-01-01T00:00:00Z",
            }
        ]
    },
    "create_key": lambda _: {"kind": "secret", "name": "another"},
    "create_key_ending": lambda _: {},
    "create_manager_session": lambda world: {
        "program": world.shop.program.slug,
        "email": "nobody@example.com",
        "password": PASSWORD,
    },
    "create_member_session": lambda world: {
        "program": world.shop.program.slug,
        "email": "nobody@example.com",
        "password": PASSWORD,
    },
    "change_my_password": lambda _: {"password": PASSWORD},
    "set_member_password": lambda _: {"password": PASSWORD},
    "create_member": lambda world: {"external_id": f"new-{next(world.shop.numbers)}"},
    "create_member_referral_code": lambda world: {"code": f"VANITY{next(world.shop.numbers):03d}"},
    "create_member_status_change": lambda _: {"status": "active", "reason": "as it was"},
    "create_my_redemption": lambda world: {"reward_id": world.reward["id"]},
    "create_my_redemption_cancellation": lambda _: {},
    "create_order": lambda world: world.shop.order_body(customer_id=world.member["customer_id"]),
    "create_orders": lambda world: {"orders": [world.shop.order_body(customer_id=world.member["customer_id"])]},
    "create_order_cancellation": lambda _: {"reason": "changed my mind"},
    "create_order_claim": lambda world: {"member_id": world.member["id"]},
    "create_order_delivery": lambda _: {},
    "create_order_payment": lambda _: {},
    "create_order_amendment": lambda _: {
        "currency": "EUR",
        "added": [{"sku": "tea", "total": {"amount": 100, "currency": "EUR"}}],
    },
    "create_order_return": lambda _: {"total": {"amount": 100, "currency": "EUR"}},
    "create_member_erasure": lambda _: {"reason": "asked to be forgotten"},
    "create_member_merge": lambda world: {
        "from_member_id": world.spare["id"],
        "into_member_id": world.member["id"],
        "reason": "the same person",
    },
    "create_transfer": lambda world: {
        "from_member_id": world.member["id"],
        "to_member_id": world.transfer["to_member_id"],
        "points": 1,
    },
    "create_lot_extension": lambda _: {"expires_at": "2027-03-01T00:00:00Z", "reason": "goodwill"},
    "create_lot_reinstatement": lambda _: {"expires_at": "2027-03-01T00:00:00Z", "reason": "goodwill"},
    "create_redemption": lambda world: {"member_id": world.member["id"], "reward_id": world.reward["id"]},
    "create_redemption_cancellation": lambda _: {"reason": "changed my mind"},
    "create_referral_campaign": lambda _: {
        "name": "again",
        "landing_url": "https://shop.test/",
        "advocate_points": 1,
        "referee_points": 1,
    },
    "create_reward_coupon_codes": lambda world: {"csv": f"code\nOWN-{next(world.shop.numbers):06}\n"},
    "create_reward_grant": lambda world: {
        "member_id": world.member["id"],
        "reward_id": world.reward["id"],
        "reason": "sorry",
    },
    "create_reward": lambda _: {"name": "ship", "kind": "free_shipping", "cost_points": 5},
    "create_simulation": lambda _: _LAST_MONTH,
    "update_member": lambda _: {"given_name": "Ann"},
    "update_program": lambda _: {"name": "Renamed"},
    "update_reward": lambda _: {"cost_points": 11},
}


def _operations() -> list[Operation]:
    application = create_app(Settings(database_url="postgresql://nowhere/none", secret_key="n" * 32))  # type: ignore[arg-type]
    scopes = {
        operation_id: handler.opt.get("scope")
        for handler in handlers(application)
        if isinstance(operation_id := handler.operation_id, str)
    }
    document = json.loads(openapi_json(application))
    return [
        Operation(found["operationId"], method.upper(), path, scopes.get(found["operationId"]), found)
        for path, methods in document["paths"].items()
        for method, found in methods.items()
    ]


def handlers(application: Litestar) -> list[HTTPRouteHandler]:
    return [handler for route in application.routes if isinstance(route, HTTPRoute) for handler in route.route_handlers]


def open_paths(application: Litestar) -> set[str]:
    """Return every address behind which some handler asks for no scope; the framework's own OPTIONS apart."""
    return {
        route.path_format
        for route in application.routes
        if isinstance(route, ASGIRoute)
        or (isinstance(route, HTTPRoute) and any(_is_open(handler) for handler in route.route_handlers))
    }


def _is_open(handler: HTTPRouteHandler) -> bool:
    return "scope" not in handler.opt and handler.http_methods != {"OPTIONS"}


OPERATIONS: Final = _operations()
CLOSED: Final = [operation for operation in OPERATIONS if operation.id not in PUBLIC]
