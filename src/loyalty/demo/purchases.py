"""CDNOW's purchases as records to import, with made-up enrolments and referrals.

The made-up part, from one seed: at each order a customer who is not yet a member joins with probability 15 %. Who joins
at their very first order names, with probability 30 %, a member who joined before, drawn evenly, through one of four
channels drawn evenly. So joining has no cause and no effect: an honest report of members against non-members must find
none.
"""

import importlib.util
import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from loyalty.imports.rules import Enrolment, Order, Record
from loyalty.orders.rules import Line

ZONE: Final = ZoneInfo("America/New_York")
CURRENCY: Final = "USD"
ORDERS: Final = 69_659
MADE_UP: Final = (
    "Enrolments and referrals are made up: 15 % of orders of non-members enrol their buyer, "
    "30 % of those who join at their first order name an earlier member."
)

_SEED: Final = 1998
_JOIN_RATE: Final = 0.15
_REFER_RATE: Final = 0.30
_CHANNELS: Final = ("email", "facebook", "instagram", "whatsapp")


def records() -> Iterator[Record]:
    """Yield enrolments and orders in order of time.

    An order's time of day is its position within the day, from noon on.
    """
    chance = random.Random(_SEED)  # noqa: S311 -- a reproducible story, not a secret
    members: list[str] = []
    joined: set[str] = set()
    seen: set[str] = set()
    for number, (customer, at, quantity, cents) in enumerate(_timed(_purchases()), start=1):
        external_id = f"cdnow-{number}"
        if customer not in joined and chance.random() < _JOIN_RATE:
            yield _enrolment(chance, customer, at, external_id, members, first=customer not in seen)
            joined.add(customer)
            members.append(customer)
        seen.add(customer)
        line = Line(sku="cd", quantity=max(quantity, 1), total_minor=cents, category="music")
        yield Order(external_id, customer, at, CURRENCY, (line,), channel="web")


def _enrolment(
    chance: random.Random, customer: str, at: datetime, order: str, members: list[str], *, first: bool
) -> Enrolment:
    if first and members and chance.random() < _REFER_RATE:
        return Enrolment(customer, at, order, chance.choice(members), chance.choice(_CHANNELS))
    return Enrolment(customer, at, order)


def _timed(purchases: list[tuple[date, str, int, int]]) -> Iterator[tuple[str, datetime, int, int]]:
    day, position = None, 0
    for on, customer, quantity, cents in purchases:
        position = position + 1 if on == day else 0
        day = on
        noon = datetime(on.year, on.month, on.day, 12, tzinfo=ZONE)
        yield customer, noon + timedelta(seconds=position), quantity, cents


def _purchases() -> list[tuple[date, str, int, int]]:
    """Read (day, customer, CDs, cents), in order of day and, within it, of the file."""
    _header, *lines = _file().read_text(encoding="ascii").splitlines()
    parsed = [_parse(line) for line in lines if line.strip()]
    return sorted(parsed, key=lambda purchase: purchase[0])


def _parse(line: str) -> tuple[date, str, int, int]:
    customer, day, quantity, dollars = line.split()
    whole, _, fraction = dollars.partition(".")
    cents = int(whole) * 100 + int(fraction.ljust(2, "0")[:2])
    return date(int(day[:4]), int(day[4:6]), int(day[6:])), customer, int(quantity), cents


def _file() -> Path:
    """Find the data file inside the wheel that carries it, without importing the package."""
    spec = importlib.util.find_spec("lifetimes")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("The demonstration's purchases are missing: install loyalty[demo].")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "CDNOW_master.txt"
