from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from loyalty.programs.policies import (
    Activation,
    ActivationKind,
    Burn,
    BurnRate,
    Clawback,
    EarningBase,
    ExpiredLot,
    Expiry,
    ExpiryKind,
    Refund,
    RoundUpTo,
)

_NEVER: Final = Expiry()
_AT_ONCE: Final = Activation()
_TOTALS: Final = EarningBase()
_NOTHING: Final = Burn()


class Mode(StrEnum):
    TEST = "test"
    LIVE = "live"


@dataclass(frozen=True)
class ProgramRules:
    """What a program's settings say.

    `currencies` are those accepted, the program's own first. `unit` names the points. Days are local days of
    `time_zone` (IANA). An order may be reported up to `late_order_days` after it was placed. `grace_days` is how long
    points are good that return to an expired lot under `restore_with_grace`.
    """

    currencies: tuple[str, ...]
    time_zone: str
    unit: str = "points"
    late_order_days: int = 7
    expiry: Expiry = _NEVER
    activation: Activation = _AT_ONCE
    clawback: Clawback = Clawback.CLAMP_TO_ZERO
    expired_lot: ExpiredLot = ExpiredLot.RESTORE_WITH_GRACE
    grace_days: int = 30
    earning_base: EarningBase = _TOTALS
    burn: Burn = _NOTHING
    refund: Refund = Refund.PROPORTIONAL

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def starts_at(self, paid_at: datetime) -> datetime | None:
        """Return when points that were earned or paid for then become spendable, be it past; null without a delay."""
        return self.activation.starts_at(paid_at, self.zone) if self.activation.kind is ActivationKind.DELAY else None


@dataclass(frozen=True)
class Program:
    id: UUID
    slug: str
    name: str
    mode: Mode
    clock_at: datetime | None
    settings_version: int
    rules: ProgramRules

    def now(self, real: datetime) -> datetime:
        """Return this program's present: its test clock where it has one, the real instant otherwise."""
        return self.clock_at or real


def read_rules(document: Mapping[str, Any]) -> ProgramRules:
    """Read settings as they are stored; what an older version did not know has its default."""
    expiry, activation = document.get("expiry", {}), document.get("activation", {})
    plain = {
        name: document[name] for name in ("time_zone", "unit", "late_order_days", "grace_days") if name in document
    }
    return ProgramRules(
        **plain,
        currencies=tuple(document["currencies"]),
        expiry=Expiry(
            ExpiryKind(expiry.get("kind", ExpiryKind.NEVER)),
            expiry.get("days", 0),
            expiry.get("months", 0),
            RoundUpTo(expiry["round_up_to"]) if expiry.get("round_up_to") else None,
            tuple(expiry.get("dates", ())),
        ),
        activation=Activation(
            ActivationKind(activation.get("kind", ActivationKind.AT_ONCE)), activation.get("days", 0)
        ),
        clawback=Clawback(document.get("clawback", Clawback.CLAMP_TO_ZERO)),
        expired_lot=ExpiredLot(document.get("expired_lot", ExpiredLot.RESTORE_WITH_GRACE)),
        earning_base=EarningBase(**document.get("earning_base", {})),
        burn=_burn(document.get("burn", {})),
        refund=Refund(document.get("refund", Refund.PROPORTIONAL)),
    )


def _burn(document: Mapping[str, Any]) -> Burn:
    rates = {currency: BurnRate(**rate) for currency, rate in document.get("rates", {}).items()}
    return Burn(rates, document.get("least_points", 1), document.get("most_percent", 100))
