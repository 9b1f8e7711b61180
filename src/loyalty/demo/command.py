"""What `loyalty demo` does, in order: prepare, report, show, serve."""

import asyncio
import json
from contextlib import suppress
from typing import Final
from uuid import UUID

import uvicorn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loyalty import worker
from loyalty.access import service as access
from loyalty.app import create_app
from loyalty.core import clock, ids
from loyalty.core.db import Sessions, create_engine, create_sessions, transaction
from loyalty.core.gathering import GatheringProtocol
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
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings.model_copy(update={"public_url": address}), host=host, port=port))
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
    _out.print(
        f"""
Address     {address}   program `{SLUG}`, a test program whose clock stands at 1998-07-01
Storefront  {state.storefront_key}
Manager     {state.manager_key}
Member      {token.credential}
            ({ids.public("mem", member_id)}, for 15 minutes)

Try:
  {_curl(address, "/v1/orders", state.storefront_key, body=_an_order(member_id))}
  {_curl(address, "/v1/me", token.credential)}
  {_curl(address, "/v1/metrics/members-versus-non-members", state.manager_key)}""",
        markup=False,
    )


def _an_order(member_id: UUID) -> dict[str, object]:
    line = {"sku": "cd", "total": {"amount": 1999, "currency": purchases.CURRENCY}}
    return {
        "external_id": f"try-{ids.encode(member_id)}",
        "customer_id": ids.public("cus", member_id),
        "currency": purchases.CURRENCY,
        "lines": [line],
    }


def _curl(address: str, path: str, bearer: str, *, body: dict[str, object] | None = None) -> str:
    headers = f"-H 'Authorization: Bearer {bearer}'"
    if body is None:
        return f"curl -s {address}{path} {headers}"
    write = f"-H 'Content-Type: application/json' -H 'Idempotency-Key: {body['external_id']}'"
    return f"curl -s {address}{path} {headers} {write} -d '{json.dumps(body)}'"


async def _serve(settings: Settings, *, host: str, port: int) -> None:
    """Serve the API, with the worker beside it, until a signal ends the server."""
    engine = create_engine(settings)
    stop = asyncio.Event()
    work = asyncio.create_task(worker.run(create_sessions(engine), stop=stop))
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=host,
            port=port,
            log_level="warning",
            server_header=False,
            http=GatheringProtocol,
        )
    )
    try:
        await server.serve()
    finally:
        stop.set()
        await work
        await engine.dispose()
