from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import CrossChecked, ExternalId, FieldFault, Label, text
from loyalty.enrolment.service import View
from loyalty.members.rules import IdentifierKind
from loyalty.members.schemas import Personal
from loyalty.referrals.schemas import AttributionOut, attribution_out


class EnrolmentIn(Personal, CrossChecked):
    """A customer to enrol, by at least one identifier.

    `referral_code` is what they typed, `click_token` what their visit through a link was given. `external_order_id`
    names the order at whose checkout they join, whether it is recorded already or not.
    """

    referral_code: Annotated[str, text(longest=40)] | None = None
    click_token: Annotated[str, text(longest=2000)] | None = None
    channel: Label | None = None
    external_order_id: ExternalId | None = None

    @classmethod
    def faults_between(cls, raw: Mapping[str, Any]) -> Iterator[FieldFault]:
        if all(raw.get(kind.value) is None for kind in IdentifierKind):
            yield (), "identifier", "At least one of external_id, email, phone and card is needed"


class EnrolmentOut(msgspec.Struct):
    """A new member: their ids, when they joined, their own code, who brought them, and what signing up earned."""

    id: str
    customer_id: str
    enrolled_at: str
    referral_code: str
    attribution: AttributionOut
    points_earned: int


def enrolment_out(view: View) -> EnrolmentOut:
    return EnrolmentOut(
        id=ids.public("mem", view.standing.id),
        customer_id=ids.public("cus", view.standing.id),
        enrolled_at=rfc3339(view.standing.enrolled_at),
        referral_code=view.code,
        attribution=attribution_out(view.referral, view.touches),
        points_earned=view.points_earned,
    )
