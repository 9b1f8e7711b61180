"""Where the server's files lie, and which account owns them."""

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from loyalty.core.embedded.errors import EmbeddedRefused

if sys.platform != "win32":
    import pwd

ROOTS_FOLDER = Path("/var/lib/loyalty-embedded")
NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """Whom the server runs as; all None when it is the caller, who may not change accounts."""

    user: int | None = None
    group: int | None = None

    @property
    def extra_groups(self) -> tuple[int, ...] | None:
        return None if self.user is None else ()

    def own(self, path: Path) -> None:
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)


@dataclass(frozen=True)
class Place:
    asked: Path  # what the caller named; differs from `folder` only for root
    folder: Path
    account: Account

    @property
    def cluster(self) -> Path:
        return self.folder / "cluster"

    @property
    def data(self) -> Path:
        return self.cluster / "data"

    @property
    def superuser_password(self) -> Path:
        return self.cluster / "superuser.password"

    @property
    def application_password(self) -> Path:
        return self.cluster / "application.password"

    @property
    def users_lock(self) -> Path:
        return self.folder / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        return self.folder / "keeper.lock"

    @property
    def port(self) -> Path:
        return self.folder / "port"

    @property
    def server_log(self) -> Path:
        return self.folder / "server.log"

    @property
    def keeper_log(self) -> Path:
        return self.folder / "keeper.log"


def find_place(home: Path) -> Place:
    """Name the place that belongs to a home, without touching the disk.

    PostgreSQL refuses to run as root, and the account it runs as instead can seldom enter root's
    folders, so root's servers live under one of their own.
    """
    asked = home.expanduser().resolve()
    if os.geteuid() != 0:
        return Place(asked=asked, folder=asked, account=Account())
    short = hashlib.sha256(str(asked).encode()).hexdigest()[:12]
    return Place(asked=asked, folder=ROOTS_FOLDER / short, account=_find_unprivileged())


def make_folder(place: Place) -> None:
    """Create what is missing of the path to the place. A folder that exists keeps its mode."""
    try:
        if place.account.user is None:
            place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            make_readable_folder(place.folder)
    except OSError as error:
        raise EmbeddedRefused(
            f"The folder {place.folder} cannot be made ({error.strerror}): choose a home that you can"
            " write to, or set LOYALTY_DATABASE_URL to a PostgreSQL that you run."
        ) from error
    if not os.access(place.folder, os.R_OK | os.W_OK | os.X_OK):
        raise EmbeddedRefused(
            f"The folder {place.folder} belongs to somebody else: choose a home that you can write to,"
            " or set LOYALTY_DATABASE_URL to a PostgreSQL that you run."
        )


def make_readable_folder(folder: Path) -> None:
    """Create a folder, and what is missing above it, that every account may enter.

    Raises EmbeddedRefused where a folder that exists already is closed: it is not ours to open.
    """
    for step in (*reversed(folder.parents), folder):
        try:
            step.mkdir()
        except FileExistsError:
            if not step.stat().st_mode & 0o001:
                raise EmbeddedRefused(
                    f"The unprivileged account that the server runs as cannot enter {step}: run as an"
                    " ordinary user, or set LOYALTY_DATABASE_URL to a PostgreSQL that you run."
                ) from None
        else:
            step.chmod(0o755)  # mkdir's own mode is cut down by the umask


def _find_unprivileged() -> Account:
    try:
        found = pwd.getpwnam("nobody")
    except KeyError:
        return Account(user=NOBODY, group=NOBODY)
    return Account(user=found.pw_uid, group=found.pw_gid)
