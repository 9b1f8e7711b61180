import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.core.paging import CursorInvalid, decode_cursor, encode_cursor, page

KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)


@given(KEYS)
def test_a_cursor_is_read_back_and_needs_no_escaping(key: str) -> None:
    cursor = encode_cursor(key)
    assert decode_cursor(cursor) == key
    assert all(symbol.isalnum() or symbol in "-_" for symbol in cursor)


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_is_refused(text: str) -> None:
    try:
        key = decode_cursor(text)
    except CursorInvalid:
        return
    assert key.isascii()


@pytest.mark.parametrize("cursor", ["a", "\u00e9", "_w", "gICA"])
def test_a_cursor_of_nobody_is_refused(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor(cursor)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=60), st.integers(1, 20))
def test_pages_neither_skip_nor_repeat(numbers: list[int], limit: int) -> None:
    rows = sorted(numbers)
    seen: list[int] = []
    after = -1
    while True:
        cut = page([row for row in rows if row > after][: limit + 1], limit=limit, key=str)
        assert len(cut.data) <= limit
        seen += cut.data
        assert cut.has_more == (cut.next_cursor is not None)
        if cut.next_cursor is None:
            break
        after = int(decode_cursor(cut.next_cursor))
    assert seen == rows


def test_the_extra_row_only_says_that_there_is_more() -> None:
    assert page([1, 2, 3], limit=2, key=str).data == [1, 2]
    assert page([1, 2, 3], limit=2, key=str).next_cursor == encode_cursor("2")
    assert page([1, 2], limit=2, key=str).has_more is False
    assert page(list[int](), limit=2, key=str).next_cursor is None
