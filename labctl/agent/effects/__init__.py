"""One file for each sort of claim: how the lab is brought to it, and how that is measured, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.agent.effects.crashing import Crashing
from labctl.agent.effects.damage import Damaged
from labctl.agent.effects.disks import Disks
from labctl.agent.effects.knobs import Knobs
from labctl.agent.effects.limits import Limits
from labctl.agent.effects.links import Links
from labctl.agent.effects.packets import Packets
from labctl.agent.effects.servers import Servers
from labctl.agent.effects.settings import Settings
from labctl.agent.effects.toxics import Toxics
from labctl.agent.effects.traffic import Traffic
from labctl.agent.effects.triggers import Triggers
from labctl.agent.effects.wires import Wires

if TYPE_CHECKING:
    from labctl.agent.effects.base import Bench, Effect


def all_effects(bench: Bench) -> tuple[Effect, ...]:
    """Every effect, in the order in which they are applied: what a server meets when it starts, the server, what it is told."""
    return (
        Links(bench),
        Toxics(bench),
        Wires(bench),
        Packets(bench),
        Knobs(bench),
        Disks(bench),
        Damaged(bench),
        Servers(bench),
        Crashing(bench),
        Limits(bench),
        Settings(bench),
        Traffic(bench),
        Triggers(bench),
    )
