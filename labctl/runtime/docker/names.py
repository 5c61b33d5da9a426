"""Names and labels: by the labels labctl finds everything of its own again, and nothing else."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import StrEnum

from labctl.store.folders import home

LAB, ID, NODE, PART, HOME = "labctl.lab", "labctl.id", "labctl.node", "labctl.part", "labctl.home"


class Part(StrEnum):
    """What something of a lab is for."""

    LINKS = "links"
    """Toxiproxy of a node's pod; owns the network namespace."""
    SERVER = "server"
    GATEWAY = "gateway"
    """Toxiproxy for clients on the host."""
    FILES = "files"
    """Through which files get into volumes; never started."""
    HELPER = "helper"
    """Does something to a pod, and is gone."""
    NETWORK = "network"
    DATA = "data"
    """A node's volume: configuration and data."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the parts of one lab are called. Two labs of one name, of two state folders, do not collide.

    Attributes:
        lab: The lab's name.
        lab_id: 32 hex digits.
    """

    lab: str
    lab_id: str

    @property
    def _prefix(self) -> str:
        return f"labctl-{self.lab}-{self.lab_id[:8]}"

    @property
    def network(self) -> str:
        """The lab's network."""
        return self._prefix

    @property
    def gateway(self) -> str:
        """The gateway's container."""
        return f"{self._prefix}-gateway"

    @property
    def files(self) -> str:
        """The container through which files get into volumes."""
        return f"{self._prefix}-files"

    def helper(self, node: str) -> str:
        """The container that does something to a node's pod at the moment."""
        return f"{self._prefix}-{node}-helper"

    def links(self, node: str) -> str:
        """The container of a pod's Toxiproxy."""
        return f"{self._prefix}-{node}-links"

    def server(self, node: str) -> str:
        """The container of a pod's server."""
        return f"{self._prefix}-{node}"

    def volume(self, node: str) -> str:
        """A node's volume."""
        return f"{self._prefix}-{node}"

    def labels(self, part: Part, node: str = "") -> dict[str, str]:
        """Labels of one part."""
        labels = {LAB: self.lab, ID: self.lab_id, PART: part.value, HOME: this_home()}
        return {**labels, NODE: node} if node else labels


def this_home() -> str:
    """This machine's name and state folder: whose lab it is, where several share an engine."""
    return f"{socket.gethostname()}:{home()}"
