from datetime import datetime

import msgspec

from loyalty.books.models import LedgerSeal
from loyalty.books.rules import Cohort, Month
from loyalty.books.service import Books, Proof
from loyalty.core.clock import rfc3339
from loyalty.core.paging import Page
from loyalty.points.models import LedgerOpening


class MonthOut(msgspec.Struct):
    """A month of the points liability: `closing` = `opening` + all that follow, each above zero if it adds.

    `brought_in` came from an earlier system; `redeemed` and `expired` are net of what was restored and reinstated;
    `written_off` is debt let go.
    """

    month: str
    opening: int
    issued: int
    brought_in: int
    reversed: int
    redeemed: int
    expired: int
    forfeited: int
    adjusted: int
    written_off: int
    transferred: int
    closing: int


class RollForwardOut(msgspec.Struct):
    """The points liability month by month, in one unit.

    `balances` is what all wallets say now, lots less debt; where the last month is the present one, `holds` says that
    its closing is exactly that. All that was recorded until `as_of` is in it.
    """

    unit: str
    as_of: datetime
    months: list[MonthOut]
    lots: int
    debt: int
    balances: int
    holds: bool


class CohortOut(msgspec.Struct):
    """The points credited in one month and what has become of them; below zero went out.

    `breakage` is expired and forfeited over credited less reversed, null where nothing was credited.
    """

    month: str
    issued: int
    brought_in: int
    adjusted: int
    transferred: int
    reversed: int
    redeemed: int
    expired: int
    forfeited: int
    repaid_debt: int
    remaining: int
    breakage: float | None


class CohortsOut(msgspec.Struct):
    """Points by the month they were credited in; `holds` says that all that remains is exactly what lots hold.

    All that was recorded until `as_of` is in it.
    """

    unit: str
    as_of: datetime
    cohorts: list[CohortOut]
    lots: int
    debt: int
    balances: int
    holds: bool


class SealOut(msgspec.Struct):
    """One link of the chain: the entries written from `since` on and before `until`, and their SHA-256 in hex."""

    since: str
    until: str
    entries: int
    digest: str
    sealed_at: str


class SealPage(msgspec.Struct):
    data: list[SealOut]
    has_more: bool
    next_cursor: str | None


class BrokenSealOut(msgspec.Struct):
    until: str
    entries_sealed: int
    entries_found: int


class LedgerOpeningOut(msgspec.Struct):
    """The balances that stand for all entries written before `until`, so many, and their SHA-256 in hex."""

    until: str
    entries: int
    digest: str
    opened_at: str


class SealProofOut(msgspec.Struct):
    """`holds` is true when every sealed day is as it was; `head` is the newest digest, for keeping elsewhere.

    An `opening` stands for the first entries where these are detached, and holds if it is as it was made: keep its
    digest elsewhere, too.
    """

    holds: bool
    seals: int
    head: str | None
    opening: LedgerOpeningOut | None
    broken: list[BrokenSealOut]


def roll_forward_out(months: list[Month], books: Books, *, is_present: bool, as_of: datetime) -> RollForwardOut:
    agrees = books.lots == books.held and (not is_present or months[-1].closing == books.held - books.debt)
    return RollForwardOut(
        unit=books.unit,
        as_of=as_of,
        months=[_month_out(month) for month in months],
        lots=books.lots,
        debt=books.debt,
        balances=books.held - books.debt,
        holds=agrees,
    )


def cohorts_out(found: list[Cohort], books: Books, *, as_of: datetime) -> CohortsOut:
    return CohortsOut(
        unit=books.unit,
        as_of=as_of,
        cohorts=[_cohort_out(cohort) for cohort in found],
        lots=books.lots,
        debt=books.debt,
        balances=books.held - books.debt,
        holds=sum(cohort.remaining for cohort in found) == books.lots == books.held,
    )


def seal_page(page: Page[LedgerSeal]) -> SealPage:
    return SealPage([_seal_out(seal) for seal in page.data], page.has_more, page.next_cursor)


def proof_out(proof: Proof) -> SealProofOut:
    return SealProofOut(
        holds=proof.holds,
        seals=proof.seals,
        head=proof.head.hex() if proof.head else None,
        opening=_opening_out(proof.opening) if proof.opening else None,
        broken=[BrokenSealOut(rfc3339(own.until), own.entries_sealed, own.entries_found) for own in proof.broken],
    )


def _opening_out(opening: LedgerOpening) -> LedgerOpeningOut:
    opened_at = rfc3339(opening.opened_at)
    return LedgerOpeningOut(rfc3339(opening.until), opening.entries, opening.digest.hex(), opened_at)


def _month_out(month: Month) -> MonthOut:
    return MonthOut(
        month=month.first.isoformat()[:7],
        opening=month.opening,
        issued=month.moves.get("issued", 0),
        brought_in=month.moves.get("opening", 0),
        reversed=month.moves.get("reversed", 0),
        redeemed=month.moves.get("redeemed", 0),
        expired=month.moves.get("expired", 0),
        forfeited=month.moves.get("forfeited", 0),
        adjusted=month.moves.get("adjusted", 0),
        written_off=month.moves.get("written_off", 0),
        transferred=month.moves.get("transferred", 0),
        closing=month.closing,
    )


def _cohort_out(cohort: Cohort) -> CohortOut:
    credited = cohort.credited
    return CohortOut(
        month=cohort.first.isoformat()[:7],
        issued=cohort.moves.get("issued", 0),
        brought_in=cohort.moves.get("opening", 0),
        adjusted=cohort.moves.get("adjusted", 0),
        transferred=cohort.moves.get("transferred", 0),
        reversed=cohort.moves.get("reversed", 0),
        redeemed=cohort.moves.get("redeemed", 0),
        expired=cohort.moves.get("expired", 0),
        forfeited=cohort.moves.get("forfeited", 0),
        repaid_debt=cohort.moves.get("debt", 0),
        remaining=cohort.remaining,
        breakage=cohort.broken / credited if credited > 0 else None,
    )


def _seal_out(seal: LedgerSeal) -> SealOut:
    return SealOut(rfc3339(seal.since), rfc3339(seal.until), seal.entries, seal.digest.hex(), rfc3339(seal.sealed_at))
