from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from loyalty.core.fields import Body, FieldFault, Label, MoneyIn, text
from loyalty.core.money import CURRENCIES, MAX_INTEGER
from loyalty.orders.rules import Line, LineKind


class LineIn(Body):
    """A line of an order; `total` is what all its pieces cost together, after discounts.

    `discount` came off before that, and `tax` is contained in it.
    """

    sku: Annotated[str, text(longest=64)]
    category: Label | None = None
    brand: Label | None = None
    kind: LineKind = LineKind.PRODUCT
    quantity: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 1
    total: MoneyIn
    discount: MoneyIn | None = None
    tax: MoneyIn | None = None

    def line(self) -> Line:
        return Line(
            self.sku,
            self.quantity,
            self.total.amount,
            self.category,
            self.brand,
            self.kind,
            self.discount.amount if self.discount else 0,
            self.tax.amount if self.tax else 0,
        )


def line_faults(order: Mapping[str, Any], *, field: str = "lines") -> Iterator[FieldFault]:
    """Yield what is wrong between an order as sent and its lines: other currencies, or a total past every bound."""
    lines, own = order.get(field), str(order.get("currency"))
    known = [line if isinstance(line, dict) else {} for line in lines] if isinstance(lines, list) else []
    for index, line in enumerate(known):
        for name in ("total", "discount", "tax"):
            money = line.get(name)
            if money is None:
                continue
            currency = str(money.get("currency")) if isinstance(money, dict) else None
            if currency != own and {currency, own} <= CURRENCIES:
                yield (field, index, name, "currency"), "currency", "A line's currency should be the order's"
        tax, total = _amount(line, "tax"), _amount(line, "total")
        if tax is not None and total is not None and tax > total:
            yield (field, index, "tax", "amount"), "tax", "A line's tax should not pass its total"
    amounts = [_amount(line, "total") for line in known]
    if sum(amount for amount in amounts if isinstance(amount, int) and 0 <= amount <= MAX_INTEGER) > MAX_INTEGER:
        yield (field,), "total", "The order's total should not pass 2^53 - 1"


def _amount(line: Mapping[str, Any], name: str) -> int | None:
    money = line.get(name)
    amount = money.get("amount") if isinstance(money, dict) else None
    return amount if isinstance(amount, int) else None
