from dataclasses import dataclass

from loyalty.core.errors import Conflict, Invalid, NotFound


class ReferralCodeMistyped(Invalid):
    """This referral code has a typing mistake: its check character does not fit."""


class ReferralCodeUnknown(NotFound):
    """No live referral code of this program reads like this."""


@dataclass(eq=False, kw_only=True)
class ReferralCodeNotAllowed(Invalid):
    """A chosen code is 4 to 9 or 11 to 20 letters and digits, and neither reserved nor offensive."""

    reason: str


class ReferralCodeTaken(Conflict):
    """This referral code is or was another one."""


class ReferralCodesExhausted(Conflict):
    """No free referral code was found."""


class NoActiveCampaign(NotFound):
    """This program has no active referral campaign."""


class MergeWouldMakeACycle(Conflict):
    """The members cannot be merged: one of them was referred by somebody whom the other has referred."""
