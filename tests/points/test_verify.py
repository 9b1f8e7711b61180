"""The proof of the books names exactly the wallet that was tampered with, and the application's role cannot tamper."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from tests.shop import Json, Shop

from loyalty.core import ids
from loyalty.core.db import sqlstate_of
from loyalty.points import service as points

CHECK_VIOLATION = "23514"
INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True)
class Books:
    """Two members who did the same: earned 99, and 40 pending, spent 60, spent 30 and had them back."""

    program_id: UUID
    member_id: UUID
    other_id: UUID

    @property
    def binds(self) -> dict[str, UUID]:
        return {"program": self.program_id, "member": self.member_id, "other": self.other_id}


@pytest.fixture
async def books(shop: Shop) -> Books:
    sixty, thirty = await shop.reward(cost=60), await shop.reward(cost=30)
    made = []
    for _ in range(2):
        member = await shop.enrol()
        await shop.order(50, customer_id=member["customer_id"])
        await shop.order(49, customer_id=member["customer_id"])
        await shop.order(40, customer_id=member["customer_id"], status="placed")
        await _redeem(shop, member, sixty)
        undone = await _redeem(shop, member, thirty)
        await shop.post(f"/v1/redemptions/{undone['id']}/cancellation", {})
        made.append(ids.parse("mem", member["id"]))
    await shop.books_hold()
    assert made[0] is not None
    assert made[1] is not None
    return Books(shop.program.id, made[0], made[1])


async def _redeem(shop: Shop, member: Json, reward: Json) -> Json:
    return await shop.post("/v1/redemptions", {"member_id": member["id"], "reward_id": reward["id"]})


async def tamper(session: AsyncSession, books: Books, statement: str) -> int:
    """Change rows as somebody could who holds every right; return how many."""
    await session.execute(text("GRANT UPDATE, DELETE ON entries, allocations TO CURRENT_USER"))
    written = statement.replace("OWN", _OWN)
    binds = {name: value for name, value in books.binds.items() if f":{name}" in written}
    found: Any = await session.execute(text(written), binds)
    return int(found.rowcount)


_OWN = "program_id = :program AND member_id = :member"

TAMPERED = {
    "an available balance raised": (
        "UPDATE wallets SET available = available + 1 WHERE OWN",
        {("available_is_sum_of_entries", 39, 40), ("available_is_sum_of_lots", 39, 40)},
    ),
    "a pending balance raised": (
        "UPDATE wallets SET pending = pending + 1 WHERE OWN",
        {("pending_is_sum_of_entries", 40, 41), ("pending_is_sum_of_lots", 40, 41)},
    ),
    "a held balance made up": (
        "UPDATE wallets SET held = 5 WHERE OWN",
        {("held_is_sum_of_entries", 0, 5), ("held_is_sum_of_lots", 0, 5)},
    ),
    "spendable points turned into a debt": (
        "UPDATE wallets SET available = 0, debt = 5 WHERE OWN",
        {
            ("available_is_sum_of_entries", 39, 0),
            ("available_is_sum_of_lots", 39, 0),
            ("debt_is_sum_of_entries", 0, 5),
        },
    ),
    "a version moved": ("UPDATE wallets SET version = version + 1 WHERE OWN", {("version_counts_entries", 6, 7)}),
    "an earning raised": (
        "UPDATE entries SET points = 51 WHERE OWN AND version = 1",
        {
            ("available_is_sum_of_entries", 40, 39),
            ("versions_and_balances_chain", 0, 6),
            ("entries_match_lots", 0, 1),
        },
    ),
    "a balance after rewritten": (
        "UPDATE entries SET balance_after = 1 WHERE OWN AND version = 3",
        {("versions_and_balances_chain", 0, 1)},
    ),
    "an available balance after rewritten": (
        "UPDATE entries SET available_after = 1 WHERE OWN AND version = 3",
        {("versions_and_balances_chain", 0, 1)},
    ),
    "the last entry deleted": (
        "DELETE FROM entries WHERE OWN AND version = 6",
        {
            ("available_is_sum_of_entries", 9, 39),
            ("version_counts_entries", 5, 6),
        },
    ),
    "an entry in between deleted": (
        "DELETE FROM entries WHERE OWN AND version = 2",
        {
            ("available_is_sum_of_entries", -10, 39),
            ("version_counts_entries", 5, 6),
            ("versions_and_balances_chain", 0, 4),
            ("lots_have_entries", 0, 1),
        },
    ),
    "two entries swapped": (
        "UPDATE entries SET version = CASE version WHEN 1 THEN 102 ELSE 101 END WHERE OWN AND version IN (1, 2)",
        {("versions_and_balances_chain", 0, 6)},
    ),
    "what remains in a lot raised": (
        "UPDATE lots SET remaining = remaining + 1 WHERE OWN AND granted = 49",
        {("available_is_sum_of_lots", 40, 39), ("lots_match_allocations", 0, 1)},
    ),
    "a grant raised": (
        "UPDATE lots SET granted = granted + 1, remaining = remaining + 1 WHERE OWN AND granted = 49",
        {("available_is_sum_of_lots", 40, 39), ("entries_match_lots", 0, 1)},
    ),
    "a reservation without a hold": (
        "UPDATE lots SET reserved = 5 WHERE OWN AND granted = 49",
        {
            ("available_is_sum_of_lots", 34, 39),
            ("held_is_sum_of_lots", 5, 0),
            ("lots_match_holds", 0, 1),
        },
    ),
    "a pending lot activated": (
        "UPDATE lots SET activated_at = earned_at WHERE OWN AND granted = 40",
        {("available_is_sum_of_lots", 79, 39), ("pending_is_sum_of_lots", 0, 40)},
    ),
    "a lot cut off from its entry": (
        "UPDATE lots SET entry_id = id WHERE OWN AND granted = 40",
        {("lots_have_entries", 0, 1), ("entries_match_lots", 0, 1)},
    ),
    "a pending lot deleted": (
        "DELETE FROM lots WHERE OWN AND granted = 40",
        {("pending_is_sum_of_lots", 0, 40), ("entries_match_lots", 0, 1)},
    ),
    "an end that the wallet does not know of": (
        "UPDATE lots SET expires_at = '2026-02-01Z' WHERE OWN AND granted = 49",
        {("dates_are_not_missed", 0, 1)},
    ),
    "an allocation changed": (
        "UPDATE allocations SET points = points - 1 WHERE points = -10 AND lot_id IN (SELECT id FROM lots WHERE OWN)",
        {("lots_match_allocations", 0, 1), ("entries_match_lots", 0, 1)},
    ),
    "an allocation moved to another lot": (
        """
        UPDATE allocations SET lot_id = (SELECT id FROM lots WHERE OWN AND granted = 40)
        WHERE points = -10 AND lot_id IN (SELECT id FROM lots WHERE OWN)
        """,
        {("lots_match_allocations", 0, 2)},
    ),
    "an allocation deleted": (
        "DELETE FROM allocations WHERE points = -10 AND lot_id IN (SELECT id FROM lots WHERE OWN)",
        {("lots_match_allocations", 0, 1), ("entries_match_lots", 0, 1)},
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_verification_names_the_wallet_in_which(books: Books, session: AsyncSession, what: str) -> None:
    statement, expected = TAMPERED[what]
    assert await tamper(session, books, statement) >= 1
    found = (await points.verify(session, program_id=books.program_id)).differences
    assert {(row.check, row.expected, row.found) for row in found} == expected
    assert {(row.member_id, row.unit) for row in found} == {(books.member_id, "points")}


async def test_verification_names_both_wallets_when_a_lot_changes_hands(books: Books, session: AsyncSession) -> None:
    await tamper(session, books, "UPDATE lots SET member_id = :other WHERE OWN AND granted = 40")
    found = (await points.verify(session, program_id=books.program_id)).differences
    assert {(row.member_id, row.check, row.expected, row.found) for row in found} == {
        (books.member_id, "pending_is_sum_of_lots", 0, 40),
        (books.other_id, "pending_is_sum_of_lots", 80, 40),
        (books.other_id, "lots_have_entries", 0, 1),
    }


def test_every_check_is_seen_to_fail() -> None:
    seen = {check for _, expected in TAMPERED.values() for check, _, _ in expected}
    assert seen == {
        "pending_is_sum_of_entries",
        "available_is_sum_of_entries",
        "held_is_sum_of_entries",
        "debt_is_sum_of_entries",
        "pending_is_sum_of_lots",
        "available_is_sum_of_lots",
        "held_is_sum_of_lots",
        "version_counts_entries",
        "versions_and_balances_chain",
        "lots_match_allocations",
        "lots_match_holds",
        "lots_have_entries",
        "entries_match_lots",
        "dates_are_not_missed",
    }


async def test_a_hold_with_its_reservation_is_no_difference(books: Books, session: AsyncSession) -> None:
    hold = """
        WITH held AS (
            INSERT INTO holds (program_id, id, member_id, unit, points, captured, created_at, expires_at)
            SELECT program_id, gen_random_uuid(), member_id, unit, 5, 0, last_at, last_at + interval '1 hour'
            FROM wallets WHERE program_id = :program AND member_id = :member RETURNING *
        ), entry AS (
            INSERT INTO entries (program_id, id, member_id, unit, version, kind, from_account, to_account, points,
                balance_after, available_after, source_id, occurred_at, recorded_at)
            SELECT program_id, gen_random_uuid(), member_id, unit, 7, 'hold', 'available', 'held', 5, 79, 34, id,
                created_at, created_at
            FROM held
        ), wallet AS (
            UPDATE wallets SET available = available - 5, held = 5, version = 7,
                next_due_at = last_at + interval '1 hour'
            WHERE program_id = :program AND member_id = :member
        ), lot AS (
            UPDATE lots SET reserved = 5
            WHERE program_id = :program AND member_id = :member AND granted = 49 RETURNING id
        )
        INSERT INTO hold_reservations (program_id, hold_id, lot_id, points)
        SELECT held.program_id, held.id, lot.id, 5 FROM held, lot
    """
    await tamper(session, books, hold)
    assert (await points.verify(session, program_id=books.program_id)).differences == []
    await tamper(session, books, "UPDATE holds SET ended_at = created_at, ended_by = 'released' WHERE OWN")
    found = (await points.verify(session, program_id=books.program_id)).differences
    assert [(row.member_id, row.check, row.expected, row.found) for row in found] == [
        (books.member_id, "lots_match_holds", 0, 1)
    ]


async def test_the_database_knows_no_debt_beside_spendable_points(books: Books, session: AsyncSession) -> None:
    with pytest.raises(DBAPIError) as refused:
        await tamper(session, books, "UPDATE wallets SET debt = 5 WHERE OWN")
    assert sqlstate_of(refused.value) == CHECK_VIOLATION
    assert "ck_wallets_debt_is_paid_first" in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        "to_account = 'held'",
        "from_account = to_account, to_account = from_account",
        "from_account = 'issued', to_account = 'redeemed'",
        "kind = 'restore'",
    ],
)
async def test_the_database_knows_between_which_accounts_a_kind_of_entry_moves_points(
    books: Books, session: AsyncSession, change: str
) -> None:
    with pytest.raises(DBAPIError) as refused:
        await tamper(session, books, f"UPDATE entries SET {change} WHERE OWN AND version = 4")  # noqa: S608 -- our own
    assert sqlstate_of(refused.value) == CHECK_VIOLATION
    assert "ck_entries_kind_fits_accounts" in str(refused.value)


async def test_verification_counts_what_it_looked_at_in_its_own_program_only(
    books: Books, shop: Shop, other_shop: Shop
) -> None:
    await other_shop.order(10, customer_id=(await other_shop.enrol())["customer_id"])
    proof = await shop.get("/v1/ledger/verification")
    assert proof == {"holds": True, "wallets": 2, "entries": 12, "differences": []}


@pytest.mark.parametrize("table", ["entries", "allocations"])
@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET points = 1", "DELETE FROM {}", "TRUNCATE {}", "TRUNCATE {} CASCADE"]
)
async def test_the_applications_role_cannot_change_the_ledger(
    session: AsyncSession, table: str, statement: str
) -> None:
    with pytest.raises(DBAPIError) as refused:
        await session.execute(text(statement.format(table)))
    assert sqlstate_of(refused.value) == INSUFFICIENT_PRIVILEGE


async def test_the_applications_role_is_no_superuser(session: AsyncSession) -> None:
    role = await session.execute(text("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"))
    assert tuple(role.one()) == (False, False)
