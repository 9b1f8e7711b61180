"""Tie a child's life to its parent's, where the system can."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


class Lifeline:
    """Have Linux send the child a signal when its parent dies, however it dies.

    To be called between fork and exec: after the change of account, which would cancel the wish, and
    only by a parent with a single thread.
    """

    def __init__(self, number: signal.Signals) -> None:
        self._number = int(number)
        self._library = ctypes.CDLL(None)
        self._parent = os.getpid()

    def __call__(self) -> None:
        self._library.prctl(_PR_SET_PDEATHSIG, self._number, 0, 0, 0)
        if os.getppid() != self._parent:  # it died before the wish was made
            os._exit(1)


def tie(number: signal.Signals) -> Lifeline | None:
    """Make a lifeline for `preexec_fn`; None where the system knows no such thing."""
    return Lifeline(number) if sys.platform == "linux" else None
