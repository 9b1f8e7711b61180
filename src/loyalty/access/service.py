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
from loyalty.access.rules import MEMBER_SCOPES, ROLE_SCOPES, Caller, KeyKind, Role, Scope
from loyalty.core import ids
from loyalty.core.db import Sessions, transaction
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
    """Find out who calls: a program's key, a signed-in manager, or a member with a token."""
    if rules.is_signed_token(credential):
        return await _member(session, token=credential, keyring=keyring)
    read = rules.read_credential(credential)
    if read is None:
        raise CredentialsInvalid
    if credential.startswith("lk_"):
        caller = await queries.find_key_caller(session, credential=read, real_now=real_now)
        if caller is None:
            raise CredentialsInvalid
        return caller
    found = await queries.find_session_role(session, credential=read, real_now=real_now)
    if found is None:
        raise CredentialsInvalid
    manager_id, role = found
    program = await programs.get(session, program_id=read.program_id)
    return Caller(program, actor=ids.public("mgr", manager_id), scopes=ROLE_SCOPES[role])


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
    if beyond := sorted(granted - maker_scopes):
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
) -> Issued:
    """Open a manager's session in one program. Every refusal is the same, and takes the same work.

    The password is checked between two short transactions: who signs in must not keep a connection from the till.
    """
    async with transaction(sessions) as session:
        manager = await queries.find_manager(session, email=email)
    fits = await passwords.verify(password, stored=None if manager is None else manager.password_hash)
    if manager is None or not fits:
        raise SignInRefused
    async with transaction(sessions) as session:
        return await _open_session(session, program=program, manager_id=manager.id, real_now=real_now)


async def _open_session(session: AsyncSession, *, program: str, manager_id: UUID, real_now: datetime) -> Issued:
    try:
        program_id = (await programs.get_by_slug(session, slug=program)).id
    except ProgramNotFound as error:
        raise SignInRefused from error
    if await queries.find_role(session, program_id=program_id, manager_id=manager_id) is None:
        raise SignInRefused
    token = rules.make_session_token(program_id=program_id)
    expires_at = real_now + SESSION_LIFE
    await queries.insert_session(
        session,
        program_id=program_id,
        digest=rules.digest(token),
        manager_id=manager_id,
        now=real_now,
        expires_at=expires_at,
    )
    return Issued(token, expires_at)


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
