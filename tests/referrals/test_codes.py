"""Codes: the check character, folding, what may be chosen."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.core.ids import CROCKFORD
from loyalty.referrals import codes

KNOWN = ["000000000", "123456789", "ZZZZZZZZZ", "H4PPYC0DE", "0Z0Z0Z0Z0"]
bodies = st.text(CROCKFORD, min_size=9, max_size=9)


def with_check(body: str) -> str:
    return body + codes.check_character(body)


@pytest.mark.parametrize(
    ("body", "check"),
    [("000000000", "0"), ("000000001", "2"), ("00000000G", "5"), ("000000010", "4"), ("Z00000000", "Y")],
)
def test_the_check_character_is_the_polynomials_remainder(body: str, check: str) -> None:
    expected = 0
    for symbol in body:
        expected = _times_two(expected ^ CROCKFORD.index(symbol))
    assert codes.check_character(body) == CROCKFORD[expected] == check


@pytest.mark.parametrize("body", KNOWN)
def test_every_single_substitution_is_found(body: str) -> None:
    code = with_check(body)
    assert not codes.is_mistyped(code)
    for place in range(10):
        for symbol in CROCKFORD.replace(code[place], ""):
            assert codes.is_mistyped(code[:place] + symbol + code[place + 1 :])


@pytest.mark.parametrize("body", KNOWN)
def test_every_swap_of_two_neighbours_is_found(body: str) -> None:
    code = with_check(body)
    for place, (left, right) in enumerate(pairwise(code)):
        if left != right:
            assert codes.is_mistyped(code[:place] + right + left + code[place + 2 :])


def test_every_swap_of_any_two_symbols_is_found_at_every_place() -> None:
    for place in range(8):
        for left in CROCKFORD:
            for right in CROCKFORD.replace(left, ""):
                body = "0" * place + left + right + "0" * (7 - place)
                swapped = "0" * place + right + left + "0" * (7 - place)
                assert codes.check_character(body) != codes.check_character(swapped)


@given(body=bodies)
def test_a_code_with_its_check_character_is_not_mistyped(body: str) -> None:
    assert not codes.is_mistyped(with_check(body))


@given(body=bodies, data=st.data())
def test_a_code_survives_how_people_write_it(body: str, data: st.DataObject) -> None:
    code = with_check(body)
    looks = {"0": "0Oo", "1": "1IiLl"}
    written = "".join(data.draw(st.sampled_from(looks.get(symbol, symbol + symbol.lower()))) for symbol in code)
    cut = data.draw(st.integers(0, 10))
    gap = data.draw(st.sampled_from(["", "-", " ", " - "]))
    assert codes.fold(f"{written[:cut]}{gap}{written[cut:]}") == code


@given(text=st.text(max_size=40))
def test_folding_twice_folds_no_further(text: str) -> None:
    assert codes.fold(codes.fold(text)) == codes.fold(text)


@pytest.mark.parametrize("written", ["00000000", "00000000000", "SUMMER", ""])
def test_codes_of_other_lengths_carry_no_check(written: str) -> None:
    assert not codes.is_mistyped(written)


@pytest.mark.parametrize("written", ["U000000000", "000000000U", "00000!0000", "0000\x0000000"])
def test_ten_symbols_outside_the_alphabet_are_mistyped(written: str) -> None:
    assert codes.is_mistyped(written)


@pytest.mark.parametrize("written", ["ABC", "A" * 21, "ABCD!", "ÄBCD", "AB\x00CD", ""])
def test_what_cannot_be_a_code_costs_no_look_up(written: str) -> None:
    assert not codes.is_possible(written)


@pytest.mark.parametrize("written", ["ABCD", "A" * 9, "A" * 11, "A" * 20, "0" * 10])
def test_what_could_be_a_code_is_looked_up(written: str) -> None:
    assert codes.is_possible(written)


def test_generated_codes_check_differ_and_offend_nobody() -> None:
    made = [codes.generate() for _ in range(5_000)]
    assert len(set(made)) == 5_000
    assert {len(code) for code in made} == {10}
    assert not any(codes.is_mistyped(code) for code in made)
    assert not any(codes.is_offensive(code) for code in made)
    assert {codes.fold(code.lower()) for code in made} == set(made)


def test_an_offensive_draw_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["A55000000", "000000000"])
    monkeypatch.setattr("loyalty.core.ids.draw", lambda _: next(drawn))
    assert codes.generate() == "0000000000"


@pytest.mark.parametrize(
    "written", ["ass", "A55", "a-5-5", "SEX", "53x", "n1gg", "NIGG", "shit", "SH17", "fvck", "666", "F4G"]
)
def test_offensive_words_are_found_however_they_are_written(written: str) -> None:
    assert codes.is_offensive(codes.fold(f"QQ{written}QQ"))


@pytest.mark.parametrize("written", ["SUMMER", "ANNA", "BERLIN24", "COFFEE", "2026"])
def test_ordinary_words_are_not_offensive(written: str) -> None:
    assert not codes.is_offensive(codes.fold(written))


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("ABC", "length"),
        ("A" * 10, "length"),
        ("A" * 21, "length"),
        ("ANNA!", "length"),
        ("ÄNNA", "length"),
        ("", "length"),
        ("admin", "reserved"),
        ("H-E-L-P", "reserved"),
        ("Null", "reserved"),
        ("offer", "reserved"),
        ("grass1", "offensive"),
        ("P0RN4U", "offensive"),
    ],
)
def test_a_chosen_code_is_refused_with_the_reason(written: str, reason: str) -> None:
    assert codes.refuse_vanity(codes.fold(written)) == reason


@pytest.mark.parametrize("written", ["ANNA", "Anna-2026", "A" * 9, "B" * 11, "C" * 20, "UUUU"])
def test_a_chosen_code_of_the_right_length_may_be_used(written: str) -> None:
    assert codes.refuse_vanity(codes.fold(written)) is None


def _times_two(value: int) -> int:
    """Multiply by x in GF(32) modulo x^5 + x^2 + 1, by the bits."""
    b4, b3, b2, b1, b0 = (value >> shift & 1 for shift in (4, 3, 2, 1, 0))
    return b3 << 4 | b2 << 3 | (b1 ^ b4) << 2 | b0 << 1 | b4
