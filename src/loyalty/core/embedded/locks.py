"""Locks between processes that the kernel gives back, even after kill -9."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

if sys.platform != "win32":
    import fcntl


class Lock:
    """One opening of a lock file; two openings exclude each other even within one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Not inheritable, so no program started by the holder can hold on to it by accident.
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def try_shared(self) -> bool:
        """Share the lock with others who do; False while somebody has it alone."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Have the lock alone. A refusal also gives up the share held through this opening."""
        return self._try(fcntl.LOCK_EX)

    def release(self) -> None:
        """Give the lock back, also on behalf of forked copies of this opening."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Forget this opening; a process that inherited it still holds the lock."""
        os.close(self.descriptor)

    def is_current(self) -> bool:
        """Whether the path still leads to the locked file, and not to nothing or a younger one."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
