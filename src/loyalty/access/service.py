from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty.access import models, queries, rules
from loyalty.access.errors import (
    CredentialsInvalid,
    KeyNotFound,
    ManagerExists,
    ScopeNotGrantable,
    ScopesInvalid,
    SignInRefused,
)
from loyalty.access.passwords import Passwords
from loyalty.access.rules import (
    ALL_KEY_SCOPES,
    MEMBER_SCOPES,
    ROLE_SCOPES,
    Caller,
    Credential,
    KeyKind,
    Role,
    Scope,
    SignedIn,
)
from loyalty.core import ids
from loyalty.core.db import Sessions, release, transaction
from loyalty.core.signing import Keyring
from loyalty.outbox import service as outbox
from loyalty.outbox.rules import Event
from loyalty.programs import service as programs
from loyalty.programs.errors import ProgramNotFound
from loyalty.programs.rules import Program

MEMBER_TOKEN_LIFE: Final = timedelta(minutes=15)
SESSION_LIFE: Final = timedelta(hours=12)
_MEMBER: Final = "loyalty:member"


@dataclass(frozen=True)
class Issued:
    """A credential, to be shown this once; `expires_at` is an instant of the real world's clock."""

    credential: str
    expires_at: datetime | None


async def authenticate(session: AsyncSession, *, credential: str, keyring: Keyring, real_now: datetime) -> Caller:
    """Find out who calls: a program's key, or a member with a token."""
    if rules.is_signed_token(credential):
        return await _member(session, token=credential, keyring=keyring)
    read = rules.read_credential(credential)
    if read is None:
        raise CredentialsInvalid
    return await authenticate_key(session, credential=read, real_now=real_now)


async def authenticate_key(session: AsyncSession, *, credential: Credential, real_now: datetime) -> Caller:
    """Find out whose key this is; raises CredentialsInvalid."""
    found = await authenticate_keys(session, credentials=[credential], real_now=real_now)
    if credential not in found:
        raise CredentialsInvalid
    return found[credential]


async def authenticate_keys(
    session: AsyncSession, *, credentials: Collection[Credential], real_now: datetime
) -> dict[Credential, Caller]:
    """Find out whose keys of one program these are; what is none is left out."""
    program_id = next(iter(credentials)).program_id
    digests = {credential.digest for credential in credentials}
    found = await queries.list_key_callers(session, program_id=program_id, digests=digests, real_now=real_now)
    return {own: found[own.digest] for own in credentials if own.digest in found}


async def resume(session: AsyncSession, *, cookie: str, real_now: datetime) -> Caller:
    """Find out which signed-in manager calls."""
    read = rules.read_credential(cookie)
    found = await queries.find_session(session, credential=read, real_now=real_now) if read else None
    if read is None or found is None:
        raise CredentialsInvalid
    program = await programs.get(session, program_id=read.program_id)
    actor = ids.public("mgr", found.manager_id)
    return Caller(program, actor=actor, scopes=ROLE_SCOPES[found.role], session=found)


def mint_member_token(*, program_id: UUID, member_id: UUID, keyring: Keyring, real_now: datetime) -> Issued:
    """Make a short-lived token with which a member acts for themselves, and in this program only."""
    expires_at = real_now.replace(microsecond=0) + MEMBER_TOKEN_LIFE
    claims = {"prg": ids.encode(program_id), "sub": ids.encode(member_id)}
    return Issued(keyring.sign(_MEMBER, claims, expires_at=expires_at), expires_at)


async def create_key(
    session: AsyncSession,
    *,
    program: Program,
    kind: KeyKind,
    name: str,
    scopes: frozenset[Scope],
    maker_scopes: frozenset[Scope],
    expires_at: datetime | None,
    real_now: datetime,
) -> tuple[models.ApiKey, str]:
    """Make a key and return it with its secret, which is not kept."""
    fixed = rules.fixed_scopes(kind)
    if (fixed is None) == (not scopes):
        raise ScopesInvalid(kind=kind)
    granted = fixed if fixed is not None else scopes
    if beyond := sorted(granted - (maker_scopes & ALL_KEY_SCOPES)):
        raise ScopeNotGrantable(scopes=list(beyond))
    secret = rules.make_key(kind=kind, mode=program.mode, program_id=program.id)
    key = models.ApiKey(
        program_id=program.id,
        digest=rules.digest(secret),
        id=ids.new(),
        kind=kind,
        name=name,
        hint=rules.hint(secret),
        scopes=sorted(granted),
        created_at=real_now,
        expires_at=expires_at,
    )
    await queries.insert_key(session, key)
    await _tell_of_key(session, program=program, key_id=key.id, what="created", real_now=real_now)
    return key, secret


async def list_keys(session: AsyncSession, *, program: Program) -> list[models.ApiKey]:
    return await queries.list_keys(session, program=program)


