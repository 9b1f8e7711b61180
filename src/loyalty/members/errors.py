from dataclasses import dataclass

from loyalty.core.errors import Conflict, Invalid, NotFound, Unavailable


class CustomerNotFound(NotFound):
    """There is no such customer in this program."""


class MemberNotFound(NotFound):
    """There is no such member in this program."""


@dataclass(eq=False, kw_only=True)
class IdentifierInUse(Conflict):
    """One of these identifiers belongs to another customer, or this customer has another of its kind."""

    kinds: list[str]


class AlreadyAMember(Conflict):
    """This customer is a member already."""


class NothingToFindBy(Invalid):
    """Name one identifier at most to find a member by."""


class MemberClosed(Conflict):
    """This membership is closed."""


class MemberMayNotBurn(Conflict):
    """This member is suspended from spending points."""


class MergeIntoOneself(Invalid):
    """A member cannot be merged into the same member."""


class MemberAlreadyMerged(Conflict):
    """One of these members was merged into another one already."""


class MergedJustNow(Unavailable):
    """This customer was merged into another a moment ago; the same request will find that one."""
