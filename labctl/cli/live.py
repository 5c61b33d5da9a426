"""observe web: the live view in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from labctl.cli.common import LabOption, Output, OutputOption, show


def register(observe: typer.Typer) -> None:
    """Add the verb to the group `observe`."""
    observe.command()(web)


def web(
    lab: LabOption = None,
    control: Annotated[
        bool, typer.Option("--control", help="An address that may also break and heal: it carries a token.")
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Where to serve it; 8470, or the next free one.")
    ] = None,
    browser: Annotated[bool, typer.Option("--open", help="Open it in this machine's browser.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Do not serve it any more.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Serve the live view of a lab on 127.0.0.1 until the lab is down, and print its address."""
    from labctl import lab as labs  # noqa: PLC0415

    found = labs.find(lab)
    if stop:
        data = found.call("DELETE", "/web")
        show(output, data, lambda: f"The web view of lab {found.name} is not served any more.")
        return
    place = found.call("POST", "/web", **({} if port is None else {"port": port}))
    url = f"{place['url']}#token={place['token']}" if control else str(place["url"])
    if browser:
        import webbrowser  # noqa: PLC0415

        webbrowser.open(url)
    show(output, {"url": url, "control": control}, lambda: url)
