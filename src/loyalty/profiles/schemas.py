from collections.abc import Iterable
from typing import Any

import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.paging import Page
from loyalty.members.rules import Standing
from loyalty.points.schemas import WalletOut, wallet_out
from loyalty.points.service import View
from loyalty.profiles.explaining import Reason
from loyalty.referrals.schemas import CodeOut
from loyalty.rewards.models import Reward


class MeOut(msgspec.Struct):
    """The member who asks: since when, with which balances, and the codes to share, the primary one first."""

    id: str
    status: str
    enrolled_at: str
    wallets: list[WalletOut]
    referral_codes: list[CodeOut]


class OfferOut(msgspec.Struct):
    """A reward as it stands for this member: `points_missing` 0 and `in_stock` mean that it can be redeemed now."""

    id: str
    name: str
    kind: str
    value: dict[str, Any]
    unit: str
    cost_points: int
    points_missing: int
    in_stock: bool


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


def offer_page(page: Page[Reward], *, wallets: list[View]) -> OfferPage:
    spendable = {view.wallet.key.unit: view.wallet.spendable for view in wallets}
    return OfferPage(
        [_offer_out(reward, spendable=spendable.get(reward.unit, 0)) for reward in page.data],
        page.has_more,
        page.next_cursor,
    )


def _offer_out(reward: Reward, *, spendable: int) -> OfferOut:
    return OfferOut(
        id=ids.public("rew", reward.id),
        name=reward.name,
        kind=reward.kind,
        value=reward.value,
        unit=reward.unit,
        cost_points=reward.cost_points,
        points_missing=max(0, reward.cost_points - spendable),
        in_stock=reward.stock_left is None or reward.stock_left > 0,
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
