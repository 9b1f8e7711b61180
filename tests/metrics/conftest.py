from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from itertools import repeat
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core import ids
from loyalty.members.models import Customer, Member
from loyalty.metrics.rules import View
from loyalty.orders.models import Order
from loyalty.programs.models import Program
from loyalty.referrals.models import Referral, ReferralCampaign

LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)


class Shop:
    """A program whose facts are written straight into the tables, by local time."""

    def __init__(self, session: AsyncSession, *, zone: ZoneInfo) -> None:
        self.session = session
        self.zone = zone
        self.program_id = ids.new()
        self.campaign_id = ids.new()

    def view(self, as_of: str) -> View:
        return View(program_id=self.program_id, zone=self.zone, as_of=self.at(as_of))

    def at(self, local: str) -> datetime:
        """Read a local time; a day alone means its noon."""
        moment = local if "T" in local else f"{local}T12:00"
        return datetime.fromisoformat(moment).replace(tzinfo=self.zone).astimezone(UTC)

    async def open(self) -> None:
        program = {
            "id": self.program_id,
            "slug": f"shop-{self.program_id.hex[-12:]}",
            "name": "Shop",
            "mode": "test",
            "settings_version": 1,
            "created_at": LONG_AGO,
        }
        await self.session.execute(insert(Program), [program])

    async def customers(self, count: int, *, erased: str | None = None) -> list[UUID]:
        made = [ids.new() for _ in range(count)]
        erased_at = self.at(erased) if erased else None
        rows = [
            {
                "program_id": self.program_id,
                "id": customer_id,
                "created_at": LONG_AGO,
                "recorded_at": LONG_AGO,
                "erased_at": erased_at,
            }
            for customer_id in made
        ]
        await self.session.execute(insert(Customer), rows)
        return made

    async def orders(
        self,
        customers: Sequence[UUID | None],
        placed: str,
        *,
        total_minor: int = 2_000,
        currency: str = "EUR",
        channel: str | None = None,
        paid: str | None = "same",
        cancelled: str | None = None,
        recorded: str | None = None,
    ) -> list[UUID]:
        """One order for each of the customers."""
        placed_at = self.at(placed)
        paid_at = placed_at if paid == "same" else self.at(paid) if paid else None
        made = [ids.new() for _ in customers]
        rows = [
            {
                "program_id": self.program_id,
                "id": order_id,
                "external_id": order_id.hex,
                "customer_id": customer_id,
                "content_digest": b"",
                "currency": currency,
                "total_minor": total_minor,
                "channel": channel,
                "placed_at": placed_at,
                "recorded_at": self.at(recorded) if recorded else placed_at,
                "paid_at": paid_at,
                "payment_recorded_at": paid_at and max(paid_at, self.at(recorded) if recorded else placed_at),
                "cancelled_at": self.at(cancelled) if cancelled else None,
                "paid_when_placed": paid == "same",
                "imported": True,
            }
            for order_id, customer_id in zip(made, customers, strict=True)
        ]
        await self.session.execute(insert(Order), rows)
        return made

    async def enrol(
        self,
        customers: Sequence[UUID],
        enrolled: str,
        *,
        orders: Sequence[UUID] | None = None,
        closed: str | None = None,
        status: str = "active",
    ) -> list[UUID]:
        at = self.at(enrolled)
        rows = [
            {
                "program_id": self.program_id,
                "id": customer_id,
                "enrolled_at": at,
                "recorded_at": at,
                "enrolment_external_order_id": order_id.hex if order_id else None,
                "status": "closed" if closed else status,
                "suspends": "both" if status == "suspended" else None,
                "closed_at": self.at(closed) if closed else None,
            }
            for customer_id, order_id in zip(customers, orders or repeat(None, len(customers)), strict=True)
        ]
        await self.session.execute(insert(Member), rows)
        return list(customers)

    async def refer(
        self,
        advocate: UUID,
        referee: UUID,
        *,
        attributed: str,
        qualified: str | None = None,
        approved: str | None = None,
        ended: str | None = None,
        state: str = "signed_up",
    ) -> None:
        row = {
            "program_id": self.program_id,
            "id": ids.new(),
            "referee_id": referee,
            "advocate_id": advocate,
            "campaign_id": self.campaign_id,
            "code": "CODE",
            "method": "code",
            "state": state,
            "attributed_at": self.at(attributed),
            "recorded_at": self.at(attributed),
            "qualified_at": self.at(qualified) if qualified else None,
            "qualifying_order_id": ids.new() if qualified else None,
            "approved_at": self.at(approved) if approved else None,
            "settled_recorded_at": self.at(qualified) if qualified else None,
            "ended_at": self.at(ended) if ended else None,
        }
        await self.session.execute(insert(Referral), [row])

    async def campaign(self) -> None:
        row = {
            "program_id": self.program_id,
            "id": self.campaign_id,
            "name": "Friends",
            "landing_url": "https://shop.example/",
            "window_days": 30,
            "unit": "points",
            "advocate_points": 100,
            "referee_points": 100,
            "minimum_minor": 0,
            "minimum_currency": "EUR",
            "started_at": LONG_AGO,
        }
        await self.session.execute(insert(ReferralCampaign), [row])


OpenShop = Callable[[str], Awaitable[Shop]]


@pytest.fixture
def open_shop(session: AsyncSession) -> OpenShop:
    """Open a program in a time zone."""

    async def opened(zone: str) -> Shop:
        shop = Shop(session, zone=ZoneInfo(zone))
        await shop.open()
        await shop.campaign()
        return shop

    return opened


@pytest.fixture
async def shop(open_shop: OpenShop) -> Shop:
    return await open_shop("Europe/Berlin")
