from typing import Annotated

import msgspec
from pydantic import Field

from loyalty.access.models import ApiKey
from loyalty.access.rules import Caller, KeyKind, Scope
from loyalty.access.service import Issued
from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.fields import Body, Email, Instant, Name, text


class KeyIn(Body):
    """A key to make. A restricted key names its scopes; the other kinds have theirs."""

    kind: KeyKind
    name: Name
    scopes: Annotated[list[Scope], Field(max_length=32, default_factory=list)]
    expires_at: Instant | None = None


class KeyEnding(Body):
    """When the key stops working; now unless given, so that its successor can be rolled out before."""

    at: Instant | None = None


class SignIn(Body):
    program: Annotated[str, text(longest=40)]
    email: Email
    password: Annotated[str, text(longest=200)]


class NewPassword(Body):
    """A password to sign in with: 8 characters or more."""

    password: Annotated[str, text(longest=200, shortest=8)]


class OwnNewPassword(NewPassword):
    """A new password; whoever has one already names it."""

    current_password: Annotated[str, text(longest=200)] | None = None


class KeyOut(msgspec.Struct):
    """A key as it may be shown: `hint` is its beginning and end, never the secret."""

    id: str
    kind: str
    name: str
    hint: str
    scopes: list[str]
    created_at: str
    expires_at: str | None


class NewKeyOut(msgspec.Struct):
    """A new key; `secret` is shown this once."""

    key: KeyOut
    secret: str


class KeyList(msgspec.Struct):
    data: list[KeyOut]


class TokenOut(msgspec.Struct):
    """A token to send as `Authorization: Bearer …`, and when it stops working."""

    token: str
    expires_at: str | None


class SessionOut(msgspec.Struct):
    """A signed-in manager: in which program, with which role, and until when."""

    manager_id: str
    program_id: str
    program_slug: str
    role: str
    scopes: list[str]
    expires_at: str


def session_out(caller: Caller) -> SessionOut:
    signed_in = caller.signed_in
    return SessionOut(
        manager_id=ids.public("mgr", signed_in.manager_id),
        program_id=ids.public("prg", caller.program.id),
        program_slug=caller.program.slug,
        role=signed_in.role,
        scopes=sorted(caller.scopes),
        expires_at=rfc3339(signed_in.expires_at),
    )


def key_out(key: ApiKey) -> KeyOut:
    return KeyOut(
        id=ids.public("key", key.id),
        kind=key.kind,
        name=key.name,
        hint=key.hint,
        scopes=list(key.scopes),
        created_at=rfc3339(key.created_at),
        expires_at=rfc3339(key.expires_at) if key.expires_at else None,
    )


def token_out(issued: Issued) -> TokenOut:
    return TokenOut(issued.credential, rfc3339(issued.expires_at) if issued.expires_at else None)
