"""The command line: `loyalty --help`. Each group of commands has a file; what they share is in `terminal`."""

import logging
import signal
import sys
from types import FrameType

import click

from loyalty import local
from loyalty.cli.callers import keys_group, managers_group
from loyalty.cli.files import adjust_many, import_history
from loyalty.cli.ledger import ledger_group
from loyalty.cli.months import detach, partition
from loyalty.cli.programs import programs_group, show_jobs
from loyalty.cli.serving import demo, distribute, migrate_database, openapi, run_worker, serve
from loyalty.core.embedded import EmbeddedRefused


class _Commands(click.Group):
    """Turns what cannot be started into a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (EmbeddedRefused, local.SettingsRefused) as error:
            raise click.ClickException(str(error)) from error


@click.group(
    cls=_Commands,
    commands=[
        migrate_database,
        distribute,
        serve,
        run_worker,
        demo,
        programs_group,
        keys_group,
        managers_group,
        ledger_group,
        show_jobs,
        partition,
        detach,
        import_history,
        adjust_many,
        openapi,
    ],
)
def main() -> None:
    """An engine for loyalty and referral programs."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGTERM, _leave)


def _leave(_: int, __: FrameType | None) -> None:
    """Turn SIGTERM into an ordinary exit, so that everything held is let go of on the way out."""
    sys.exit(143)
