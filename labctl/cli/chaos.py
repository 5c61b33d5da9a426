"""chaos: break something, see what is broken, heal it. Imported when one of its verbs is asked for."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from labctl.cli.common import LabOption, Output, OutputOption, show
from labctl.cli.labs import heal
from labctl.errors import InjectionError, LabError, UsageError
from labctl.faults.registry import FAULTS
from labctl.model.fault import Fault, Scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from labctl.faults.kind import FaultKind
    from labctl.faults.schedule import Planned

_DEFAULT = "30s"
_ANY_KINDS = "kill,pause,partition,latency"


def make_group() -> typer.Typer:
    """`chaos` with a verb for each kind of fault. `cli.lazy` calls this when a verb is asked for."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for kind in FAULTS.values():
        group.command(kind.name, help=_help(kind))(_verb(kind))
    group.command("random")(random)
    group.command("ls")(ls)
    group.command("heal")(heal)
    return group


def _help(kind: FaultKind) -> str:
    params = "".join(f"\n\n--set {p.name}={p.default}: {p.meaning}" for p in kind.params)
    elsewhere = f" ({kind.cluster_target} in a Cluster)" if kind.cluster_target else ""
    return f"{kind.summary}.\n\nDefault target: {kind.default_target}{elsewhere}.{params}"


def _verb(kind: FaultKind) -> Callable[..., None]:
    def inject(
        target: Annotated[str, typer.Argument(help="Nodes, roles, client groups; comma-separated.")] = "",
        origin: Annotated[str, typer.Option("--from", help="One way only: connections from these.")] = "",
        to: Annotated[str, typer.Option("--to", help="The target, to be read after --from.")] = "",
        duration: Annotated[str, typer.Option("--for", help="How long; it is reverted then.")] = _DEFAULT,
        forever: Annotated[bool, typer.Option("--forever", help="Until labctl chaos heal.")] = False,
        follow: Annotated[bool, typer.Option("--follow", help="When the target's role moves, move along.")] = False,
        params: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE of the fault.")] = None,
        seed: Annotated[int | None, typer.Option("--seed", help="Of random targets.")] = None,
        every: Annotated[str, typer.Option("--every", help="Again after so long; needs --times.")] = "",
        times: Annotated[int, typer.Option("--times", help="How often, with --every.")] = 1,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
        lab: LabOption = None,
        output: OutputOption = Output.TEXT,
    ) -> None:
        from labctl import lab as labs  # noqa: PLC0415
        from labctl.declare.spellings import duration_s  # noqa: PLC0415
        from labctl.faults.schedule import repeated  # noqa: PLC0415
        from labctl.report.faults import render_planned  # noqa: PLC0415

        lasts_s = None if forever else duration_s(duration)
        fault = Fault(kind.name, _one_target(target, to), lasts_s, _words(params or []), origin, follow)
        if dry_run:
            data = labs.find(lab).call("POST", "/faults", {"fault": asdict(fault), "seed": seed, "dry_run": True})
            show(output, data, lambda: render_planned(data))
            return
        if times > 1 and not every:
            raise UsageError("How long between two of them?", "--every 5s --times 10")
        _inject_all(repeated(fault, duration_s(every) if every else 1.0, times, seed), lab, output)

    return inject


def random(
    kinds: Annotated[str, typer.Argument(help="Kinds of faults to draw from, comma-separated.")] = _ANY_KINDS,
    target: Annotated[str, typer.Option("--target", help="Of all of them; each kind's own when left out.")] = "",
    every: Annotated[str, typer.Option("--every", help="On average so long between two.")] = "5s",
    times: Annotated[int, typer.Option("--times", help="How many.")] = 10,
    duration: Annotated[str, typer.Option("--for", help="How long each lasts.")] = "3s",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same faults at the same times.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the schedule and stop.")] = False,
    lab: LabOption = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Inject faults drawn at random, one after the other, overlapping where they last long enough."""
    from labctl.declare.spellings import duration_s  # noqa: PLC0415
    from labctl.faults.schedule import at_random  # noqa: PLC0415

    schedule = at_random(
        [kind.strip() for kind in kinds.split(",")],
        every_s=duration_s(every),
        times=times,
        lasts_s=duration_s(duration),
        seed=seed,
        target=target,
    )
    if dry_run:
        data = [asdict(planned) for planned in schedule]
        show(output, data, lambda: "\n".join(f"{p.at_s:7.2f} s  {p.fault.kind} {p.fault.target}" for p in schedule))
        return
    _inject_all(schedule, lab, output)


def _inject_all(schedule: Sequence[Planned], name: str | None, output: Output) -> None:
    """Inject each at its time. One that does not bite does not stop the rest; the exit code tells.

    The schedule lives in this process: when it is killed nothing more is injected, and what was injected ends by itself.
    """
    from labctl import lab as labs  # noqa: PLC0415
    from labctl.report.faults import render_fault  # noqa: PLC0415

    lab = labs.find(name)
    began = time.monotonic()
    failed: list[LabError] = []
    for planned in schedule:
        time.sleep(max(0.0, began + planned.at_s - time.monotonic()))
        try:
            data = lab.call("POST", "/faults", {"fault": asdict(planned.fault), "seed": planned.seed})
        except LabError as error:
            if len(schedule) == 1 or isinstance(error, UsageError):
                raise
            failed.append(error)
            typer.echo(f"{planned.fault.kind} {planned.fault.target}: {error.message}", err=True)
            continue
        show(output, data, partial(render_fault, data))
    if failed:
        raise InjectionError(f"{len(failed)} of {len(schedule)} faults did not take effect.", "They are named above.")


def _words(given: list[str]) -> dict[str, Scalar]:
    """NAME=VALUE words as they stand; each parameter knows its own type."""
    found: dict[str, Scalar] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"'{pair}' is no parameter.", "Write --set NAME=VALUE.")
        found[name] = value
    return found


def _one_target(target: str, to: str) -> str:
    if target and to:
        raise UsageError(f"The target is stated twice: '{target}' and --to '{to}'.")
    return target or to


def ls(lab: LabOption = None, output: OutputOption = Output.TEXT) -> None:
    """List the faults that are in force."""
    from labctl import lab as labs  # noqa: PLC0415
    from labctl.report.faults import render_faults  # noqa: PLC0415

    data = labs.find(lab).call("GET", "/faults")
    show(output, data, lambda: render_faults(data))
