"""The side of those who use the server: join, attach, leave."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

import loyalty
from loyalty.core.embedded.binaries import CHOICE
from loyalty.core.embedded.cluster import APPLICATION, UNFINISHED
from loyalty.core.embedded.errors import EmbeddedRefused
from loyalty.core.embedded.keeper import READY
from loyalty.core.embedded.locks import Lock
from loyalty.core.embedded.place import Place, find_place, make_folder
from loyalty.core.embedded.postmaster import find_postmaster, stop

JOIN_SECONDS = 40  # longer than a keeper takes to stop a server
ATTACH_SECONDS = 120
END_SECONDS = 10
POLL_SECONDS = 0.03


@dataclass(frozen=True)
class Server:
    """A running server. The role in `url` owns the database in it, may create others, and is no superuser."""

    url: str = field(repr=False)  # holds the password
    data_folder: Path
    pid: int  # of the postmaster


@contextmanager
def serve(home: Path) -> Iterator[Server]:
    """Start the server of this home, or join it if it runs; the last to leave stops it.

    Leaving waits up to 10 s for the end of a server that nobody else uses. Raises EmbeddedRefused.
    """
    _refuse_windows()
    place = find_place(home)
    users = _join(place)
    try:
        yield _attach(place)
    finally:
        try:
            users.release()
            _await_end(place, users)
        finally:
            users.close()


def remove(home: Path) -> None:
    """Delete the server's files, data included; a home without any is fine. Raises EmbeddedRefused while in use."""
    _refuse_windows()
    place = find_place(home)
    if not place.folder.exists():
        return
    with Lock(place.users_lock) as users, Lock(place.keeper_lock) as keeper:
        deadline = time.monotonic() + END_SECONDS
        while not (users.try_exclusive() and keeper.try_exclusive()):
            users.release()
            if time.monotonic() > deadline:
                raise EmbeddedRefused(f"The server in {place.folder} is in use: end the programs that use it first.")
            time.sleep(POLL_SECONDS)
        if left_behind := find_postmaster(place.data):
            stop(left_behind.pid, place.data)
        for unfinished in place.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(unfinished)
        if place.cluster.exists():
            shutil.rmtree(place.cluster)
        for name in ("port", "server.log", "server.log.1", "keeper.log", "keeper.lock", "users.lock"):
            (place.folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the home may hold other things
        place.folder.rmdir()


def _join(place: Place) -> Lock:
    """Take a share of the users' lock, which keeps the server from being stopped."""
    deadline = time.monotonic() + JOIN_SECONDS
    while time.monotonic() < deadline:
        make_folder(place)
        users = _open_lock(place.users_lock)
        # The file may have been removed, with the rest of the home, between opening and locking it.
        if users.try_shared() and users.is_current():
            return users
        users.close()
        time.sleep(POLL_SECONDS)
    raise EmbeddedRefused(
        f"An earlier server in {place.folder} does not come to its end; look into {place.server_log},"
        " or set LOYALTY_DATABASE_URL to a PostgreSQL that you run."
    )


def _attach(place: Place) -> Server:
    deadline = time.monotonic() + ATTACH_SECONDS
    while time.monotonic() < deadline:
        with _open_lock(place.keeper_lock) as keeper:
            # Nobody keeps a server: of all who see that, exactly one gets this lock and hands it on.
            if keeper.try_exclusive():
                _start_keeper(place, keeper)
        running = find_postmaster(place.data)
        if running and running.is_ready:
            password = place.application_password.read_text()
            # A thread of its own, since the caller may be inside a running event loop.
            with ThreadPoolExecutor(max_workers=1) as pool:
                answers = pool.submit(asyncio.run, _answers(running.port, password)).result()
            if answers:
                url = f"postgresql+asyncpg://{APPLICATION}:{password}@127.0.0.1:{running.port}/{APPLICATION}"
                return Server(url=url, data_folder=place.data, pid=running.pid)
        time.sleep(POLL_SECONDS)
    raise EmbeddedRefused(
        f"The server in {place.folder} does not answer; look into {place.server_log}, or set"
        " LOYALTY_DATABASE_URL to a PostgreSQL that you run."
    )


def _await_end(place: Place, users: Lock) -> None:
    """Wait until the keeper is gone, unless others still use the server."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        with _open_lock(place.keeper_lock) as keeper:
            if keeper.try_shared():
                return
        # Shared but not exclusive: others are there. Not even shared: the keeper is stopping the server.
        if users.try_shared() and not users.try_exclusive():
            return
        users.release()
        time.sleep(POLL_SECONDS)


def _start_keeper(place: Place, lock: Lock) -> None:
    with place.keeper_log.open("wb") as log:
        try:
            reply = subprocess.run(  # noqa: S603 -- this very interpreter, on this very package
                [sys.executable, "-m", "loyalty.core.embedded", str(place.asked), str(lock.descriptor)],
                pass_fds=[lock.descriptor],
                start_new_session=True,  # Ctrl-C in the terminal is for the program, not for its database
                cwd=place.folder,
                env=_keeper_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                check=False,
                timeout=ATTACH_SECONDS,
            ).stdout.decode()
        except subprocess.TimeoutExpired:
            reply = ""
    if reply != READY:
        raise EmbeddedRefused(
            reply
            or f"The server's keeper ended without a word; look into {place.keeper_log}, or set"
            " LOYALTY_DATABASE_URL to a PostgreSQL that you run."
        )


def _keeper_environment() -> dict[str, str]:
    """Let the keeper, which works in another folder, find the same modules and binaries as its caller."""
    modules = [*sys.path, str(Path(loyalty.__file__).parents[1])]
    found = {"PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in modules)}
    if chosen := os.environ.get(CHOICE):
        found[CHOICE] = str(Path(chosen).expanduser().absolute())
    return os.environ | found


async def _answers(port: int, password: str) -> bool:
    """Whether the application can connect. Its database is made here, so it can never be found missing."""
    try:
        await _connect(port, password, database=APPLICATION)
    except asyncpg.InvalidCatalogNameError:
        return await _create_database(port, password)
    except asyncpg.TooManyConnectionsError:
        return True
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise EmbeddedRefused(
            "The embedded server does not accept the password in application.password beside its data:"
            " restore that file, or move the cluster folder away to begin with an empty database."
        ) from error
    except (OSError, asyncpg.PostgresError):
        return False
    return True


async def _create_database(port: int, password: str) -> bool:
    # Another program may create it at the same moment; then the next attempt to connect succeeds.
    with contextlib.suppress(OSError, asyncpg.PostgresError):
        await _connect(port, password, database="postgres", statement=f"CREATE DATABASE {APPLICATION}")
    return False


async def _connect(port: int, password: str, *, database: str, statement: str = "SELECT 1") -> None:
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=port,
        user=APPLICATION,
        password=password,
        database=database,
        ssl=False,
        timeout=5,
    )
    try:
        await connection.execute(statement, timeout=60)
    finally:
        await connection.close(timeout=5)


def _open_lock(path: Path) -> Lock:
    try:
        return Lock(path)
    except OSError as error:
        raise EmbeddedRefused(
            f"{path} cannot be opened ({error.strerror}): choose a home that you can write to, or set"
            " LOYALTY_DATABASE_URL to a PostgreSQL that you run."
        ) from error


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise EmbeddedRefused(
            "The embedded PostgreSQL runs on Linux and macOS only: set LOYALTY_DATABASE_URL to a"
            " PostgreSQL that you run."
        )
