"""Random weeks of a program, driven through the doors and followed by a plain model that knows nothing of SQL.

Hypothesis draws settings and whole programs of steps; each runs in a program of its own. After every step all wallets
and lots equal the model's, refusals too are as it said; at the end so are all entries and the stock, and the books are
proven. LOYALTY_HYPOTHESIS_EXAMPLES asks for a longer run.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from sqlalchemy import text
from tests.points.plain_model import (
    ADVOCATE_POINTS,
    FRIEND_POINTS,
    MINIMUM_CENTS,
    Line,
    Lot,
    Member,
    Order,
    Program,
    Refused,
)
from tests.shop import Json, Shop, open_shop

from loyalty.core import ids
from loyalty.core.clock import rfc3339
from loyalty.core.db import transaction

T = TypeVar("T")
EXAMPLES = int(os.environ.get("LOYALTY_HYPOTHESIS_EXAMPLES", "25"))
STEPS = 50
COSTS = (7, 30, 120)
STOCKS = (None, 4, None)

_log = logging.getLogger("tests.ledger_machine")
_taken: Counter[str] = Counter()
_effects: Counter[str] = Counter()

WEIGHTS = {
    "enrol": 2,
    "order": 9,
    "place": 3,
    "pay": 3,
    "deliver": 4,
    "redeem": 6,
    "cancel": 4,
    "hold": 6,
    "capture": 4,
    "release": 2,
    "give_back": 6,
    "call_off": 1,
    "adjust": 5,
    "extend": 2,
    "reinstate": 2,
    "transfer": 3,
    "merge": 2,
    "erase": 1,
    "standing": 2,
    "replay": 4,
    "again": 2,
    "advance": 7,
    "change": 3,
    "look": 1,
}
CENTS = (1, 299, 300, 900, 1_499, 1_999, 2_000, 2_001, 4_350, 5_000, 12_345, 40_000)
HOURS = (1, 5, 23, 24, 49, 121, 240, 500)
SETTINGS: dict[str, tuple[Any, ...]] = {
    "expiry": (
        {"kind": "never"},
        {"kind": "after", "days": 3},
        {"kind": "after", "days": 10, "round_up_to": "month"},
        {"kind": "after", "months": 1},
        {"kind": "after", "months": 1, "round_up_to": "year"},
        {"kind": "dates", "dates": ["01-10", "02-29", "03-29", "12-31"]},
        {"kind": "inactivity", "days": 2},
        {"kind": "inactivity", "months": 1},
    ),
    "activation": ({"kind": "at_once"}, {"kind": "delay", "days": 2}, {"kind": "delivery"}),
    "clawback": ("allow_debt", "clamp_to_zero", "pending_only", "allow_debt"),
    "expired_lot": ("restore_with_grace", "new_lot", "forfeit"),
    "grace_days": (1, 9, 30),
}
ZONES = ("Europe/Berlin", "America/Santiago", "Asia/Beirut", "Asia/Kathmandu")
BEGINNINGS = tuple(
    datetime(*day, 12, tzinfo=UTC) for day in ((2026, 1, 1), (2026, 3, 26), (2027, 12, 29), (2028, 2, 26))
)
WALLETS = """
    SELECT member_id, pending, available, held, debt, version, active_at, next_due_at FROM wallets
    WHERE program_id = :id ORDER BY member_id
"""
LOTS = """
    SELECT member_id, granted, remaining, reserved, activated_at IS NULL AND remaining > 0 AS pending,
        activates_at, expires_at, idle_days, idle_months, id
    FROM lots WHERE program_id = :id ORDER BY member_id, id
"""
ENTRIES = """
    SELECT member_id, kind, from_account, to_account, points, occurred_at FROM entries
    WHERE program_id = :id ORDER BY member_id, version
