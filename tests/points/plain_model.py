"""What is promised of points, in plain Python: lists and loops that know nothing of the engine or of SQL.

Instants decide everything: `settle` belongs after every change, so that what is due has always happened already.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]
Entry = tuple[str, str, str, int, datetime]
"""Kind, from which account, to which, how many points, and when it happened."""

MINIMUM_CENTS = 2_000
ADVOCATE_POINTS, FRIEND_POINTS = 50, 25
ACTIVITY = {"earn", "referral", "spend", "hold", "capture"}


class Refused(Exception):
    """What was asked for is refused, and nothing has changed."""

    def __init__(self, code: str, status: int = 409) -> None:
        self.code = code
        self.status = status


@dataclass(eq=False)
class Lot:
    """Points credited together for the sake of `source`.

    Pending ones wait for `begins_at`, or without it for an event. They end at `expires_at`, or once their wallet was
    idle for `idle` days and months.
    """

    source: object
    granted: int
    remaining: int
    pending: bool = False
    begins_at: datetime | None = None
    expires_at: datetime | None = None
    idle: tuple[int, int] = (0, 0)
    reserved: int = 0
    freed_at: datetime | None = None
    id: str = ""

    @property
    def free(self) -> int:
        return self.remaining - self.reserved

    @property
    def ends_some_day(self) -> bool:
        return self.expires_at is not None or self.idle != (0, 0)


@dataclass(eq=False)
class Lapse:
    """Points of a lot that expired at once and were not given back since."""

    lot: Lot
    points: int


@dataclass(eq=False)
class Member:
    """`waits_for_order`: a referral of this friend waits for a first paid order, and would pay `advocate` too.

    Of two bindings the one made first is the one `bound` first. Who was merged has an `heir`.
    """

    enrolled_at: datetime
    advocate: "Member | None"
    waits_for_order: bool
    bound: tuple[datetime, int]
    heir: "Member | None" = None
    id: str = ""
    customer_id: str = ""
    code: str = ""
    may_earn: bool = True
    may_burn: bool = True
    closed: bool = False
    debt: int = 0
    active_at: datetime | None = None
    lots: list[Lot] = field(default_factory=list)
    lapses: list[Lapse] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)

    @property
    def stands(self) -> "Member":
        """Who stands for this member now."""
        return self if self.heir is None else self.heir.stands

    @property
    def pending(self) -> int:
        return sum(lot.remaining for lot in self.lots if lot.pending)

    @property
    def available(self) -> int:
        return sum(lot.free for lot in self.lots if not lot.pending)

    @property
    def held(self) -> int:
        return sum(lot.reserved for lot in self.lots)

    @property
    def spendable(self) -> int:
        return max(0, self.available - self.debt)

    def close(self) -> None:
        self.closed, self.may_earn, self.may_burn = True, False, False

    @property
    def version(self) -> int:
        return len(self.journal)


@dataclass
class Line:
    quantity: int
    cents: int
    returned_quantity: int = 0
    returned_cents: int = 0

    @property
    def left(self) -> tuple[int, int]:
        return self.quantity - self.returned_quantity, self.cents - self.returned_cents

    def worth(self, quantity: int) -> int:
        """What so many pieces cost, so that all of them cost the line; the last ones take what is left."""
        if quantity == self.left[0]:
            return self.left[1]
        upto, before = self.returned_quantity + quantity, self.returned_quantity
        return min(self.cents * upto // self.quantity - self.cents * before // self.quantity, self.left[1])


@dataclass(eq=False)
class Order:
    """`earned` is what each rule gave, `reversed` what returns took of it."""

    lines: list[Line]
    buyer: Member | None
    paid: bool
    placed_at: datetime
    earned: list[int] = field(default_factory=list)
    reversed: list[int] = field(default_factory=lambda: [0, 0])
    delivered: bool = False
    cancelled: bool = False
    id: str = ""

    @property
    def points_left(self) -> int:
        return sum(self.earned) - sum(self.reversed)


@dataclass(eq=False)
class Redemption:
    member: Member
    reward: int
    takes: list[tuple[Lot, int]]
    cancelled: bool = False
    id: str = ""


@dataclass(eq=False)
class Hold:
    member: Member
    points: int
    expires_at: datetime
    reserved: list[tuple[Lot, int]]
    ended_by: str | None = None
    captured: int = 0
    id: str = ""


class Program:
    """A program as its settings (in the words of the API) say, at an instant that only `advance` moves."""

    def __init__(self, *, now: datetime, zone: str, costs: tuple[int, ...], stock: tuple[int | None, ...]) -> None:
        self.now = now
        self.zone = ZoneInfo(zone)
        self.settings: Json = {
            "expiry": {"kind": "never"},
            "activation": {"kind": "at_once"},
            "clawback": "clamp_to_zero",
            "expired_lot": "restore_with_grace",
            "grace_days": 30,
        }
        self.costs, self.stock = costs, list(stock)
        self.members: list[Member] = []
        self.orders: list[Order] = []
        self.redemptions: list[Redemption] = []
        self.holds: list[Hold] = []

    def enrol(self, advocate: Member | None) -> Member:
        advocate = advocate and advocate.stands
        bound = advocate is not None and advocate.may_earn and advocate.may_burn
        self.members.append(Member(self.now, advocate if bound else None, bound, (self.now, len(self.members))))
        return self.members[-1]

    def order(self, buyer: Member | None, lines: list[Line], *, paid: bool, at: datetime) -> tuple[Order, bool]:
        """Place an order, now or some time ago; also tell whether it completed a referral."""
        buyer = buyer and buyer.stands
        order = Order(lines, buyer, paid, at)
        self.orders.append(order)
        if buyer is not None and buyer.may_earn and buyer.enrolled_at <= at:
            order.earned = earnings(sum(line.cents for line in lines))
            begins_at = self.begins_at(at) if paid else None
            waits = not paid or self.settings["activation"]["kind"] == "delivery"
            if points := sum(order.earned):
                self.grant(buyer, "earn", points, order, at=at, waits=waits, begins_at=begins_at)
        return order, paid and self.complete_referral(order, at)

    def pay(self, order: Order) -> bool:
        """Also tell whether it completed a referral."""
        if order.cancelled:
            raise Refused("order_cancelled")
        if order.paid:
            raise Refused("order_already_paid")
        order.paid = True
        if self.settings["activation"]["kind"] != "delivery" or order.delivered:
            self.begin(order, self.begins_at(self.now))
        return self.complete_referral(order, self.now)

    def deliver(self, order: Order) -> None:
        if order.cancelled:
            raise Refused("order_cancelled")
        if order.delivered:
            raise Refused("order_already_delivered")
        order.delivered = True
        if order.paid:
            self.begin(order, None)

    def begin(self, order: Order, begins_at: datetime | None) -> None:
        """Let the points of an order that wait for an event begin, now or at an instant."""
        own = order.buyer
        waiting = [lot for lot in own.lots if is_waiting(lot, order)] if own is not None else []
        if own is None or not waiting:
            return
        pending = begins_at is not None and begins_at > self.now
        if not pending:
            self.move(own, "activate", "pending", "available", sum(lot.remaining for lot in waiting))
        for lot in waiting:
            lot.pending, lot.begins_at = pending, begins_at or self.now
            lot.expires_at, lot.idle = self.dates_from(lot.begins_at)
        self.repay(own, self.now)

    def complete_referral(self, order: Order, at: datetime) -> bool:
        friend = order.buyer
        left = sum(line.left[1] for line in order.lines)
        if friend is None or friend.advocate is None or not friend.waits_for_order or left < MINIMUM_CENTS:
            return False
        others = [other for other in self.orders if other is not order and other.buyer is friend]
        if order.placed_at < friend.enrolled_at or any(other.paid and not other.cancelled for other in others):
            return False
        friend.waits_for_order = False
        for side, points in ((friend.advocate, ADVOCATE_POINTS), (friend, FRIEND_POINTS)):
            if side.may_earn:
                self.grant(side, "referral", points, friend, at=at)
        return True

    def give_back(
        self,
        order: Order,
        *,
        lines: dict[int, tuple[int, int | None]] | None = None,
        cents: int | None = None,
        cancels: bool = False,
    ) -> int:
        """Take goods back: by line so many pieces, an amount, or both; or an amount over all; or everything left.

        Return how many points were reversed.
        """
        if order.cancelled:
            raise Refused("order_cancelled")
        for line, (quantity, amount) in zip(order.lines, going_back(order, lines, cents), strict=True):
            line.returned_quantity += quantity
            line.returned_cents += amount
        order.cancelled = cancels
        due = earnings(sum(line.left[1] for line in order.lines))
        reversed_ = 0
        for rule, earned in enumerate(order.earned):
            too_much = max(0, earned - order.reversed[rule] - due[rule])
            order.reversed[rule] += too_much
            reversed_ += self.claw_back(order, too_much)
        return reversed_

    def claw_back(self, order: Order, points: int) -> int:
        """Take points back that an order had earned; return how many, with what is owed or let go."""
        own = order.buyer
        if own is None or points == 0:
            return 0
        ours = [lot for lot in own.lots if lot.source is order]
        left = points - self.reverse(own, [lot for lot in ours if lot.pending], points, "pending")
        if self.settings["clawback"] == "pending_only":
            return points - left
        left -= self.reverse_lapsed(own, order, left - sum(lot.free for lot in ours if not lot.pending))
        in_order = sorted(self.begun(own), key=lambda lot: lot.source is not order)
        left -= self.reverse(own, in_order, left, "available")
        if left:
            self.move(own, "reverse", "debt", "reversed", left)
            if self.settings["clawback"] == "clamp_to_zero":
                self.move(own, "write_off", "written_off", "debt", left)
        return points

    def reverse(self, own: Member, lots: Iterable[Lot], points: int, account: str) -> int:
        parts = take(lots, points)
        taken = sum(part for _, part in parts)
        if taken:
            self.move(own, "reverse", account, "reversed", taken)
        return taken

    def reverse_lapsed(self, own: Member, order: Order, points: int) -> int:
        """Count what expired of an order's points as taken back; return how many."""
        taken = 0
        for lapse in own.lapses:
            part = min(lapse.points, points - taken)
            if part > 0 and lapse.lot.source is order:
                self.move(own, "reinstate", "expired", "available", part)
                self.move(own, "reverse", "available", "reversed", part)
                lapse.points -= part
                taken += part
        return taken

    def redeem(self, own: Member, reward: int) -> Redemption:
        if not own.may_burn:
            raise Refused("member_may_not_burn")
        left = self.stock[reward]
        if own.spendable < self.costs[reward]:
            raise Refused("not_enough_points")
        if left == 0:
            raise Refused("out_of_stock")
        self.stock[reward] = None if left is None else left - 1
        self.redemptions.append(Redemption(own, reward, self.spend(own, self.costs[reward])))
        return self.redemptions[-1]

    def cancel(self, redemption: Redemption) -> None:
        """Put a redemption's points back where they came from; what has ended meanwhile goes where the policy says."""
        if redemption.cancelled:
            raise Refused("redemption_already_cancelled")
        redemption.cancelled = True
        own, left = redemption.member, self.stock[redemption.reward]
        self.stock[redemption.reward] = None if left is None else left + 1
        self.move(own, "restore", "redeemed", "available", sum(part for _, part in redemption.takes))
        policy = self.settings["expired_lot"]
        over = [(lot, part) for lot, part in redemption.takes if self.is_over(own, lot)]
        for lot, part in redemption.takes:
            if (lot, part) not in over or policy == "forfeit":
                lot.remaining += part
        if over and policy != "forfeit":
            lapsed = sum(part for _, part in over)
            grace = end_of(self.local_day(self.now) + timedelta(days=self.settings["grace_days"]), self.zone)
            ends_at, idle = self.dates_from(self.now) if policy == "new_lot" else (grace, (0, 0))
            own.lots.append(Lot(redemption, lapsed, lapsed, begins_at=self.now, expires_at=ends_at, idle=idle))
        for lot, part in sorted(over, key=lambda lapsed: own.lots.index(lapsed[0])):
            if policy == "forfeit":
                self.move(own, "forfeit", "available", "forfeited", part)
                lot.remaining -= part
        self.repay(own, self.now)
        if own.heir is not None:
            self.hand_over(own, own.stands)

    def hold(self, own: Member, points: int, seconds: int) -> Hold:
        if not own.may_burn:
            raise Refused("member_may_not_burn")
        if points > own.spendable:
            raise Refused("not_enough_points")
        reserved = take(self.begun(own), points)
        self.move(own, "hold", "available", "held", points)
        for lot, part in reserved:
            lot.remaining += part
            lot.reserved += part
        self.holds.append(Hold(own, points, self.now + timedelta(seconds=seconds), reserved))
        return self.holds[-1]

    def capture(self, hold: Hold, points: int | None) -> bool:
        """Spend held points and free the rest; tell whether that is new."""
        points = hold.points if points is None else points
        if points > hold.points:
            raise Refused("capture_exceeds_hold")
        if hold.ended_by is not None:
            return self.was_so(hold, points)
        kept, left = [], points
        in_order = self.begun(hold.member)
        for lot, reserved in sorted(hold.reserved, key=lambda part: in_order.index(part[0])):
            part = min(reserved, left)
            left -= part
            lot.reserved -= part
            lot.remaining -= part
            kept.append((lot, reserved - part))
        self.move(hold.member, "capture", "held", "redeemed", points)
        hold.reserved, hold.captured = kept, points
        self.end_hold(hold, "captured", self.now)
        return True

    def release(self, hold: Hold) -> bool:
        """Give held points back; tell whether that is new."""
        if hold.ended_by is not None:
            return self.was_so(hold, 0)
        self.end_hold(hold, "released", self.now)
        return True

    def was_so(self, hold: Hold, captured: int) -> bool:
        if hold.captured != captured:
            raise Refused("hold_ended")
        return False

    def end_hold(self, hold: Hold, by: str, at: datetime) -> None:
        hold.ended_by = by
        points = sum(part for _, part in hold.reserved)
        if points:
            self.move(hold.member, "release", "held", "available", points, at)
        for lot, part in hold.reserved:
            lot.reserved -= part
            lot.freed_at = at
        self.repay(hold.member, at)

    def adjust(self, own: Member, points: int, begins_at: datetime | None, ends_at: datetime | None) -> object:
        """Give points by hand, or take some; return what they are credited for."""
        adjustment = object()
        refuse_merged(own)
        begins_in_the_past = begins_at is not None and begins_at <= self.now
        if begins_in_the_past or (ends_at is not None and ends_at <= (begins_at or self.now)):
            raise Refused("dates_out_of_order", 400)
        if points < 0:
            self.spend(own, -points, "adjust", "adjusted")
        else:
            self.grant(own, "adjust", points, adjustment, origin="adjusted", begins_at=begins_at, ends_at=ends_at)
        return adjustment

    def extend(self, own: Member, lot: Lot, ends_at: datetime) -> None:
        refuse_merged(own)
        if lot.pending or lot.free == 0 or not lot.ends_some_day:
            raise Refused("lot_has_nothing_to_extend")
        ends_now = self.end(own, lot)
        if ends_now is not None and ends_at <= ends_now:
            raise Refused("extension_shortens", 400)
        points = lot.free
        self.move(own, "extend", "available", "adjusted", points)
        lot.remaining -= points
        self.move(own, "extend", "adjusted", "available", points)
        own.lots.append(Lot(lot.source, points, points, begins_at=self.now, expires_at=ends_at))

    def reinstate(self, own: Member, lot: Lot, ends_at: datetime) -> None:
        refuse_merged(own)
        lapses = [lapse for lapse in own.lapses if lapse.lot is lot and lapse.points]
        if not lapses:
            raise Refused("lot_has_nothing_expired")
        if ends_at <= self.now:
            raise Refused("dates_out_of_order", 400)
        for lapse in lapses:
            points, lapse.points = lapse.points, 0
            self.grant(own, "reinstate", points, object(), origin="expired", ends_at=ends_at)

    def transfer(self, giver: Member, receiver: Member, points: int) -> None:
        """Give points to another member: each part keeps its end, and how long it was idle goes with it."""
        if giver is receiver:
            raise Refused("transfer_to_oneself", 400)
        refuse_merged(giver, receiver)
        if not giver.may_burn:
            raise Refused("member_may_not_burn")
        if receiver.closed:
            raise Refused("receiver_closed")
        takes = self.spend(giver, points, "transfer", "transferred")
        self.move(receiver, "transfer", "transferred", "available", points)
        for lot, part in takes:
            since = self.idle_since(giver, lot)
            receiver.lots.append(Lot(lot.source, part, part, begins_at=since, expires_at=lot.expires_at, idle=lot.idle))
        self.repay(receiver, self.now)

    def merge(self, giver: Member, receiver: Member) -> None:
        """Make two members one: orders, points and debt, whom they referred, and the first of who referred them."""
        if giver is receiver:
            raise Refused("merge_into_oneself", 400)
        refuse_merged(giver, receiver)
        if receiver.closed:
            raise Refused("member_closed")
        bindings = sorted((own for own in (giver, receiver) if own.advocate is not None), key=lambda own: own.bound)
        kept = next((own for own in bindings if own.advocate not in (giver, receiver)), None)
        above = kept and kept.advocate
        while above is not None:
            if above in (giver, receiver):
                raise Refused("merge_would_make_a_cycle")
            above = above.advocate
        if giver.held:
            raise Refused("member_has_live_holds")
        bond = (None, False, receiver.bound) if kept is None else (kept.advocate, kept.waits_for_order, kept.bound)
        receiver.advocate, receiver.waits_for_order, receiver.bound = bond
        giver.advocate, giver.waits_for_order = None, False
        for own in self.members:
            own.advocate = receiver if own.advocate is giver else own.advocate
        for order in self.orders:
            order.buyer = receiver if order.buyer is giver else order.buyer
        giver.close()
        giver.heir = receiver
        self.hand_over(giver, receiver)

    def hand_over(self, giver: Member, receiver: Member) -> None:
        for account in ("pending", "available"):
            lots = [lot for lot in giver.lots if lot.free and lot.pending is (account == "pending")]
            if lots:
                points = sum(lot.free for lot in lots)
                self.move(giver, "merge", account, "transferred", points)
                self.move(receiver, "merge", "transferred", account, points)
            for lot, part in take(lots, giver.pending + giver.available):
                since = lot.begins_at if lot.pending else self.idle_since(giver, lot)
                moved = Lot(lot.source, part, part, pending=lot.pending, begins_at=since)
                moved.expires_at, moved.idle = lot.expires_at, lot.idle
                receiver.lots.append(moved)
            self.repay(receiver, self.now)
        if giver.debt:
            owed = giver.debt
            self.move(giver, "merge", "transferred", "debt", owed)
            self.move(receiver, "merge", "debt", "transferred", owed)
            self.repay(receiver, self.now)

    def spend(self, own: Member, points: int, kind: str = "spend", to: str = "redeemed") -> list[tuple[Lot, int]]:
        if points > own.spendable:
            raise Refused("not_enough_points")
        parts = take(self.begun(own), points)
        self.move(own, kind, "available", to, points)
        return parts

    def begun(self, own: Member) -> list[Lot]:
        """Lots that have begun, the first to end first; the older of two."""
        never = datetime.max.replace(tzinfo=UTC)
        return sorted((lot for lot in own.lots if not lot.pending), key=lambda lot: self.end(own, lot) or never)

    def grant(
        self,
        own: Member,
        kind: str,
        points: int,
        source: object,
        *,
        at: datetime | None = None,
        origin: str = "issued",
        waits: bool = False,
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
    ) -> None:
        """Credit points as a lot: spendable at once, from an instant on (be it past), or once an event happens."""
        if points == 0:
            return
        at = at or self.now
        pending = waits or (begins_at is not None and begins_at > self.now)
        self.move(own, kind, origin, "pending" if pending else "available", points, at)
        lot = Lot(source, points, points, pending=pending, begins_at=None if waits else begins_at or at)
        if ends_at is not None:
            lot.expires_at = ends_at
        elif lot.begins_at is not None:
            lot.expires_at, lot.idle = self.dates_from(lot.begins_at)
        own.lots.append(lot)
        if not pending:
            self.repay(own, at)

    def repay(self, own: Member, at: datetime) -> None:
        """Let what became spendable pay what is owed, before anything else, expiry included."""
        points = min(own.debt, own.available)
        if points:
            self.move(own, "repay", "available", "debt", points, at)
            take(self.begun(own), points)

    def move(self, own: Member, kind: str, origin: str, target: str, points: int, at: datetime | None = None) -> None:
        at = at or self.now
        own.journal.append((kind, origin, target, points, at))
        own.debt += points * ((origin == "debt") - (target == "debt"))
        if kind in ACTIVITY:
            own.active_at = max(at, own.active_at or at)

    def settle(self) -> None:
        for own in self.members:
            self.settle_wallet(own)

    def settle_wallet(self, own: Member) -> None:
        """Do what time has caused, in order of time: holds end, lots begin, lots end."""
        while (due := self.next_due(own)) is not None and due[0] <= self.now:
            at, _, what = due
            if isinstance(what, Hold):
                self.end_hold(what, "expired", at)
            elif what.pending:
                self.move(own, "activate", "pending", "available", what.remaining, at)
                what.pending = False
                self.repay(own, at)
            else:
                if what.idle != (0, 0):
                    what.expires_at, what.idle = at, (0, 0)
                if what.free:
                    self.move(own, "expire", "available", "expired", what.free, max(at, what.freed_at or at))
                    own.lapses.append(Lapse(what, what.free))
                    what.remaining -= what.free

    def next_due(self, own: Member) -> tuple[datetime, int, Hold | Lot] | None:
        return min(self.dues(own), key=lambda due: due[:2], default=None)

    def dues(self, own: Member) -> Iterator[tuple[datetime, int, Hold | Lot]]:
        """What is to happen and when: of what a hold kept past its end, first of all once the hold has ended."""
        for hold in self.holds:
            if hold.member is own and hold.ended_by is None:
                yield hold.expires_at, 0, hold
        for lot in own.lots:
            if lot.pending and lot.begins_at is not None and lot.remaining:
                yield lot.begins_at, 1, lot
            elif not lot.pending and (lot.free or lot.idle != (0, 0)) and (ends_at := self.end(own, lot)) is not None:
                yield ends_at, 2, lot

    def end(self, own: Member, lot: Lot) -> datetime | None:
        """When a lot ends as things stand: idleness counts from its beginning, or from any activity since."""
        if lot.idle == (0, 0) or lot.begins_at is None:
            return lot.expires_at
        last = self.local_day(max(own.active_at or lot.begins_at, lot.begins_at))
        return end_of(later(last, *lot.idle), self.zone)

    def idle_since(self, own: Member, lot: Lot) -> datetime:
        return max(instant for instant in (lot.begins_at, own.active_at) if instant is not None)

    def is_over(self, own: Member, lot: Lot) -> bool:
        ends_at = self.end(own, lot)
        return ends_at is not None and ends_at <= self.now

    def dates_from(self, start: datetime) -> tuple[datetime | None, tuple[int, int]]:
        """When points end that begin at `start`: at an instant, or after so many idle days and months."""
        expiry, day = self.settings["expiry"], self.local_day(start)
        days, months = expiry.get("days", 0), expiry.get("months", 0)
        match expiry["kind"]:
            case "inactivity":
                return None, (days, months)
            case "after":
                day = later(day, days, months)
                if expiry.get("round_up_to") == "month":
                    day = day.replace(day=monthrange(day.year, day.month)[1])
                if expiry.get("round_up_to") == "year":
                    day = date(day.year, 12, 31)
                return end_of(day, self.zone), (0, 0)
            case "dates":
                while not names_of(day) & set(expiry["dates"]):
                    day += timedelta(days=1)
                return end_of(day, self.zone), (0, 0)
        return None, (0, 0)

    def begins_at(self, paid_at: datetime) -> datetime | None:
        """When the points of an order paid then become spendable, if there is a delay."""
        activation = self.settings["activation"]
        if activation["kind"] != "delay":
            return None
        return start_of(self.local_day(paid_at) + timedelta(days=activation["days"]), self.zone)

    def local_day(self, instant: datetime) -> date:
        return instant.astimezone(self.zone).date()


