from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.core.settings import Settings
from loyalty.core.signing import Keyring

OLD, NEW, FOREIGN = "the former secret, long enough to be one", "the present secret, long enough too", "f" * 40
FAR = datetime(2100, 1, 1, tzinfo=UTC)


def keyring(current: str, previous: str | None = None) -> Keyring:
    made = {"database_url": "postgresql://nowhere/none", "secret_key": current, "secret_key_previous": previous}
    return Keyring(Settings.model_validate(made))


def test_a_token_is_read_back() -> None:
    ring = keyring(NEW)
    assert ring.verify("a", ring.sign("a", {"sub": "x"})) == {"sub": "x", "aud": "a"}
    claims = ring.verify("a", ring.sign("a", {"sub": "x"}, expires_at=FAR))
    assert claims == {"sub": "x", "aud": "a", "exp": int(FAR.timestamp())}


def test_a_token_serves_one_purpose() -> None:
    ring = keyring(NEW)
    assert ring.verify("b", ring.sign("a", {})) is None


def test_a_token_past_its_expiry_is_nothing() -> None:
    ring = keyring(NEW)
    assert ring.verify("a", ring.sign("a", {}, expires_at=datetime(2020, 1, 1, tzinfo=UTC))) is None


def test_another_operators_token_is_nothing() -> None:
    assert keyring(NEW).verify("a", keyring(FOREIGN).sign("a", {})) is None


def test_the_previous_secret_still_verifies_and_never_signs() -> None:
    before, turned, after = keyring(OLD), keyring(NEW, OLD), keyring(NEW)
    old, new = before.sign("a", {"n": 1}), turned.sign("a", {"n": 2})
    assert turned.verify("a", old) == {"n": 1, "aud": "a"}
    assert turned.verify("a", new) == after.verify("a", new) == {"n": 2, "aud": "a"}
    assert after.verify("a", old) is None
    assert before.verify("a", new) is None


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_a_token_cannot_choose_its_algorithm(algorithm: str) -> None:
    ring = keyring(NEW)
    key: Any = None if algorithm == "none" else ring._keys_for("a")[0] * 2
    assert ring.verify("a", jwt.encode({"aud": "a"}, key, algorithm=algorithm)) is None


@pytest.mark.parametrize("change", [0, -1, len("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9") + 2])
def test_a_token_that_was_changed_is_nothing(change: int) -> None:
    ring = keyring(NEW)
    token = ring.sign("a", {"sub": "x"}, expires_at=FAR + timedelta(days=1))
    symbols = list(token)
    symbols[change] = "A" if symbols[change] != "A" else "Q"
    assert ring.verify("a", "".join(symbols)) is None


@given(st.text(max_size=200))
def test_no_text_is_a_token(text: str) -> None:
    ring = keyring(NEW, OLD)
    assert ring.verify("a", text) is None
    assert ring.verify("a", f"{text}.e30.{text}") is None


@given(st.text(max_size=100), st.text(max_size=100))
def test_a_digest_depends_on_operator_purpose_and_value(one: str, other: str) -> None:
    ring = keyring(NEW)
    assert ring.digest("a", one) == ring.digest("a", one)
    assert len(ring.digest("a", one)) == 32
    assert (ring.digest("a", one) == ring.digest("a", other)) == (one == other)
    assert ring.digest("a", one) != ring.digest("b", one)
    assert ring.digest("a", one) != keyring(FOREIGN).digest("a", one)
