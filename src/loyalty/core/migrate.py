"""Bring a database to a version of the schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config


def config(url: str) -> Config:
    """Return Alembic's configuration for one database; there is no alembic.ini."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    settings.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return settings


def upgrade(url: str, *, revision: str = "head") -> None:
    command.upgrade(config(url), revision)


def downgrade(url: str, *, revision: str) -> None:
    command.downgrade(config(url), revision)
