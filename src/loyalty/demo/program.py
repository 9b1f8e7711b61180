"""The demonstration's program: created once, loaded once, remembered with its keys."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from loyalty import local
from loyalty.access import service as access
from loyalty.access.rules import ALL_KEY_SCOPES, READ_SCOPES, KeyKind
from loyalty.core import clock, ids, statistics
from loyalty.core.db import Sessions, transaction
from loyalty.demo import purchases
from loyalty.earning import authoring
from loyalty.earning.terms import PointsPerAmount, Terms
from loyalty.imports import service as imports
from loyalty.imports.rules import Record
from loyalty.programs import queries as program_queries
from loyalty.programs import service as programs
from loyalty.programs.rules import Mode, Program, ProgramRules
from loyalty.referrals import service as referrals
from loyalty.rewards import service as rewards
from loyalty.rewards.rules import RewardKind

SLUG = "demo"
STATE_FILE = "demo.json"
BATCH = 1000
BEGINS_AT = datetime(1997, 1, 1, tzinfo=purchases.ZONE).astimezone(UTC)
PRESENT = datetime(1998, 7, 1, tzinfo=purchases.ZONE).astimezone(UTC)
_ACTOR = "demo"


@dataclass(frozen=True)
class State:
    """What the demonstration remembers between starts; its keys open nothing but this test program."""

    program_id: str
    storefront_key: str
    manager_key: str
    loaded: bool


async def prepare(sessions: Sessions, *, progress: Callable[[int], None]) -> tuple[Program, State]:
    """Create the program and load the purchases, or find both.

    A load that was cut short goes on. `progress` hears of orders.
    """
    state = await _ensure(sessions)
    async with transaction(sessions) as session:
        program = await programs.get(session, program_id=_program_id(state))
    if not state.loaded:
        await load(sessions, program=program, records=purchases.records(), progress=progress)
        state = replace(state, loaded=True)
        local.keep(STATE_FILE, json.dumps(asdict(state)))
    return program, state


async def load(
    sessions: Sessions, *, program: Program, records: Iterable[Record], progress: Callable[[int], None]
) -> None:
    """Import records in batches, each a transaction of its own."""
    rest = iter(records)
    while batch := list(islice(rest, BATCH)):
        async with transaction(sessions) as session:
            await imports.apply(session, program=program, records=batch, now=PRESENT)
        await statistics.refresh(sessions)
        progress(sum(1 for record in batch if not hasattr(record, "referred_by")))


async def _ensure(sessions: Sessions) -> State:
    """Return the remembered state if its program is there; otherwise create both."""
    text = local.kept(STATE_FILE)
    async with transaction(sessions) as session:
        there = await program_queries.find_program(session, slug=SLUG)
        if text is not None and there is not None:
            state = State(**json.loads(text))
            if _program_id(state) == there.id:
                return state
        state = await _keys(session, there or await _create(session))
    local.keep(STATE_FILE, json.dumps(asdict(state)))
    return state


async def _create(session: AsyncSession) -> Program:
    program = await programs.create(
        session,
        slug=SLUG,
        name="Demonstration",
        mode=Mode.TEST,
        rules=ProgramRules(currencies=(purchases.CURRENCY,), time_zone=purchases.ZONE.key, late_order_days=0),
        clock_at=PRESENT,
        actor=_ACTOR,
        now=BEGINS_AT,
    )
    await authoring.create(
        session,
        program_id=program.id,
        name="One point a dollar",
        terms=Terms(program.rules.unit, PointsPerAmount(1, {purchases.CURRENCY: 100})),
        active_from=BEGINS_AT,
        active_until=None,
        actor=_ACTOR,
        now=BEGINS_AT,
    )
    await _offer(session, program, name="$5 off", cents=500, cost=100)
    await _offer(session, program, name="$15 off", cents=1500, cost=250)
    terms = {
        "name": "Bring a friend",
        "landing_url": "https://shop.example/welcome",
        "window_days": 30,
        "unit": program.rules.unit,
        "advocate_points": 50,
        "referee_points": 25,
        "minimum_minor": 0,
        "minimum_currency": purchases.CURRENCY,
    }
    await referrals.start_campaign(session, program_id=program.id, terms=terms, now=BEGINS_AT)
    return program


async def _offer(session: AsyncSession, program: Program, *, name: str, cents: int, cost: int) -> None:
    await rewards.create(
        session,
        program_id=program.id,
        name=name,
        kind=RewardKind.AMOUNT_OFF,
        value={"amount": {"amount": cents, "currency": purchases.CURRENCY}},
        unit=program.rules.unit,
        cost_points=cost,
        stock=None,
        coupon_days=90,
        metadata={},
        now=BEGINS_AT,
    )


async def _keys(session: AsyncSession, program: Program) -> State:
    async def make(kind: KeyKind, name: str) -> str:
        _, secret = await access.create_key(
            session,
            program=program,
            kind=kind,
            name=name,
            scopes=READ_SCOPES if kind is KeyKind.RESTRICTED else frozenset(),
            maker_scopes=ALL_KEY_SCOPES,
            expires_at=None,
            real_now=clock.now(),
        )
        return secret

    return State(
        program_id=ids.encode(program.id),
        storefront_key=await make(KeyKind.SECRET, "Storefront"),
        manager_key=await make(KeyKind.RESTRICTED, "Manager"),
        loaded=False,
    )


def _program_id(state: State) -> UUID:
    program_id = ids.decode(state.program_id)
    if program_id is None:
        raise ValueError("the demonstration's state file is damaged; remove it")
    return program_id
