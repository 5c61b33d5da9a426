"""What `labctl chaos` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_NAMES_SHOWN = 6
Data = Mapping[str, Any]


def render_faults(faults: Sequence[Data]) -> RenderableType:
    """The faults in force, a row each."""
    if not faults:
        return Text("No fault is in force.")
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in ("FAULT", "KIND", "TARGET", "ENDS IN", "HOLDS", "EVIDENCE"):
        table.add_column(column)
    for fault in faults:
        table.add_row(
            str(fault["id"]),
            Text(fault["kind"], "bold red"),
            _target(fault),
            _left(fault),
            _names(fault["touches"]),
            Text(fault["trouble"], "red") if fault["trouble"] else "; ".join(filter(None, _evidence(fault))),
        )
    return table


def render_fault(fault: Data) -> RenderableType:
    """A fault that was just injected."""
    if fault["ended"]:
        return Text.assemble(("Done: ", "bold"), f"{fault['kind']} {fault['target']}.\nMeasured: {fault['evidence']}.")
    until = "until labctl heal" if fault["ends_ns"] is None else f"for {_left(fault)}"
    return Text.assemble(
        f"Fault {fault['id']}: ",
        (f"{fault['kind']} {fault['target']}", "bold"),
        f", {until}.\nMeasured: {'; '.join(filter(None, _evidence(fault)))}.\nHeal it earlier: labctl heal {fault['id']}",
    )


def render_healed(faults: Sequence[Data]) -> RenderableType:
    """Faults that were just reverted, and what was felt of each while it lasted, where that was counted."""
    if not faults:
        return Text("No fault was in force.")
    lines = [Text(f"Healed: fault {', '.join(str(fault['id']) for fault in faults)}.")]
    lines += [
        Text(f"  {fault['id']} {fault['kind']} {fault['target']}: {fault['so_far']}", "" if fault["felt"] else "yellow")
        for fault in faults
        if fault["so_far"]
    ]
    return Group(*lines)


def render_planned(planned: Data) -> RenderableType:
    """What `--dry-run` would do."""
    fault = planned["fault"]
    lines = [Text(f"{fault['kind']} {fault['target']} would:")]
    lines += [Text(f"  {line}") for line in actions_in_words(planned["actions"])]
    if planned["consequences"]:
        lines.append(Text("What would follow:"))
        lines += [Text(f"  {line}") for line in planned["consequences"]]
    return Group(*lines)


def _target(fault: Data) -> str:
    moved = f", was fault {fault['moved_from']}" if fault["moved_from"] else ""
    return f"{fault['target']} (follows{moved})" if fault["follow"] else str(fault["target"])


def _evidence(fault: Data) -> tuple[str, str]:
    return fault["evidence"], fault["so_far"]


def actions_in_words(actions: Sequence[Data], named: int | None = None) -> list[str]:
    """A line for each action; links that are to meet the same fate share one.

    Args:
        actions: As planned.
        named: How many links to name before only counting them; None for all.
    """
    lines: dict[str, list[str]] = {}
    for action in actions:
        if "link" in action:
            link = f"{action['link']['source']}.to.{action['link']['target']}"
            lines.setdefault(_fate(action), []).append(link)
        else:
            lines[_deed(action)] = []
    return [
        f"{text} {len(links)} links: {', '.join(links[:named])}{' …' if len(links) > len(links[:named]) else ''}"
        if links
        else text
        for text, links in lines.items()
    ]


def _fate(action: Data) -> str:
    if action["claim"] == "cut-link":
        return "cut" if action["state"] == "blackhole" else "refuse connections on"
    if action["claim"] == "impaired":
        late = f", {action['ms']:g} ms" if action["ms"] else ""
        return f"have packets suffer {action['what']} ({action['share']:.4g} of them{late}) on"
    values = ", ".join(f"{name} {value}" for name, value in action["attributes"])
    return f"put {action['toxic']} ({values}) {action['stream']} on"


def _deed(action: Data) -> str:
    node = action["node"]
    details = {name: value for name, value in action.items() if name not in ("node", "claim") and value not in ("", [])}
    match action["claim"]:
        case "down":
            options = " ".join(["", *action["options"]])
            return f"end {node} by {action['by']}{options}"
        case "paused":
            return f"freeze {node}"
        case claim:
            return f"{claim} {node}: " + ", ".join(f"{name} {value}" for name, value in details.items())


def _left(fault: Data) -> str:
    if fault["reverting"]:
        return "reverting"
    left = fault["ends_in_s"]
    return "never" if left is None else f"{left:.0f} s"


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} … ({len(names)})"
