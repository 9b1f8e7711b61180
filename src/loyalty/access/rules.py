import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final
from uuid import UUID
from zlib import crc32

from loyalty.access.errors import ScopeMissing
from loyalty.core import ids
from loyalty.programs.rules import Mode, Program

MAX_CREDENTIAL_LENGTH: Final = 2048
_SECRET_SYMBOLS: Final = 32
_CHECK_SYMBOLS: Final = 7
_SYMBOLS: Final = ids.CROCKFORD.lower()


class Scope(StrEnum):
    """What an operation asks for.

    No key has a member's own scopes (`me:`), or those of a signed-in manager's session.
    """

    PROGRAM_READ = "program:read"
    PROGRAM_WRITE = "program:write"
    KEYS_WRITE = "keys:write"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    TOKENS_WRITE = "tokens:write"
    ORDERS_READ = "orders:read"
    ORDERS_WRITE = "orders:write"
    ACTIVITIES_READ = "activities:read"
    ACTIVITIES_WRITE = "activities:write"
    POINTS_READ = "points:read"
    POINTS_WRITE = "points:write"
    HOLDS_WRITE = "holds:write"
    REWARDS_READ = "rewards:read"
    REWARDS_WRITE = "rewards:write"
    REDEMPTIONS_READ = "redemptions:read"
    REDEMPTIONS_WRITE = "redemptions:write"
    REFERRALS_READ = "referrals:read"
    REFERRALS_WRITE = "referrals:write"
    CODES_CHECK = "codes:check"
    IMPORTS_WRITE = "imports:write"
    EVENTS_READ = "events:read"
    METRICS_READ = "metrics:read"
    CLOCK_WRITE = "clock:write"
    ME_READ = "me:read"
    ME_WRITE = "me:write"
    SESSION_OWN = "session:own"


MEMBER_SCOPES: Final = frozenset({Scope.ME_READ, Scope.ME_WRITE})
SESSION_SCOPES: Final = frozenset({Scope.SESSION_OWN})
ALL_KEY_SCOPES: Final = frozenset(Scope) - MEMBER_SCOPES - SESSION_SCOPES
READ_SCOPES: Final = frozenset(
    scope for scope in ALL_KEY_SCOPES if scope.endswith(":read") and scope is not Scope.REDEMPTIONS_READ
)
"""What an analyst reads. Redemptions carry coupons, which whoever holds them can use."""


class KeyKind(StrEnum):
    SECRET = "secret"  # noqa: S105 -- a kind of key, not one
    PUBLISHABLE = "publishable"
    RESTRICTED = "restricted"


class Role(StrEnum):
    OWNER = "owner"
    MANAGER = "manager"
    ANALYST = "analyst"
    SUPPORT = "support"


_PREFIX: Final = {KeyKind.SECRET: "sk", KeyKind.PUBLISHABLE: "pk", KeyKind.RESTRICTED: "rk"}
_FIXED_SCOPES: Final = {KeyKind.SECRET: ALL_KEY_SCOPES, KeyKind.PUBLISHABLE: frozenset({Scope.CODES_CHECK})}
ROLE_SCOPES: Final = {
    Role.OWNER: SESSION_SCOPES | ALL_KEY_SCOPES,
    Role.MANAGER: SESSION_SCOPES | ALL_KEY_SCOPES - {Scope.KEYS_WRITE},
    Role.ANALYST: SESSION_SCOPES | READ_SCOPES,
    Role.SUPPORT: SESSION_SCOPES
    | READ_SCOPES
    | {Scope.MEMBERS_WRITE, Scope.REDEMPTIONS_READ, Scope.REDEMPTIONS_WRITE, Scope.REFERRALS_WRITE},
}


@dataclass(frozen=True)
class Caller:
    """Who calls, in which program, with which scopes. `actor` is how the books name them.

    `member_id` only on a member's token, `session` only in a manager's session.
    """

    program: Program
    actor: str
    scopes: frozenset[Scope]
    member_id: UUID | None = None
    session: "SignedIn | None" = None

    def demand(self, scope: Scope) -> None:
        """Refuse a caller who lacks a scope; an operation may need more than the one it names."""
        if scope not in self.scopes:
            raise ScopeMissing(scope=scope)

    @property
    def member(self) -> UUID:
        """The member who calls; only a member's token has the scopes of the routes that ask this."""
        if self.member_id is None:
            raise ScopeMissing(scope=Scope.ME_READ)
        return self.member_id

    @property
    def signed_in(self) -> "SignedIn":
        """The session of the manager who calls; only a session has the scope of the routes that ask this."""
        if self.session is None:
            raise ScopeMissing(scope=Scope.SESSION_OWN)
        return self.session


@dataclass(frozen=True)
class SignedIn:
    """A manager's session in one program, and the role they have there now."""

    digest: bytes
    manager_id: UUID
    role: Role
    expires_at: datetime


@dataclass(frozen=True)
class Credential:
    """A key or session token as sent: the program it names, and the digest to look it up by."""

    program_id: UUID
    digest: bytes


def fixed_scopes(kind: KeyKind) -> frozenset[Scope] | None:
    """Return the scopes every key of this kind has; None where each key names its own."""
    return _FIXED_SCOPES.get(kind)


def make_key(*, kind: KeyKind, mode: Mode, program_id: UUID) -> str:
    """Make a key of 160 random bits: `lk_{sk|pk|rk}_{live|test}_{program}_{secret}{check}`."""
    return _checked(f"lk_{_PREFIX[kind]}_{mode}_{ids.encode(program_id)}_")


def make_session_token(*, program_id: UUID) -> str:
    """Make a signed-in manager's token: `ls_{program}_{secret}{check}`."""
    return _checked(f"ls_{ids.encode(program_id)}_")


def is_signed_token(text: str) -> bool:
    """Tell a member's signed token (three dotted parts) from a key."""
    return text.count(".") == 2  # noqa: PLR2004 -- header, claims, signature


def read_credential(text: str) -> Credential | None:
    """Read a key or session token; None if its checksum or shape is wrong, which costs no look-up."""
    body, check = text[:-_CHECK_SYMBOLS], text[-_CHECK_SYMBOLS:]
    parts = body.split("_")
    if len(text) > MAX_CREDENTIAL_LENGTH or len(parts) not in (3, 5) or _check(body) != check:
        return None
    program_id = ids.decode(parts[-2])
    return None if program_id is None else Credential(program_id, digest(text))


def digest(credential: str) -> bytes:
    return sha256(credential.encode()).digest()


def hint(key: str) -> str:
    """Return what may be shown of a key later on: its kind and last four symbols."""
    return f"{key[:10]}…{key[-4:]}"


def _checked(head: str) -> str:
    body = head + "".join(secrets.choice(_SYMBOLS) for _ in range(_SECRET_SYMBOLS))
    return body + _check(body)


def _check(body: str) -> str:
    value = crc32(body.encode())
    return "".join(_SYMBOLS[value >> shift & 31] for shift in range(30, -1, -5))
