from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.core import ids

A = UUID("0190a5c1-7b2c-7def-8123-456789abcdef")


@given(st.uuids())
def test_an_id_is_read_back_as_it_was_written(value: UUID) -> None:
    written = ids.encode(value)
    assert len(written) == 26
    assert ids.decode(written) == value
    assert ids.parse("mem", ids.public("mem", value)) == value


@given(st.uuids(), st.uuids())
def test_ids_written_sort_as_the_ids_do(one: UUID, other: UUID) -> None:
    assert (ids.encode(one) < ids.encode(other)) == (one < other)


def test_an_id_is_written_in_lower_case_crockford() -> None:
    assert ids.encode(UUID(int=0)) == "0" * 26
    assert ids.encode(UUID(int=2**128 - 1)) == "7" + "z" * 25
    assert ids.encode(A) == "01j2jw2ysc" + "fqqr28t5cy4tqkff"
    assert ids.public("ord", UUID(int=31)) == "ord_" + "0" * 25 + "z"


@given(st.text())
def test_no_text_makes_reading_fail_and_only_what_was_written_is_an_id(text: str) -> None:
    value = ids.decode(text)
    assert value is None or ids.encode(value) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 25,
        "0" * 27,
        "8" + "0" * 25,  # would carry more than 128 bits
        "z" * 26,
        "0" * 25 + "i",
        "0" * 25 + "l",
        "0" * 25 + "o",
        "0" * 25 + "u",
        "0" * 25 + "A",
        "0" * 25 + "\u0660",  # a digit, but not ours
        " " + "0" * 25,
        "0_" * 13,
        "0" * 25 + "!",
    ],
)
def test_nothing_else_is_an_id(text: str) -> None:
    assert ids.decode(text) is None
    assert ids.parse("mem", f"mem_{text}") is None


def test_an_id_of_another_kind_is_no_id() -> None:
    for text in (ids.public("ord", A), f"MEM_{ids.encode(A)}", ids.encode(A), f"_{ids.encode(A)}", "mem_", "mem", ""):
        assert ids.parse("mem", text) is None


def test_ids_are_made_in_order() -> None:
    made = [ids.new() for _ in range(2_000)]
    assert made == sorted(set(made))
    assert {value.version for value in made} == {7}


def test_what_is_drawn_has_its_length_and_every_symbol_in_every_place() -> None:
    drawn = [ids.draw(9) for _ in range(2_000)]
    assert [set(places) for places in zip(*drawn, strict=True)] == [set(ids.CROCKFORD)] * 9
    assert len(set(drawn)) == 2_000
