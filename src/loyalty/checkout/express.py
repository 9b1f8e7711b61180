"""The short way of placing an order: those that wait at the same time are placed together."""

import logging
from collections.abc import Sequence
from uuid import UUID

import msgspec
from pydantic import ValidationError

from loyalty.access.guards import fingerprints
from loyalty.access.rules import read_credential
from loyalty.checkout import placing
from loyalty.checkout.placed_replies import placed_order_out
from loyalty.checkout.placing import Placed, Wanted
from loyalty.checkout.replies import OrderOut
from loyalty.checkout.schemas import OrderIn
from loyalty.core import clock, idempotency
from loyalty.core.db import Sessions, transaction
from loyalty.core.errors import Invalid
from loyalty.core.express import Parcel
from loyalty.core.grouping import Groups
from loyalty.core.idempotency import Call
from loyalty.core.signing import Keyring

_log = logging.getLogger("loyalty.checkout")


class OrderExpress:
    def __init__(self, sessions: Sessions, keyring: Keyring) -> None:
        self._sessions = sessions
        self._keyring = keyring
        self._groups: Groups[UUID, Wanted, Placed | None] = Groups(self._place_group)

    async def __call__(self, parcel: Parcel) -> bytes | None:
        """Place an order, and return the reply; None if it is to go the long way. Raises TooManyWaiting."""
        wanted = self._read(parcel)
        if wanted is None:
            return None
        placed = await self.place(wanted)
        return None if placed is None else msgspec.json.encode(placed)

    async def place(self, wanted: Wanted) -> OrderOut | None:
        """Place an ordinary order with what else is wanted just now; None if it is to be placed by itself.

        Raises TooManyWaiting.
        """
        placed = await self._groups.submit(wanted.credential.program_id, wanted)
        return None if placed is None else placed_order_out(placed)

    def _read(self, parcel: Parcel) -> Wanted | None:
        credential = read_credential(parcel.credential)
        if credential is None:
            return None
        try:
            content = msgspec.json.decode(parcel.body)
            basket = OrderIn.model_validate(content).basket()
            key = idempotency.read_key(parcel.key)
        except (msgspec.DecodeError, UnicodeError, RecursionError, ValidationError, Invalid):
            return None
        if not placing.is_ordinary(basket):
            return None
        asked = fingerprints(self._keyring, path=parcel.path, content=content)
        return Wanted(credential, Call(credential.program_id, placing.OPERATION, key, asked), basket)

    async def _place_group(self, _: UUID, wanted: Sequence[Wanted]) -> list[Placed | None]:
        """Place a group, or nothing of it: each goes the long way then, where what was wrong with it is told."""
        try:
            async with transaction(self._sessions) as session:
                return await placing.place(session, wanted=wanted, keyring=self._keyring, real_now=clock.now())
        except Exception:  # noqa: BLE001 -- whatever it was, one by one the orders will tell
            _log.warning("orders were not placed together", exc_info=True)
            return [None] * len(wanted)
