import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.paging import Page
from loyalty.outbox.models import Event

_SUBJECTS = {
    "member": "mem",
    "order": "ord",
    "activity": "act",
    "redemption": "red",
    "referral": "ref",
    "points": "ent",
    "referral_code": "mem",
    "campaign": "cam",
    "reward": "rew",
    "coupon": "red",
    "earning_rule": "rul",
    "program": "prg",
    "key": "key",
    "click": "clk",
    "ledger": "prg",
    "simulation": "sim",
}


class EventOut(msgspec.Struct):
    """Something that happened. `number` is gap-free in a program; `version` orders one member's movements of points."""

    number: int
    type: str
    subject_id: str
    member_id: str | None
    customer_id: str | None
    version: int | None
    occurred_at: str
    recorded_at: str


class EventPage(msgspec.Struct):
    data: list[EventOut]
    has_more: bool
    next_cursor: str | None


def event_page(page: Page[Event]) -> EventPage:
    return EventPage([_event_out(event) for event in page.data], page.has_more, page.next_cursor)


def _event_out(event: Event) -> EventOut:
    return EventOut(
        number=event.number or 0,
        type=event.type,
        subject_id=ids.public(_SUBJECTS[event.type.partition(".")[0]], event.subject_id),
        member_id=ids.public("mem", event.member_id) if event.member_id else None,
        customer_id=ids.public("cus", event.customer_id) if event.customer_id else None,
        version=event.version,
        occurred_at=rfc3339(event.occurred_at),
        recorded_at=rfc3339(event.recorded_at),
    )