"""
Step = tuple[str, int, int]
steps = st.tuples(
    st.sampled_from([what for what, weight in WEIGHTS.items() for _ in range(weight)]),
    st.integers(0, 999),
    st.integers(0, 999),
)
terms_at_first = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in SETTINGS.items()})


@dataclass
class Sent:
    """A request that succeeded, to be sent again later on."""

    path: str
    body: Json
    key: str
    reply: httpx.Response


class Machine:
    def __init__(self, shop: Shop, model: Program, rewards: list[str]) -> None:
        self.shop = shop
        self.model = model
        self.rewards = rewards
        self.sent: list[Sent] = []
        self.forgotten: set[str] = set()
        self.named: list[Sent] = []

    @classmethod
    async def open(
        cls, client: httpx.AsyncClient, app: Litestar, *, zone: str, begins: datetime, terms: Json
    ) -> "Machine":
        """A program with two rules that round differently, a referral that asks for 20 euros, and three rewards."""
        shop = await open_shop(client, app, zone=zone)
        await shop.send("PATCH", "/v1/program", terms, expect=200)
        await shop.post("/v1/test-clock/advance", {"to": rfc3339(begins)}, expect=200)
        rule = {"kind": "points_per_amount", "points": 1, "step_minor": {"EUR": 300}, "rounding": "half_up"}
        await shop.post("/v1/earning-rules", {"name": "extra", "terms": rule})
        campaign = {"name": "min", "landing_url": "https://shop.test/", "minimum": euros(MINIMUM_CENTS)}
        points = {"advocate_points": ADVOCATE_POINTS, "referee_points": FRIEND_POINTS}
        await shop.post("/v1/referral-campaigns", {**campaign, **points})
        rewards = [await shop.reward(cost, stock=stock) for cost, stock in zip(COSTS, STOCKS, strict=True)]
        model = Program(now=begins, zone=zone, costs=COSTS, stock=STOCKS)
        model.settings.update(terms)
        return cls(shop, model, [reward["id"] for reward in rewards])

    async def step(self, step: Step) -> None:
        what, which, detail = step
        await getattr(self, what)(which, detail)
        self.model.settle()
        await self.wallets_and_lots_agree()
        _taken[what] += 1

    async def enrol(self, which: int, invited: int) -> None:
        advocate = _pick(self.model.members, which) if invited % 4 else None
        body: Json = {"external_id": f"person-{len(self.model.members)}"}
        if advocate is not None:
            body["referral_code"] = advocate.code
        member = self.model.enrol(advocate)
        reply = await self._send("/v1/members", body, 201)
        member.id, member.customer_id, member.code = reply["id"], reply["customer_id"], reply["referral_code"]
        assert (reply["attribution"]["referral_id"] is not None) is member.waits_for_order

    async def order(self, which: int, detail: int) -> None:
        await self._order(which, detail, paid=True)

    async def place(self, which: int, detail: int) -> None:
        await self._order(which, detail, paid=False)

    async def pay(self, which: int, detail: int) -> None:
        order = self._order_that(which, detail, lambda order: not order.paid and not order.cancelled)
        if order is not None:
            done = await self._ask(f"/v1/orders/{order.id}/payments", {}, lambda: self.model.pay(order))
            assert done is None or (done[1]["referral"] is not None) is done[0]

    async def deliver(self, which: int, detail: int) -> None:
        order = self._order_that(which, detail, lambda order: not order.delivered and not order.cancelled)
        if order is not None:
            await self._ask(f"/v1/orders/{order.id}/deliveries", {}, lambda: self.model.deliver(order))

    async def redeem(self, which: int, detail: int) -> None:
        reward = detail % len(COSTS)
        while reward and detail % 8 and max(own.spendable for own in self.model.members) < COSTS[reward]:
            reward -= 1
        member = self._member_with(COSTS[reward], which, detail)
        body = {"member_id": member.id, "reward_id": self.rewards[reward]}
        done = await self._ask("/v1/redemptions", body, lambda: self.model.redeem(member, reward))
        if done is not None:
            done[0].id = done[1]["id"]
            assert done[1]["balance_after"] == member.pending + member.available + member.held - member.debt

    async def cancel(self, which: int, detail: int) -> None:
        """One whose lots have ended meanwhile, if there is one; now and then one that is cancelled already."""
        live = [redemption for redemption in self.model.redemptions if not redemption.cancelled]
        over = [own for own in live if any(self.model.is_over(own.member, lot) for lot, _ in own.takes)]
        redemption = _pick(over or live if detail % 4 else self.model.redemptions, which)
        if redemption is not None:
            path = f"/v1/redemptions/{redemption.id}/cancellation"
            await self._ask(path, {}, lambda: self.model.cancel(redemption))

    async def hold(self, which: int, detail: int) -> None:
        member = self._member_with(1, which, detail)
        points = 1 + detail if detail % 8 == 0 else 1 + detail % max(1, member.spendable)
        seconds = (10, 900, 86_400, 200_000, 604_800)[which % 5]
        body = {"member_id": member.id, "points": points, "expires_in_seconds": seconds}
        done = await self._ask("/v1/holds", body, lambda: self.model.hold(member, points, seconds))
        if done is not None:
            done[0].id = done[1]["id"]

    async def capture(self, which: int, detail: int) -> None:
        live = [hold for hold in self.model.holds if hold.ended_by is None]
        hold = _pick(live if detail % 4 else self.model.holds, which)
        if hold is not None:
            points = (None, 1 + detail % hold.points, hold.points, detail + 1)[which % 4]
            body = {} if points is None else {"points": points}
            path = f"/v1/holds/{hold.id}/capture"
            done = await self._ask(path, body, lambda: self.model.capture(hold, points), tells_new=True)
            assert done is None or (done[1]["state"], done[1]["captured"]) == (hold.ended_by, hold.captured)

    async def release(self, which: int, detail: int) -> None:
        live = [hold for hold in self.model.holds if hold.ended_by is None]
        hold = _pick(live if detail % 4 else self.model.holds, which)
        if hold is not None:
            path = f"/v1/holds/{hold.id}/release"
            await self._ask(path, None, lambda: self.model.release(hold), tells_new=True)

    async def give_back(self, which: int, detail: int) -> None:
        """Return everything, pieces of a line, an amount of it, both, or an amount spread over all lines."""
        order = self._order_to_undo(which, detail)
        if order is None:
            return
        number = 1 + which % (len(order.lines) + (detail % 16 == 0))
        quantity, cents = 1 + detail % 2, 1 + detail * 7
        one, both = {"line": number, "quantity": quantity}, {"line": number, "quantity": 1, "total": euros(cents)}
        ways: tuple[tuple[Json, dict[int, tuple[int, int | None]] | None, int | None], ...] = (
            ({}, None, None),
            ({"lines": [one]}, {number: (quantity, None)}, None),
            ({"lines": [both]}, {number: (1, cents)}, None),
            ({"lines": [{"line": number, "total": euros(cents)}]}, {number: (0, cents)}, None),
            ({"total": euros(cents)}, None, cents),
        )
        what, lines, amount = ways[detail % 5]
        body = {**what, "external_id": f"return-{len(self.sent)}"}
        path = f"/v1/orders/{order.id}/returns"
        done = await self._ask(path, body, lambda: self.model.give_back(order, lines=lines, cents=amount))
        assert done is None or done[1]["points_reversed"] == done[0]

    async def call_off(self, which: int, detail: int) -> None:
        order = self._order_to_undo(which, detail)
        if order is not None:
            path = f"/v1/orders/{order.id}/cancellation"
            await self._ask(path, {}, lambda: self.model.give_back(order, cancels=True))

    async def adjust(self, which: int, detail: int) -> None:
        gives = detail % 3 > 0
        member = self._member(which) if gives else self._member_with(1, which, detail)
        points = 1 + detail % 120 if gives else -1 - detail % max(60, member.spendable)
        hours = ((None, None), (None, 30), (20, None), (20, 70), (20, 20), (-1, None), (None, 0), (None, None))
        begins_at, ends_at = (self._in(number) for number in hours[detail % 8])
        body: Json = {"member_id": member.id, "points": points, "reason": "drawn"}
        body |= {"external_id": f"adjustment-{len(self.sent)}"}
        body |= {"activates_at": rfc3339(begins_at)} if begins_at else {}
        body |= {"expires_at": rfc3339(ends_at)} if ends_at else {}
        await self._ask("/v1/adjustments", body, lambda: self.model.adjust(member, points, begins_at, ends_at))

    async def extend(self, which: int, detail: int) -> None:
        found = self._lot_that(which, detail, lambda lot: lot.free > 0 and not lot.pending and lot.ends_some_day)
        await self._until(found, "extension", self.model.extend, hours=24 * (detail % 60))

    async def reinstate(self, which: int, detail: int) -> None:
        gone = {id(lapse.lot) for own in self.model.members for lapse in own.lapses if lapse.points}
        found = self._lot_that(which, detail, lambda lot: id(lot) in gone)
        await self._until(found, "reinstatement", self.model.reinstate, hours=24 * (detail % 10))

    async def transfer(self, which: int, detail: int) -> None:
        giver = self._member_with(1, which, detail)
        others = [own for own in self.model.members if own is not giver]
        receiver = others[detail % len(others)] if others and detail % 9 else giver
        points = 1 + detail if detail % 8 == 0 else 1 + detail % max(1, giver.spendable)
        body = {"from_member_id": giver.id, "to_member_id": receiver.id, "points": points}
        await self._ask("/v1/transfers", body, lambda: self.model.transfer(giver, receiver, points))

    async def merge(self, which: int, detail: int) -> None:
        """Mostly two members who were not merged before."""
        members = self.model.members
        among = [own for own in members if own.heir is None] if detail % 8 else members
        giver, receiver = among[which % len(among)], among[detail % len(among)]
        if len(among) > 1 and giver is receiver and detail % 8 != 1:
            receiver = among[(which + 1) % len(among)]
        body = {"from_member_id": giver.id, "into_member_id": receiver.id, "reason": "drawn"}
        await self._ask("/v1/member-merges", body, lambda: self.model.merge(giver, receiver))

    async def erase(self, which: int, detail: int) -> None:
        """Every fourth time, lest the program dies out."""
        member = self._member(which)
        if detail % 4 == 0:
            await self.shop.post(f"/v1/members/{member.id}/erasure", {"reason": "drawn"}, expect=200)
            member.close()
            self.forgotten.add(f"person-{self.model.members.index(member)}")

    async def standing(self, which: int, detail: int) -> None:
        member = self._member(which)
        if member.closed:
            return
        suspends = (None, None, None, "earn", "burn", "both")[detail % 6]
        status = "active" if suspends is None else "suspended"
        closes = detail % 20 == 19
        body: Json = {"status": "closed" if closes else status, "reason": "drawn"}
        if suspends is not None and not closes:
            body["suspends"] = suspends
        await self.shop.post(f"/v1/members/{member.id}/status-changes", body)
        member.may_earn = suspends not in {"earn", "both"}
        member.may_burn = suspends not in {"burn", "both"}
        if closes:
            member.close()

    async def replay(self, which: int, _: int) -> None:
        """Any earlier request again, with its key: the reply is the first one's, and nothing happens."""
        sent = self.sent[which % len(self.sent)]
        reply = await self.shop.send("POST", sent.path, sent.body, key=sent.key)
        if sent.body is not None and sent.body.get("external_id") in self.forgotten:
            return
        assert (reply.status_code, self._today(reply)) == (sent.reply.status_code, self._today(sent.reply)), sent.path
        assert reply.headers["idempotency-replayed"] == "true"

    async def again(self, which: int, _: int) -> None:
        """An earlier order, return or adjustment again, with a key of its own: it is the same one."""
        sent = _pick(self.named, which)
        if sent is not None:
            await self._send(sent.path, sent.body, 200)
            assert self._today(self.sent[-1].reply) == self._today(sent.reply)

    async def advance(self, which: int, detail: int) -> None:
        """To the very instant at which something is due next, to a second before it, or by hours to weeks."""
        to = self.model.now + timedelta(hours=HOURS[which % len(HOURS)])
        dues = [due[0] for own in self.model.members if (due := self.model.next_due(own)) is not None]
        if dues and detail % 3 == 0:
            to = min(dues)
        if dues and detail % 9 == 1:
            to = max(self.model.now, min(dues) - timedelta(seconds=1))
        self.model.now = to
        await self.shop.post("/v1/test-clock/advance", {"to": rfc3339(to)}, expect=200)

    async def change(self, which: int, detail: int) -> None:
        name = list(SETTINGS)[which % len(SETTINGS)]
        self.model.settings[name] = SETTINGS[name][detail % len(SETTINGS[name])]
        await self.shop.send("PATCH", "/v1/program", {name: self.model.settings[name]}, expect=200)

    async def look(self, which: int, _: int) -> None:
        await self.is_shown(self._member(which))

    async def is_shown(self, own: Member) -> None:
        shown = await self.shop.wallet(own.id)
        found = {name: shown[name] for name in ("pending", "available", "held", "debt", "spendable", "version")}
        assert found == {name: getattr(own, name) for name in found}
        expiring = [(self.model.end(own, lot), lot.free) for lot in own.lots if not lot.pending]
        starting = [(lot.begins_at, lot.remaining) for lot in own.lots if lot.pending]
        assert (shown["expiring"], shown["starting"]) == (_summed(expiring), _summed(starting))

    async def wallets_and_lots_agree(self) -> None:
        """What a change left due is shown to readers at once, and written by the next who comes: here the clock."""
        wallets, lots = await self._rows(WALLETS, LOTS)
        late = {_public(row[0]) for row in wallets if row.next_due_at is not None and row.next_due_at <= self.model.now}
        if late:
            for own in self.model.members:
                if own.id in late:
                    await self.is_shown(own)
            await self.shop.post("/v1/test-clock/advance", {"to": rfc3339(self.model.now)}, expect=200)
            wallets, lots = await self._rows(WALLETS, LOTS)
        in_order = sorted(self.model.members, key=lambda own: own.id)
        found = [(_public(row[0]), *row[1:7]) for row in wallets]
        assert found == [
            (own.id, own.pending, own.available, own.held, own.debt, own.version, own.active_at) for own in in_order
        ]
        found = [(_public(row[0]), *row[1:5], row.pending and row.activates_at, *row[6:9]) for row in lots]
        assert found == [(own.id, *_facts(lot)) for own in in_order for lot in own.lots]
        for lot, row in zip((lot for own in in_order for lot in own.lots), lots, strict=True):
            lot.id = ids.public("lot", row.id)
        for own, row in zip(in_order, wallets, strict=True):
            due = self.model.next_due(own)
            assert due is None or (row.next_due_at is not None and row.next_due_at <= due[0])

    async def books_agree(self) -> None:
        """Every entry is the model's, and what came in less what went out is what the members have."""
        entries, wallets = await self._rows(ENTRIES, WALLETS)
        found = [(_public(row[0]), *row[1:]) for row in entries]
        in_order = sorted(self.model.members, key=lambda own: own.id)
        assert found == [(own.id, *entry) for own in in_order for entry in own.journal]
        books: Counter[str] = Counter()
        for _, kind, origin, target, points, _ in found:
            books[target] += points
            books[origin] -= points
            _effects[kind] += 1
        own_accounts = sum(books.pop(account, 0) for account in ("pending", "available", "held", "debt"))
        assert own_accounts == sum(row.pending + row.available + row.held - row.debt for row in wallets)
        assert own_accounts == -books.total()
        assert books["transferred"] == 0
        stock = [(await self.shop.get(f"/v1/rewards/{reward}"))["stock_left"] for reward in self.rewards]
        assert stock == self.model.stock

    async def _order(self, which: int, detail: int, *, paid: bool) -> None:
        """Order by a member, or now and then by nobody known; mostly now, sometimes reported some days late."""
        buyer = _pick([*self.model.members, None] if detail % 7 == 0 else self.model.members, which)
        late = timedelta(hours=which % 160 if detail % 11 == 0 else 0)
        wanted = [(CENTS[(detail + number) % len(CENTS)], 1 + (detail + number) % 3) for number in range(1 + which % 3)]
        lines = [{"sku": f"sku-{cents}", "quantity": quantity, "total": euros(cents)} for cents, quantity in wanted]
        body: Json = {"external_id": f"order-{len(self.sent)}", "currency": "EUR", "lines": lines}
        body |= {"customer_id": buyer.customer_id} if buyer else {}
        body |= {} if paid else {"status": "placed"}
        body |= {"placed_at": rfc3339(self.model.now - late)} if late else {}
        bought = [Line(quantity, cents) for cents, quantity in wanted]
        order, completed = self.model.order(buyer, bought, paid=paid, at=self.model.now - late)
        reply = await self._send("/v1/orders", body, 201)
        order.id = reply["id"]
        assert (reply["points_earned"], reply["referral"] is not None) == (sum(order.earned), completed)

    async def _until(
        self,
        found: tuple[Member, Lot] | None,
        what: str,
        decide: Callable[[Member, Lot, datetime], None],
        *,
        hours: int,
    ) -> None:
        if found is not None:
            own, lot = found
            until = self.model.now + timedelta(hours=hours)
            body = {"expires_at": rfc3339(until), "reason": "drawn"}
            await self._ask(f"/v1/lots/{lot.id}/{what}", body, lambda: decide(own, lot, until))

    async def _ask(
        self, path: str, body: Any, decide: Callable[[], T], *, tells_new: bool = False
    ) -> tuple[T, Json] | None:
        """Send what the model decides on: what it refuses is refused and changes nothing; None then."""
        try:
            decided = decide()
        except Refused as refusal:
            await self._refused(path, body, refusal)
            return None
        return decided, await self._send(path, body, 200 if tells_new and not decided else 201)

    async def _refused(self, path: str, body: Any, refusal: Refused) -> None:
        """No wallet, lot or entry may change; now and then it is seen that nothing at all did."""
        _effects[refusal.code] += 1
        if _effects[refusal.code] % 4 == 1:
            await self.shop.refuses("POST", path, body, status=refusal.status, code=refusal.code)
        else:
            reply = await self.shop.send("POST", path, body, expect=refusal.status)
            assert reply.json()["code"] == refusal.code

    async def _send(self, path: str, body: Any, expect: int) -> Json:
        """Send a request, now and then after a trial of it."""
        key = f"key-{len(self.sent)}"
        if len(self.sent) % 10 == 9 and path != "/v1/members":
            await self.shop.send("POST", f"{path}?dry_run=true", body, expect=200)
        reply = await self.shop.send("POST", path, body, key=key, expect=expect)
        assert "idempotency-replayed" not in reply.headers
        self.sent.append(Sent(path, body, key, reply))
        if expect == 201 and path != "/v1/members" and "external_id" in (body or {}):
            self.named.append(self.sent[-1])
        _effects[f"{path.rsplit('/', 1)[-1]} {expect}"] += 1
        return dict(reply.json())

    async def _rows(self, *queries: str) -> list[list[Any]]:
        async with transaction(self.shop.sessions) as session:
            own = {"id": self.shop.program.id}
            return [list((await session.execute(text(query), own)).all()) for query in queries]

    def _today(self, reply: httpx.Response) -> str:
        """A reply as it reads now that some members stand for others, whose referrals may have become theirs."""
        told = reply.text
        if any(own.heir for own in self.model.members) and "attribution" in reply.json():
            told = json.dumps({**reply.json(), "attribution": None})
        for own in self.model.members:
            told = told.replace(own.id, own.stands.id).replace(own.customer_id, own.stands.customer_id)
        return told

    def _in(self, hours: int | None) -> datetime | None:
        return None if hours is None else self.model.now + timedelta(hours=hours)

    def _order_that(self, which: int, detail: int, fits: Callable[[Order], bool]) -> Order | None:
        orders = self.model.orders
        return _pick([order for order in orders if fits(order)] if detail % 4 else orders, which)

    def _order_to_undo(self, which: int, detail: int) -> Order | None:
        """Every other time one whose points are spent or held, if there is one."""
        spent = [own for own in self.model.orders if own.buyer and own.points_left > own.buyer.available]
        live = [own for own in spent if not own.cancelled]
        return (
            _pick(live, which)
            if live and detail % 2
            else self._order_that(which, detail, lambda own: not own.cancelled)
        )

    def _member(self, which: int) -> Member:
        return self.model.members[which % len(self.model.members)]

    def _member_with(self, points: int, which: int, detail: int) -> Member:
        """One who can spend so many points, if there is one; now and then anybody."""
        members = self.model.members
        able = [own for own in members if own.may_burn and own.spendable >= points]
        among = able if able and detail % 4 else members
        return among[which % len(among)]

    def _lot_that(self, which: int, detail: int, fits: Callable[[Lot], bool]) -> tuple[Member, Lot] | None:
        found = [(own, lot) for own in self.model.members for lot in own.lots]
        return _pick([(own, lot) for own, lot in found if fits(lot)] if detail % 4 else found, which)


