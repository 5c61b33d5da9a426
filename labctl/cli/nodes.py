"""cli, logs, env, exec: get at a lab with the ordinary tools."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from labctl.cli.common import LabOption, Output, OutputOption, show
from labctl.cli.labs import path_of
from labctl.errors import UsageError

_FOLLOW_S = 0.1
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
_PASS_ON_FROM_FIRST = {**_PASS_ON, "allow_interspersed_args": False}
"""The first word that is no option of labctl begins the command, and whatever follows belongs to it."""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("cli", context_settings=_PASS_ON)(cli)
    app.command("logs")(logs)
    app.command("env")(env)
    app.command("exec", context_settings=_PASS_ON_FROM_FIRST)(execute)


def cli(
    context: typer.Context,
    node: Annotated[str, typer.Argument(help="Which node.")],
    lab: LabOption = None,
    direct: Annotated[
        bool, typer.Option("--direct", help="Past the links, as the lab itself reaches the node.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Talk to a node as the admin user, through redis-cli where it is installed; further arguments are the command."""
    from labctl import lab as labs  # noqa: PLC0415
    from labctl.engines.doctor import find_cli  # noqa: PLC0415
    from labctl.model.plan import ANNOUNCED_HOST  # noqa: PLC0415

    found = labs.find(lab)
    plan = found.plan()
    path_of(found, node)
    chosen = plan.node(node)
    keys = found.keys()
    host = chosen.host if direct else ANNOUNCED_HOST
    program = find_cli()
    if program is None or output is Output.JSON:
        from labctl.cli.console import converse  # noqa: PLC0415

        raise typer.Exit(converse(chosen, host, keys, context.args, output))
    command = [program, "-h", host, "-p", str(chosen.port)]
    environment = dict(os.environ)
    if keys.tls is not None:
        command += ["--tls", "--cacert", keys.tls.ca]
        if direct:
            command += ["--sni", ANNOUNCED_HOST]
    if keys.secrets is not None:
        command += ["--user", keys.secrets.admin.name, "--no-auth-warning"]
        environment["REDISCLI_AUTH"] = keys.secrets.admin.password  # not an argument: ps would show it
    os.execve(program, [*command, *context.args], environment)


def logs(
    node: Annotated[str, typer.Argument(help="Which node, or `agent`.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many of the last lines.")] = 40,
    lab: LabOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Print the end of a server's log."""
    from labctl import lab as labs  # noqa: PLC0415
    from labctl.runtime.process import tail  # noqa: PLC0415

    found = labs.find(lab)
    path = found.folder.agent_log if node == "agent" else path_of(found, node) / "server.log"
    text = tail(path, lines)
    if output is Output.JSON and not follow:
        show(output, {"node": node, "lines": text.splitlines()}, lambda: "")
        return

    def write(line: str) -> None:
        typer.echo(json.dumps({"node": node, "line": line}) if output is Output.JSON else line)

    for line in text.splitlines():
        write(line)
    if follow:
        _follow(path, write)


def _follow(path: Path, write: Callable[[str], None]) -> None:
    """Whole lines as they are written, until the file is gone."""
    rest = ""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        while path.exists():
            *whole, rest = (rest + file.read().decode(errors="replace")).split("\n")
            for line in whole:
                write(line)
            time.sleep(_FOLLOW_S)


def env(
    lab: LabOption = None,
    group: Annotated[str, typer.Option("--group", help="Client group: clients, clients-a or clients-b.")] = "clients",
    output: OutputOption = Output.TEXT,
) -> None:
    """Print shell exports for a program that uses the lab: eval "$(labctl env)"."""
    import shlex  # noqa: PLC0415

    values = _environment(lab, group)
    if output is Output.JSON:
        typer.echo(json.dumps(values, indent=1))
    else:
        typer.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items()))


def execute(
    context: typer.Context,
    lab: LabOption = None,
    group: Annotated[str, typer.Option("--group", help="Client group: clients, clients-a or clients-b.")] = "clients",
    output: OutputOption = Output.TEXT,
) -> None:
    """Run a program with what `labctl env` prints in its environment: labctl exec -- CMD."""
    if not context.args:
        raise UsageError("There is no command to run.", "labctl exec -- COMMAND ARGUMENTS")
    values = {**os.environ, **_environment(lab, group)}
    try:
        if output is Output.JSON:
            raise typer.Exit(_run_for_json(context.args, values))
        os.execvpe(context.args[0], context.args, values)
    except OSError as error:
        raise UsageError(f"{context.args[0]} cannot be run: {error.strerror}.", "Is it on PATH?") from error


def _run_for_json(command: list[str], environment: dict[str, str]) -> int:
    """Run it to its end and print what it said and how it ended; its exit code."""
    import subprocess  # noqa: PLC0415

    ended = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    said = {"command": command, "exit_code": ended.returncode, "stdout": ended.stdout, "stderr": ended.stderr}
    show(Output.JSON, said, lambda: "")
    return ended.returncode if ended.returncode >= 0 else 128 - ended.returncode


def _environment(lab: str | None, group: str) -> dict[str, str]:
    from labctl import lab as labs  # noqa: PLC0415
    from labctl.report.environment import environment  # noqa: PLC0415

    return environment(labs.find(lab).endpoints(group))
