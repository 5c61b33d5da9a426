"""The toxics, one file each, and their registry: a new toxic is one file and one line here."""

from labctl.links.toxics.bandwidth import Bandwidth
from labctl.links.toxics.base import Attributes, Noop
from labctl.links.toxics.latency import Latency
from labctl.links.toxics.limit_data import LimitData
from labctl.links.toxics.reset_peer import ResetPeer
from labctl.links.toxics.resp import RespDelay, RespDrop, RespError, RespTruncate
from labctl.links.toxics.slicer import Slicer
from labctl.links.toxics.slow_close import SlowClose
from labctl.links.toxics.timeout import Timeout

TYPES: dict[str, type[Attributes]] = {
    attributes.type: attributes
    for attributes in (
        *(Noop, Latency, Bandwidth, SlowClose, Timeout, ResetPeer, Slicer, LimitData),
        *(RespDelay, RespError, RespDrop, RespTruncate),
    )
}
"""Toxic types by their name in the API."""

__all__ = ["TYPES", "Attributes"]
