"""The agent's life: up (or take over), serve, leave."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from labctl.agent.exits import Exits
from labctl.agent.request import Request
from labctl.agent.sites import open_site
from labctl.errors import LabError, NotHealthyError, StartError
from labctl.metrics import endpoint
from labctl.store import codec
from labctl.store.folders import LabFolder, write_private

if TYPE_CHECKING:
    from labctl.agent.agent import Agent, Progress


async def run(path: Path, progress: Progress, *, resume: bool) -> int:
    """Bring the lab up and answer for it until it is told to go down. Returns the exit code."""
    folder = LabFolder(path)
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, me.cancel)
    try:
        agent = await (_take_over(folder) if resume else _bring_up(folder, progress))
    except LabError as error:
        print(error, file=sys.stderr)
        entry: dict[str, object] = {"error": error.message, "hint": error.hint, "exit": int(error.exit_code)}
        if isinstance(error, NotHealthyError):
            entry |= {"reasons": error.reasons, "view": error.view}
        progress(entry)
        return int(error.exit_code)
    except asyncio.CancelledError:
        return 0
    except Exception as error:  # noqa: BLE001 - the waiting command must hear of it; the log has the traceback
        traceback.print_exc(file=sys.stderr)
        progress({"error": f"The agent failed: {error!r}", "hint": "This is a defect of labctl.", "exit": 4})
        return 1
    try:
        return await _serve(agent, progress)
    except asyncio.CancelledError:
        for number in (signal.SIGTERM, signal.SIGINT):  # it is leaving already
            loop.add_signal_handler(number, lambda: None)
        if await asyncio.shield(agent.down()):
            agent.folder.emptied.touch(mode=0o600)
        return 0


async def _bring_up(folder: LabFolder, progress: Progress) -> Agent:
    """Open the site first: where that is mostly waiting, what else the agent needs is imported meanwhile."""
    try:
        request = codec.load(Request, folder.request)
    except FileNotFoundError:
        raise StartError("The lab was taken down while it came up.") from None
    exits = Exits()
    site = await open_site(request, folder, exits, lambda step: progress({"step": step}))
    from labctl.agent.agent import bring_up  # noqa: PLC0415

    _import_api()  # while servers find each other
    return await bring_up(folder, site, exits, progress)


def _import_api() -> asyncio.Future[ModuleType]:
    return asyncio.ensure_future(asyncio.to_thread(importlib.import_module, "labctl.agent.api"))


async def _take_over(folder: LabFolder) -> Agent:
    from labctl.agent.agent import take_over  # noqa: PLC0415

    return await take_over(folder)


async def _serve(agent: Agent, progress: Progress) -> int:
    api = await _import_api()
    listener = api.control_socket(agent.folder.socket)
    watching = asyncio.create_task(agent.watch())
    upholding = asyncio.create_task(agent.uphold())
    serving = asyncio.create_task(api.serve(agent, listener))
    scraped = _listen_for_scrapes(agent)
    progress({"up": True})  # whoever connects from here on is served
    agent.link_apis = await agent.links.serve_api()
    measuring = asyncio.create_task(_serve_metrics(agent, scraped))
    _let_go_of_stdout()
    try:
        done, _ = await asyncio.wait({watching, upholding, serving}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        watching.cancel()
        upholding.cancel()
        measuring.cancel()
    return 0


def _listen_for_scrapes(agent: Agent) -> socket.socket | None:
    """Metrics are an extra: a lab without them is a lab all the same, and its log says why it has none."""
    try:
        listener = endpoint.listen()
        agent.metrics = "{}:{}".format(*listener.getsockname())
        write_private(agent.folder.metrics, f"{agent.metrics} {agent.plan.lab_id}")
    except OSError:
        traceback.print_exc(file=sys.stderr)
        return None
    return listener


async def _serve_metrics(agent: Agent, listener: socket.socket | None) -> None:
    try:
        if listener is not None:
            await endpoint.serve(agent, listener)
    except Exception:  # noqa: BLE001 - see `_listen_for_scrapes`
        traceback.print_exc(file=sys.stderr)


def _let_go_of_stdout() -> None:
    """End of file for whoever waits on the pipe; later writes go to the log."""
    os.dup2(2, 1)
