"""`python -m labctl.links [HOST:PORT]`: the link server in a pod of its own, proxies on every address of it."""

from __future__ import annotations

import sys

from labctl.links.spec import Address
from labctl.links.standalone import serve

if __name__ == "__main__":
    address = Address.parse(sys.argv[1] if len(sys.argv) > 1 else "0.0.0.0:8474")
    serve(address.host, address.port, expose=True)
