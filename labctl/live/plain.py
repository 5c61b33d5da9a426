"""`labctl status --watch` where there is no terminal: a line a second, and one for everything that happens."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from labctl.live import panels
from labctl.live.watching import Watch

if TYPE_CHECKING:
    from labctl.lab import Lab

_EVERY_S = 1.0


def run(lab: Lab) -> None:
    """Until it is interrupted."""
    watch = Watch(lab)
    said_at = 0.0
    for kind in watch.follow():
        if kind == "event":
            event = watch.events[-1]
            clock = datetime.fromtimestamp(event["at_s"]).astimezone().strftime("%H:%M:%S")
            typer.echo(f"{clock}  {event['text']}")
        elif kind == "trouble":
            typer.echo(watch.trouble, err=True)
        elif watch.frame is not None and time.monotonic() - said_at >= _EVERY_S:
            said_at = time.monotonic()
            typer.echo(panels.summary(watch.frame))
