"""Statements that do not need each other's answers, sent to the database as one.

Coroutines are run side by side until each has asked for something; what they ask for goes together, and each goes on
with its own answer.
"""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import suppress
from functools import cache, partial
from types import coroutine
from typing import Any, Final, NamedTuple

from loyalty.core.writing import numbered_from

Part = Coroutine[Any, Any, Any]


class Question(NamedTuple):
    """A statement with its values, whose rows somebody waits for."""

    statement: str
    values: tuple[Any, ...]


class _Asked(tuple[Question, ...]):
    """What a part hands to whoever runs it; nothing else that it waits for is of this kind."""

    __slots__ = ()


class _Result(NamedTuple):
    value: Any


@coroutine
def asked(questions: Sequence[Question]) -> Generator[_Asked, list[list[Any]], list[list[Any]]]:
    """Let whoever runs this part ask; return the rows that answer each question."""
    return (yield _Asked(questions))


async def run_at_once(
    parts: Sequence[Part], ask: Callable[[Sequence[Question]], Awaitable[list[list[Any]]]]
) -> list[Any]:
    """Run parts to their ends and return their results, asking at once what they ask at the same time.

    In the order of the parts. What one raises, or who answers, is raised in all of them.
    """
    results: list[Any] = [None] * len(parts)
    answers: dict[int, Any] = dict.fromkeys(range(len(parts)))
    try:
        while answers:
            waiting: dict[int, _Asked] = {}
            for place, answer in answers.items():
                came = await _step(partial(parts[place].send, answer), parts[place])
                if isinstance(came, _Result):
                    results[place] = came.value
                else:
                    waiting[place] = came
            found = iter(await ask([own for many in waiting.values() for own in many])) if waiting else iter(())
            answers = {place: [next(found) for _ in many] for place, many in waiting.items()}
    except BaseException as error:
        for part in parts:
            await _end(part, error)
        raise
    return results


async def _end(part: Part, error: BaseException) -> None:
    """Let a part that has not ended hear why it ends, and do what it does then; what it asks is not answered."""
    with suppress(Exception, CancelledError):
        await _step(partial(part.throw, error), part)
        part.close()


@coroutine
def _step(resume: Callable[[], Any], part: Part) -> Generator[Any, Any, _Asked | _Result]:
    """Run a part until it asks or ends; whatever else it waits for is waited for here."""
    while True:
        try:
            came = resume()
        except StopIteration as end:
            return _Result(end.value)
        if isinstance(came, _Asked):
            return came
        try:
            resume = partial(part.send, (yield came))
        except BaseException as error:  # noqa: BLE001 -- it is the part's to take or to pass on
            resume = partial(part.throw, error)


def as_one(questions: Sequence[Question]) -> Question:
    """Return the one question whose only row begins with the answers to all, each an array of rows, in this order.

    They are answered, and their rows locked, one after the other, but as of one instant: none sees what another writes.
    """
    statement = _combined(tuple((own.statement, len(own.values)) for own in questions))
    return Question(statement, tuple(value for own in questions for value in own.values))


@cache
def _combined(asked: tuple[tuple[str, int], ...]) -> str:
    first, parts = 1, []
    for statement, values in asked:
        parts.append(numbered_from(statement, first))
        first += values
    named = ", ".join(f"answer_{number} AS ({part})" for number, part in enumerate(parts))
    rows = ", ".join(f"ARRAY(SELECT answer_{number} FROM answer_{number})" for number in range(len(parts)))  # noqa: S608 -- numbers
    # Within rows asyncpg reads what it knows: lists of bigint only once a statement of the connection has shown one.
    return f"WITH {named} SELECT {rows}, NULL::bigint[]"


AT_ONCE: Final = "statements_at_once"
"""Under this name a session's `info` tells whether parts are being run that hand on what they ask."""
