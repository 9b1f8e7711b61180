"""A program built in test goes live as a file, and comes out of live as the same file."""

from typing import Final

from httpx import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from tests.configuration.cafe import CAFE, DAY, UNCHANGED, advance, exported_yaml, put, put_yaml, start_empty, told
from tests.configuration.drawn import documents
from tests.shop import Json, Shop, open_shop

DRAWN: Final = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


async def test_a_cafe_goes_from_test_to_live(shop: Shop, other_shop: Shop) -> None:
    test, live = await start_empty(shop), await start_empty(other_shop)
    everything = [
        "change settings",
        "create earning_rule A bean a euro",
        "create earning_rule Happy hour",
        "create earning_rule Review",
        "create earning_rule Christmas",
        "create reward Coffee",
        "create reward Tote bag",
        "create reward Birthday cake",
        "create reward Partner voucher",
        "create referral_campaign Bring a friend",
    ]
    assert told(await put_yaml(test, CAFE)) == everything
    file = await exported_yaml(test)
    assert await put_yaml(test, file) == UNCHANGED

    before = await live.digest()
    assert told(await put_yaml(live, file)) == everything
    assert await exported_yaml(live) == file
    assert await live.digest() != before
    promoted = await live.digest()
    assert await put_yaml(live, file) == UNCHANGED
    assert await live.digest() == promoted

    member = await live.enrol()
    order = {"customer_id": member["customer_id"], "placed_at": DAY}
    assert (await live.order(150, **order))["points_earned"] == 150
    offers = (await live.get("/v1/rewards"))["data"]
    assert (offers[3]["pooled"], offers[3]["stock_left"]) == (True, 0)
    coffee = await live.post("/v1/redemptions", {"member_id": member["id"], "reward_id": offers[0]["id"]})
    assert coffee["points"] == 100
    await live.books_hold()


@DRAWN
@given(document=documents())
async def test_what_one_program_exports_another_takes_and_exports_again(
    client: AsyncClient, app: Litestar, document: Json
) -> None:
    test, live = await _opened(client, app), await _opened(client, app)
    await put(test, document)
    file = await exported_yaml(test)
    assert await put_yaml(test, file) == UNCHANGED
    await put_yaml(live, file)
    assert await exported_yaml(live) == file
    assert await put_yaml(live, file) == UNCHANGED


@DRAWN
@given(first=documents(st.sampled_from("ab")), second=documents(st.sampled_from("ab")), moves=st.booleans())
async def test_any_configuration_is_taken_whole_or_refused_whole(
    client: AsyncClient, app: Litestar, first: Json, second: Json, *, moves: bool
) -> None:
    shop = await _opened(client, app)
    await put(shop, first)
    if moves:
        await advance(shop, "2026-01-03T12:00:00Z")
    before = await shop.digest()
    tried = await shop.send("PUT", "/v1/configuration?dry_run=true", second)
    assert await shop.digest() == before
    done = await shop.send("PUT", "/v1/configuration", second)
    assert done.status_code == tried.status_code
    if done.status_code == 400:
        codes = {fault["code"] for fault in done.json()["errors"]}
        assert codes <= {"rule_version_in_the_way", "rule_version_exists"}
        assert done.json()["errors"] == tried.json()["errors"]
        assert await shop.digest() == before
    else:
        assert {**done.json(), "dry_run": True} == tried.json()
        assert (await put(shop, second))["changes"] == []


async def _opened(client: AsyncClient, app: Litestar) -> Shop:
    return await start_empty(await open_shop(client, app))
