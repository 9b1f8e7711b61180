"""Members that were there before, with years of history: who they are, and the SQL that makes up their rows.

Everything about a member follows from a number, so that clients can name any of millions without keeping a list. What
happened lies in order of time and has ids of that time, one member's rows far apart, as in production.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from loyalty.core import ids

POINTS = 1_000_000
"""Each lot's: enough that nobody's points run out."""
_BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
_SPAN_MS = 2 * 365 * 86_400_000
_SHOPPED_MS = int(_BEGAN.timestamp() * 1000)
_JOINED_MS = _SHOPPED_MS - 365 * 86_400_000
_APART_MS = 4_000
"""So long after one member the next one joins."""
_ORDERS_EACH = 10
_MEMBER, _ENTRY, _LOT, _ORDER, _SPEND, _IDENTIFIER = range(1, 7)
Rows = tuple[Mapping[str, str], str]
"""What stands in each column, and what it is selected from."""


@dataclass(frozen=True)
class Crowd:
    """So many members from a number on, each with as many entries: earned, spent, earned, spent, … earned, earned.

    `rounds` is even. The last two credits are still there; every spend took the lot before it. Every tenth member has
    an order on the books for the last of them, and somebody alone one for every credit.
    """

    program_id: UUID
    rule_id: UUID
    members: int
    rounds: int = 10
    first: int = 0

    def name(self, number: int) -> UUID:
        """Return the id of a member."""
        at = _JOINED_MS + (self.first + number) * _APART_MS
        return UUID(f"{at:012x}7{_MEMBER:03x}8{self.first + number:015x}")


@dataclass(frozen=True)
class Names(Sequence[str]):
    """The public ids of a crowd, made as they are asked for."""

    prefix: str
    crowd: Crowd

    def __len__(self) -> int:
        return self.crowd.members

    def __getitem__(self, number: int | slice) -> str:
        assert isinstance(number, int)
        return ids.public(self.prefix, self.crowd.name(number))


def tables(crowd: Crowd) -> dict[str, Rows]:
    """Return the rows of a crowd by table, in the order in which tables refer to each other."""
    return _people(crowd) | _ledger(crowd) | _orders(crowd)


def _people(crowd: Crowd) -> dict[str, Rows]:
    everyone = f"generate_series({crowd.first}, {crowd.first + crowd.members - 1}::bigint) AS m"
    program, member = {"program_id": f"'{crowd.program_id}'::uuid"}, _member("m")
    joined_ms = f"({_JOINED_MS} + m * {_APART_MS})"
    joined = _instant(joined_ms)
    newest = _instant(_happened(crowd, f"m - {crowd.first} + {crowd.members * (crowd.rounds - 1)}"))
    balances = {"pending": "0::bigint", "available": _points(2), "held": "0::bigint", "debt": "0::bigint"}
    return {
        "customers": (program | {"id": member, "created_at": joined, "recorded_at": joined}, everyone),
        "identifiers": (
            program
            | {"id": _id(_IDENTIFIER, "m", joined_ms), "customer_id": member, "kind": "'external_id'"}
            | {"value": "'customer-' || m", "added_at": joined},
            everyone,
        ),
        "members": (
            program | {"id": member, "enrolled_at": joined, "recorded_at": joined, "status": "'active'"},
            everyone,
        ),
        "wallets": (
            program
            | {"member_id": member, "unit": "'points'", "version": f"{crowd.rounds}::bigint", **balances}
            | {"last_at": newest, "active_at": newest},
            everyone,
        ),
    }


def _ledger(crowd: Crowd) -> dict[str, Rows]:
    program, owner = {"program_id": f"'{crowd.program_id}'::uuid"}, {"member_id": _member("m"), "unit": "'points'"}
    at, last = _instant("ms"), crowd.rounds - 1
    after = f"(CASE WHEN spent THEN 0 WHEN k = {last} THEN {2 * POINTS} ELSE {POINTS} END)::bigint"
    taken = _id(_LOT, f"({_number(crowd)} - {crowd.members})", _happened(crowd, f"n - {crowd.members}"))
    entry = _named(crowd, _ENTRY)
    source = f"CASE WHEN spent THEN {_named(crowd, _SPEND)} ELSE {_named(crowd, _ORDER)} END"
    return {
        "entries": (
            program
            | {"id": entry, **owner, "version": "k + 1", "kind": "CASE WHEN spent THEN 'spend' ELSE 'earn' END"}
            | {"from_account": "CASE WHEN spent THEN 'available' ELSE 'issued' END"}
            | {"to_account": "CASE WHEN spent THEN 'redeemed' ELSE 'available' END"}
            | {"points": _points(1), "balance_after": after, "available_after": after}
            | {"source_type": "CASE WHEN spent THEN 'red' ELSE 'ord' END", "source_id": source}
            | {"occurred_at": at, "recorded_at": at},
            _history(crowd),
        ),
        "lots": (
            program
            | {"id": _named(crowd, _LOT), **owner, "entry_id": entry}
            | {"source_type": "'ord'", "source_id": _named(crowd, _ORDER), "granted": _points(1)}
            | {"remaining": f"(CASE WHEN k < {last - 1} THEN 0 ELSE {POINTS} END)::bigint", "reserved": "0::bigint"}
            | {"earned_at": at, "activated_at": at},
            f"{_history(crowd)} WHERE NOT spent",
        ),
        "allocations": (
            program | {"entry_id": entry, "lot_id": taken, "points": _points(-1)},
            f"{_history(crowd)} WHERE spent",
        ),
    }


def _orders(crowd: Crowd) -> dict[str, Rows]:
    program, order = {"program_id": f"'{crowd.program_id}'::uuid"}, _named(crowd, _ORDER)
    at, digest = _instant("ms"), f"sha256(int8send({_number(crowd)}))"
    last = crowd.members * (crowd.rounds - 1)
    source = _history(crowd) if crowd.members == 1 else _history(crowd, since=last, step=_ORDERS_EACH)
    return {
        "orders": (
            program
            | {"id": order, "external_id": f"encode({digest}, 'hex')", "customer_id": _member("m")}
            | {"content_digest": digest, "currency": "'EUR'::char(3)", "total_minor": "7997::bigint"}
            | {"channel": "'web'", "payment_method": "'card'", "metadata": "'{}'::jsonb", "imported": "false"}
            | dict.fromkeys(("placed_at", "recorded_at", "paid_at", "payment_recorded_at"), at)
            | {"paid_when_placed": "true"},
            f"{source} WHERE NOT spent",
        ),
        "order_lines": (
            program
            | {"order_id": order, "line": "line", "sku": "sku", "category": "category", "quantity": "quantity"}
            | {"total_minor": "minor"},
            f"{source} CROSS JOIN {_BOUGHT} WHERE NOT spent",
        ),
        "order_counts": (
            program
            | {"order_id": order, "counted_at": at, "rule_set": "1", "facts": "'{}'::jsonb"}
            | {"awards": f"jsonb_build_array({_award(crowd)})"},
            f"{source} WHERE NOT spent",
        ),
        "idempotency_keys": (
            program
            | {"operation": "'create_order'", "key": f"md5(({_number(crowd)})::text)", "fingerprint": digest}
            | {"resource_id": order, "status": "201::smallint", "recorded_at": at},
            f"{source} WHERE NOT spent",
        ),
    }


def _award(crowd: Crowd) -> str:
    """Write what the only rule gave an order."""
    said = {"rule": f"'{crowd.rule_id}'", "version": "1", "unit": "'points'", "base": "7997", "points": _points(1)}
    said |= {"lines": f"jsonb_build_array({POINTS}, 0, 0)", "entry": _named(crowd, _ENTRY)}
    pairs = ", ".join(f"'{name}', {value}" for name, value in said.items())
    return f"jsonb_build_object({pairs})"


_BOUGHT = """
unnest('{1,2,3}'::smallint[], '{shirt-blue-m,mug-large,novel-paperback}'::text[], '{clothes,home,books}'::text[],
    '{2,1,1}'::int[], '{3998,1499,2500}'::bigint[]) AS bought (line, sku, category, quantity, minor)
