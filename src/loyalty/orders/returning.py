"""What goes back of an order, whole, by line, or by amount, and never more than was bought; and what is added to it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from loyalty.core.money import MAX_INTEGER, share
from loyalty.orders.errors import LineLeft, NothingToReturn, OrderTooLarge, ReturnExceedsOrder
from loyalty.orders.rules import MAX_LINES, Line


class ReturnKind(StrEnum):
    RETURN = "return"
    AMENDMENT = "amendment"
    CANCELLATION = "cancellation"


@dataclass(frozen=True)
class BoughtLine:
    """A line as it was bought, and what of it has gone back so far. `number` counts from 1.

    One that is `amended` was added to the order later.
    """

    number: int
    line: Line
    returned_quantity: int
    returned_minor: int
    amended: bool = False

    @property
    def quantity_left(self) -> int:
        return self.line.quantity - self.returned_quantity

    @property
    def minor_left(self) -> int:
        return self.line.total_minor - self.returned_minor

    def remaining(self) -> Line:
        """Return the line as if only what is left of it had been bought; a line paid back in whole has no pieces.

        What of that is still paid with points is for the order as a whole to say.
        """
        whole, left = self.line.total_minor, self.minor_left
        if whole == 0:
            discount = self.line.discount_minor * self.quantity_left // self.line.quantity
            return replace(self.line, quantity=self.quantity_left, discount_minor=discount)
        return replace(
            self.line,
            quantity=self.quantity_left if left else 0,
            total_minor=left,
            discount_minor=self.line.discount_minor * left // whole,
            tax_minor=self.line.tax_minor * left // whole,
        )


@dataclass(frozen=True)
class ReturnedLine:
    number: int
    quantity: int
    total_minor: int


@dataclass(frozen=True)
class WantedLine:
    """Pieces of a line, or an amount of it, that are to go back."""

    number: int
    quantity: int | None
    total_minor: int | None


@dataclass(frozen=True)
class NewReturn:
    """A return as decided, ready to be recorded: the `number`-th of its order. An amendment has `added` lines, too."""

    id: UUID
    order_id: UUID
    number: int
    external_id: str | None
    content_digest: bytes
    kind: ReturnKind
    lines: tuple[ReturnedLine, ...]
    reason: str | None
    actor: str
    returned_at: datetime
    recorded_at: datetime
    metadata: dict[str, str]
    added: tuple[Line, ...] = ()

    @property
    def total_minor(self) -> int:
        return sum(line.total_minor for line in self.lines)


def digest_return(
    *,
    kind: ReturnKind,
    lines: Sequence[WantedLine] | None,
    total_minor: int | None,
    currency: str | None,
    metadata: Mapping[str, str],
    added: Sequence[Line] = (),
) -> bytes:
    """Digest what was asked for, so that an external id cannot come back with something else."""
    asked = [asdict(line) for line in lines] if lines is not None else None
    content = {
        "kind": kind,
        "lines": asked,
        "total_minor": total_minor,
        "currency": currency,
        "metadata": dict(metadata),
        **({"added": [asdict(line) for line in added]} if added else {}),
    }
    return sha256(json.dumps(content, sort_keys=True).encode()).digest()


def plan(
    bought: Sequence[BoughtLine], *, lines: Sequence[WantedLine] | None, total_minor: int | None
) -> tuple[ReturnedLine, ...]:
    """Decide what goes back: the lines named, if any, an amount spread over all lines, or everything that is left.

    Raises ReturnExceedsOrder, NothingToReturn.
    """
    if lines is not None and not lines:
        return ()
    if not any(own.minor_left or own.quantity_left for own in bought):
        raise NothingToReturn
    if lines is not None:
        return _by_line({own.number: own for own in bought}, lines)
    if total_minor is not None:
        return _by_amount(bought, total_minor)
    return tuple(ReturnedLine(own.number, own.quantity_left, own.minor_left) for own in bought if _has_left(own))


def check_added(bought: Sequence[BoughtLine], added: Sequence[Line]) -> None:
    """Refuse lines that make an order too long, or its total too large. Raises OrderTooLarge."""
    total = sum(own.line.total_minor for own in bought) + sum(line.total_minor for line in added)
    if added and (len(bought) + len(added) > MAX_LINES or total > MAX_INTEGER):
        raise OrderTooLarge(most_lines=MAX_LINES)


def after(bought: Sequence[BoughtLine], returned: Sequence[ReturnedLine]) -> list[BoughtLine]:
    """Return the lines as they stand after a return."""
    gone = {line.number: line for line in returned}
    return [
        replace(
            own,
            returned_quantity=own.returned_quantity + gone[own.number].quantity,
            returned_minor=own.returned_minor + gone[own.number].total_minor,
        )
        if own.number in gone
        else own
        for own in bought
    ]


def _by_line(bought: Mapping[int, BoughtLine], wanted: Sequence[WantedLine]) -> tuple[ReturnedLine, ...]:
    planned = []
    for want in wanted:
        own = bought.get(want.number)
        if own is None:
            raise ReturnExceedsOrder(left=_left(list(bought.values())))
        quantity = want.quantity or 0
        total = want.total_minor if want.total_minor is not None else _worth(own, quantity)
        if quantity > own.quantity_left or total > own.minor_left:
            raise ReturnExceedsOrder(left=_left(list(bought.values())))
        planned.append(ReturnedLine(want.number, quantity, total))
    return tuple(planned)


def _by_amount(bought: Sequence[BoughtLine], total_minor: int) -> tuple[ReturnedLine, ...]:
    weights = [own.minor_left for own in bought]
    if total_minor > sum(weights):
        raise ReturnExceedsOrder(left=_left(bought))
    parts = zip(bought, share(total_minor, weights=weights), strict=True)
    return tuple(ReturnedLine(own.number, 0, part) for own, part in parts if part > 0)


def _worth(own: BoughtLine, quantity: int) -> int:
    """Return what pieces of a line cost, so that all its pieces cost the line; the last one takes what is left."""
    if quantity == own.quantity_left:
        return own.minor_left
    upto = own.line.total_minor * (own.returned_quantity + quantity) // own.line.quantity
    before = own.line.total_minor * own.returned_quantity // own.line.quantity
    return min(upto - before, own.minor_left)


def _has_left(own: BoughtLine) -> bool:
    return own.minor_left > 0 or own.quantity_left > 0


def _left(bought: Sequence[BoughtLine]) -> list[LineLeft]:
    return [LineLeft(own.number, own.quantity_left, own.minor_left) for own in bought]
