"""What the operator sets, all by environment variables that begin with `LOYALTY_`."""

from typing import Annotated, Final

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_SCHEMES: Final = ("postgresql+asyncpg://", "postgresql://", "postgres://")


class Settings(BaseSettings):
    """Settings of one process.

    Reports are read from `reports_database_url`, a streaming replica, if there is one.
    `secret_key` derives every signing and hashing key; `secret_key_previous` still verifies what the former one signed.
    Time-outs are milliseconds; a lock that is not had in time is answered, not waited for.
    Without `prepared_statements` nothing stays on a connection from one transaction to the next: for PgBouncer.
    `allow_forgetful_database` warns of a database that may lose what it confirmed, instead of refusing it.
    """

    model_config = SettingsConfigDict(env_prefix="LOYALTY_", frozen=True, hide_input_in_errors=True)

    database_url: str
    reports_database_url: str | None = None
    secret_key: SecretStr = Field(min_length=32)
    secret_key_previous: SecretStr | None = Field(default=None, min_length=32)
    public_url: str = "http://127.0.0.1:8000"
    pool_size: Annotated[int, Field(ge=1, le=200)] = 10
    pool_timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = 5_000
    lock_timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = 5_000
    statement_timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = 30_000
    prepared_statements: bool = True
    allow_forgetful_database: bool = False

    @field_validator("database_url", "reports_database_url")
    @classmethod
    def _driver(cls, value: str | None) -> str | None:
        """A bare postgresql:// would pick another driver than the one this program speaks."""
        if value is None:
            return None
        for scheme in _SCHEMES:
            if value.startswith(scheme):
                return _SCHEMES[0] + value.removeprefix(scheme)
        raise ValueError("must be a postgresql:// URL")
