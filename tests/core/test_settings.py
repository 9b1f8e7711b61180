from typing import Any

import pytest
from pydantic import ValidationError

from loyalty.core.settings import Settings

GOOD = {"database_url": "postgresql://user:p%40ss@db.example.com:5432/loyalty", "secret_key": "s" * 32}


def settings(**changes: Any) -> Settings:
    return Settings.model_validate({**GOOD, **changes})


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_every_way_to_write_the_address_means_the_same_driver(scheme: str) -> None:
    url = f"{scheme}://u:p@h/d"
    read = settings(database_url=url, reports_database_url=url)
    assert {read.database_url, read.reports_database_url} == {"postgresql+asyncpg://u:p@h/d"}


@pytest.mark.parametrize("url", ["mysql://h/d", "sqlite:///x", "postgresql+psycopg://h/d", "h/d", ""])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must be a postgresql:// URL"):
        settings(database_url=url)


@pytest.mark.parametrize(
    "changes",
    [
        {"secret_key": "s" * 31},
        {"secret_key_previous": "short"},
        {"pool_size": 0},
        {"pool_size": 201},
        {"pool_timeout_ms": 0},
        {"lock_timeout_ms": 60_001},
        {"statement_timeout_ms": 0},
    ],
    ids=str,
)
def test_a_setting_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**changes)


def test_secrets_are_never_shown() -> None:
    secret, former = "a secret that must not be shown, ever", "a former one that must not be shown"
    made = settings(secret_key=secret, secret_key_previous=former)
    for shown in (repr(made), str(made), made.model_dump_json()):
        assert secret not in shown
        assert former not in shown


def test_settings_come_from_the_environment_and_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", GOOD["database_url"])
    monkeypatch.setenv("LOYALTY_SECRET_KEY", GOOD["secret_key"])
    monkeypatch.setenv("LOYALTY_POOL_SIZE", "3")
    read = Settings.model_validate({})
    assert (read.pool_size, read.lock_timeout_ms, read.secret_key_previous) == (3, 5_000, None)
    with pytest.raises(ValidationError):
        read.pool_size = 4


def test_a_service_without_a_secret_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOYALTY_SECRET_KEY", raising=False)
    with pytest.raises(ValidationError, match="secret_key"):
        Settings.model_validate({"database_url": GOOD["database_url"]})