def earnings(cents: int) -> list[int]:
    """What the two rules give: a point for each euro, and one for each three, to the nearest."""
    return [cents // 100, (cents + 150) // 300]


def refuse_merged(*members: Member) -> None:
    if any(own.heir for own in members):
        raise Refused("member_already_merged")


def is_waiting(lot: Lot, order: Order) -> bool:
    return lot.source is order and lot.pending and lot.begins_at is None and lot.remaining > 0


def take(lots: Iterable[Lot], points: int) -> list[tuple[Lot, int]]:
    """Take at most so many free points out of lots, in their order; return what came out of which."""
    taken = []
    for lot in lots:
        part = min(lot.free, points)
        if part:
            lot.remaining -= part
            points -= part
            taken.append((lot, part))
    return taken


def going_back(
    order: Order, wanted: dict[int, tuple[int, int | None]] | None, cents: int | None
) -> list[tuple[int, int]]:
    """How many pieces and cents of each line go back."""
    left = [line.left for line in order.lines]
    if not any(quantity or amount for quantity, amount in left):
        raise Refused("nothing_to_return")
    if wanted is None and cents is None:
        return left
    if wanted is None:
        return [(0, part) for part in spread(cents or 0, [amount for _, amount in left])]
    going = [(0, 0)] * len(left)
    for number, (quantity, amount) in wanted.items():
        if number > len(left):
            raise Refused("return_exceeds_order")
        total = order.lines[number - 1].worth(quantity) if amount is None else amount
        if quantity > left[number - 1][0] or total > left[number - 1][1]:
            raise Refused("return_exceeds_order")
        going[number - 1] = (quantity, total)
    return going


def spread(cents: int, left: list[int]) -> list[int]:
    """Spread an amount over lines in proportion to what is left of them, by largest remainder, the earlier first."""
    whole = sum(left)
    if cents > whole:
        raise Refused("return_exceeds_order")
    parts = [cents * amount // whole for amount in left]
    by_remainder = sorted(range(len(left)), key=lambda line: -(cents * left[line] % whole))
    for line in by_remainder[: cents - sum(parts)]:
        parts[line] += 1
    return parts


def later(day: date, days: int, months: int) -> date:
    """So many calendar months later, at most on that month's last day, and then so many days."""
    year, month = day.year, day.month + months
    while month > 12:
        year, month = year + 1, month - 12
    return date(year, month, min(day.day, monthrange(year, month)[1])) + timedelta(days=days)


def names_of(day: date) -> set[str]:
    """How a day may be written; where there is no 29 February, its turn comes on the 28th."""
    names = {day.strftime("%m-%d")}
    return names | {"02-29"} if (day + timedelta(days=1)).strftime("%m-%d") == "03-01" else names


@cache
def start_of(day: date, zone: ZoneInfo) -> datetime:
    """The first quarter of an hour that belongs to a local day."""
    quarter = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
    while quarter.astimezone(zone).date() < day:
        quarter += timedelta(minutes=15)
    return quarter


def end_of(day: date, zone: ZoneInfo) -> datetime:
    return start_of(day + timedelta(days=1), zone)
