"""What the dashboards are made of: panels as this project wants them, so that a dashboard is a list of questions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from labctl.monitoring.grafana import DATA_SOURCE

SOURCE = model.DataSourceRef(type_val="prometheus", uid=DATA_SOURCE)
GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "#808080"
HEIGHT = 8

Panel = Builder[model.Panel]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its results are called."""

    expr: str
    legend: str = "{{node}}"


@dataclass(frozen=True, slots=True)
class Shown:
    """A value in words."""

    text: str
    colour: str


OK_OR_NOT = {0: Shown("no", RED), 1: Shown("ok", GREEN)}
YES_OR_NO = {0: Shown("no", GREY), 1: Shown("yes", BLUE)}


def graph(
    title: str,
    *queries: Query,
    about: str,
    unit: str = "short",
    width: int = 12,
    stacked: bool = False,
    floor: float | None = 0,
) -> Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(HEIGHT)
        .fill_opacity(30 if stacked else 8)
        .line_width(1)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.RIGHT)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if floor is not None:
        panel.min(floor)
    _ask(panel, queries)
    return panel


def number(
    title: str,
    *queries: Query,
    about: str,
    unit: str = "short",
    width: int = 4,
    colours: Sequence[tuple[float | None, str]] = ((None, BLUE),),
    words: Mapping[int, Shown] | None = None,
) -> Panel:
    """The last value, large. `colours` are lower bounds, the first without one."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_thresholds(colours))
        .no_value("none")
    )
    if words:
        panel.mappings(_mappings(words))
    _ask(panel, queries)
    return panel


def states(
    title: str, *queries: Query, about: str, words: Mapping[int, Shown], width: int = 12, height: int = HEIGHT
) -> Panel:
    """What state each thing was in over time, in words and colours."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .span(width)
        .height(height)
        .mappings(_mappings(words))
        .thresholds(_thresholds(((None, GREY),)))
        .show_value(VisibilityMode.AUTO)
        .row_height(0.8)
        .merge_values(True)
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .legend(common.VizLegendOptions().show_legend(False).placement(LegendPlacement.BOTTOM))
    )
    _ask(panel, queries)
    return panel


def rows(title: str, query: Query, *, about: str, columns: Mapping[str, str], width: int = 12) -> Panel:
    """A table of the labels of what is there now. `columns`: label → heading, in order; the rest is hidden."""
    panel = table.Panel().title(title).description(about).datasource(SOURCE).span(width).height(HEIGHT).no_value("none")
    panel.with_target(_query(query).instant().format(PromQueryFormat.TABLE).ref_id("A"))
    order = {label: index for index, label in enumerate(columns)}
    shown = {"include": {"names": list(columns)}}
    panel.transformations(
        [
            model.DataTransformerConfig(id_val="filterFieldsByName", options=shown),
            model.DataTransformerConfig(
                id_val="organize", options={"indexByName": order, "renameByName": dict(columns), "excludeByName": {}}
            ),
        ]
    )
    return panel


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is under it."""

    title: str
    panels: Sequence[Panel]


def board(
    slug: str, title: str, about: str, sections: Sequence[Section], *, nodes: bool = True, run: bool = False
) -> str:
    """A dashboard as JSON.

    Args:
        slug: Its file's name, and the end of its uid.
        title: Shown.
        about: Shown.
        sections: From top to bottom.
        nodes: Whether nodes are to be chosen.
        run: Whether a run is to be chosen.
    """
    made = (
        build.Dashboard(f"labctl / {title}")
        .uid(f"labctl-{slug}")
        .description(about)
        .tags(["labctl", "redis"])
        .refresh("2s")
        .time("now-10m", "now")
        .timepicker(build.TimePicker().refresh_intervals(["1s", "2s", "5s", "10s", "1m"]))
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            build.DashboardLink("labctl")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["labctl"])
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(_variable("lab", "Lab", "label_values(labctl_lab_info, lab)"))
    )
    if nodes:
        made.with_variable(_variable("node", "Node", 'label_values(redis_up{lab="$lab"}, node)', several=True))
    if run:
        made.with_variable(_variable("run", "Run", "label_values(labctl_run_start_time_seconds, run)", several=True))
    for annotation in _ANNOTATIONS:
        made.annotation(
            build.AnnotationQuery()
            .name(annotation.name)
            .datasource(SOURCE)
            .enable(True)
            .icon_color(annotation.colour)
            .expr(annotation.expr)
        )
    for section in sections:
        made.with_row(build.Row(section.title))
        for panel in section.panels:
            made.with_panel(panel)
    return _finished(made.build())


@dataclass(frozen=True, slots=True)
class _Annotation:
    """Marks in every graph: where `expr` is above zero, from the first such moment to the last."""

    name: str
    expr: str
    colour: str
    title: str
    text: str


_ANNOTATIONS = (
    _Annotation(
        "Faults", 'labctl_fault_active{lab="$lab"}', "rgba(255, 96, 96, 1)", "{{kind}} {{target}}", "fault {{id}}"
    ),
    _Annotation(
        "Role changes",
        'increase(labctl_role_changes_total{lab="$lab",role="primary"}[3s]) > 0',
        "rgba(87, 148, 242, 1)",
        "{{node}} becomes primary",
        "observed by the agent",
    ),
)


def _finished(made: model.Dashboard) -> str:
    """JSON, with what the SDK leaves out: numbers of panels, and how Prometheus' annotations are called, and their step."""
    document: dict[str, Any] = json.loads(json.dumps(made, cls=JSONEncoder))
    for annotation, entry in zip(_ANNOTATIONS, document["annotations"]["list"], strict=True):
        entry |= {"titleFormat": annotation.title, "textFormat": annotation.text, "step": "1s"}
    for number_of_panel, panel in enumerate(document["panels"], 1):
        panel["id"] = number_of_panel
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _variable(name: str, label: str, query: str, *, several: bool = False) -> build.QueryVariable:
    made = (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    if several:
        made.multi(True).include_all(True).all_value(".*").current(
            model.VariableOption(selected=True, text="All", value="$__all")
        )
    return made


def _ask(panel: Any, queries: Sequence[Query]) -> None:
    for index, query in enumerate(queries):
        panel.with_target(_query(query).range().ref_id(chr(ord("A") + index)))


def _query(query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().datasource(SOURCE).expr(query.expr).legend_format(query.legend)


def _thresholds(colours: Sequence[tuple[float | None, str]]) -> build.ThresholdsConfig:
    steps = [model.Threshold(value=value, color=colour) for value, colour in colours]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _mappings(words: Mapping[int, Shown]) -> list[model.ValueMapping]:
    options = {
        str(value): model.ValueMappingResult(text=shown.text, color=shown.colour, index=index)
        for index, (value, shown) in enumerate(words.items())
    }
    return [model.ValueMap(options=options)]


Where = Literal["lab", "node"]


def of(metric: str, where: Where = "node", **labels: str) -> str:
    """A metric of the lab that is looked at, and of the nodes that are chosen."""
    parts = ['lab="$lab"', *(['node=~"$node"'] if where == "node" else [])]
    parts += [f'{name}="{value}"' for name, value in labels.items()]
    return f"{metric}{{{','.join(parts)}}}"


def rate(metric: str, where: Where = "node") -> str:
    """How fast a counter of theirs grows, a second."""
    return f"rate({of(metric, where)}[$__rate_interval])"
