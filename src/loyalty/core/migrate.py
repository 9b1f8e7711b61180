"""Bring a database to a version of the schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory


def config(url: str) -> Config:
    """Return Alembic's configuration for one database; there is no alembic.ini."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    settings.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return settings


def head() -> str | None:
    """Return the version of the schema that this release needs."""
    return ScriptDirectory.from_config(config("")).get_current_head()


def upgrade(url: str, *, revision: str = "head") -> None:
    command.upgrade(config(url), revision)


def downgrade(url: str, *, revision: str) -> None:
    command.downgrade(config(url), revision)
