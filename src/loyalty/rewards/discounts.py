"""What a coupon takes off an order: pure arithmetic on its lines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from loyalty.core.money import share
from loyalty.orders.rules import Line, LineKind
from loyalty.rewards.errors import CouponBelowMinimum, CouponDoesNotFit
from loyalty.rewards.rules import RewardKind


class Effect(StrEnum):
    """What a coupon does for an order: it makes it cheaper, pays for a part of it, or goes along with it."""

    PRICE_REDUCTION = "price_reduction"
    TENDER = "tender"
    PERK = "perk"


@dataclass(frozen=True)
class Discount:
    """A coupon and what it takes off each line, or pays of it, in minor units."""

    coupon_id: UUID
    reward_id: UUID
    code: str
    line_minor: tuple[int, ...]
    effect: Effect = Effect.PRICE_REDUCTION

    @property
    def value_minor(self) -> int:
        return sum(self.line_minor)


def effect_of(kind: RewardKind) -> Effect:
    return {RewardKind.GIFT_CARD: Effect.TENDER, RewardKind.PERK: Effect.PERK}.get(kind, Effect.PRICE_REDUCTION)


def paid_by_gift_card(discounts: Iterable[Discount]) -> int:
    """Return what of an order gift cards pay, in minor units."""
    return sum(own.value_minor for own in discounts if own.effect is Effect.TENDER)


def take_off(lines: Sequence[Line], parts: Sequence[int]) -> list[Line]:
    """Return the lines with a part of each taken off; the tax in them falls in proportion."""
    return [
        replace(
            line,
            total_minor=line.total_minor - part,
            discount_minor=line.discount_minor + part,
            tax_minor=line.tax_minor * (line.total_minor - part) // line.total_minor if part else line.tax_minor,
        )
        for line, part in zip(lines, parts, strict=True)
    ]


def parts_off(kind: RewardKind, value: Mapping[str, Any], *, currency: str, lines: Sequence[Line]) -> tuple[int, ...]:
    """Return what a reward takes off each line; amounts spread over products by largest remainder.

    A perk takes off nothing. A gift card takes nothing off the price: it pays for so much of all lines, of which it is
    shown what is not paid yet, and what is over is lost.
    Raises CouponDoesNotFit, CouponBelowMinimum.
    """
    products = [line.total_minor if line.kind is LineKind.PRODUCT else 0 for line in lines]
    if (least := value.get("minimum")) is not None:
        if least["currency"] != currency:
            raise CouponDoesNotFit
        if sum(products) < least["amount"]:
            raise CouponBelowMinimum(minimum_minor=least["amount"], total_minor=sum(products))
    parts = _parts(kind, value, currency, lines, products)
    if not any(parts) and kind is not RewardKind.PERK:
        raise CouponDoesNotFit
    return tuple(parts)


def _parts(
    kind: RewardKind, value: Mapping[str, Any], currency: str, lines: Sequence[Line], products: list[int]
) -> list[int]:
    match kind:
        case RewardKind.AMOUNT_OFF:
            if value["amount"]["currency"] != currency:
                raise CouponDoesNotFit
            return share(min(value["amount"]["amount"], sum(products)), weights=products)
        case RewardKind.PERCENT_OFF:
            return share(sum(products) * value["percent"] // 100, weights=products)
        case RewardKind.FREE_PRODUCT:
            return _one_piece(value["sku"], lines)
        case RewardKind.FREE_SHIPPING:
            return [line.total_minor if line.kind is LineKind.SHIPPING else 0 for line in lines]
        case RewardKind.PERK:
            return [0] * len(lines)
        case RewardKind.GIFT_CARD:
            if value["amount"]["currency"] != currency:
                raise CouponDoesNotFit
            totals = [line.total_minor for line in lines]
            return share(min(value["amount"]["amount"], sum(totals)), weights=totals)


def _one_piece(sku: str, lines: Sequence[Line]) -> list[int]:
    """Take off what one piece costs, of the first line that has one."""
    parts = [0] * len(lines)
    for index, line in enumerate(lines):
        if line.sku == sku and line.kind is LineKind.PRODUCT and line.total_minor:
            parts[index] = -(-line.total_minor // line.quantity)
            break
    return parts
