"""The command line. Verbs only: parse, call, render, exit."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import typer

from labctl import __version__
from labctl.cli import drills, export, images, labs, lazy, library, nodes, observe, reports, tools
from labctl.errors import Exit, LabError

app = typer.Typer(
    name="labctl",
    help="Bring up a real Redis topology, break it on purpose, and say with evidence what held and what did not.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help comes up in half the time
    pretty_exceptions_enable=False,
)
labs.register(app)
nodes.register(app)
lazy.register(app)
drills.register(app)
reports.register(app)
library.register(app)
tools.register(app)
images.register(app)
export.register(app)
observe.register(app)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"labctl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Options of labctl itself."""


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    """An interrupt that came where nothing can be raised, in a destructor for example, comes again a moment later."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    from _thread import interrupt_main  # noqa: PLC0415 - next to never wanted
    from threading import Timer  # noqa: PLC0415

    again = Timer(0.01, interrupt_main, (signal.SIGTERM,))  # whose handler is ours, also where SIGINT is ignored
    again.daemon = True
    again.start()


def main() -> NoReturn:
    """Entry point. A user's mistake is a sentence and a hint, never a traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    sys.unraisablehook = _unraisable
    try:
        app(standalone_mode=True)
    except LabError as error:
        _fail(error)
    except KeyboardInterrupt:
        typer.echo("labctl: interrupted", err=True)
        sys.exit(int(Exit.ABORTED))
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        from labctl.store.folders import unusable_home  # noqa: PLC0415 - seldom wanted

        if (reason := unusable_home(error)) is None:
            raise
        _fail(reason)
    sys.exit(0)


def _fail(error: LabError) -> NoReturn:
    typer.echo(f"labctl: {error.message}", err=True)
    if error.hint:
        typer.echo(error.hint, err=True)
    sys.exit(int(error.exit_code))
