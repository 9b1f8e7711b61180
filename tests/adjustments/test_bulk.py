"""Many adjustments from a CSV."""

import pytest
from tests.shop import Json, Shop

HEADER = "external_id,member,points,reason\n"


async def send(shop: Shop, text: str, *, query: str = "") -> Json:
    return await shop.post(f"/v1/adjustment-batches{query}", {"csv": text}, expect=200)


async def balance(shop: Shop, member: Json) -> int:
    return int((await shop.wallet(member["id"]))["balance"])


async def test_each_row_is_done_or_refused_by_itself_and_reported(shop: Shop) -> None:
    ann = await shop.enrol(external_id="ann", email="ann@example.com")
    bob = await shop.enrol(external_id="bob")
    text = (
        HEADER
        + f"r-1,{ann['id']},100,winter gift\n"
        + "r-2,bob,-1,correction\n"
        + "r-3,nobody,5,gift\n"
        + 'r-4,ANN@example.com,-30,"sorry, a mistake"\n'
        + "\n"
        + "r-5,bob,7,gift\n"
    )
    report = await send(shop, text)
    assert [(row["line"], row["external_id"], row["outcome"], row["code"]) for row in report["rows"]] == [
        (2, "r-1", "given", None),
        (3, "r-2", "refused", "not_enough_points"),
        (4, "r-3", "refused", "member_not_found"),
        (5, "r-4", "given", None),
        (7, "r-5", "given", None),
    ]
    assert (report["given"], report["already"], report["refused"]) == (3, 0, 2)
    assert (await balance(shop, ann), await balance(shop, bob)) == (70, 7)
    made = await shop.get(f"/v1/adjustments/{report['rows'][3]['adjustment_id']}")
    assert (made["points"], made["reason"], made["external_id"]) == (-30, "sorry, a mistake", "r-4")
    await shop.books_hold()


async def test_a_file_sent_again_gives_nothing_twice(shop: Shop) -> None:
    ann = await shop.enrol(external_id="ann")
    first = await send(shop, HEADER + "r-1,ann,100,gift\n")
    again = await send(shop, HEADER + "r-1,ann,100,gift\nr-2,ann,1,gift\n")
    assert [row["outcome"] for row in again["rows"]] == ["already", "given"]
    assert again["rows"][0]["adjustment_id"] == first["rows"][0]["adjustment_id"]
    other = await send(shop, HEADER + "r-1,ann,101,gift\n")
    assert (other["rows"][0]["outcome"], other["rows"][0]["code"]) == ("refused", "adjustment_differs")
    assert await balance(shop, ann) == 101


async def test_a_trial_of_a_file_gives_nothing(shop: Shop) -> None:
    ann = await shop.enrol(external_id="ann")
    before = await shop.digest()
    report = await send(shop, HEADER + "r-1,ann,100,gift\n", query="?dry_run=true")
    assert report["given"] == 1
    assert (await shop.digest(), await balance(shop, ann)) == (before, 0)


async def test_every_fault_of_a_file_is_named_and_nothing_happens(shop: Shop) -> None:
    await shop.enrol(external_id="ann")
    text = HEADER + "r-1,ann,100,gift\nr-1,ann,0,gift\n,ann,1.5,\nr-4,ann\nr-5,ann,99999999999999999999,x\n"
    problem = await shop.refuses("POST", "/v1/adjustment-batches", {"csv": text}, status=400, code="validation_failed")
    assert {fault["pointer"] for fault in problem["errors"]} == {
        "/csv/3/external_id",
        "/csv/3/points",
        "/csv/4/external_id",
        "/csv/4/points",
        "/csv/4/reason",
        "/csv/5",
        "/csv/6/points",
    }


@pytest.mark.parametrize("text", ["x", "external_id,member,points\nr,ann,1\n", "a;b;c;d\n"])
async def test_what_is_no_such_file_is_refused(shop: Shop, text: str) -> None:
    await shop.refuses("POST", "/v1/adjustment-batches", {"csv": text}, status=400, code="csv_unreadable")


@pytest.mark.parametrize("rows", [0, 1001])
async def test_a_file_has_bounds(shop: Shop, rows: int) -> None:
    await shop.enrol(external_id="ann")
    text = HEADER + "".join(f"r-{number},ann,1,gift\n" for number in range(rows))
    await shop.refuses("POST", "/v1/adjustment-batches", {"csv": text}, status=400, code="validation_failed")


async def test_a_thousand_rows_in_any_order_of_columns(shop: Shop) -> None:
    members = [await shop.enrol(external_id=f"m-{number}") for number in range(5)]
    rows = "".join(f"gift,{number % 5 + 1},m-{number % 5},r-{number}\n" for number in range(1000))
    report = await send(shop, "reason,points,member,external_id\n" + rows)
    assert report["given"] == 1000
    assert [await balance(shop, member) for member in members] == [200, 400, 600, 800, 1000]
    await shop.books_hold()
