"""Every verb of the command line, found by walking it, so that a new one is held to the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import typer
from typer.testing import CliRunner

from labctl.cli import app
from labctl.cli.console import plain, shown

ROOT = typer.main.get_command(app)


def verbs(command: click.Command = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if hasattr(command, "list_commands"):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from verbs(command.get_command(context, name), (*path, name))
    else:
        yield path, command


VERBS = dict(verbs())


def test_the_verbs_of_the_design_are_there() -> None:
    named = {" ".join(path) for path in VERBS}
    plain_verbs = {
        "up",
        "down",
        "ls",
        "status",
        "cli",
        "logs",
        "env",
        "exec",
        "heal",
        "drill",
        "scenarios",
        "topologies",
    }
    assert named >= plain_verbs | {"check", "report", "runs", "doctor"}
    assert named >= {f"chaos {fault}" for fault in ("kill", "stop", "pause", "partition", "isolate", "ls", "heal")}


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_every_verb_answers_in_json_and_has_help(path: tuple[str, ...]) -> None:
    assert "-o" in {name for parameter in VERBS[path].params for name in parameter.opts}
    shown_help = CliRunner().invoke(app, [*path, "--help"])
    assert shown_help.exit_code == 0
    summary = (VERBS[path].help or "").splitlines()[0]
    assert summary in " ".join(shown_help.output.split())


def test_a_reply_as_json_values() -> None:
    assert plain({1: {"a"}, "b": [None, True, 2.5, b"x"]}) == {"1": ["a"], "b": [None, True, 2.5, "b'x'"]}


def test_a_reply_as_redis_cli_shows_it() -> None:
    reply = ["a", 1, None, [], ["b", ["c", "d"]]]
    assert list(shown(reply)) == [
        "1) a",
        "2) (integer) 1",
        "3) (nil)",
        "4) (empty array)",
        "5) 1) b",
        "   2) 1) c",
        "      2) d",
    ]


LOST = """
import os, signal, sys, time
import labctl.cli

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)

def app(standalone_mode):
    Dying()
    while True:
        time.sleep(0.01)

labctl.cli.app = app
labctl.cli.main()
"""


def test_an_interrupt_where_nothing_can_be_raised_comes_again() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "labctl: interrupted\n")
