"""The periods at which a Sentinel looks, tells and trusts itself, which a formation and a recovery borrow."""

from __future__ import annotations

from collections.abc import Sequence

OWN = {"info-period": "10000", "ping-period": "1000", "publish-period": "2000", "tilt-period": "30000"}
"""Milliseconds, as Redis and Valkey have them."""


def borrowed(reply: Sequence[str]) -> dict[str, str]:
    """Those in a reply to SENTINEL DEBUG."""
    every = dict(zip(map(str.lower, reply[::2]), reply[1::2], strict=True))
    return {name: every[name] for name in OWN}
