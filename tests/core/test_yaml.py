"""What is written in YAML is read as it looks, and everything else of YAML is refused by its line."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.core import yaml
from loyalty.core.errors import ValidationFailed

scalars = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(st.characters(exclude_categories=["Cs"]))
documents = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(documents)
def test_what_is_written_is_read_again(document: Any) -> None:
    assert yaml.read(yaml.write(document).encode()) == document


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_is_read_or_refused(content: bytes) -> None:
    with suppress(ValidationFailed):
        yaml.write(yaml.read(content))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("no", "no"),
        ("on", "on"),
        ("14:00", "14:00"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("012", "012"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("1.5", "1.5"),
        ("1e3", "1e3"),
        (".inf", ".inf"),
        ("<<", "<<"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("120", 120),
        ("-7", -7),
        ("9" * 30, "9" * 30),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
    ],
)
def test_a_word_is_what_it_looks_like(written: str, read: Any) -> None:
    assert yaml.read(f"key: {written}".encode()) == {"key": read}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\na: 2", "Line 2, column 1: This key stands here twice"),
        (b"a: &x [1]\nb: *x", "Line 1, column 4: There should be no anchors and aliases"),
        (b"b: *x", "Line 1, column 4: There should be no anchors and aliases"),
        (b"a: !!python/object/apply:os.system [ls]", "Line 1, column 4: There should be no tags"),
        (b"a: !!int '3'", "Line 1, column 4: There should be no tags"),
        (b"1: a", "Line 1, column 1: A key should be text"),
        (b"? [a]\n: b", "Line 1, column 3: A key should be text"),
        (b"a: 1\n---\nb: 2", "Line 3, column 1: There should be one document"),
        (b"a: [1", "Line 2, column 1: "),
        (b"a: \x00", "There is a character that YAML does not allow"),
        (b"a: \xff", "Byte 4 is no UTF-8"),
        (b"- " * 100_000, "Line 1, column 67: There should be no more than 32 levels"),
        (b"[" + b"1," * 60_000 + b"]", "Line 1, column 100002: There should be no more than 50000 keys and values"),
        (b"[" * 100_000, "Line 1, column 34: There should be no more than 32 levels"),
        (b"? " * 100_000 + b"a", "Line 1, column 67: There should be no more than 32 levels"),
    ],
)
def test_what_is_no_plain_data_is_refused_by_its_line(content: bytes, said: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        yaml.read(content)
    (fault,) = refused.value.errors
    assert fault.detail.startswith(said)
