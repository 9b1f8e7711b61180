from datetime import timedelta
from typing import Final

LEASE: Final = timedelta(minutes=5)
_FIRST_PAUSE: Final = timedelta(seconds=5)
_LONGEST_PAUSE: Final = timedelta(minutes=10)
_FAILING_AFTER: Final = 5


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many failures in a row: twice as long each time, ten minutes at most."""
    return min(_FIRST_PAUSE * (1 << min(attempts - 1, 10)), _LONGEST_PAUSE)


def state_of(*, is_leased: bool, attempts: int) -> str:
    """Name how a job stands: running, waiting, retrying, or failing when it failed again and again."""
    if is_leased:
        return "running"
    if attempts == 0:
        return "waiting"
    return "failing" if attempts >= _FAILING_AFTER else "retrying"
