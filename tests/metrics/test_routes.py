from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.plugins.pydantic import PydanticPlugin
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access.guards import ReportFacts
from loyalty.access.rules import ALL_KEY_SCOPES, Caller
from loyalty.core.problems import EXCEPTION_HANDLERS
from loyalty.metrics.routes import MetricRoutes
from loyalty.programs.rules import Mode, Program, ProgramRules

NOW = datetime(2026, 7, 15, 10, tzinfo=UTC)
SLUGS = (
    "retention-rate",
    "churn-rate",
    "crr-textbook",
    "repeat-purchase-rate",
    "referral-rate",
    "referred-customer-share",
    "members-versus-non-members",
)


@pytest.fixture
async def client(session: AsyncSession, shop: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the routes alone, called by a key of the shop."""
    rules = ProgramRules(currencies=("EUR",), time_zone=shop.zone.key, late_order_days=0)
    program = Program(shop.program_id, "shop", "Shop", Mode.TEST, NOW, 1, rules)
    caller = Caller(program=program, actor="key", scopes=ALL_KEY_SCOPES)
    app = Litestar(
        route_handlers=[MetricRoutes],
        dependencies={
            "caller": Provide(lambda: caller, sync_to_thread=False),
            "report": Provide(lambda: ReportFacts(session, NOW), sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        plugins=[PydanticPlugin()],
        openapi_config=None,
        logging_config=None,
    )
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]  # litestar's narrower ASGI types
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as opened:
        yield opened


async def get(client: httpx.AsyncClient, slug: str, **parameters: str | int) -> tuple[int, dict[str, Any]]:
    reply = await client.get(f"/v1/metrics/{slug}", params=parameters)
    found: dict[str, Any] = reply.json()
    return reply.status_code, found


@pytest.mark.parametrize("slug", SLUGS)
async def test_every_report_answers_a_program_without_facts(client: httpx.AsyncClient, slug: str) -> None:
    status, found = await get(client, slug)
    assert status == 200
    assert found["metric"].replace("_period", "") == slug.replace("-", "_")
    assert found["as_of"] == "2026-07-15T10:00:00Z"
    assert found["data_complete_until"] == "2026-07-14T22:00:00Z"
    assert found["definition_version"] == 1


async def test_a_report_over_a_window_as_it_was_known(client: httpx.AsyncClient, shop: Any) -> None:
    people = await shop.customers(4)
    await shop.orders(people, "2026-05-10")
    await shop.orders(people[:3], "2026-06-10")
    await shop.orders(people[3:], "2026-06-10", recorded="2026-07-10")
    asked = {"from": "2026-06-01", "to": "2026-07-01"}
    _, now = await get(client, "retention-rate", **asked)
    assert (now["value"], now["numerator"], now["denominator"]) == (1.0, 4, 4)
    _, then = await get(client, "retention-rate", **asked, as_of="2026-07-05T00:00:00Z")
    assert (then["value"], then["numerator"], then["denominator"]) == (0.75, 3, 4)
    assert then["window"]["from"] == "2026-06-01"
    assert then["window"]["starts_at"] == "2026-05-31T22:00:00Z"
    _, month = await get(client, "churn-rate", period="month")
    assert (month["numerator"], month["window"]["to"]) == (0, "2026-07-01")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"from": "2026-06-01"}, "half_a_window"),
        ({"from": "2026-06-01", "to": "2026-06-01"}, "window_refused"),
        ({"from": "0001-01-01", "to": "0001-01-02"}, "window_refused"),
        ({"from": "2026-06-01", "to": "2026-07-01", "period": "month"}, "period_and_window"),
        ({"as_of": "2026-07-15T10:00:01Z"}, "as_of_not_available"),
        ({"as_of": "1900-01-01T00:00:00Z"}, "as_of_not_available"),
        ({"as_of": "2026-07-01T00:00:00"}, "validation_failed"),
        ({"period": "fortnight"}, "validation_failed"),
        ({"from": "June", "to": "July"}, "validation_failed"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    client: httpx.AsyncClient, parameters: dict[str, str], code: str
) -> None:
    status, found = await get(client, "retention-rate", **parameters)
    assert (status, found["code"]) == (400, code)


@pytest.mark.parametrize(
    ("slug", "parameters"),
    [
        ("repeat-purchase-rate", {"horizon_days": 0}),
        ("repeat-purchase-rate", {"horizon_days": 731}),
        ("referral-rate", {"hold_days": -1}),
        ("members-versus-non-members", {"horizon_days": 731}),
    ],
)
async def test_bounds_are_refused(client: httpx.AsyncClient, slug: str, parameters: dict[str, int]) -> None:
    status, found = await get(client, slug, **parameters)
    assert (status, found["code"]) == (400, "validation_failed")


async def test_the_comparison_takes_a_window_of_its_own(client: httpx.AsyncClient) -> None:
    _, found = await get(
        client,
        "members-versus-non-members",
        **{"from": "2026-06-01", "to": "2026-07-01", "trials_from": "2026-01-01", "trials_to": "2026-02-01"},
        horizon_days=30,
    )
    assert found["association_raw"]["window"]["from"] == "2026-06-01"
    assert found["association_adjusted"]["window"]["to"] == "2026-02-01"
    assert found["association_adjusted"]["horizon_days"] == 30
