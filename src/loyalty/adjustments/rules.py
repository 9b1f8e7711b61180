import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from uuid import UUID

from loyalty.adjustments.errors import DatesOutOfOrder
from loyalty.core.clock import rfc3339
from loyalty.points.rules import WalletKey


class AdjustmentKind(StrEnum):
    ADJUST = "adjust"
    OPENING = "opening"
    EXTEND = "extend"
    REINSTATE = "reinstate"


@dataclass(frozen=True)
class Asked:
    """What somebody wants changed. `points` below zero are taken; dates null follow the program's own."""

    kind: AdjustmentKind
    wallet: WalletKey
    points: int
    reason: str
    actor: str
    external_id: str | None = None
    activates_at: datetime | None = None
    expires_at: datetime | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    lot_id: UUID | None = None

    @property
    def content_digest(self) -> bytes:
        """Digest what is asked for, so that an external id cannot come back with something else."""
        instants = [at and rfc3339(at) for at in (self.activates_at, self.expires_at)]
        content = [self.kind, str(self.wallet.member_id), self.wallet.unit, self.points, self.reason, instants]
        return sha256(json.dumps([*content, self.metadata], sort_keys=True).encode()).digest()

    def check_dates(self, now: datetime) -> None:
        """Refuse dates that lie before each other or before now."""
        begins = max(self.activates_at or now, now)
        if (self.activates_at is not None and self.activates_at <= now) or (
            self.expires_at is not None and self.expires_at <= begins
        ):
            raise DatesOutOfOrder
