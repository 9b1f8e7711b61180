"""What `loyalty demo` does, in order: prepare, report, show, serve."""

import asyncio
from typing import Final

import uvicorn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loyalty import worker
from loyalty.access import service as access
from loyalty.app import create_app
from loyalty.core import clock, ids
from loyalty.core.db import Sessions, create_engine, create_sessions, transaction
from loyalty.core.settings import Settings
from loyalty.core.signing import Keyring
from loyalty.demo import purchases, report
from loyalty.demo.program import SLUG, State, prepare
from loyalty.points import service as points
from loyalty.programs.rules import Program

_out: Final = Console(soft_wrap=True, highlight=False)


def run(settings: Settings, *, once: bool, host: str, port: int) -> None:
    """Prepare the demonstration and show it; then serve API and worker until interrupted, unless `once`."""
    address = f"http://{host}:{port}"
    asyncio.run(_show(settings, address=address))
    if once:
        return
    _out.print(f"\nServing at {address} (reference at {address}/reference). Ctrl-C ends it.")
    try:
        asyncio.run(_serve(settings.model_copy(update={"public_url": address}), host=host, port=port))
    except KeyboardInterrupt:
        _out.print("Stopped.")


async def _show(settings: Settings, *, address: str) -> None:
    engine = create_engine(settings)
    sessions = create_sessions(engine)
    try:
        program, state = await _prepare(sessions)
        _out.print(await report.compose(sessions, program=program))
        await _print_access(sessions, settings, program=program, state=state, address=address)
    finally:
        await engine.dispose()


async def _prepare(sessions: Sessions) -> tuple[Program, State]:
    columns = (TextColumn("Importing purchases"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_out, transient=True) as progress:
        task = progress.add_task("orders", total=purchases.ORDERS, visible=False)

        def advance(orders: int) -> None:
            progress.update(task, advance=orders, visible=True)

        return await prepare(sessions, progress=advance)


async def _print_access(
    sessions: Sessions, settings: Settings, *, program: Program, state: State, address: str
) -> None:
    async with transaction(sessions) as session:
        member_id = await points.richest_member(session, program_id=program.id, unit=program.rules.unit)
    if member_id is None:
        raise RuntimeError("the demonstration has no members")
    token = access.mint_member_token(
        program_id=program.id, member_id=member_id, keyring=Keyring(settings), real_now=clock.now()
    )
    member = ids.public("mem", member_id)
    _out.print(
        f"""
Address     {address}   program `{SLUG}`, a test program whose clock stands at 1998-07-01
Storefront  {state.storefront_key}
Manager     {state.manager_key}
Member      {token.credential}
            ({member}, for 15 minutes)

Try:
  curl -s {address}/v1/orders -H 'Authorization: Bearer {state.storefront_key}' -H 'Content-Type: application/json' -H 'Idempotency-Key: first' -d '{{"external_id":"A-1","customer_id":"{ids.public("cus", member_id)}","currency":"USD","lines":[{{"sku":"cd","total":{{"amount":1999,"currency":"USD"}}}}]}}'
  curl -s {address}/v1/me -H 'Authorization: Bearer {token.credential}'
  curl -s '{address}/v1/metrics/members-versus-non-members' -H 'Authorization: Bearer {state.manager_key}'"""
    )


async def _serve(settings: Settings, *, host: str, port: int) -> None:
    """Serve the API, with the worker beside it, until a signal ends the server."""
    engine = create_engine(settings)
    stop = asyncio.Event()
    work = asyncio.create_task(worker.run(create_sessions(engine), stop=stop))
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), host=host, port=port, log_level="warning", server_header=False)
    )
    try:
        await server.serve()
    finally:
        stop.set()
        await work
        await engine.dispose()
