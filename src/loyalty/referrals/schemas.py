import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, Count, MoneyIn, Name, Unit, text
from loyalty.core.money import MoneyOut
from loyalty.core.paging import Page
from loyalty.members.schemas import MemberOut
from loyalty.referrals.models import Referral, ReferralCampaign, ReferralCode, ReferralTouch


def _web_address(value: str) -> str:
    """Accept an absolute http(s) address as a browser would get it: ASCII, with a host that can be parsed."""
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not value.isascii() or re.search(r"[\s\"<>\\^`{|}]", value):
        raise PydanticCustomError("web_address", "Input should be an absolute http or https address in ASCII")
    return value


class CampaignIn(Body):
    """What a friend must do and what both sides get. `minimum` is the least total of the friend's first paid order."""

    name: Name
    landing_url: Annotated[str, text(longest=500), AfterValidator(_web_address)]
    window_days: Annotated[int, Field(ge=1, le=3650, strict=True)] = 30
    unit: Unit | None = None
    advocate_points: Count
    referee_points: Count
    minimum: MoneyIn | None = None

    def terms(self, *, unit: str, currency: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "landing_url": self.landing_url,
            "window_days": self.window_days,
            "unit": self.unit or unit,
            "advocate_points": self.advocate_points,
            "referee_points": self.referee_points,
            "minimum_minor": self.minimum.amount if self.minimum else 0,
            "minimum_currency": self.minimum.currency if self.minimum else currency,
        }


class CodeIn(Body):
    """A code of the member's own choice: 4 to 9 or 11 to 20 letters and digits."""

    code: Annotated[str, text(longest=40)]


class CampaignOut(msgspec.Struct):
    """The terms of a referral campaign; `retired_at` null means that it is the active one."""

    id: str
    name: str
    landing_url: str
    window_days: int
    unit: str
    advocate_points: int
    referee_points: int
    minimum: MoneyOut
    started_at: str
    retired_at: str | None


class CodeOut(msgspec.Struct):
    """A member's referral code, and the link to share."""

    code: str
    link: str
    is_primary: bool


class CodeList(msgspec.Struct):
    data: list[CodeOut]


class CodeCheck(msgspec.Struct):
    """A live code, folded. Whose it is is nobody's business."""

    code: str


class TouchOut(msgspec.Struct):
    """One claim on a new member, and what became of it."""

    method: str
    outcome: str
    reason: str


class AttributionOut(msgspec.Struct):
    """Who brought a member: the referral that won, if any, and every claim that was weighed, strongest first."""

    referral_id: str | None
    advocate_id: str | None
    touches: list[TouchOut]


class ReferralOut(msgspec.Struct):
    """A friend bound to an advocate, and how far it has come; the two members themselves where that is asked for."""

    id: str
    advocate_id: str
    referee_id: str
    state: str
    method: str
    channel: str | None
    attributed_at: str
    qualified_at: str | None
    rewarded_at: str | None
    ended_at: str | None
    advocate: MemberOut | None = None
    referee: MemberOut | None = None


class ReferralPage(msgspec.Struct):
    data: list[ReferralOut]
    has_more: bool
    next_cursor: str | None


def campaign_out(row: ReferralCampaign) -> CampaignOut:
    return CampaignOut(
        id=ids.public("cam", row.id),
        name=row.name,
        landing_url=row.landing_url,
        window_days=row.window_days,
        unit=row.unit,
        advocate_points=row.advocate_points,
        referee_points=row.referee_points,
        minimum=MoneyOut(row.minimum_minor, row.minimum_currency),
        started_at=rfc3339(row.started_at),
        retired_at=rfc3339(row.retired_at) if row.retired_at else None,
    )


def link_of(code: str, *, slug: str, public_url: str) -> str:
    return f"{public_url.rstrip('/')}/r/{slug}/{code}"


def code_list(rows: list[ReferralCode], *, slug: str, public_url: str) -> CodeList:
    return CodeList(
        [CodeOut(row.code, link_of(row.code, slug=slug, public_url=public_url), row.is_primary) for row in rows]
    )


def attribution_out(referral: Referral | None, touches: list[ReferralTouch]) -> AttributionOut:
    return AttributionOut(
        referral_id=ids.public("ref", referral.id) if referral else None,
        advocate_id=ids.public("mem", referral.advocate_id) if referral else None,
        touches=[TouchOut(touch.method, touch.outcome, touch.reason) for touch in touches],
    )


def referral_page(page: Page[Referral], members: Mapping[UUID, MemberOut], sides: Collection[str]) -> ReferralPage:
    """Show referrals, and of their members those sides that are wanted."""
    return ReferralPage([_referral_out(row, members, sides) for row in page.data], page.has_more, page.next_cursor)


def _referral_out(row: Referral, members: Mapping[UUID, MemberOut], sides: Collection[str]) -> ReferralOut:
    return ReferralOut(
        id=ids.public("ref", row.id),
        advocate_id=ids.public("mem", row.advocate_id),
        referee_id=ids.public("mem", row.referee_id),
        state=row.state,
        method=row.method,
        channel=row.channel,
        attributed_at=rfc3339(row.attributed_at),
        qualified_at=rfc3339(row.qualified_at) if row.qualified_at else None,
        rewarded_at=rfc3339(row.rewarded_at) if row.rewarded_at else None,
        ended_at=rfc3339(row.ended_at) if row.ended_at else None,
        advocate=members.get(row.advocate_id) if "advocate" in sides else None,
        referee=members.get(row.referee_id) if "referee" in sides else None,
    )
