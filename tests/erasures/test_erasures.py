"""A member asks to be forgotten, through the doors."""

from sqlalchemy import text
from tests.shop import Shop

from loyalty.core.db import transaction

PERSONAL = {
    "external_id": "ann-4711",
    "email": "ann.lee@example.com",
    "phone": "+493012345678",
    "card": "4000-4711",
    "given_name": "Annabel",
    "family_name": "Leeuwenhoek",
    "metadata": {"note": "Leeuwenhoek, third floor"},
}


async def test_nothing_personal_is_left_anywhere_and_the_ledger_stays(shop: Shop) -> None:
    member = await shop.enrol(**PERSONAL)
    await shop.send("PATCH", f"/v1/members/{member['id']}", {"email": "annabel@example.com"}, expect=200)
    await shop.send("PUT", f"/v1/members/{member['id']}/password", {"password": "correct horse"}, expect=204)
    note = {"ship to": "Leeuwenhoek"}
    order = await shop.order(100, customer_id=member["customer_id"], metadata=note)
    reward = await shop.reward(cost=30)
    body = {"member_id": member["id"], "reward_id": reward["id"], "metadata": note}
    await shop.post("/v1/redemptions", body)
    guest = await shop.order(10, email="annabel@example.com")
    await shop.post(f"/v1/orders/{guest['id']}/claim", {"member_id": member["id"]})
    before = await shop.get(f"/v1/members/{member['id']}/entries")
    erased = await shop.post(f"/v1/members/{member['id']}/erasure", {"reason": "asked"}, expect=200)
    assert erased["status"] == "closed"
    assert {name: erased[name] for name in PERSONAL} == {**dict.fromkeys(PERSONAL), "metadata": {}}
    assert await shop.get(f"/v1/members/{member['id']}/entries") == before
    assert (await shop.get(f"/v1/orders/{order['id']}"))["metadata"] == {}
    assert await _rows_with(shop, "ann-4711", "ann.lee", "annabel", "4000-4711", "leeuwenhoek", "493012345678") == []
    await shop.books_hold()


async def test_who_was_erased_is_found_and_signed_in_no_more(shop: Shop) -> None:
    member = await shop.enrol(email="ann@example.com")
    await shop.send("PUT", f"/v1/members/{member['id']}/password", {"password": "correct horse"}, expect=204)
    await shop.post(f"/v1/members/{member['id']}/erasure", {"reason": "asked"}, expect=200)
    assert (await shop.get("/v1/members?email=ann@example.com"))["data"] == []
    sign_in = {"program": shop.program.slug, "email": "ann@example.com", "password": "correct horse"}
    assert (await shop.client.post("/v1/member-sessions", json=sign_in)).status_code == 401
    again = await shop.enrol(email="ann@example.com")
    assert again["id"] != member["id"]


async def test_erasing_again_changes_nothing(shop: Shop) -> None:
    member = await shop.enrol()
    path = f"/v1/members/{member['id']}/erasure"
    first = await shop.post(path, {"reason": "asked"}, expect=200)
    before = await shop.digest()
    assert await shop.post(path, {"reason": "asked again"}, expect=200) == first
    assert {**await shop.digest(), "idempotency_keys": ""} == {**before, "idempotency_keys": ""}


async def _rows_with(shop: Shop, *words: str) -> list[str]:
    """Return which tables of the program still hold one of these words in any column."""
    async with transaction(shop.sessions) as session:
        query = text(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'program_id'"
            " AND table_schema = 'public'"
        )
        found = []
        for table in (await session.execute(query)).scalars():
            rows = text(f"SELECT count(*) FROM {table} AS t WHERE program_id = :id AND t::text ~* :words")  # noqa: S608
            values = {"id": shop.program.id, "words": "|".join(words)}
            if (await session.execute(rows, values)).scalar_one():
                found.append(table)
    return found
