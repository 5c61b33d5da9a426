"""Helper containers: for as long as a change takes, in a pod's network or on a node's volume."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from labctl.errors import CapabilityError, InjectionError
from labctl.model.fault import Packets
from labctl.runtime.docker.engine import Engine, RefusedError
from labctl.runtime.docker.images import labctl_image
from labctl.runtime.docker.names import Names, Part
from labctl.runtime.docker.pods import FILES, PYTHON, SERVER_USER, hardened

_MEMORY = "128m"
_DEADLINE_S = 60
_NETEM = (Packets.DUPLICATED, Packets.CORRUPTED, Packets.REORDERED)


class HelperFailedError(InjectionError):
    """A helper could not do what it was to do.

    Attributes:
        said: What it said.
    """

    def __init__(self, node: str, said: str) -> None:
        super().__init__(f"The helper of {node} failed: {said}", "labctl images build makes its image anew.")
        self.said = said


class Helpers:
    """Runs `labctl.runtime.docker.helper` where it is wanted.

    Args:
        engine: Where the lab is.
        names: Of the lab.
        node_folder: A node's folder, in its volume.
    """

    def __init__(self, engine: Engine, names: Names, node_folder: str) -> None:
        self._engine = engine
        self._names = names
        self._node_folder = node_folder

    async def require(self, what: Packets | None = None) -> None:
        """Nothing, where helpers can do `what` to packets, or without it fill a disk.

        Raises:
            CapabilityError: labctl's image, a program in it or the kernel does not allow it.
        """
        await asyncio.to_thread(labctl_image, self._engine)
        if what in _NETEM:
            try:
                await self._run("any", {"do": "netem"}, network_mode="none", cap_add=["NET_ADMIN"], user="0:0")
            except HelperFailedError as error:
                raise CapabilityError(
                    f"Packets cannot be {what} here, for the engine's kernel has no netem: {error.said}",
                    "`modprobe sch_netem` on the engine's machine loads it where there is one; packet-loss needs none.",
                ) from error

    async def shape(self, node: str, packets: Mapping[Packets, float], gateway: str, peer: str) -> dict[str, Any]:
        """Bring a pod's network to what is wanted; what was found afterwards.

        Args:
            node: Whose.
            packets: Percent by what happens to packets; none for a plain network.
            gateway: The host's address on the lab's network, whose packets are spared.
            peer: Another container's, to which packets are sent to count those that are lost.
        """
        wanted = {
            "do": "network",
            "packets": {what.value: percent for what, percent in packets.items()},
            "gateway": gateway,
            "peer": peer,
        }
        pod = f"container:{self._names.links(node)}"
        return await self._run(node, wanted, network_mode=pod, cap_add=["NET_ADMIN"], user="0:0")

    async def fill(self, node: str, left: int | None) -> dict[str, Any]:
        """Leave so many bytes free on a node's volume, or with None all that there were; what was found afterwards."""
        wanted = {"do": "empty" if left is None else "fill", "left": left, "folder": self._node_folder}
        volume = {self._names.volume(node): {"bind": FILES, "mode": "rw"}}
        return await self._run(node, wanted, network_mode="none", binds=volume, user=SERVER_USER)

    async def _run(self, node: str, wanted: Mapping[str, Any], *, user: str, **where: Any) -> dict[str, Any]:
        """Run a helper to its end. Raises InjectionError with what it said when it failed."""
        api, container = self._engine.api, self._names.helper(node)
        host = api.create_host_config(**where, **hardened(), mem_limit=_MEMORY)
        try:
            await self._create(container, node, wanted, user, host)
        except RefusedError as error:
            if not error.name_taken:
                raise
            await self._remove(container)  # of an agent that was killed
            await self._create(container, node, wanted, user, host)
        try:
            await self._engine.call(f"start {container}", api.start, container)
            ended = await self._engine.call(f"wait for {container}", api.wait, container, timeout=_DEADLINE_S)
            said = await self._engine.call(f"read {container}", api.logs, container, stdout=True, stderr=True)
        finally:
            await asyncio.shield(self._remove(container))
        text = said.decode(errors="replace").strip()
        if ended["StatusCode"] != 0:
            raise HelperFailedError(node, text)
        found: dict[str, Any] = json.loads(text)
        return found

    async def _create(self, container: str, node: str, wanted: Mapping[str, Any], user: str, host: Any) -> None:
        await self._engine.call(
            f"make the container {container}",
            self._engine.api.create_container,
            await asyncio.to_thread(labctl_image, self._engine),
            ["-m", "labctl.runtime.docker.helper", json.dumps(wanted)],
            name=container,
            entrypoint=[PYTHON],
            user=user,
            labels=self._names.labels(Part.HELPER, node),
            host_config=host,
        )

    async def _remove(self, container: str) -> None:
        with suppress(RefusedError):  # gone already
            await self._engine.call(f"remove {container}", self._engine.api.remove_container, container, force=True)


def judged(packets: Mapping[Packets, float], found: Mapping[str, Any]) -> str:
    """What a helper found in a pod's network, in words.

    Raises:
        InjectionError: It is not what was wanted.
    """
    words, wrong = [], []
    if found["up"] == (Packets.DISCONNECTED in packets):
        wrong.append(f"its interface is {'up' if found['up'] else 'down'}")
    elif not found["up"]:
        words.append("its interface is down")
    if found["rules"] != (Packets.LOST in packets) or (found.get("sent") and not found["lost"]):
        wrong.append("the kernel loses no packets" if Packets.LOST in packets else "the kernel still loses packets")
    elif found.get("sent"):
        words.append(f"{found['lost']} of {found['sent']} packets lost")
    if ("netem" in found["qdisc"]) != any(what in packets for what in _NETEM):
        wrong.append(f"its queue is {found['qdisc']}")
    elif "netem" in found["qdisc"]:
        words.append(found["qdisc"])
    if wrong:
        raise InjectionError(f"The network of a pod is not as wanted: {', '.join(wrong)}.")
    return ", ".join(words)
