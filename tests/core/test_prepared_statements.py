"""Without prepared statements nothing of the product stays on a connection: no statement, no setting."""

from sqlalchemy import text
from tests.faults.servers import application
from tests.shop import Shop, open_shop

from loyalty.core.db import Sessions, transaction
from loyalty.core.settings import Settings

_NAMED = "SELECT count(*) FROM pg_prepared_statements"


async def test_a_connection_keeps_named_statements_only_if_it_may(settings: Settings) -> None:
    assert await _left_by_a_day(settings.model_copy(update={"pool_size": 1})) > 0
    assert await _left_by_a_day(settings.model_copy(update={"pool_size": 1, "prepared_statements": False})) == 0


async def _left_by_a_day(settings: Settings) -> int:
    """Count the statements that the one connection keeps after an order, a redemption and what they read."""
    async with application(settings) as (client, app):
        shop = await open_shop(client, app)
        await _shop_a_little(shop)
        async with transaction(shop.sessions) as session:
            return int((await session.execute(text(_NAMED))).scalar_one())


async def _shop_a_little(shop: Shop) -> None:
    member = await shop.enrol()
    await shop.order(customer_id=member["customer_id"])
    redemption = {"member_id": member["id"], "reward_id": (await shop.reward(cost=30))["id"]}
    await shop.post("/v1/redemptions", redemption)
    assert (await shop.wallet(member["id"]))["balance"] == 70
    await shop.get("/v1/ledger/seals/verification")
    await shop.books_hold()


async def test_each_transaction_brings_its_time_outs_and_takes_them_along(settings: Settings) -> None:
    limits = {"lock_timeout_ms": 1_234, "statement_timeout_ms": 5_678}
    async with application(settings, prepared_statements=False, pool_size=1, **limits) as (_, app):
        for sessions in (app.state.sessions, app.state.snapshots):
            assert await _shown(sessions) == ("1234ms", "5678ms", "off")
        async with app.state.sessions.kw["bind"].connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert tuple(await raw.fetchrow(_LIMITS)) == ("0", "0", await raw.fetchval(_COMPILES))
    async with application(settings, pool_size=1, **limits) as (_, app):
        assert await _shown(app.state.sessions) == ("1234ms", "5678ms", "off")


async def _shown(sessions: Sessions) -> tuple[str, ...]:
    async with transaction(sessions) as session:
        return tuple((await session.execute(text(_LIMITS))).one())


_LIMITS = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), current_setting('jit')"
_COMPILES = "SELECT reset_val FROM pg_settings WHERE name = 'jit'"
