"""The SQL of members' codes."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.core.rows import fetch, insert_new_rows, insert_rows
from loyalty.referrals import models
from loyalty.referrals.codes import CodeKind


async def insert_code(
    session: AsyncSession, *, program_id: UUID, code: str, member_id: UUID, kind: CodeKind, now: datetime
) -> bool:
    """Add a member's primary code; False if it is or ever was somebody's."""
    row = {
        "program_id": program_id,
        "code": code,
        "member_id": member_id,
        "issued_to": member_id,
        "kind": str(kind),
        "is_primary": True,
        "created_at": now,
    }
    return bool(await insert_new_rows(session, models.ReferralCode, [row], returning="code"))


async def insert_codes(session: AsyncSession, *, program_id: UUID, codes: Sequence[tuple[str, UUID, datetime]]) -> None:
    """Add generated primary codes of new members; a code that is taken makes this raise."""
    await insert_rows(
        session,
        models.ReferralCode,
        [
            {
                "program_id": program_id,
                "code": code,
                "member_id": member_id,
                "issued_to": member_id,
                "kind": str(CodeKind.GENERATED),
                "is_primary": True,
                "created_at": at,
                "retired_at": None,
            }
            for code, member_id, at in codes
        ],
    )


async def demote_codes(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> None:
    code = models.ReferralCode
    await session.execute(
        update(code).where(code.program_id == program_id, code.member_id == member_id).values(is_primary=False)
    )


async def find_code_owners(session: AsyncSession, *, program_id: UUID, codes: Collection[str]) -> dict[str, UUID]:
    """Return whose live codes these are."""
    found = await fetch(
        session,
        """
        SELECT code, member_id FROM referral_codes
        WHERE program_id = $1 AND code = ANY($2::text[]) AND retired_at IS NULL
        """,
        program_id,
        list(codes),
    )
    return dict(found)


async def list_codes(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> list[models.ReferralCode]:
    """Return a member's live codes, the primary one first."""
    code = models.ReferralCode
    found = await session.execute(
        select(code)
        .where(code.program_id == program_id, code.member_id == member_id, code.retired_at.is_(None))
        .order_by(code.is_primary.desc(), code.created_at, code.code)
    )
    return list(found.scalars())


async def first_codes(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the code that each member got on joining, whosever it has become by a merge."""
    found = await fetch(
        session,
        """
        SELECT DISTINCT ON (issued_to) issued_to, code FROM referral_codes
        WHERE program_id = $1 AND issued_to = ANY($2::uuid[]) AND kind = $3
        ORDER BY issued_to, created_at, code
        """,
        program_id,
        list(member_ids),
        str(CodeKind.GENERATED),
    )
    return dict(found)


async def primary_codes(session: AsyncSession, *, program_id: UUID, member_ids: Collection[UUID]) -> dict[UUID, str]:
    code = models.ReferralCode
    found = await session.execute(
        select(code.member_id, code.code).where(
            code.program_id == program_id,
            code.member_id.in_(list(member_ids)),
            code.is_primary,
            code.retired_at.is_(None),
        )
    )
    return {row.member_id: row.code for row in found}


async def hand_over_codes(session: AsyncSession, *, program_id: UUID, giver: UUID, receiver: UUID) -> None:
    """Let one member's codes lead to another, whose own primary one stays primary."""
    code = models.ReferralCode
    await session.execute(
        update(code)
        .where(code.program_id == program_id, code.member_id == giver)
        .values(member_id=receiver, is_primary=False)
    )
