from dataclasses import dataclass

from loyalty.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated


class CredentialsMissing(Unauthenticated):
    """Send a key or token as `Authorization: Bearer …`, or the cookie of a manager's session."""


class CredentialsInvalid(Unauthenticated):
    """The key or token is malformed, unknown, expired or revoked."""


class SignInRefused(Unauthenticated):
    """The program, e-mail or password is wrong."""


class CrossSiteRequest(Forbidden):
    """A signed-in manager's browser may change things only from this server's own pages."""


@dataclass(eq=False, kw_only=True)
class ScopeMissing(Forbidden):
    """The key or token lacks the scope that this operation needs."""

    scope: str


@dataclass(eq=False, kw_only=True)
class ScopeNotGrantable(Forbidden):
    """A key can only pass on scopes that its maker has."""

    scopes: list[str]


@dataclass(eq=False, kw_only=True)
class ScopesInvalid(Invalid):
    """Secret and publishable keys have fixed scopes; a restricted key needs at least one of its own."""

    kind: str


class KeyNotFound(NotFound):
    """There is no such key in this program."""


class PasswordWrong(Forbidden):
    """The current password is wrong."""


class ManagerExists(Conflict):
    """A manager with this e-mail has another password."""
