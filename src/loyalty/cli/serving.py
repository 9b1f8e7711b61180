"""What an operator runs: the schema, the server, the worker, the demonstration."""

import asyncio
import gc
import signal
from pathlib import Path
from typing import Final

import click
import uvicorn

from loyalty import local, worker
from loyalty.app import create_app
from loyalty.cli.terminal import with_sessions
from loyalty.core import distribution, migrate
from loyalty.core.db import Sessions, create_engine, create_sessions
from loyalty.core.gathering import GatheringProtocol
from loyalty.core.reference import openapi_json
from loyalty.core.settings import Settings
from loyalty.demo import command as demonstration
from loyalty.schema import METADATA

_KEPT_OPEN_SECONDS: Final = 75
"""Longer than callers and load balancers leave a connection idle: who closes it first must not be this server.

Else a request that is on its way just then is lost, and its caller cannot know whether it was heard.
"""


@click.command("migrate")
def migrate_database() -> None:
    """Bring the database to this release's schema."""
    with local.settings() as settings:
        migrate.upgrade(settings.database_url)
    click.echo("The schema is up to date.")


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the calls, and make none; needs no database.")
def distribute(dry_run: bool) -> None:
    """Spread the migrated schema over a Citus cluster by program, printing each call; what is spread is passed over."""
    if dry_run:
        for placement in distribution.placements(METADATA):
            click.echo(f"{placement.call};")
        return

    async def place(sessions: Sessions) -> int:
        done = 0
        async for placement in distribution.distribute(sessions, metadata=METADATA):
            click.echo(f"{placement.call};")
            done += 1
        return done

    click.echo(f"-- {with_sessions(place)} tables placed.")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
def serve(host: str, port: int) -> None:
    """Serve the API."""
    with local.settings() as settings:
        application = create_app(settings)
        _settle_in()
        uvicorn.run(
            application,
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEPT_OPEN_SECONDS,
            http=GatheringProtocol,
        )


def _settle_in() -> None:
    """Leave what was built at the start out of every garbage collection, which else stops all requests for a while."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000)


@click.command("worker")
@click.option(
    "--heartbeat", type=click.Path(dir_okay=False, path_type=Path), help="A file to touch after each good round."
)
def run_worker(heartbeat: Path | None) -> None:
    """Do the background work."""
    with local.settings() as settings:
        asyncio.run(_work(settings, heartbeat=heartbeat))


@click.command()
@click.option("--once", is_flag=True, help="Load, print and end, without serving.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True)
def demo(*, once: bool, host: str, port: int) -> None:
    """Load real purchases into a demonstration program, show its reports, and serve it."""
    with local.settings() as settings:
        migrate.upgrade(settings.database_url)
        demonstration.run(settings, once=once, host=host, port=port)


@click.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    settings = Settings(database_url="postgresql://nowhere/none", secret_key="not used to describe anything, ever")  # type: ignore[arg-type]  # noqa: S106
    click.echo(openapi_json(create_app(settings)), nl=False)


async def _work(settings: Settings, *, heartbeat: Path | None) -> None:
    engine = create_engine(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await worker.run(create_sessions(engine), stop=stop, heartbeat=heartbeat)
    finally:
        await engine.dispose()
