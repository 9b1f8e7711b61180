"""Settings of a process on this machine: the operator's, or, where none are given, a database and secret of its own."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from loyalty.core.embedded import serve
from loyalty.core.settings import Settings

_HOME: Final = "LOYALTY_HOME"
_DATABASE: Final = "LOYALTY_DATABASE_URL"
_SECRET: Final = "LOYALTY_SECRET_KEY"  # noqa: S105 -- the name of the variable


def home() -> Path:
    """Return the folder that keeps what this machine needs to remember: `LOYALTY_HOME`, else `.loyalty` here."""
    return Path(os.environ.get(_HOME, ".loyalty")).absolute()


@contextmanager
def settings() -> Iterator[Settings]:
    """Give the operator's settings.

    Without `LOYALTY_DATABASE_URL`, run the embedded PostgreSQL for as long as needed.
    """
    if _DATABASE in os.environ:
        yield _read()
        return
    if _SECRET not in os.environ:
        os.environ[_SECRET] = _kept_secret()
    with serve(home()) as server:
        os.environ[_DATABASE] = server.url
        try:
            yield _read()
        finally:
            del os.environ[_DATABASE]


class SettingsRefused(Exception):
    """The settings in the environment cannot be used; the message names each, and never its value."""


def keep(name: str, content: str) -> None:
    """Keep a small file for later, readable by its owner alone."""
    home().mkdir(parents=True, exist_ok=True)
    target = home() / name
    fresh = target.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(content, encoding="utf-8")
    fresh.replace(target)


def kept(name: str) -> str | None:
    target = home() / name
    return target.read_text(encoding="utf-8") if target.exists() else None


def _read() -> Settings:
    try:
        return Settings()  # type: ignore[call-arg]  # the fields come from the environment
    except ValidationError as error:
        faults = (f"LOYALTY_{fault['loc'][0]}".upper() + f": {fault['msg']}" for fault in error.errors())
        raise SettingsRefused("; ".join(faults)) from error


def _kept_secret() -> str:
    secret = kept("secret_key")
    if secret is None:
        secret = secrets.token_urlsafe(48)
        keep("secret_key", secret)
    return secret
