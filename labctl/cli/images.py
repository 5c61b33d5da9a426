"""images: container images of the servers of this machine, for where there is no registry."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import Output, OutputOption, show

if TYPE_CHECKING:
    from rich.console import RenderableType


def register(app: typer.Typer) -> None:
    """Add `images` with its verbs."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Container images, made without a registry.")
    group.command("build")(build)
    group.command("ls")(ls)
    app.add_typer(group, name="images")


def build(
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", help="redis-8, redis-7, valkey-9 or a path; all of them when left out."),
    ] = None,
    toxiproxy: Annotated[str | None, typer.Option("--toxiproxy", help="Path of a toxiproxy-server.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Write an archive for `docker load` instead of loading it here.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make images of the servers of this machine, of Toxiproxy, and of labctl's own links, from what is here."""
    from labctl.cli.progress import steps  # noqa: PLC0415
    from labctl.engines.find import find_engines  # noqa: PLC0415
    from labctl.engines.select import select_engine  # noqa: PLC0415
    from labctl.model.topology import Kind, Topology  # noqa: PLC0415
    from labctl.runtime.docker.build import archive, server_image, toxiproxy_image, toxiproxy_program  # noqa: PLC0415
    from labctl.runtime.docker.build_labctl import labctl_image, missing_tools  # noqa: PLC0415
    from labctl.runtime.docker.engine import connect  # noqa: PLC0415

    anything = Topology("images", Kind.STANDALONE)
    servers = [select_engine(each, anything) for each in engine] if engine else find_engines()
    target = None if file else connect()
    with steps("images", quiet=output is Output.JSON) as say, tempfile.TemporaryDirectory() as folder:
        links = toxiproxy_image(toxiproxy_program(toxiproxy, Path(folder)))
        images = [*{image.reference: image for image in map(server_image, servers)}.values(), links, labctl_image()]
        say(f"packing {', '.join(image.reference for image in images)}")
        if file is not None:
            with file.open("wb") as out:
                archive(images, out)
        elif target is not None:
            with tempfile.TemporaryFile() as out:
                archive(images, out)
                out.seek(0)
                list(target.now("load the images", target.api.load_image, out))
            target.close()
    references = [image.reference for image in images]
    data = {"images": references, "file": str(file) if file else None}
    missing = missing_tools()
    without = f"\nWithout {', '.join(missing)}, which packet faults need: install and build again." if missing else ""
    where = f"In {file}: docker load -i {file}" if file else "Loaded. labctl up TOPOLOGY --runtime docker uses them."
    show(output, data, lambda: "\n".join([*references, where]) + without)


def ls(output: OutputOption = Output.TEXT) -> None:
    """List the images here that `labctl images build` made."""
    from labctl.runtime.docker.engine import connect  # noqa: PLC0415
    from labctl.runtime.docker.images import ENGINE_LABEL, TLS_LABEL, built_images  # noqa: PLC0415

    engine = connect()
    data: list[dict[str, Any]] = [
        {"image": tag, "engine": labels[ENGINE_LABEL], "tls": labels[TLS_LABEL] == "yes"}
        for tag, labels in built_images(engine)
    ]
    engine.close()

    def render() -> RenderableType:
        lines = [f"{item['image']}  {item['engine']}{', TLS' if item['tls'] else ''}" for item in data]
        return "\n".join(lines) or "None yet: labctl images build."

    show(output, data, render)
