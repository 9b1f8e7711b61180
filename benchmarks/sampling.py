"""The product's server, watched: where its CPU time goes, and which statements it runs.

`python -m benchmarks.sampling PORT` serves like `loyalty serve`. SIGUSR1 begins (again); what was seen is written
as JSON to `SAMPLING_FILE` at the end. It counts statements as asyncpg runs them, so it does not matter what lies above.
"""

import functools
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import asyncpg
import uvicorn
from asyncpg.prepared_stmt import PreparedStatement

from loyalty.app import create_app
from loyalty.core.settings import Settings

EVERY_SECONDS = 0.001  # the system rounds it up to its own tick
FETCHES = ("fetch", "fetchrow", "fetchval", "fetchmany", "executemany")
_LIBRARIES = Path(asyncpg.__file__).parents[1]


@dataclass
class Seen:
    """Samples by function: found running, and found running or waiting for what it called; statements and seconds."""

    samples: int = 0
    own: Counter[CodeType] = field(default_factory=Counter)
    within: Counter[CodeType] = field(default_factory=Counter)
    statements: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_began: float = field(default_factory=time.process_time)

    def sample(self, _: int, frame: FrameType | None) -> None:
        stack = list(_stack(frame))
        if not stack:
            return
        self.samples += 1
        self.own[stack[0]] += 1
        self.within.update(set(stack))

    def written(self) -> str:
        return json.dumps(
            {
                "samples": self.samples,
                "cpu_seconds": time.process_time() - self.cpu_began,
                "own": _named(self.own),
                "within": _named(self.within),
                "statements": {text: [len(taken), sum(taken)] for text, taken in self.statements.items()},
            }
        )


class Watch:
    """What is being seen, anew from each SIGUSR1 on."""

    def __init__(self) -> None:
        self.seen = Seen()

    def begin(self, *_: object) -> None:
        self.seen = Seen()
        signal.signal(signal.SIGPROF, self.seen.sample)
        signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)

    def statement(self, text: str, seconds: float) -> None:
        self.seen.statements[" ".join(text.split())].append(seconds)


def main(port: int) -> None:
    watch = Watch()
    _listen(watch)
    signal.signal(signal.SIGUSR1, watch.begin)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn raises it once more when it is done
    try:
        uvicorn.run(create_app(Settings()), port=port, log_level="warning", access_log=False, server_header=False)  # type: ignore[call-arg]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(os.environ["SAMPLING_FILE"]).write_text(watch.seen.written())


def _listen(watch: Watch) -> None:
    """Hear of every statement of every connection; prepared ones pass asyncpg's own query loggers by."""
    begun = asyncpg.Connection.__init__

    @functools.wraps(begun)
    def begin(connection: asyncpg.Connection, *args: Any, **options: Any) -> None:
        begun(connection, *args, **options)
        connection.add_query_logger(lambda record: watch.statement(record.query, record.elapsed))

    asyncpg.Connection.__init__ = begin
    for name in FETCHES:
        setattr(PreparedStatement, name, _timed(getattr(PreparedStatement, name), watch))


def _timed(fetch: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
    @functools.wraps(fetch)
    async def timed(statement: PreparedStatement, *args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return await fetch(statement, *args, **options)
        finally:
            watch.statement(statement.get_query(), time.perf_counter() - began)

    return timed


def _stack(frame: FrameType | None) -> Iterator[CodeType]:
    """Yield what runs, innermost first; across greenlets, in which SQLAlchemy runs what awaits."""
    greenlets = sys.modules.get("greenlet")
    inner = greenlets.getcurrent() if greenlets else None
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back
        if frame is None and inner is not None and inner.parent is not None:
            inner = inner.parent
            frame = inner.gr_frame


def _named(found: Counter[CodeType]) -> Counter[str]:
    """Name what was seen, once it is: a sample must cost little."""
    named: Counter[str] = Counter()
    for code, count in found.items():
        named[_name(code)] += count
    return named


def _name(code: CodeType) -> str:
    """Name a function by its module's path below the libraries or the product's own folder."""
    path = Path(code.co_filename)
    for root in (_LIBRARIES, Path(uvicorn.__file__).parents[1], Path("src").absolute()):
        if path.is_relative_to(root):
            path = path.relative_to(root)
            break
    else:
        path = Path("python", path.name)
    return f"{'.'.join(path.with_suffix('').parts)}:{code.co_qualname}"


if __name__ == "__main__":
    main(int(sys.argv[1]))
