"""What connections of the agent's own can do to a server, one file each, and their registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.agent.traffic.big_key import BigKey
from labctl.agent.traffic.block import Block
from labctl.agent.traffic.client_pause import ClientPause
from labctl.agent.traffic.deaf_subscriber import DeafSubscriber
from labctl.agent.traffic.flood import Flood
from labctl.agent.traffic.storm import Storm

if TYPE_CHECKING:
    from labctl.agent.traffic.base import Pattern

PATTERNS: dict[str, type[Pattern]] = {
    pattern.name: pattern for pattern in (BigKey, Block, ClientPause, DeafSubscriber, Flood, Storm)
}
