"""Making a data folder that is whole or not there at all."""

import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from loyalty.core.embedded.binaries import Binaries, environment
from loyalty.core.embedded.errors import EmbeddedRefused
from loyalty.core.embedded.lifeline import tie
from loyalty.core.embedded.place import Place

SUPERUSER = "postgres"
APPLICATION = "loyalty"  # the role and its database
BUILTIN_LOCALE_SINCE_MAJOR = 17
UNFINISHED = "making-"


def ensure_cluster(place: Place, *, binaries: Binaries) -> None:
    """Make the cluster of this place, or check that these binaries can read the one that is there."""
    for leftover in place.folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if not place.cluster.exists():
        _make(place, binaries=binaries)
    made_by = (place.data / "PG_VERSION").read_text().strip()
    if made_by != str(binaries.major):
        raise EmbeddedRefused(
            f"The data in {place.data} were made by PostgreSQL {made_by}, but the binaries in"
            f" {binaries.folder} are {binaries.version}: set LOYALTY_PG_BIN to the bin folder of a"
            f" PostgreSQL {made_by}, or move {place.cluster} away to begin with an empty database."
        )


def _make(place: Place, *, binaries: Binaries) -> None:
    # Under another name until complete, so that a start killed halfway leaves only rubbish.
    work = Path(tempfile.mkdtemp(dir=place.folder, prefix=UNFINISHED))
    work.chmod(0o700 if place.account.user is None else 0o755)
    fresh = Place(asked=place.asked, folder=work, account=place.account)
    fresh.cluster.mkdir()
    fresh.cluster.chmod(0o700 if place.account.user is None else 0o755)
    fresh.data.mkdir(mode=0o700)
    place.account.own(fresh.data)
    _write_secret(fresh.superuser_password, secrets.token_hex(24))
    place.account.own(fresh.superuser_password)  # initdb reads it
    password = secrets.token_hex(24)
    _write_secret(fresh.application_password, password)

    _run(
        fresh,
        [
            binaries.command("initdb"),
            f"--pgdata={fresh.data}",
            f"--username={SUPERUSER}",
            f"--pwfile={fresh.superuser_password}",
            "--auth=scram-sha-256",
            "--data-checksums",
            "--encoding=UTF8",
            *_locale_options(binaries.major),
        ],
    )
    # Single-user mode: the superuser never comes in over the network.
    _run(
        fresh,
        [
            binaries.command("postgres"),
            "--single",
            f"-D{fresh.data}",
            "-clog_min_error_statement=panic",  # the statement holds a password
            SUPERUSER,
        ],
        sql=f"CREATE ROLE {APPLICATION} LOGIN CREATEDB PASSWORD '{password}'\n",
    )
    fresh.cluster.rename(place.cluster)
    work.rmdir()


def _locale_options(major: int) -> tuple[str, ...]:
    # The built-in locale, where there is one, sorts the same on every system and does not age with libc.
    if major >= BUILTIN_LOCALE_SINCE_MAJOR:
        return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    return ("--locale=C.UTF-8",)


def _write_secret(path: Path, secret: str) -> None:
    path.touch(mode=0o600)
    path.write_text(secret)


def _run(place: Place, command: list[str], *, sql: str = "") -> None:
    try:
        done = subprocess.run(  # noqa: S603 -- a program that `binaries` has looked at
            command,
            user=place.account.user,
            group=place.account.group,
            extra_groups=place.account.extra_groups,
            preexec_fn=tie(signal.SIGKILL),
            env=environment(),
            cwd=place.folder,
            input=sql,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        failed, said = done.returncode != 0 or " ERROR: " in done.stdout, done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, said = True, str(error)
    if failed:
        raise EmbeddedRefused(
            f"PostgreSQL could not make its data folder in {place.folder.parent}: set LOYALTY_DATABASE_URL to"
            f" a PostgreSQL that you run, or mend what it complains of: {said[-1000:].strip()}"
        )
