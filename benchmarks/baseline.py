"""What a team writes by hand: FastAPI, an ORM session a request, SELECT … FOR UPDATE, entry, balance, key row.

Written for this comparison, and meant to be good of its kind. It has no lots, rules, time, referrals or proof: an order
earns a point a euro.
"""

import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import CheckConstraint, DateTime, ForeignKey, MetaData, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "baseline"
KEY = "a key of the hand-written baseline"
_POOL_SIZE = 20
_HOLD_FOR = timedelta(minutes=15)


class Row(DeclarativeBase):
    metadata = MetaData(schema=SCHEMA)


class Wallet(Row):
    __tablename__ = "wallets"
    __table_args__ = (CheckConstraint("available >= 0 AND held >= 0"),)
    member_id: Mapped[int] = mapped_column(primary_key=True)
    available: Mapped[int]
    held: Mapped[int] = mapped_column(default=0)


class Entry(Row):
    __tablename__ = "entries"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("baseline.wallets.member_id"), index=True)
    points: Mapped[int]
    balance_after: Mapped[int]
    reference: Mapped[str] = mapped_column(unique=True)
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Hold(Row):
    __tablename__ = "holds"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("baseline.wallets.member_id"))
    points: Mapped[int]
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    captured_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Key(Row):
    __tablename__ = "keys"
    key: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[bytes]
    entry_id: Mapped[UUID]


class Money(BaseModel):
    amount: int = Field(ge=0)
    currency: str


class Line(BaseModel):
    sku: str = Field(max_length=64)
    category: str | None = None
    brand: str | None = None
    quantity: int = Field(default=1, ge=1)
    total: Money


class Order(BaseModel):
    external_id: str = Field(max_length=200)
    member_id: int
    currency: str
    lines: list[Line] = Field(min_length=1, max_length=500)


class HoldIn(BaseModel):
    member_id: int
    points: int = Field(gt=0)


class EntryOut(BaseModel):
    id: UUID
    member_id: int
    points: int
    balance_after: int


class HoldOut(BaseModel):
    id: UUID
    member_id: int
    points: int
    captured: bool


class WalletOut(BaseModel):
    member_id: int
    available: int
    held: int


def authorize(authorization: Annotated[str, Header()]) -> None:
    if not hmac.compare_digest(authorization.encode(), f"Bearer {KEY}".encode()):
        raise HTTPException(401)


async def open_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(open_session)]
routes = APIRouter(dependencies=[Depends(authorize)])


@routes.post("/orders", status_code=201)
async def place(
    order: Order, response: Response, session: Session, idempotency_key: Annotated[str, Header(max_length=200)]
) -> EntryOut:
    """Earn a point a euro, once for each key."""
    digest = hashlib.sha256(order.model_dump_json().encode()).digest()
    entry_id = uuid4()
    claim = insert(Key).values(key=idempotency_key, digest=digest, entry_id=entry_id).on_conflict_do_nothing()
    if await session.scalar(claim.returning(Key.key)) is None:
        known = await session.get_one(Key, idempotency_key)
        if known.digest != digest:
            raise HTTPException(422, "the key was used for another order")
        response.status_code = 200
        return _entry_out(await session.get_one(Entry, known.entry_id))
    wallet = await _lock(session, order.member_id)
    points = sum(line.total.amount for line in order.lines) // 100
    wallet.available += points
    entry = _entry(entry_id, wallet, points=points, reference=order.external_id)
    session.add(entry)
    await session.commit()
    return _entry_out(entry)


@routes.post("/holds", status_code=201)
async def hold(wanted: HoldIn, session: Session) -> HoldOut:
    """Lock points of a member's."""
    wallet = await _lock(session, wanted.member_id)
    if wallet.available < wanted.points:
        raise HTTPException(409, "not enough points")
    wallet.available -= wanted.points
    wallet.held += wanted.points
    made = Hold(id=uuid4(), member_id=wanted.member_id, points=wanted.points, expires_at=datetime.now(UTC) + _HOLD_FOR)
    session.add(made)
    await session.commit()
    return HoldOut(id=made.id, member_id=made.member_id, points=made.points, captured=False)


@routes.post("/holds/{hold_id}/capture", status_code=201)
async def capture(hold_id: UUID, session: Session) -> HoldOut:
    """Spend what a hold locked, once."""
    held = await session.scalar(select(Hold).where(Hold.id == hold_id).with_for_update())
    if held is None:
        raise HTTPException(404)
    if held.captured_at is None:
        wallet = await _lock(session, held.member_id)
        wallet.held -= held.points
        held.captured_at = datetime.now(UTC)
        session.add(_entry(uuid4(), wallet, points=-held.points, reference=f"hold:{hold_id}"))
        await session.commit()
    return HoldOut(id=held.id, member_id=held.member_id, points=held.points, captured=True)


@routes.get("/members/{member_id}/wallet")
async def read_wallet(member_id: int, session: Session) -> WalletOut:
    wallet = await session.get(Wallet, member_id)
    if wallet is None:
        raise HTTPException(404)
    return WalletOut(member_id=member_id, available=wallet.available, held=wallet.held)


def create_app() -> FastAPI:
    engine = create_async_engine(os.environ["BASELINE_DATABASE_URL"], pool_size=_POOL_SIZE, max_overflow=0)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(lifespan=running)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    app.include_router(routes)
    app.add_api_route("/health", _health)
    return app


async def _health() -> dict[str, str]:
    return {"status": "ready"}


async def _lock(session: AsyncSession, member_id: int) -> Wallet:
    wallet = await session.scalar(select(Wallet).where(Wallet.member_id == member_id).with_for_update())
    if wallet is None:
        raise HTTPException(404, "no such member")
    return wallet


def _entry(entry_id: UUID, wallet: Wallet, *, points: int, reference: str) -> Entry:
    return Entry(
        id=entry_id,
        member_id=wallet.member_id,
        points=points,
        balance_after=wallet.available,
        reference=reference,
        recorded_at=datetime.now(UTC),
    )


def _entry_out(entry: Entry) -> EntryOut:
    return EntryOut(id=entry.id, member_id=entry.member_id, points=entry.points, balance_after=entry.balance_after)
