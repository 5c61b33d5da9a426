"""From a plan to running servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labctl.agent.tls import fresh_secrets, make_certificates
from labctl.errors import StartError
from labctl.model.plan import LabPlan, NodePlan, Secrets, TlsFiles
from labctl.plan.borrowed import formation_overrides
from labctl.runtime.base import Runtime
from labctl.store import codec
from labctl.store.folders import LabFolder


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets and certificates of a lab, each present only where its topology asks for it."""

    secrets: Secrets | None
    tls: TlsFiles | None


def make_keys(plan: LabPlan, folder: LabFolder) -> Keys:
    """Make and keep the secrets and certificates that the topology asks for."""
    secrets = fresh_secrets() if plan.topology.acl else None
    tls = make_certificates(folder.tls, plan.gateway) if plan.topology.tls else None
    keys = Keys(secrets, tls)
    codec.save(folder.secrets, keys)
    return keys


async def start_all(plan: LabPlan, runtime: Runtime) -> None:
    """Start every server."""

    async def start(node: NodePlan) -> None:
        overrides = formation_overrides(plan, node)
        await runtime.start(node, [word for name, value in overrides for word in (f"--{name}", *value.split())])

    await asyncio.gather(*(start(node) for node in plan.nodes))


async def unless_one_dies(
    runtime: Runtime, died: asyncio.Future[NodePlan], work: Callable[[], asyncio.Future[None]]
) -> None:
    """Await `work`, but fail at once, with its last words, when a server ends meanwhile.

    Raises:
        StartError: A server ended.
    """
    task = work()
    waiting: set[asyncio.Future[Any]] = {task, died}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if died.done() and not task.done():
        task.cancel()
        node = died.result()
        raise StartError(
            f"{node.name} ended while the lab came up. Its last words:\n{runtime.last_words(node)}",
            "Mend what the log names; nothing of the lab is left running.",
        )
    died.cancel()
    await task