@pytest.fixture(scope="module", autouse=True)
def told() -> Iterator[None]:
    """Say at the end how many steps of each kind were taken, and what came of them."""
    yield
    _log.info("%d steps: %s; what they did: %s", _taken.total(), dict(_taken), dict(_effects))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="LOYALTY_HYPOTHESIS_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(
    zone=st.sampled_from(ZONES),
    begins=st.sampled_from(BEGINNINGS),
    terms=terms_at_first,
    program=st.lists(steps, min_size=STEPS, max_size=2 * STEPS),
)
async def test_the_ledger_does_what_a_plain_model_does(
    client: httpx.AsyncClient, app: Litestar, zone: str, begins: datetime, terms: Json, program: list[Step]
) -> None:
    machine = await Machine.open(client, app, zone=zone, begins=begins, terms=terms)
    await machine.enrol(0, 0)
    for step in program:
        await machine.step(step)
    for own in machine.model.members:
        await machine.is_shown(own)
    await machine.books_agree()
    await machine.shop.books_hold()


def _facts(lot: Lot) -> tuple[Any, ...]:
    waits = lot.pending and lot.remaining > 0
    return (lot.granted, lot.remaining, lot.reserved, waits, waits and lot.begins_at, lot.expires_at, *lot.idle)


def _summed(parts: list[tuple[datetime | None, int]]) -> list[Json]:
    totals: Counter[datetime] = Counter()
    for at, points in parts:
        if at is not None:
            totals[at] += points
    return [{"at": rfc3339(at), "points": points} for at, points in sorted(totals.items()) if points][:5]


def _pick(things: Sequence[T], which: int) -> T | None:
    return things[which % len(things)] if things else None


def _public(member_id: Any) -> str:
    return ids.public("mem", member_id)


def euros(cents: int) -> Json:
    return {"amount": cents, "currency": "EUR"}
