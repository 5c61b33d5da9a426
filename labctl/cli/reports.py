"""report and runs: stored runs, in the form that whoever reads them wants."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labctl.cli.common import Output, OutputOption, console, show
from labctl.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from labctl.model.run import PhaseVerdicts, Run
    from labctl.store.runs import RunFolder


class Format(StrEnum):
    """What a report can be."""

    STORY = "story"
    HTML = "html"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command()(report)
    app.command()(runs)


def complete_run(incomplete: str) -> list[str]:
    """Names of stored runs that begin so."""
    from labctl.store.runs import run_names  # noqa: PLC0415

    return [name for name in run_names() if name.startswith(incomplete)]


def report(
    run: Annotated[
        list[str] | None,
        typer.Argument(help="A run's name or folder; the newest when left out.", autocompletion=complete_run),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", "-f", help="story: this terminal. html: a page. markdown: a pull request.")
    ] = Format.STORY,
    to: Annotated[Path | None, typer.Option("--to", help="Write it to this file.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML to this file.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Two or more runs side by side.")] = False,
    browse: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Report stored runs, with the verdicts that were kept."""
    from labctl.store.runs import find_run  # noqa: PLC0415

    form = Format.JSON if output is Output.JSON else Format.HTML if browse and form is Format.STORY else form
    folders = [find_run(name) for name in run] if run else [find_run(None)]
    if compare:
        _need(len(folders) > 1, "--compare needs two runs or more.", "labctl runs lists them.")
        _need(form in _COMPARED, f"A comparison cannot be {form}.", f"Forms: {', '.join(_COMPARED)}.")
        answer = _compared(folders, form, to)
    else:
        _need(len(folders) == 1, "A report is of one run.", "Add --compare for several side by side.")
        answer = _reported(folders[0], form, to)
    if junit:
        _write(junit, _junit(folders))
    if browse and answer is not None:
        typer.launch(answer.as_uri())


_COMPARED = (Format.STORY, Format.HTML, Format.JSON)


def _need(condition: bool, message: str, hint: str) -> None:
    if not condition:
        raise UsageError(message, hint)


def _reported(folder: RunFolder, form: Format, to: Path | None) -> Path | None:
    """Report one run; the path of the page, if that is what was asked for."""
    from labctl.reporting import judged, page_of, summary_of, write_page  # noqa: PLC0415

    if form is Format.HTML:
        page = write_page(folder) if to is None else to
        if to is not None:
            _write(to, page_of(folder))
        typer.echo(str(page.absolute()))
        return page.absolute()
    if form is Format.STORY:
        _need(to is None, "The story is for a terminal.", "--format html or markdown can go to a file.")
        print_run(folder, *judged(folder))
        return None
    if form is Format.MARKDOWN:
        from labctl.report.markdown import render_markdown  # noqa: PLC0415

        text = render_markdown(summary_of(folder))
    elif form is Format.JUNIT:
        text = _junit([folder])
    else:
        from labctl.report.data import as_data  # noqa: PLC0415

        text = json.dumps(as_data(summary_of(folder), str(folder.path)), indent=1) + "\n"
    _emit(text, to)
    return None


def _compared(folders: list[RunFolder], form: Format, to: Path | None) -> Path | None:
    from labctl.report.compare import as_data, compare, render_comparison  # noqa: PLC0415
    from labctl.reporting import summary_of  # noqa: PLC0415

    compared = compare([summary_of(folder) for folder in folders])
    if form is Format.HTML:
        from labctl.report.html import render_compared_page  # noqa: PLC0415

        page = (to or Path("comparison.html")).absolute()
        _write(page, render_compared_page(compared))
        typer.echo(str(page))
        return page
    if form is Format.JSON:
        _emit(json.dumps(as_data(compared), indent=1) + "\n", to)
    else:
        _need(to is None, "The story is for a terminal.", "--format html can go to a file.")
        console().print(render_comparison(compared))
    return None


def _junit(folders: list[RunFolder]) -> str:
    from labctl.report.junit import render_junit  # noqa: PLC0415
    from labctl.reporting import judged  # noqa: PLC0415

    return render_junit([judged(folder) for folder in folders])


def write_junit(path: Path, *runs: tuple[Run, tuple[PhaseVerdicts, ...]]) -> None:
    """JUnit XML of runs that just ended."""
    from labctl.report.junit import render_junit  # noqa: PLC0415

    _write(path, render_junit(list(runs)))


def _emit(text: str, to: Path | None) -> None:
    if to is None:
        typer.echo(text, nl=False)
    else:
        _write(to, text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "State another file.") from None


def print_run(folder: RunFolder, run: Run, verdicts: tuple[PhaseVerdicts, ...]) -> None:
    """The story of a run, for a terminal."""
    from labctl.report.story import render_run  # noqa: PLC0415
    from labctl.reporting import PAGE  # noqa: PLC0415
    from labctl.store.history import read_history  # noqa: PLC0415

    histories = {ran.name: read_history(folder.path / ran.history) for ran in run.phases}
    page = folder.path / PAGE
    console().print(
        render_run(run, histories, verdicts, where=str(folder.path), page=str(page) if page.exists() else "")
    )


def runs(output: OutputOption = Output.TEXT) -> None:
    """List stored runs, newest last."""
    from labctl.model.run import worst  # noqa: PLC0415
    from labctl.reporting import PAGE  # noqa: PLC0415
    from labctl.store.runs import find_run, run_names  # noqa: PLC0415

    data: list[dict[str, Any]] = []
    for name in run_names():
        folder = find_run(name)
        try:
            stored, verdicts = folder.load_run(), folder.load_verdicts()
        except UsageError:
            data.append({"run": name, "scenario": "", "engine": "", "verdict": "cannot be read"})
            continue
        judgements = [v.judgement.value for phase in verdicts for v in phase.verdicts]
        page = folder.path / PAGE
        data.append(
            {
                "run": name,
                "scenario": stored.scenario.name,
                "engine": stored.engine,
                "verdict": worst(verdicts).value if verdicts else "not judged",
                "cell": stored.scenario.cell,
                "seed": stored.seed,
                "started_unix_s": stored.started_unix_s,
                "duration_s": sum((ran.ended_ns - ran.started_ns) / 1e9 for ran in stored.phases),
                "promises": {value: judgements.count(value) for value in dict.fromkeys(judgements)},
                "aborted": stored.aborted,
                "page": str(page) if page.exists() else None,
            }
        )

    def render() -> RenderableType:
        from labctl.report.runs import render_runs  # noqa: PLC0415

        return render_runs(data)

    show(output, data, render)