"""


def _history(crowd: Crowd, *, since: int = 0, step: int = 1) -> str:
    """Say what happened, in order of time: the n-th is what somebody `m` does at `ms` in round `k`."""
    total = crowd.members * crowd.rounds
    k = f"n / {crowd.members}"
    return f"""generate_series({since}, {total - 1}::bigint, {step}) AS n CROSS JOIN LATERAL (
        SELECT {k} AS k, n % {crowd.members} + {crowd.first} AS m, {_happened(crowd, "n")} AS ms,
            ({k}) % 2 = 1 AND {k} < {crowd.rounds - 1} AS spent) AS own"""


def _happened(crowd: Crowd, n: str) -> str:
    """Say at which millisecond the n-th thing happened."""
    return f"({_SHOPPED_MS} + ({n}) * {_SPAN_MS} / {crowd.members * crowd.rounds})"


def _number(crowd: Crowd) -> str:
    """Say which number `n` has among those of all crowds of a program."""
    return f"(n + {crowd.first * crowd.rounds})"


def _named(crowd: Crowd, kind: int) -> str:
    return _id(kind, _number(crowd), "ms")


def _member(m: str) -> str:
    return _id(_MEMBER, m, f"({_JOINED_MS} + {m} * {_APART_MS})")


def _id(kind: int, number: str, ms: str) -> str:
    """Say the id that a number has, made at a millisecond."""
    return f"(lpad(to_hex({ms}), 12, '0') || '7{kind:03x}8' || lpad(to_hex({number}), 15, '0'))::uuid"


def _instant(ms: str) -> str:
    return f"to_timestamp({ms} / 1000.0)"


def _points(lots: int) -> str:
    return f"{lots * POINTS}::bigint"
