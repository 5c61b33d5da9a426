"""The link table's data plane: source-aware TCP proxies with Toxiproxy's API and toxics.

`LinkServer` runs inside the lab's agent. The HTTP API, the client and the stand-alone server are modules of their own,
imported where they are used, because they bring web frameworks along.
"""

from labctl.links.server import LinkServer
from labctl.links.spec import (
    Address,
    AddressError,
    LinkState,
    LinkStats,
    ListenError,
    ProxyExistsError,
    ProxySpec,
    UnknownProxyError,
)
from labctl.links.toxics.collection import ToxicCollection, ToxicExistsError, ToxicSpec, UnknownToxicError

__all__ = [
    "Address",
    "AddressError",
    "LinkServer",
    "LinkState",
    "LinkStats",
    "ListenError",
    "ProxyExistsError",
    "ProxySpec",
    "ToxicCollection",
    "ToxicExistsError",
    "ToxicSpec",
    "UnknownProxyError",
    "UnknownToxicError",
]
