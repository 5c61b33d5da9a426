"""export: a lab for other tools."""

from __future__ import annotations

import os
import secrets as random_secrets
import tempfile
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from labctl.cli.common import Output, OutputOption, show
from labctl.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add `export` with its verbs."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="A lab for other tools.")
    group.callback()(lambda: None)  # otherwise the only verb would be taken for the group
    group.command("compose")(compose)
    app.add_typer(group, name="export")


def compose(
    topology: Annotated[str, typer.Argument(help="A topology's name, or the path of your own.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; NAME-compose when left out.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="redis-8, redis-7, valkey-9 or an image.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Write a compose.yaml of a lab, with everything that its servers start from."""
    from labctl.agent.ports import free_ports, moved_along, take_ports  # noqa: PLC0415
    from labctl.agent.tls import fresh_secrets, make_certificates  # noqa: PLC0415
    from labctl.cli.progress import steps  # noqa: PLC0415
    from labctl.declare import library  # noqa: PLC0415
    from labctl.model.plan import ANNOUNCED_HOST, ANY_HOST, RuntimeName  # noqa: PLC0415
    from labctl.plan.compose import API_PORT, Ground, compose_files  # noqa: PLC0415
    from labctl.plan.layout import layout  # noqa: PLC0415
    from labctl.runtime.docker.engine import connect  # noqa: PLC0415
    from labctl.runtime.docker.images import select_images  # noqa: PLC0415
    from labctl.store.folders import check_name, write_private  # noqa: PLC0415

    declared = library.topology(topology)
    folder = out or Path(f"{check_name(declared.name)}-compose")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty.", "--out names another folder.")
    with steps(f"export {declared.name}", quiet=output is Output.JSON) as say:
        docker = connect()
        images = select_images(docker, engine, declared, say)
        docker.close()
    lab_id = random_secrets.token_hex(16)
    plan = layout(
        declared,
        lab=declared.name,
        lab_id=lab_id,
        engine=images.server,
        engine_name=images.engine_name,
        hosts=lambda _: ANY_HOST,
        ports=free_ports(declared),
        client_hosts=(("clients", ANNOUNCED_HOST),),
        rng=Random(lab_id),
        runtime=RuntimeName.DOCKER,
    )
    certificates: dict[str, str] = {}
    if declared.tls:
        with tempfile.TemporaryDirectory() as temporary:
            made = make_certificates(Path(temporary) / "tls")
            certificates = {Path(path).name: Path(path).read_text() for path in (made.ca, made.cert, made.key)}
    users = fresh_secrets() if declared.acl else None
    apis = take_ports([(moved_along(API_PORT), 1 + len(plan.nodes))])
    ground = Ground(images.server, images.links, f"{os.getuid()}:{os.getgid()}", tuple(apis))
    for node in plan.nodes:
        (folder / "nodes" / node.name / "data").mkdir(parents=True, mode=0o700)
    for name, text in compose_files(plan, ground, users, certificates).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_private(folder / name, text)
    if users is not None:
        write_private(folder / "users.env", f"REDIS_USERNAME={users.app.name}\nREDIS_PASSWORD={users.app.password}\n")
    data = {"folder": str(folder), "ports": {node.name: node.port for node in plan.nodes}}
    show(output, data, lambda: f"Written: {folder}/compose.yaml\nUp: cd {folder} && docker compose up -d --wait")
