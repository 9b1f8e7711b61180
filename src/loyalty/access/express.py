"""The short way of one operation: requests of one program that wait at the same time are done in one transaction."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, TypeVar
from uuid import UUID

import msgspec
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from loyalty.access import service as access
from loyalty.access.guards import fingerprints
from loyalty.access.rules import Caller, Credential, Scope, read_credential
from loyalty.core import clock, idempotency
from loyalty.core.db import constraint_of, sqlstate_of
from loyalty.core.errors import Invalid
from loyalty.core.express import Address, Parcel, Reply
from loyalty.core.grouping import Groups, Load
from loyalty.core.idempotency import Call
from loyalty.core.problems import Busy
from loyalty.core.rows import at_once, hurried
from loyalty.core.signing import Keyring
from loyalty.programs.rules import Program

T = TypeVar("T")
R = TypeVar("R")

_log: Final = logging.getLogger("loyalty.express")
_PATIENCE_MS: Final = 250
"""So long a group waits for a lock: one whose wallet somebody holds for long should keep nobody else waiting.

Less than PostgreSQL's own patience (deadlock_timeout, 1 s): a group takes an order's external id last, and where
somebody else has it and waits for what the group holds, it is the group that gives up.
"""
_ALREADY_THERE: Final = "23505"
_MOST_CALLERS: Final = 1_000
_CALLERS: Final[dict[Credential, Caller]] = {}
"""Who called before. Nobody is let in by this: it is asked anew each time, and only not waited for."""
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError, ValidationError, Invalid)


@dataclass(frozen=True, eq=False)
class Wanted(Generic[T]):
    """What somebody wants just now, with which of the program's keys; a write also as which call."""

    credential: Credential
    call: Call
    what: T


class LeftOut(Exception):
    """These calls are to be done alone, and the others anew without them: nothing of the group is to stay."""

    def __init__(self, calls: Collection[Call]) -> None:
        super().__init__()
        self.calls = calls


