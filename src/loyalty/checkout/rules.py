from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from loyalty.earning.rules import Award
from loyalty.orders.rules import Line
from loyalty.points.rules import WalletKey


@dataclass(frozen=True)
class Basket:
    """What a storefront says of an order. `placed_at` None leaves the time to us."""

    external_id: str
    customer_id: UUID | None
    external_customer_id: str | None
    email: str | None
    currency: str
    lines: tuple[Line, ...]
    channel: str | None
    placed_at: datetime | None
    paid: bool
    store: str | None = None
    payment_method: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def award_wallets(awards: Sequence[Award], *, program_id: UUID, member_id: UUID) -> set[WalletKey]:
    """Return the wallets that these awards pay into."""
    return {WalletKey(program_id, member_id, award.rule.terms.unit) for award in awards if award.points > 0}
