"""Wires: a pair of interfaces from each party's namespace to a bridge in a namespace of its own, by way of iproute2."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.errors import CapabilityError, StartError

if TYPE_CHECKING:
    from labctl.model.plan import LabPlan
    from labctl.wires.namespaces import Namespaces

SWITCH = "@switch"
"""The namespace of the bridge; no party can be called so."""
INTERFACE = "eth0"
_NETWORK = "10.77.{}.{}"
_PREFIX = 16
_FIRST_CLIENT = 255 << 8


@dataclass(frozen=True, slots=True)
class Plug:
    """One end of a wire: the address of a party on the lab's network, which is the same in every lab, and its MAC."""

    address: str
    mac: str


def plugs(plan: LabPlan) -> dict[str, Plug]:
    """Every node and client group with its place on the lab's network."""
    numbers = {node.name: index for index, node in enumerate(plan.nodes, 1)}
    numbers |= {group: _FIRST_CLIENT + index for index, (group, _) in enumerate(plan.client_hosts, 1)}
    return {
        name: Plug(_NETWORK.format(number >> 8, number & 255), f"02:00:0a:4d:{number >> 8:02x}:{number & 255:02x}")
        for name, number in numbers.items()
    }


def lay(namespaces: Namespaces, parties: Mapping[str, Plug]) -> None:
    """Connect every party to the bridge; all interfaces are up when this returns.

    Raises:
        CapabilityError: There is no iproute2, or the kernel has no bridge or no pairs of interfaces.
    """
    commands = ["link set lo up", "link add switch type bridge", "link set switch up"]
    for number, (name, plug) in enumerate(parties.items(), 1):
        wire = f"wire{number}"
        peer = f"peer name {INTERFACE} address {plug.mac} netns {namespaces.path(name)}"
        commands += [f"link add {wire} type veth {peer}", f"link set {wire} master switch up"]
    ip(namespaces, SWITCH, commands)
    for name, plug in parties.items():
        namespaces.run(name, _accept_detours)
        ip(
            namespaces,
            name,
            ["link set lo up", f"address add {plug.address}/{_PREFIX} dev {INTERFACE}", f"link set {INTERFACE} up"],
        )


def ip(namespaces: Namespaces, name: str, commands: Iterable[str]) -> None:
    """Run commands of `ip` in a namespace, one after the other, up to the first that fails.

    Raises:
        CapabilityError: There is no `ip`, or the kernel lacks what a command asks for.
    """
    _ip(namespaces, name, ["-batch", "-"], "\n".join(commands))


def routes(namespaces: Namespaces, name: str, device: str) -> list[str]:
    """Destinations of a device's routes as the kernel has them; none where there is no such device."""
    try:
        told = _ip(namespaces, name, ["-oneline", "route", "show", "dev", device])
    except CapabilityError:
        return []
    return [line.split()[0] for line in told.splitlines() if line.strip()]


def _ip(namespaces: Namespaces, name: str, words: list[str], batch: str = "") -> str:
    program = shutil.which("ip")
    if program is None:
        raise CapabilityError("There is no `ip`, which lays a lab's wires.", "Debian: apt-get install iproute2")
    done = namespaces.run(
        name, lambda: subprocess.run([program, *words], input=batch, capture_output=True, text=True, check=False)
    )
    if done.returncode:
        raise CapabilityError(
            f"The wires of {name} cannot be laid: {done.stderr.strip() or done.stdout.strip()}",
            "It takes a kernel with CONFIG_VETH, CONFIG_BRIDGE and CONFIG_TUN.",
        )
    return done.stdout


def _accept_detours() -> None:
    """Packets come by the wire also while those that go back take a detour; no reverse path filter may mind."""
    for scope in ("all", "default"):
        path = Path(f"/proc/sys/net/ipv4/conf/{scope}/rp_filter")
        try:
            path.write_text("0")
        except OSError as error:
            raise StartError(f"{path}: {error.strerror}") from error