class Together(ABC, Generic[T, R]):
    """Does what is asked of one program at the same time together, and each alone where that does not go."""

    operation: ClassVar[str]
    address: ClassVar[Address]
    scope: ClassVar[Scope]
    has_key: ClassVar[bool] = True
    """Whether the operation is done once under an Idempotency-Key."""

    def __init__(self, engine: AsyncEngine, keyring: Keyring, load: Load) -> None:
        """Take what all that is done together shares."""
        self._engine = engine
        self._keyring = keyring
        self._groups: Groups[UUID, Wanted[T], R | None] = Groups(self._do_group, load)

    @abstractmethod
    def read(self, content: Any, *, named: str) -> T | None:
        """Read what is asked, of a body and the thing that the address names; None for what is out of the ordinary."""

    @abstractmethod
    async def do(
        self, session: AsyncSession, *, program: Program, wanted: Sequence[Wanted[T]], now: datetime
    ) -> Sequence[R | None]:
        """Do what is wanted of a program; None for each that is to be done alone, of which nothing happened.

        It is a part of `at_once`: what the database refuses ends all of it, savepoints or not. Raises LeftOut where
        some are found too late to be done alone.
        """

    @abstractmethod
    def reply(self, done: R) -> Reply:
        """Write the reply."""

    async def __call__(self, parcel: Parcel) -> Reply | None:
        """Do it and reply; None if it is to go the long way. Raises TooManyWaiting, Busy."""
        wanted = self._read(parcel)
        if wanted is None:
            return None
        done = await self.submit(wanted)
        return None if done is None else self.reply(done)

    async def submit(self, wanted: Wanted[T]) -> R | None:
        """Do this with what else is wanted just now; None if it is to be done alone. Raises TooManyWaiting, Busy."""
        return await self._groups.submit(wanted.credential.program_id, wanted)

    def _read(self, parcel: Parcel) -> Wanted[T] | None:
        credential = read_credential(parcel.credential)
        if credential is None:
            return None
        try:
            content = msgspec.json.decode(parcel.body) if parcel.body else None
            what = self.read(content, named=parcel.named)
            key = idempotency.read_key(parcel.key) if self.has_key else ""
        except _UNREADABLE:
            return None
        if what is None:
            return None
        asked = fingerprints(self._keyring, path=parcel.path, content=content) if self.has_key else ()
        return Wanted(credential, Call(credential.program_id, self.operation, key, asked), what)

    async def _do_group(self, _: UUID, wanted: Sequence[Wanted[T]]) -> Sequence[R | None]:
        """Do a group, or nothing of it: each goes the long way then, where what was wrong with it is told.

        Where somebody else has just made what one of them makes, that is seen the second time; those that are left out
        go the long way, and the others are done without them. Raises Busy if there is no connection: each would only
        wait for one once more.
        """
        rest = wanted
        for is_last in (False, True):
            try:
                done = dict(zip(rest, await self._done(rest), strict=True))
                return [done.get(own) for own in wanted]
            except PoolTimeoutError as error:
                raise Busy from error
            except LeftOut as error:
                rest = [own for own in rest if own.call not in error.calls]
                if rest and not is_last:
                    continue
            except DBAPIError as error:
                if sqlstate_of(error) == _ALREADY_THERE and not is_last:
                    continue
                # Only what names no value: the driver's own message may show a row, and rows hold personal data.
                facts = {"sqlstate": sqlstate_of(error), "constraint": constraint_of(error)}
                _log.warning("%s: not done together: %s", self.operation, type(error.orig).__name__, extra=facts)
            except Exception:  # noqa: BLE001 -- whatever it was, one by one they will tell
                _log.warning("%s: not done together", self.operation, exc_info=True)
            break
        return [None] * len(wanted)

    async def _done(self, wanted: Sequence[Wanted[T]]) -> list[R | None]:
        """Do a group: at once, if all are as they were when they called before, which is asked beside all else."""
        known = {own.credential: _CALLERS.get(own.credential) for own in wanted}
        callers = {credential: caller for credential, caller in known.items() if caller is not None}
        if len(callers) == len(known):
            try:
                return await self._attempt(wanted, callers)
            except Exception as error:
                for credential in callers:  # whatever it was, the next attempt lets nobody begin who may not
                    _CALLERS.pop(credential, None)
                if not isinstance(error, _CallersChanged):
                    raise
        return await self._attempt(wanted, None)

    async def _attempt(self, wanted: Sequence[Wanted[T]], known: dict[Credential, Caller] | None) -> list[R | None]:
        reads = self.address.method == "GET"
        async with hurried(self._engine, lock_timeout_ms=_PATIENCE_MS, is_snapshot=reads) as session:
            real_now = clock.now()  # only now: a key may end while a connection is waited for
            if known is not None:
                _, done = await at_once(
                    session,
                    _check(session, known, real_now=real_now),
                    self._do_for(session, wanted, known, real_now=real_now),
                )
                return done
            credentials = {own.credential for own in wanted}
            callers = await access.authenticate_keys(session, credentials=credentials, real_now=real_now)
            if len(_CALLERS) >= _MOST_CALLERS:
                _CALLERS.clear()
            _CALLERS.update(callers)
            return await self._do_for(session, wanted, callers, real_now=real_now)

    async def _do_for(
        self,
        session: AsyncSession,
        wanted: Sequence[Wanted[T]],
        callers: Mapping[Credential, Caller],
        *,
        real_now: datetime,
    ) -> list[R | None]:
        """Do what is wanted of those who may; None for the others."""
        done: list[R | None] = [None] * len(wanted)
        may = {credential for credential, caller in callers.items() if self.scope in caller.scopes}
        able = [place for place, own in enumerate(wanted) if own.credential in may]
        if able:
            program = callers[wanted[able[0]].credential].program
            asked = [wanted[place] for place in able]
            found = await self.do(session, program=program, wanted=asked, now=program.now(real_now))
            for place, own in zip(able, found, strict=True):
                done[place] = own
        return done


class _CallersChanged(Exception):
    """A key has ended, or its program is not as it was: what was done meanwhile is undone."""


async def _check(session: AsyncSession, known: Mapping[Credential, Caller], *, real_now: datetime) -> None:
    """Raise _CallersChanged unless all are as they are known."""
    if await access.authenticate_keys(session, credentials=known.keys(), real_now=real_now) != known:
        raise _CallersChanged
