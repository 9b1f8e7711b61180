"""Where the rooms meet the server."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from litestar import Litestar, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme, Tag
from litestar.plugins.pydantic import PydanticPlugin
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from loyalty.access.express import Together
from loyalty.access.guards import SESSION_COOKIE, provide_call, provide_caller, provide_now, provide_report
from loyalty.access.passwords import Passwords
from loyalty.access.routes import KeyRoutes, SessionRoutes
from loyalty.activities.routes import ActivityRoutes
from loyalty.adjustments.routes import AdjustmentRoutes
from loyalty.books.routes import BookRoutes
from loyalty.checkout.express import OrderExpress, QuoteExpress
from loyalty.checkout.routes import OrderRoutes, check_coupon, quote
from loyalty.configuration.routes import ConfigurationRoutes
from loyalty.core import clock, migrate, readiness
from loyalty.core.db import Sessions, create_engine, create_reports, create_sessions, create_snapshots
from loyalty.core.errors import Unavailable
from loyalty.core.express import Express
from loyalty.core.grouping import Load
from loyalty.core.problems import EXCEPTION_HANDLERS
from loyalty.core.reference import OwnPagesOnly, ReferenceRoutes, reference_files
from loyalty.core.settings import Settings
from loyalty.core.signing import Keyring
from loyalty.core.web import (
    MAX_BODY_BYTES,
    RequestEdge,
    Session,
    check_outline,
    provide_session,
)
from loyalty.earning.routes import EarningRuleRoutes
from loyalty.enrolment.express import EnrolmentExpress
from loyalty.enrolment.routes import enrol
from loyalty.erasures.routes import erase
from loyalty.holds.express import CaptureExpress, HoldExpress
from loyalty.holds.routes import HoldRoutes
from loyalty.imports.routes import bring_in
from loyalty.members.routes import MemberRoutes, change_own_password, sign_in_member
from loyalty.merges.routes import MergeRoutes
from loyalty.metrics.routes import MetricRoutes
from loyalty.outbox.routes import EventRoutes
from loyalty.points.express import WalletExpress
from loyalty.points.routes import PointRoutes
from loyalty.profiles.routes import MeRoutes, explain_balance, list_offers
from loyalty.programs.routes import ProgramRoutes
from loyalty.redemptions.express import RedemptionExpress
from loyalty.redemptions.routes import OwnRedemptionRoutes, RedemptionRoutes
from loyalty.referrals.routes import ReferralRoutes, follow_link
from loyalty.returns.routes import ReturnRoutes
from loyalty.rewards.routes import RewardRoutes
from loyalty.schedule.routes import ScheduleRoutes
from loyalty.simulations.routes import SimulationRoutes
from loyalty.transfers.routes import TransferRoutes

_log = logging.getLogger("loyalty.app")
_TAGS: Final = (
    "Members", "Orders", "Returns", "Activities", "Points", "Holds", "Adjustments", "Transfers", "Rewards",
    "Redemptions", "Referrals", "Me", "Metrics", "Books", "Earning", "Program", "Access", "Imports", "Events",
)  # fmt: skip
_ROUTES: Final = (
    ProgramRoutes,
    ConfigurationRoutes,
    ScheduleRoutes,
    KeyRoutes,
    SessionRoutes,
    MemberRoutes,
    sign_in_member,
    enrol,  # after the controller whose path it shares: the framework refuses the other order
    erase,
    MergeRoutes,
    PointRoutes,
    explain_balance,
    list_offers,
    BookRoutes,
    HoldRoutes,
    AdjustmentRoutes,
    TransferRoutes,
    OrderRoutes,
    quote,
    check_coupon,
    ReturnRoutes,
    ActivityRoutes,
    EarningRuleRoutes,
    SimulationRoutes,
    RewardRoutes,
    RedemptionRoutes,
    ReferralRoutes,
    follow_link,
    MeRoutes,
    change_own_password,
    OwnRedemptionRoutes,
    bring_in,
    EventRoutes,
    MetricRoutes,
)


@get("/health/live", operation_id="get_liveness", tags=["Health"], security=[], include_in_schema=False)
async def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "live"}


@get("/health/ready", operation_id="get_readiness", tags=["Health"], security=[], include_in_schema=False)
async def ready(session: Session, state: State) -> dict[str, str]:
    """Say that the database answers, keeps what it confirms, tells the same time, and has this release's schema."""
    await _check_database(session, settings=state.settings)
    await readiness.check_schema(session, expected=state.schema)
    return {"status": "ready", "schema": state.schema}


