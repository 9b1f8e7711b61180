"""How a rule's terms are stored: as JSON in which what asks for nothing is left out."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from loyalty.earning.terms import (
    WEEKDAYS,
    Bonus,
    Combination,
    Conditions,
    Gives,
    Goods,
    Limits,
    MemberLimit,
    Multiplier,
    PointsPerActivity,
    PointsPerAmount,
    PointsPerItem,
    Rounding,
    RuleKind,
    Terms,
    Window,
    minute_of_day,
)
from loyalty.programs.policies import LimitPeriod


def read_terms(kind: str, definition: Mapping[str, Any]) -> Terms:
    """Read what is stored of a rule's terms; what is not there asks for nothing."""
    conditions = definition.get("conditions") or {}
    limits = definition.get("limits") or {}
    return Terms(
        unit=definition["unit"],
        gives=_gives(RuleKind(kind), definition),
        conditions=Conditions(
            include=_goods(conditions.get("include")),
            exclude=_goods(conditions.get("exclude")),
            minimum_minor=dict(conditions.get("minimum_minor") or {}),
            windows=tuple(_window(window) for window in conditions.get("windows") or ()),
            **{name: frozenset(conditions.get(name) or ()) for name in ("channels", "stores", "payment_methods")},
            attributes={name: frozenset(values) for name, values in (conditions.get("attributes") or {}).items()},
            order_numbers=frozenset(conditions.get("order_numbers") or ()),
            every_nth_order=conditions.get("every_nth_order"),
        ),
        limits=Limits(
            per_order=limits.get("per_order"),
            per_member=_member_limit(limits.get("per_member")),
            budget=limits.get("budget"),
        ),
        combination=Combination(definition.get("combination", Combination.STACK)),
        priority=definition.get("priority", 0),
    )


def write_terms(terms: Terms) -> dict[str, Any]:
    """Write terms as `read_terms` reads them, leaving out what asks for nothing."""
    conditions, limits = terms.conditions, terms.limits
    named = {
        "include": _goods_written(conditions.include),
        "exclude": _goods_written(conditions.exclude),
        "minimum_minor": dict(conditions.minimum_minor),
        "windows": [_window_written(window) for window in conditions.windows],
        "channels": sorted(conditions.channels),
        "stores": sorted(conditions.stores),
        "payment_methods": sorted(conditions.payment_methods),
        "attributes": {name: sorted(values) for name, values in conditions.attributes.items()},
        "order_numbers": sorted(conditions.order_numbers),
        "every_nth_order": conditions.every_nth_order,
    }
    bounds = {
        "per_order": limits.per_order,
        "per_member": asdict(limits.per_member) if limits.per_member else None,
        "budget": limits.budget,
    }
    return {
        "unit": terms.unit,
        **{name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(terms.gives).items()},
        "conditions": {name: value for name, value in named.items() if value},
        "limits": {name: value for name, value in bounds.items() if value is not None},
        "combination": terms.combination,
        "priority": terms.priority,
    }


def _gives(kind: RuleKind, definition: Mapping[str, Any]) -> Gives:
    match kind:
        case RuleKind.POINTS_PER_AMOUNT:
            return PointsPerAmount(
                definition["points"], dict(definition["step_minor"]), Rounding(definition["rounding"])
            )
        case RuleKind.POINTS_PER_ITEM:
            return PointsPerItem(definition["points"])
        case RuleKind.BONUS:
            return Bonus(definition["points"])
        case RuleKind.MULTIPLIER:
            return Multiplier(definition["percent"], Rounding(definition["rounding"]))
        case RuleKind.POINTS_PER_ACTIVITY:
            return PointsPerActivity(definition["activity"], definition["points"])


def _goods(written: Mapping[str, Any] | None) -> Goods:
    named = written or {}
    return Goods(**{name: frozenset(named.get(name) or ()) for name in ("skus", "categories", "brands")})


def _window(written: Mapping[str, Any]) -> Window:
    return Window(
        frozenset(WEEKDAYS.index(day) for day in written.get("weekdays") or ()),
        minute_of_day(written.get("from") or "00:00"),
        minute_of_day(written.get("until") or "24:00"),
    )


def _goods_written(goods: Goods) -> dict[str, list[str]]:
    named = {"skus": goods.skus, "categories": goods.categories, "brands": goods.brands}
    return {name: sorted(values) for name, values in named.items() if values}


def _window_written(window: Window) -> dict[str, Any]:
    return {
        "weekdays": [WEEKDAYS[day] for day in sorted(window.weekdays)],
        "from": _clock(window.from_minute),
        "until": _clock(window.until_minute),
    }


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _member_limit(written: Mapping[str, Any] | None) -> MemberLimit | None:
    return None if written is None else MemberLimit(written["points"], LimitPeriod(written["period"]))
