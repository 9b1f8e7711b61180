from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any
from zoneinfo import available_timezones

import msgspec
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, CrossChecked, Currency, FieldFault, Flag, Instant, Name, Positive, Unit, text
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
from loyalty.programs.rules import Program


def _known_zone(value: str) -> str:
    if value not in available_timezones():
        raise PydanticCustomError("time_zone", "Input should be an IANA time zone such as Europe/Berlin")
    return value


Slug = Annotated[str, text(longest=40, shortest=3, pattern=r"^[a-z0-9][a-z0-9-]*[a-z0-9]$")]
TimeZone = Annotated[str, text(longest=64), AfterValidator(_known_zone)]
Currencies = Annotated[list[Currency], Field(min_length=1, max_length=20)]


Days = Annotated[int, Field(ge=0, le=3650, strict=True)]
Months = Annotated[int, Field(ge=0, le=600, strict=True)]
CalendarDay = Annotated[str, text(longest=5, pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]


def _on_the_calendar(value: str) -> str:
    month, day = int(value[:2]), int(value[3:])
    if day > monthrange(2000, month)[1]:
        raise PydanticCustomError("calendar_day", "Input should be a day of the calendar such as 12-31")
    return value


class ExpiryIn(CrossChecked):
    """When points expire, by local days: `after` and `inactivity` name days or months, `dates` days of the calendar."""

    kind: ExpiryKind
    days: Days = 0
    months: Months = 0
    round_up_to: RoundUpTo | None = None
    dates: Annotated[list[Annotated[CalendarDay, AfterValidator(_on_the_calendar)]], Field(max_length=12)] = Field(
        default_factory=list
    )

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        kind = raw.get("kind")
        named = {name for name in ("days", "months") if raw.get(name) not in (None, 0)}
        if kind in (ExpiryKind.AFTER, ExpiryKind.INACTIVITY) and len(named) != 1:
            yield (), "period", "Name either days or months"
        if kind in (ExpiryKind.NEVER, ExpiryKind.DATES) and named:
            yield (), "period", "This kind of expiry has no period"
        if (kind == ExpiryKind.DATES) != bool(raw.get("dates")):
            yield ("dates",), "dates", "Expiry on dates, and only that, names dates"
        if kind != ExpiryKind.AFTER and raw.get("round_up_to") is not None:
            yield ("round_up_to",), "round_up_to", "Only a period after earning is rounded up"

    def policy(self) -> Expiry:
        return Expiry(self.kind, self.days, self.months, self.round_up_to, tuple(self.dates))


class ActivationIn(CrossChecked):
    """When the points of a paid order become spendable; `delay` names the days."""

    kind: ActivationKind
    days: Annotated[int, Field(ge=0, le=365, strict=True)] = 0

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if (raw.get("kind") == ActivationKind.DELAY) != (raw.get("days") not in (None, 0)):
            yield ("days",), "days", "A delay, and only a delay, names days"

    def policy(self) -> Activation:
        return Activation(self.kind, self.days)


class EarningBaseIn(Body):
    """What of an order's lines counts towards points: their totals, after discounts and with tax unless told.

    Shipping, gift cards and what is paid with points count only where it says so.
    """

    before_discounts: Flag = False
    without_tax: Flag = False
    shipping: Flag = False
    gift_cards: Flag = False
    paid_with_points: Flag = False

    def policy(self) -> EarningBase:
        return EarningBase(**self.model_dump())


class BurnRateIn(Body):
    """So many points pay so many minor units of a currency."""

    points: Positive
    amount_minor: Positive

    def rate(self) -> BurnRate:
        return BurnRate(self.points, self.amount_minor)


class BurnIn(Body):
    """What points pay for orders: rates by currency, from so many points, up to so many percent of an order's total."""

    rates: Annotated[dict[Currency, BurnRateIn], Field(max_length=20)]
    least_points: Positive = 1
    most_percent: Annotated[int, Field(ge=1, le=100, strict=True)] = 100

    def policy(self) -> Burn:
        rates = {currency: rate.rate() for currency, rate in self.rates.items()}
        return Burn(rates, self.least_points, self.most_percent)


class SettingsPatch(Body):
    """What is not named stays. Orders already counted keep what they were counted by, lots their dates."""

    currencies: Currencies | None = None
    unit: Unit | None = None
    late_order_days: Annotated[int, Field(ge=0, le=365, strict=True)] | None = None
    expiry: ExpiryIn | None = None
    activation: ActivationIn | None = None
    clawback: Clawback | None = None
    expired_lot: ExpiredLot | None = None
    grace_days: Annotated[int, Field(ge=1, le=3650, strict=True)] | None = None
    earning_base: EarningBaseIn | None = None
    burn: BurnIn | None = None
    refund: Refund | None = None

    @property
    def changes(self) -> dict[str, object]:
        """Return the settings named, as the program keeps them."""
        named = {field: getattr(self, field) for field in self.model_fields_set - {"name"}}
        typed = {
            field: value.policy() if isinstance(value, (ExpiryIn, ActivationIn, EarningBaseIn, BurnIn)) else value
            for field, value in named.items()
            if value is not None
        }
        return {**typed, **({"currencies": tuple(self.currencies)} if self.currencies else {})}


class ProgramPatch(SettingsPatch):
    """What is not named stays. Orders already counted keep what they were counted by, lots their dates.

    The time zone is for good: the days on which points expire and the months of the books are cut by it.
    """

    name: Name | None = None


class ClockAdvance(Body):
    to: Instant


class ExpiryOut(msgspec.Struct):
    """When points expire that become spendable now."""

    kind: str
    days: int
    months: int
    round_up_to: str | None
    dates: list[str]


class ActivationOut(msgspec.Struct):
    """When the points of a paid order become spendable."""

    kind: str
    days: int


class EarningBaseOut(msgspec.Struct):
    """What of an order's lines counts towards points beside, or less, their totals."""

    before_discounts: bool
    without_tax: bool
    shipping: bool
    gift_cards: bool
    paid_with_points: bool


class BurnRateOut(msgspec.Struct):
    """So many points pay so many minor units of a currency."""

    points: int
    amount_minor: int


class BurnOut(msgspec.Struct):
    """What points pay for orders."""

    rates: dict[str, BurnRateOut]
    least_points: int
    most_percent: int


class ProgramOut(msgspec.Struct):
    """A program with the settings in force. `clock_at` is the test clock's present; null means the real one."""

    id: str
    slug: str
    name: str
    mode: str
    clock_at: str | None
    settings_version: int
    currencies: list[str]
    time_zone: str
    unit: str
    late_order_days: int
    expiry: ExpiryOut
    activation: ActivationOut
    clawback: str
    expired_lot: str
    grace_days: int
    earning_base: EarningBaseOut
    burn: BurnOut
    refund: str


def program_out(program: Program) -> ProgramOut:
    return ProgramOut(
        id=ids.public("prg", program.id),
        slug=program.slug,
        name=program.name,
        mode=program.mode,
        clock_at=rfc3339(program.clock_at) if program.clock_at else None,
        settings_version=program.settings_version,
        currencies=list(program.rules.currencies),
        time_zone=program.rules.time_zone,
        unit=program.rules.unit,
        late_order_days=program.rules.late_order_days,
        expiry=_expiry_out(program.rules.expiry),
        activation=ActivationOut(program.rules.activation.kind, program.rules.activation.days),
        clawback=program.rules.clawback,
        expired_lot=program.rules.expired_lot,
        grace_days=program.rules.grace_days,
        earning_base=EarningBaseOut(**asdict(program.rules.earning_base)),
        burn=_burn_out(program.rules.burn),
        refund=program.rules.refund,
    )


def _expiry_out(expiry: Expiry) -> ExpiryOut:
    return ExpiryOut(expiry.kind, expiry.days, expiry.months, expiry.round_up_to, list(expiry.dates))


def _burn_out(burn: Burn) -> BurnOut:
    rates = {currency: BurnRateOut(rate.points, rate.amount_minor) for currency, rate in burn.rates.items()}
    return BurnOut(rates, burn.least_points, burn.most_percent)
