import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loyalty.access import rules
from loyalty.access.errors import ScopeMissing
from loyalty.access.rules import ALL_KEY_SCOPES, ROLE_SCOPES, Caller, KeyKind, Role, Scope
from loyalty.core import ids
from loyalty.programs.rules import Mode, Program, ProgramRules

KINDS = st.sampled_from(KeyKind)
MODES = st.sampled_from(Mode)


@pytest.mark.parametrize(
    ("kind", "mode", "head"),
    [
        (KeyKind.SECRET, Mode.LIVE, "lk_sk_live_"),
        (KeyKind.PUBLISHABLE, Mode.TEST, "lk_pk_test_"),
        (KeyKind.RESTRICTED, Mode.TEST, "lk_rk_test_"),
    ],
)
def test_a_key_says_its_kind_mode_and_program(kind: KeyKind, mode: Mode, head: str) -> None:
    program_id = ids.new()
    key = rules.make_key(kind=kind, mode=mode, program_id=program_id)
    assert re.fullmatch(rf"{head}{ids.encode(program_id)}_[0-9a-hjkmnp-tv-z]{{39}}", key)
    hint = rules.hint(key)
    assert hint == f"{key[:10]}…{key[-4:]}"
    assert key[-39:-4] not in hint


@given(KINDS, MODES, st.uuids())
def test_a_key_is_read_back_as_its_program_and_digest(kind: KeyKind, mode: Mode, program_id: UUID) -> None:
    key = rules.make_key(kind=kind, mode=mode, program_id=program_id)
    assert rules.read_credential(key) == rules.Credential(program_id, rules.digest(key))
    assert not rules.is_signed_token(key)


def test_a_session_token_is_read_back_as_its_program_and_digest() -> None:
    program_id = ids.new()
    token = rules.make_session_token(program_id=program_id)
    assert token.startswith(f"ls_{ids.encode(program_id)}_")
    assert rules.read_credential(token) == rules.Credential(program_id, rules.digest(token))


@given(st.uuids(), st.data())
def test_one_wrong_symbol_is_found_without_a_look_up(program_id: UUID, data: st.DataObject) -> None:
    key = rules.make_key(kind=KeyKind.SECRET, mode=Mode.TEST, program_id=program_id)
    place = data.draw(st.integers(0, len(key) - 1))
    symbol = data.draw(st.sampled_from("0123456789abcdefghjkmnpqrstvwxyz_").filter(lambda other: other != key[place]))
    assert rules.read_credential(key[:place] + symbol + key[place + 1 :]) is None


@given(st.text(max_size=120))
def test_no_text_is_a_credential(text: str) -> None:
    assert rules.read_credential(text) is None
    assert rules.read_credential(f"lk_sk_test_{text}_{text}") is None


def test_a_credential_past_the_limit_is_not_read() -> None:
    key = rules.make_key(kind=KeyKind.SECRET, mode=Mode.TEST, program_id=ids.new())
    assert rules.read_credential("x" * rules.MAX_CREDENTIAL_LENGTH + key) is None


def test_two_keys_are_never_alike() -> None:
    made = {rules.make_key(kind=KeyKind.SECRET, mode=Mode.TEST, program_id=ids.new()) for _ in range(500)}
    assert len({key[-39:] for key in made}) == 500


def test_no_key_and_no_manager_has_a_members_scopes() -> None:
    own = {Scope.ME_READ, Scope.ME_WRITE}
    assert (own | {Scope.SESSION_OWN}).isdisjoint(ALL_KEY_SCOPES)
    assert all(own.isdisjoint(scopes) for scopes in ROLE_SCOPES.values())


def test_the_scopes_of_a_kind() -> None:
    assert rules.fixed_scopes(KeyKind.SECRET) == ALL_KEY_SCOPES
    assert rules.fixed_scopes(KeyKind.PUBLISHABLE) == frozenset({Scope.CODES_CHECK})
    assert rules.fixed_scopes(KeyKind.RESTRICTED) is None


def test_the_scopes_of_a_role() -> None:
    reading = {
        Scope.SESSION_OWN,
        Scope.PROGRAM_READ,
        Scope.MEMBERS_READ,
        Scope.ORDERS_READ,
        Scope.ACTIVITIES_READ,
        Scope.POINTS_READ,
        Scope.REWARDS_READ,
        Scope.REFERRALS_READ,
        Scope.EVENTS_READ,
        Scope.METRICS_READ,
    }
    assert ROLE_SCOPES[Role.ANALYST] == reading
    assert ROLE_SCOPES[Role.SUPPORT] == reading | {
        Scope.MEMBERS_WRITE,
        Scope.REDEMPTIONS_READ,
        Scope.REDEMPTIONS_WRITE,
        Scope.REFERRALS_WRITE,
    }
    assert ROLE_SCOPES[Role.OWNER] - ROLE_SCOPES[Role.MANAGER] == {Scope.KEYS_WRITE}
    assert ROLE_SCOPES[Role.OWNER] == ALL_KEY_SCOPES | {Scope.SESSION_OWN}


def test_only_a_member_acts_as_one() -> None:
    program = Program(ids.new(), "shop", "Shop", Mode.LIVE, None, 1, ProgramRules(("EUR",), "UTC"))
    member_id = ids.new()
    assert Caller(program, "mem_x", frozenset(), member_id).member == member_id
    with pytest.raises(ScopeMissing):
        _ = Caller(program, "key_x", frozenset(ALL_KEY_SCOPES)).member
