"""What the agent sees during a drill, written into the history on the same clock as the operations."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from labctl.agent.client import AgentClient
from labctl.errors import LabError
from labctl.lab import Lab
from labctl.model.history import FAULT_END, FAULT_START, ROLE, Event
from labctl.model.message import Heard
from labctl.store.codec import from_data
from labctl.store.history import HistoryWriter
from labctl.store.messages import save_messages
from labctl.store.views import ViewWriter

_CATCH_UP_S = 0.2
_LOOK_S = 0.2


def note_roles(agent: AgentClient, history: HistoryWriter) -> None:
    """The role of every data node where the phase begins, so that a checker knows whose term it is."""
    view = agent.call("GET", "/status")["view"]
    beliefs = [n["sentinel"] for n in view["nodes"] if n.get("sentinel")]
    for node in view["nodes"]:
        if node["role"] not in ("primary", "replica"):
            continue
        detail: dict[str, object] = {"role": node["role"], "text": f"{node['name']} is {node['role']}"}
        epochs = [b["config_epoch"] for b in beliefs if b["primary"] == node["name"]]
        if node.get("cluster"):
            epochs = [node["cluster"]["my_epoch"]]
        if epochs and node["role"] == "primary":
            detail["epoch"] = max(epochs)
        history.event(Event(ROLE, view["at_ns"], node["name"], detail))


@asynccontextmanager
async def following(
    agent: AgentClient, history: HistoryWriter, say: Callable[[str], None], unfelt: list[str]
) -> AsyncIterator[None]:
    """Record the agent's events from now on; leaving waits until those that it knows by then are recorded.

    Faults that ended without the lab having felt anything of them are named in `unfelt`.
    """
    loop = asyncio.get_running_loop()
    known = agent.call("GET", "/events")
    after = known[-1]["seq"] if known else 0
    seen = after
    caught_up = asyncio.Event()

    def record(event: dict[str, Any]) -> None:
        nonlocal seen
        seen = event["seq"]
        caught_up.set()
        history.event(_as_event(event))
        if event["kind"] == "fault-end" and event["detail"].get("felt") == 0:
            unfelt.append(f"a fault took no effect: {event['text']}")
        say(event["text"])

    stream = agent.follow(after)

    def read() -> None:
        for event in stream:
            try:
                loop.call_soon_threadsafe(record, event)
            except RuntimeError:  # the loop has gone
                return

    threading.Thread(target=read, name="events", daemon=True).start()
    try:
        yield
    finally:
        last = agent.call("GET", "/events")
        newest = last[-1]["seq"] if last else after
        try:
            async with asyncio.timeout(_CATCH_UP_S * 10):
                while seen < newest:
                    caught_up.clear()
                    await caught_up.wait()
        except TimeoutError:
            say("some of the agent's events came too late for the history")
        stream.close()


@asynccontextmanager
async def watching(lab: Lab, path: Path) -> AsyncIterator[None]:
    """Keep the views of the lab while the context lasts, and one last view at its end.

    Args:
        lab: Looked at several times a second.
        path: Where the views go.
    """

    async def watch(views: ViewWriter) -> None:
        while True:
            views.add((await asyncio.to_thread(lab.call, "GET", "/status"))["view"])
            await asyncio.sleep(_LOOK_S)

    with ViewWriter(path) as views:
        task = asyncio.create_task(watch(views))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, LabError):
                await task
            with suppress(LabError):
                views.add((await asyncio.to_thread(lab.call, "GET", "/status"))["view"], last=True)


@asynccontextmanager
async def listening(agent: AgentClient, path: Path) -> AsyncIterator[None]:
    """Keep what nodes tell each other over their links while the context lasts, as far as links can be listened to."""
    why_not = (await asyncio.to_thread(agent.call, "POST", "/messages"))["why_not"]
    try:
        yield
    finally:
        with suppress(LabError):
            heard = from_data(Heard, await asyncio.to_thread(agent.call, "DELETE", "/messages"))
            save_messages(path, replace(heard, why_not=why_not))


def _as_event(event: dict[str, Any]) -> Event:
    kinds = {"fault-start": FAULT_START, "fault-end": FAULT_END, "role": ROLE}
    detail = {**event["detail"], "text": event["text"]}
    return Event(kinds.get(event["kind"], event["kind"]), event["at_ns"], event["node"], detail)