def create_app(settings: Settings) -> Litestar:
    """Build the application on one database; nothing is opened before it starts."""
    engine = create_engine(settings)
    replica = _create_replica(settings)
    passwords = Passwords()

    @asynccontextmanager
    async def running(application: Litestar) -> AsyncIterator[None]:
        try:
            await _check_start(application.state.sessions, settings=settings)
            yield
        finally:
            passwords.close()
            await engine.dispose()
            if replica is not None:
                await replica.dispose()

    sessions, snapshots, keyring = create_sessions(engine), create_snapshots(engine), Keyring(settings)
    load = Load()
    order_express = OrderExpress(engine, keyring, load)
    application = Litestar(
        route_handlers=[*_ROUTES, live, ready, ReferenceRoutes, reference_files()],
        dependencies={
            "session": Provide(provide_session),
            "caller": Provide(provide_caller),
            "now": Provide(provide_now),
            "call": Provide(provide_call),
            "report": Provide(provide_report),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        middleware=[RequestEdge],
        before_request=check_outline,
        request_max_body_size=MAX_BODY_BYTES,
        lifespan=[running],
        state=State(
            {
                "settings": settings,
                "sessions": sessions,
                "snapshots": snapshots,
                "reports": None if replica is None else create_reports(replica),
                "keyring": keyring,
                "order_express": order_express,
                "passwords": passwords,
                "schema": migrate.head(),
            }
        ),
        # None leaves strictness to each field: with a bare False, "3" and 3.0 and true would pass for integers.
        plugins=[PydanticPlugin(validate_strict=None), OwnPagesOnly()],  # type: ignore[arg-type]
        openapi_config=_openapi(),
        logging_config=None,
    )
    works: list[Together[Any, Any]] = [
        order_express,
        QuoteExpress(engine, keyring, load),
        EnrolmentExpress(engine, keyring, load),
        RedemptionExpress(engine, keyring, load),
        HoldExpress(engine, keyring, load),
        CaptureExpress(engine, keyring, load),
        WalletExpress(engine, keyring, load),
    ]
    application.asgi_handler = Express(application.asgi_handler, {work.address: work for work in works})
    return application


def _create_replica(settings: Settings) -> AsyncEngine | None:
    """Neither start-up nor readiness look at it: the till must not go down with it."""
    if settings.reports_database_url is None:
        return None
    return create_engine(settings.model_copy(update={"database_url": settings.reports_database_url}))


async def _check_database(session: AsyncSession, *, settings: Settings) -> None:
    """Raise DatabaseForgets or ClocksDiffer; forgetting is only warned of where the operator allows it."""
    try:
        await readiness.check_durability(session)
    except readiness.DatabaseForgets as refusal:
        if not settings.allow_forgetful_database:
            raise
        _log.warning("the database may lose what it has confirmed, which is allowed: %s", refusal.settings)
    await readiness.check_clocks(session, clock=clock.now)


async def _check_start(sessions: Sessions, *, settings: Settings) -> None:
    """Do not start on a database that forgets or lives in another time; one that is not there says so itself."""
    try:
        async with sessions() as session:
            await _check_database(session, settings=settings)
            superuser = await readiness.is_superuser(session)
    except (DBAPIError, OSError):
        return
    except Unavailable as refusal:
        _log.critical("not starting: %s %s", refusal, vars(refusal))
        raise
    if superuser:
        _log.warning("connected as a superuser: the ledger's append-only rights do not hold for this role")


def _openapi() -> OpenAPIConfig:
    bearer = SecurityScheme(type="http", scheme="bearer", description="A key `lk_…` or a member's token.")
    cookie = SecurityScheme(
        type="apiKey", security_scheme_in="cookie", name=SESSION_COOKIE, description="A signed-in manager's session."
    )
    return OpenAPIConfig(
        title="Loyalty",
        version="1",
        description="Points, rewards, referrals, honest metrics. Every refusal is problem+json with a stable `code`.",
        components=Components(security_schemes={"bearer": bearer, "session": cookie}),
        security=[{"bearer": []}, {"session": []}],
        tags=[Tag(name=name) for name in _TAGS],
        use_handler_docstrings=True,
        path=OwnPagesOnly.pages,
    )
