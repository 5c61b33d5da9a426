"""What `labctl status` and `labctl ls` print, from the agent's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labctl.report.faults import render_faults

_LINKS_SHOWN = 12
_REASONS_SHOWN = 6
Data = Mapping[str, Any]


def render_labs(labs: Sequence[Data]) -> RenderableType:
    """A row a lab."""
    if not labs:
        return "No lab is up. labctl up TOPOLOGY makes one; labctl topologies lists them."
    table = _table("LAB", "STATE", "TOPOLOGY", "ENGINE", "NODES", "FAULTS")
    for lab in labs:
        table.add_row(
            lab["lab"],
            _coloured(lab["state"]),
            lab.get("topology", "-"),
            lab.get("engine", "-"),
            str(lab.get("nodes", "-")),
            str(lab.get("faults", "-")),
        )
    return table


def render_status(status: Data) -> RenderableType:
    """The lab as observed: a headline, its nodes, Sentinels, faults and links."""
    parts: list[RenderableType] = [_headline(status), _nodes(status)]
    if any(node.get("sentinel") for node in status["view"]["nodes"]):
        parts += [Text(), _sentinels(status)]
    parts += [Text(), render_faults(status["faults"]), _links(status["links"])]
    if status.get("metrics"):
        parts.append(Text(f"Metrics: {status['metrics']}", "dim"))
    return Group(*parts)


def _headline(status: Data) -> Text:
    reasons = status["unhealthy"]
    line = Text.assemble(
        (str(status["lab"]), "bold"),
        f"  {status['topology']} on {status['engine']}  ",
        _coloured("healthy" if not reasons else "unhealthy"),
    )
    for reason in reasons[:_REASONS_SHOWN]:
        line.append(f"\n  {reason}", "yellow")
    if len(reasons) > _REASONS_SHOWN:
        line.append(f"\n  … and {len(reasons) - _REASONS_SHOWN} more reasons (-o json)", "yellow")
    return line


def _nodes(status: Data) -> Table:
    table = _table("NODE", "ROLE", "SERVER", "ADDRESS", "FOLLOWS", "LINK", "OFFSET", "LAG", "KEYS", "SLOTS")
    for node in status["view"]["nodes"]:
        if node.get("sentinel") or node["name"].startswith("sentinel-"):
            continue
        name = node["name"]
        address = status["nodes"][name]["address"]
        if not node["up"]:
            table.add_row(
                name, Text("?", "dim"), _coloured(status["servers"][name]), address, Text(node["error"], "dim")
            )
            continue
        link = {True: Text("up", "green"), False: Text("down", "red"), None: Text("-", "dim")}[node["link_up"]]
        table.add_row(
            name,
            Text(node["role"] or "?", "bold cyan" if node["role"] == "primary" else ""),
            _coloured(status["servers"][name]),
            address,
            node["follows"] or "-",
            link,
            str(node["offset"]),
            "-" if node["lag_bytes"] is None else f"{node['lag_bytes']} B",
            str(node["keys"]),
            _slots(node),
        )
    if not any(node.get("cluster") for node in status["view"]["nodes"]):
        table.columns.pop()
    return table


def _slots(node: Data) -> str:
    cluster = node.get("cluster")
    if not cluster:
        return "-"
    own = [entry for entry in cluster["table"] if entry["name"] == node["name"]]
    ranges = [f"{first}-{last}" if first != last else str(first) for entry in own for first, last in entry["slots"]]
    return " ".join(ranges[:4]) + (" …" if len(ranges) > 4 else "") if ranges else "-"


def _sentinels(status: Data) -> Table:
    table = _table("SENTINEL", "SERVER", "ADDRESS", "SENDS CLIENTS TO", "EPOCH", "CKQUORUM", "SEES", "NOTES")
    for node in status["view"]["nodes"]:
        name = node["name"]
        if not name.startswith("sentinel-"):
            continue
        seen, address = node.get("sentinel"), status["nodes"][name]["address"]
        if not seen:
            table.add_row(name, _coloured(status["servers"][name]), address, Text(node["error"] or "no primary", "dim"))
            continue
        flags = [f for f in seen["primary_flags"] if f != "master"] + (["TILT"] if seen["tilt"] else [])
        table.add_row(
            name,
            _coloured(status["servers"][name]),
            address,
            seen["primary"],
            str(seen["config_epoch"]),
            Text("ok", "green") if seen["quorum_ok"] else Text("fails", "red"),
            f"{len(seen['sentinels'])} sentinels, {len(seen['replicas'])} replicas",
            Text(" ".join(flags), "yellow"),
        )
    return table


def _links(links: Data) -> Text:
    cut = links["cut"]
    line = Text(f"Links: {links['total'] - len(cut)} open")
    if cut:
        shown = list(cut.items())[:_LINKS_SHOWN]
        line.append(f", {len(cut)} cut: ", "red")
        line.append(", ".join(f"{name} ({state})" for name, state in shown))
        if len(cut) > len(shown):
            line.append(f" … and {len(cut) - len(shown)} more")
    if not links.get("per_link", True):
        line.append("    Faults are per node: this machine has no loopback address for each", "yellow")
    if links.get("api"):
        line.append(f"    Toxiproxy API: {', '.join(f'http://{api}' for api in links['api'])}", "dim")
    return line


def _coloured(state: str) -> Text:
    colour = {"healthy": "green", "running": "green", "gone": "red", "paused": "yellow"}.get(state, "red")
    return Text(state, colour)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in {"OFFSET", "LAG", "KEYS"} else "left")
    return table
