from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access import models
from loyalty.access.rules import Caller, Credential, Role, Scope, SignedIn
from loyalty.core import ids
from loyalty.core.rows import fetch
from loyalty.programs.queries import read_program, select_program
from loyalty.programs.rules import Program


async def list_key_callers(
    session: AsyncSession, *, program_id: UUID, digests: Collection[bytes], real_now: datetime
) -> dict[bytes, Caller]:
    """Return whose these keys of one program are, by digest; what is no key that lives is left out."""
    found = await fetch(session, _KEY_CALLERS, program_id, list(digests), real_now)
    callers = {}
    for *program, key_id, scopes, digest in found:
        granted = frozenset(map(Scope, scopes))
        callers[bytes(digest)] = Caller(read_program(program), actor=ids.public("key", key_id), scopes=granted)
    return callers


async def find_session(session: AsyncSession, *, credential: Credential, real_now: datetime) -> SignedIn | None:
    """Return a session that has not ended, with the role its manager has in the program now."""
    signed_in, role = models.ManagerSession, models.ManagerRole
    row = (
        await session.execute(
            select(signed_in.digest, signed_in.manager_id, role.role, signed_in.expires_at)
            .join(role, (role.program_id == signed_in.program_id) & (role.manager_id == signed_in.manager_id))
            .where(signed_in.program_id == credential.program_id, signed_in.digest == credential.digest)
            .where(signed_in.expires_at > real_now)
        )
    ).first()
    return None if row is None else SignedIn(row[0], row[1], Role(row[2]), row[3])


async def insert_key(session: AsyncSession, key: models.ApiKey) -> None:
    session.add(key)
    await session.flush()


async def list_keys(session: AsyncSession, *, program: Program) -> list[models.ApiKey]:
    found = await session.execute(
        select(models.ApiKey).where(models.ApiKey.program_id == program.id).order_by(models.ApiKey.id)
    )
    return list(found.scalars())


async def end_key(session: AsyncSession, *, program_id: UUID, key_id: UUID, at: datetime) -> models.ApiKey | None:
    """Let a key end at an instant, or sooner if it ended sooner anyway."""
    ended = await session.execute(
        update(models.ApiKey)
        .where(models.ApiKey.program_id == program_id, models.ApiKey.id == key_id)
        .values(expires_at=func.least(func.coalesce(models.ApiKey.expires_at, at), at))
        .returning(models.ApiKey)
    )
    return ended.scalar_one_or_none()


async def find_manager(session: AsyncSession, *, email: str) -> models.Manager | None:
    return (await session.execute(select(models.Manager).where(models.Manager.email == email))).scalar_one_or_none()


async def insert_manager(session: AsyncSession, *, email: str, password_hash: str, now: datetime) -> UUID:
    manager_id = ids.new()
    session.add(models.Manager(id=manager_id, email=email, password_hash=password_hash, created_at=now))
    await session.flush()
    return manager_id


async def put_role(session: AsyncSession, *, program_id: UUID, manager_id: UUID, role: Role) -> None:
    await session.execute(
        insert(models.ManagerRole)
        .values(program_id=program_id, manager_id=manager_id, role=role)
        .on_conflict_do_update(index_elements=["program_id", "manager_id"], set_={"role": role})
    )


async def find_role(session: AsyncSession, *, program_id: UUID, manager_id: UUID) -> Role | None:
    role = (
        await session.execute(
            select(models.ManagerRole.role).where(
                models.ManagerRole.program_id == program_id, models.ManagerRole.manager_id == manager_id
            )
        )
    ).scalar_one_or_none()
    return None if role is None else Role(role)


async def insert_session(
    session: AsyncSession, *, program_id: UUID, digest: bytes, manager_id: UUID, now: datetime, expires_at: datetime
) -> None:
    await session.execute(
        insert(models.ManagerSession).values(
            program_id=program_id, digest=digest, manager_id=manager_id, created_at=now, expires_at=expires_at
        )
    )


async def end_sessions(
    session: AsyncSession, *, program_id: UUID, manager_id: UUID, digest: bytes | None, real_now: datetime
) -> None:
    """Forget a manager's expired sessions in a program, and the one named."""
    signed_in = models.ManagerSession
    ended = signed_in.expires_at <= real_now
    await session.execute(
        delete(signed_in).where(
            signed_in.program_id == program_id,
            signed_in.manager_id == manager_id,
            ended if digest is None else ended | (signed_in.digest == digest),
        )
    )


async def find_member_password(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> str | None:
    password = models.MemberPassword
    found = await session.execute(
        select(password.password_hash).where(password.program_id == program_id, password.member_id == member_id)
    )
    return found.scalar_one_or_none()


async def put_member_password(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, password_hash: str, now: datetime
) -> None:
    values = {"password_hash": password_hash, "set_at": now}
    await session.execute(
        insert(models.MemberPassword)
        .values(program_id=program_id, member_id=member_id, **values)
        .on_conflict_do_update(index_elements=["program_id", "member_id"], set_=values)
    )


async def delete_member_password(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> None:
    password = models.MemberPassword
    await session.execute(delete(password).where(password.program_id == program_id, password.member_id == member_id))


_KEY_CALLERS: Final = select_program(
    """
    JOIN api_keys ON api_keys.program_id = programs.id
    WHERE programs.id = $1 AND digest = ANY($2::bytea[]) AND (expires_at IS NULL OR expires_at > $3)
    """,
    extra=", api_keys.id, scopes, digest",
)
