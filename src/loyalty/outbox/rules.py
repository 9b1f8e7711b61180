from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Event:
    """`type` is noun.verb-in-the-past, `subject_id` what it happened to, `recorded_at` when we learned of it."""

    type: str
    subject_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    member_id: UUID | None = None
    customer_id: UUID | None = None
    version: int | None = None
