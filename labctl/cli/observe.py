"""observe: Prometheus and Grafana over the labs of this state folder, and the web view of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli import live
from labctl.cli.common import Output, OutputOption, parameters, show
from labctl.cli.drills import RunArgument
from labctl.errors import UsageError

if TYPE_CHECKING:
    from labctl.monitoring.rules import RuleSettings
    from labctl.monitoring.stack import State


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at labs while things break.")
    for verb in (up, down, status, snapshot, restore):
        group.command()(verb)
    live.register(group)
    app.add_typer(group, name="observe")


def up(
    interval: Annotated[str, typer.Option("--interval", help="Time between two scrapes.")] = "1s",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of the alert rules, hold_s=0 for example; docs/observability.md."),
    ] = None,
    exporter: Annotated[
        bool, typer.Option("--exporter", help="Use a real redis_exporter instead of the agents' own.")
    ] = False,
    prometheus_image: Annotated[
        str, typer.Option("--prometheus-image", help="Run Prometheus in a container of this image.")
    ] = "",
    grafana_image: Annotated[str, typer.Option("--grafana-image", help="The same for Grafana.")] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Start Prometheus with alert rules, and Grafana with dashboards where there is one.

    Labs are followed as they come and go.
    """
    from labctl.cli.progress import steps  # noqa: PLC0415
    from labctl.declare.spellings import duration_s  # noqa: PLC0415
    from labctl.monitoring import stack  # noqa: PLC0415

    interval_s = duration_s(interval)
    if interval_s < _SHORTEST_S:
        raise UsageError(f"--interval {interval} is too short.", f"{_SHORTEST_S:g}s at the least.")
    wanted = stack.Settings(interval_s, _rules(settings or []), exporter, prometheus_image, grafana_image)
    with steps("observe", quiet=output is Output.JSON) as progress:
        state = stack.up(wanted, progress)
    _show(state, output)


_SHORTEST_S = 0.1


def _rules(given: list[str]) -> RuleSettings:
    from dataclasses import fields  # noqa: PLC0415

    from labctl.errors import did_you_mean  # noqa: PLC0415
    from labctl.monitoring.rules import RuleSettings  # noqa: PLC0415

    known = [field.name for field in fields(RuleSettings)]
    values: dict[str, Any] = parameters(given)
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"The rules have no '{name}'.", f"{did_you_mean(name, known)}Known: {', '.join(known)}.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"The rules' {name} is '{value}'.", "Give a number.")
    return RuleSettings(**values)


def down(output: OutputOption = Output.TEXT) -> None:
    """End Prometheus and Grafana and remove what they kept. `observe snapshot` keeps the metrics of a run first."""
    from labctl.monitoring import stack  # noqa: PLC0415

    ended = stack.down()
    show(output, {"down": ended}, lambda: "The monitoring is down." if ended else "No monitoring is up.")


def status(output: OutputOption = Output.TEXT) -> None:
    """Show where Prometheus and Grafana are, and which labs they follow."""
    from labctl.monitoring import stack  # noqa: PLC0415

    _show(stack.status(), output)


def snapshot(run: RunArgument = None, output: OutputOption = Output.TEXT) -> None:
    """Keep the metrics of a run next to its history, as OpenMetrics text."""
    from dataclasses import asdict  # noqa: PLC0415

    from labctl.monitoring import stack  # noqa: PLC0415
    from labctl.reporting import write_page  # noqa: PLC0415
    from labctl.store.runs import find_run  # noqa: PLC0415

    folder = find_run(run)
    taken = stack.snapshot(folder)
    if folder.load_verdicts():  # else it was not judged, and has no page
        write_page(folder)
    show(
        output,
        asdict(taken),
        lambda: f"{taken.file}: {taken.samples} samples of {taken.series} series, lab {taken.lab}",
    )


def restore(run: RunArgument = None, output: OutputOption = Output.TEXT) -> None:
    """Put the metrics that were kept of a run into the Prometheus that runs, for its pages and Grafana to show."""
    from labctl.monitoring import stack  # noqa: PLC0415
    from labctl.monitoring.snapshot import window  # noqa: PLC0415
    from labctl.store.runs import find_run  # noqa: PLC0415

    folder = find_run(run)
    url = stack.restore(folder)
    start_s, end_s = window(folder)
    data = {"run": folder.path.name, "prometheus": url, "start_s": start_s, "end_s": end_s}
    times = f"from={start_s * 1000:.0f}&to={end_s * 1000:.0f}"
    show(output, data, lambda: f"{url} has the metrics of {data['run']}. In Grafana's address: {times}")


def _show(state: State, output: Output) -> None:
    data = {"services": state.addresses, "missing": state.missing, "labs": list(state.labs)}

    def render() -> str:
        lines = [f"{name.capitalize():<11} {url}" for name, url in state.addresses.items()]
        lines += [f"{name.capitalize():<11} {why}" for name, why in state.missing.items()]
        if "prometheus" in state.addresses:
            lines.append(f"{'Alerts':<11} {state.addresses['prometheus']}/alerts")
        lines.append(f"{'Labs':<11} {', '.join(state.labs) or 'none yet; they are followed as they come'}")
        return "\n".join(lines)

    show(output, data, render)