async def end_key(
    session: AsyncSession, *, program: Program, key_id: UUID, at: datetime, real_now: datetime
) -> models.ApiKey:
    """Let a key end now or later; later gives its successor time to be rolled out."""
    ended = await queries.end_key(session, program_id=program.id, key_id=key_id, at=at)
    if ended is None:
        raise KeyNotFound
    await _tell_of_key(session, program=program, key_id=key_id, what="ended", real_now=real_now)
    return ended


async def add_manager(
    session: AsyncSession,
    *,
    program_id: UUID,
    email: str,
    password: str,
    role: Role,
    passwords: Passwords,
    real_now: datetime,
) -> UUID:
    """Give a person a role in a program; an account that exists already must come with its own password."""
    known = await queries.find_manager(session, email=email)
    if known is None:
        manager_id = await queries.insert_manager(
            session, email=email, password_hash=await passwords.hash(password), now=real_now
        )
    elif await passwords.verify(password, stored=known.password_hash):
        manager_id = known.id
    else:
        raise ManagerExists
    await queries.put_role(session, program_id=program_id, manager_id=manager_id, role=role)
    return manager_id


async def sign_in(
    sessions: Sessions, *, program: str, email: str, password: str, passwords: Passwords, real_now: datetime
) -> tuple[Caller, str]:
    """Open a manager's session in one program, and return its cookie too.

    Every refusal is the same, and takes the same work.

    The password is checked between two short transactions: who signs in must not keep a connection from the till.
    """
    async with transaction(sessions) as session:
        manager = await queries.find_manager(session, email=email)
    fits = await passwords.verify(password, stored=None if manager is None else manager.password_hash)
    if manager is None or not fits:
        raise SignInRefused
    async with transaction(sessions) as session:
        cookie = await _open_session(session, program=program, manager_id=manager.id, real_now=real_now)
        return await resume(session, cookie=cookie, real_now=real_now), cookie


async def sign_out(session: AsyncSession, *, program_id: UUID, signed_in: SignedIn, real_now: datetime) -> None:
    """End this session."""
    await queries.end_sessions(
        session, program_id=program_id, manager_id=signed_in.manager_id, digest=signed_in.digest, real_now=real_now
    )


async def member_password(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> str | None:
    """Return the hash of a member's password, None without one."""
    return await queries.find_member_password(session, program_id=program_id, member_id=member_id)


async def set_member_password(
    session: AsyncSession, *, program_id: UUID, member_id: UUID, password: str, passwords: Passwords, now: datetime
) -> None:
    """Give a member a password in place of any former one.

    It is hashed without keeping a connection, so nothing may have been written in this transaction yet.
    """
    await release(session)
    password_hash = await passwords.hash(password)
    await queries.put_member_password(
        session, program_id=program_id, member_id=member_id, password_hash=password_hash, now=now
    )


async def check_member_password(
    session: AsyncSession, *, stored: str | None, password: str, passwords: Passwords
) -> bool:
    """Check a member's password without keeping a connection; it takes as long when there is none."""
    await release(session)
    return await passwords.verify(password, stored=stored)


async def forget_member_password(session: AsyncSession, *, program_id: UUID, member_id: UUID) -> None:
    await queries.delete_member_password(session, program_id=program_id, member_id=member_id)


async def _open_session(session: AsyncSession, *, program: str, manager_id: UUID, real_now: datetime) -> str:
    try:
        program_id = (await programs.get_by_slug(session, slug=program)).id
    except ProgramNotFound as error:
        raise SignInRefused from error
    if await queries.find_role(session, program_id=program_id, manager_id=manager_id) is None:
        raise SignInRefused
    await queries.end_sessions(session, program_id=program_id, manager_id=manager_id, digest=None, real_now=real_now)
    cookie = rules.make_session_token(program_id=program_id)
    await queries.insert_session(
        session,
        program_id=program_id,
        digest=rules.digest(cookie),
        manager_id=manager_id,
        now=real_now,
        expires_at=real_now + SESSION_LIFE,
    )
    return cookie


async def _tell_of_key(session: AsyncSession, *, program: Program, key_id: UUID, what: str, real_now: datetime) -> None:
    """Tell of a key in the program's own time, as everything is told; the key itself lives by the real clock."""
    at = program.now(real_now)
    event = Event(f"key.{what}", key_id, occurred_at=at, recorded_at=at)
    await outbox.tell(session, program_id=program.id, events=[event])


async def _member(session: AsyncSession, *, token: str, keyring: Keyring) -> Caller:
    claims = keyring.verify(_MEMBER, token)
    if claims is None:
        raise CredentialsInvalid
    program_id, member_id = ids.decode(claims["prg"]), ids.decode(claims["sub"])
    if program_id is None or member_id is None:
        raise CredentialsInvalid
    program = await programs.get(session, program_id=program_id)
    return Caller(program, actor=ids.public("mem", member_id), scopes=MEMBER_SCOPES, member_id=member_id)
