from collections.abc import Iterable
from typing import Any

import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.paging import Page
from loyalty.members.rules import Standing
from loyalty.points.balances import View
from loyalty.points.schemas import WalletOut, wallet_out
from loyalty.profiles.explaining import Reason
from loyalty.profiles.service import Offer
from loyalty.referrals.schemas import CodeOut
from loyalty.rewards.schemas import reward_out


class MeOut(msgspec.Struct):
    """The member who asks: since when, with which balances, and the codes to share, the primary one first."""

    id: str
    status: str
    enrolled_at: str
    wallets: list[WalletOut]
    referral_codes: list[CodeOut]


class OfferReasonOut(msgspec.Struct):
    """Why not: the code with which redeeming refuses, its parameters for a translation, the sentence in English."""

    code: str
    params: dict[str, str | int | None]
    text: str


class OfferOut(msgspec.Struct):
    """A reward as it stands for this member: `reasons` are all that is in the way, none where it `can_redeem` now."""

    id: str
    name: str
    kind: str
    value: dict[str, Any]
    unit: str
    cost_points: int
    points_missing: int
    in_stock: bool
    available_from: str | None
    available_until: str | None
    can_redeem: bool
    reasons: list[OfferReasonOut]


class OfferPage(msgspec.Struct):
    data: list[OfferOut]
    has_more: bool
    next_cursor: str | None


def me_out(standing: Standing, *, wallets: list[View], codes: list[CodeOut]) -> MeOut:
    return MeOut(
        id=ids.public("mem", standing.id),
        status=standing.status,
        enrolled_at=rfc3339(standing.enrolled_at),
        wallets=[wallet_out(view) for view in wallets],
        referral_codes=codes,
    )


def offer_page(page: Page[Offer]) -> OfferPage:
    return OfferPage([_offer_out(offer) for offer in page.data], page.has_more, page.next_cursor)


def _offer_out(offer: Offer) -> OfferOut:
    shown = reward_out(offer.view)
    return OfferOut(
        id=shown.id,
        name=shown.name,
        kind=shown.kind,
        value=shown.value,
        unit=shown.unit,
        cost_points=shown.cost_points,
        points_missing=offer.points_missing,
        in_stock=shown.stock_left != 0,
        available_from=shown.available_from,
        available_until=shown.available_until,
        can_redeem=not offer.barriers,
        reasons=[OfferReasonOut(own.code, own.params, own.text) for own in offer.barriers],
    )


class ReasonOut(msgspec.Struct):
    """One sentence of an explanation: its code and parameters, for a translation, and the sentence in English."""

    code: str
    params: dict[str, str | int]
    text: str
    at: str | None


class ExplanationOut(msgspec.Struct):
    """Why a balance is what it is: what is left of which points, then what happened, the newest first.

    The last hundred lots and entries; all of them are in the member's lots and entries.
    """

    unit: str
    reasons: list[ReasonOut]


def explanation_out(unit: str, reasons: Iterable[Reason]) -> ExplanationOut:
    return ExplanationOut(
        unit,
        [ReasonOut(own.code, own.params, own.text, rfc3339(own.at) if own.at else None) for own in reasons],
    )
