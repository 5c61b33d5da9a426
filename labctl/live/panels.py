"""What stands around the picture: the headline, Sentinels, clients, faults, events. Each a list of lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from labctl.live.canvas import chart, count, fit, milliseconds, size, sparkline
from labctl.live.frame import Condition, Edge, EdgeKind, Frame, Node, Ping, Standing
from labctl.live.sketch import Curves
from labctl.live.words import BAD, BUSY, FAINT, GOOD, PRIMARY, edge_mark, edge_words, mark
from labctl.report.faults import actions_in_words

_NAMED_PAIRS = 2
_LEAST_CURVE = 6
_ROOMY = 110
_ROOMY_PANEL = 56
_RATE = 12
_LINKS_NAMED = 6
_LEAST_CHART = 6
_MOST_CHART = 8
_TITLE = "bold"
_CURVE = 24
EVENT_STYLES = {
    "fault-start": BAD,
    "fault-end": GOOD,
    "trouble": BAD,
    "role": PRIMARY,
    "down": BAD,
    "up": GOOD,
    "sentinel": BUSY,
    "cluster": BUSY,
    "link": FAINT,
    "exit": BAD,
}


def headline(frame: Frame, curves: Curves, width: int) -> Text:
    """One line: which lab, how it is, what it does."""
    rate = f"{count(frame.samples.get('ops') or 0)} op/s"
    room = min(_CURVE, width // 6) if not frame.reasons or width >= _ROOMY else 0
    curve = sparkline(curves.get("ops", ()), room)
    clock = datetime.fromtimestamp(frame.at_s).astimezone().strftime("%H:%M:%S")
    right = f" {curve} {rate:>10}  {clock}"
    left = Text.assemble((frame.lab, "bold"), f" {frame.engine}  ")
    if not frame.reasons:
        left.append("● healthy", GOOD)
    else:
        more = len(frame.reasons) - 1 + frame.more_reasons
        left.append(f"▲ {frame.reasons[0]}", BUSY)
        left.append(f" +{more}" if more else "", FAINT)
    left.truncate(max(0, width - len(right)), overflow="ellipsis", pad=True)
    return _cut(Text.assemble(left, right), width)


def sentinels(frame: Frame, width: int) -> list[Text]:
    """What each Sentinel believes, holds against its primary, and whom it voted for."""
    nodes = frame.picture.sentinels
    if not nodes:
        return []
    usable = [node for node in nodes if node.belief is not None]
    fails = [node for node in usable if node.belief is not None and not node.belief.quorum_ok]
    title = Text.assemble(("Sentinels", _TITLE), (f"  quorum {frame.quorum}/{len(nodes)}  ", FAINT))
    title.append("CKQUORUM fails" if fails else "CKQUORUM ok" if usable else "none answers", BAD if fails else FAINT)
    watch = {edge.source: edge for edge in frame.picture.edges if edge.kind is EdgeKind.WATCH}
    lines = (_sentinel(node, watch.get(node.name), roomy=width >= _ROOMY_PANEL) for node in nodes)
    return [_cut(line, width) for line in (title, *lines)]


def _sentinel(node: Node, edge: Edge | None, *, roomy: bool) -> Text:
    symbol, style = mark(node)
    line = Text.assemble((f"{symbol} ", style), f"{node.name} ")
    belief = node.belief
    if belief is None:
        return line.append(_said(node), BAD)
    line.append(f"→ {belief.primary}", PRIMARY).append(
        f" epoch {belief.epoch} " if roomy else f" @{belief.epoch} ", FAINT
    )
    line.append(" ".join(belief.words) or "ok", BAD if belief.words else GOOD)
    if node.reach:
        line.append(f" ✂ {node.reach}" if roomy else " ✂", BAD)
    elif edge is not None and edge.faulty:
        line.append(f" {edge_words(edge)}" if roomy else f" {edge_mark(edge)}", BAD)
    if belief.vote:
        vote = belief.vote if roomy else belief.vote.removeprefix("sentinel-")
        line.append(f" vote {vote}", FAINT)
    return line


def _said(node: Node) -> str:
    words = {Condition.PAUSED: "paused", Condition.DOWN: "down", Condition.HUNG: "does not answer"}
    return words.get(node.condition) or node.note or "watches nothing"


def clients(frame: Frame, curves: Curves, width: int) -> list[Text]:
    """A line a client group: what a client of it finds at each primary."""
    title = Text.assemble(("Clients", _TITLE), ("  PING through their own links", FAINT))
    links = {(e.source, e.target): e for e in frame.picture.edges if e.kind is EdgeKind.CLIENTS}
    lines = [_group(group, own, links, curves, width) for group, own in _by_group(frame.pings).items()]
    return [_cut(line, width) for line in (title, *lines)]


def _by_group(pings: Sequence[Ping]) -> dict[str, list[Ping]]:
    groups: dict[str, list[Ping]] = {}
    for ping in pings:
        groups.setdefault(ping.group, []).append(ping)
    return groups


def _slowest(pings: Sequence[Ping]) -> str:
    """The longest answer of a group, and who does not answer."""
    answered = [ping.ms for ping in pings if ping.ms is not None]
    words = [milliseconds(max(answered))] if answered else []
    return ", ".join([*words, *(f"{ping.node} {ping.error}" for ping in pings if ping.error)])


def _group(
    group: str, pings: Sequence[Ping], links: Mapping[tuple[str, str], Edge], curves: Curves, width: int
) -> Text:
    line = Text(f"{group} ")
    if len(pings) > _NAMED_PAIRS:
        good = [ping.ms for ping in pings if ping.ms is not None]
        line.append(f"{len(good)} of {len(pings)} primaries ", GOOD if len(good) == len(pings) else BUSY)
        line.append(f"slowest {milliseconds(max(good))} " if good else "", FAINT)
        pings = [ping for ping in pings if ping.error]
    for ping in pings:
        edge = links.get((ping.group, ping.node))
        line.append(f"{ping.node} ", PRIMARY)
        words = [milliseconds(ping.ms)] if ping.ms is not None else []
        words += [ping.error] if ping.error else []
        words += [edge_mark(edge)] if edge is not None and edge.faulty else []
        line.append(" ".join(words) + " ", BAD if ping.ms is None or ping.error else GOOD if len(words) == 1 else BUSY)
        if len(pings) == 1 and width >= _ROOMY_PANEL and edge is not None and edge.bytes_per_s is not None:
            line.append(f"{size(edge.bytes_per_s)}/s ".rjust(_RATE), FAINT)
    room = min(_CURVE, width - line.cell_len)
    if len(pings) == 1 and room >= _LEAST_CURVE:
        line.append(sparkline(curves.get(f"ms:{pings[0].group}:{pings[0].node}", ()), room), FAINT)
    return line


def faults(frame: Frame, width: int) -> list[Text]:
    """A line a fault: what, on what, how much longer."""
    return [_cut(_fault(fault), width) for fault in frame.faults]


def _fault(fault: Standing) -> Text:
    params = " ".join(f"{name}={value}" for name, value in fault.params)
    line = Text.assemble((f"{fault.id} {fault.kind} ", BAD), f"{fault.target} ", (params, FAINT))
    holds = [f"{fault.links} links" if fault.links != 1 else "1 link"] if fault.links else []
    holds += [", ".join(fault.nodes[:3]) + (" …" if len(fault.nodes) > 3 else "")] if fault.nodes else []
    line.append(f" {' '.join(holds)} ", FAINT)
    if fault.trouble:
        return line.append(fault.trouble, BAD)
    if fault.reverting:
        return line.append("healing", BUSY)
    if fault.ends_in_s is None or fault.lasts_s is None:
        return line.append("until healed", BUSY)
    done = max(0, min(10, round(10 * fault.ends_in_s / fault.lasts_s))) if fault.lasts_s else 0
    return line.append(f"{fault.ends_in_s:3.0f} s ", BUSY).append("━" * done, BUSY).append("╌" * (10 - done), FAINT)


def broken_links(frame: Frame) -> list[Text]:
    """Every line of the picture that something was done to, and what."""
    lines = []
    for edge in frame.picture.edges:
        if edge.faulty:
            arrow = "⇄" if edge.state is edge.back else "→" if edge.state.value != "open" else "←"
            there = edge.state if edge.state.value != "open" else edge.back
            words = [] if there.value == "open" else [there.value]
            line = Text.assemble(f"{edge.source} ", (arrow, BAD), f" {edge.target}  ")
            lines.append(line.append(", ".join([*words, *edge.toxics]), BAD))
    if frame.picture.hidden_edges:
        lines.append(Text(f"… and {frame.picture.hidden_edges} more pairs", FAINT))
    return lines or [Text("Every link is open.", GOOD)]


def charts(curves: Curves, width: int, height: int) -> list[Text]:
    """Curves of the whole lab, as many as have room: the rate, what the slowest client waits, the longest lag."""
    waits = _worst([curve for name, curve in curves.items() if name.startswith("ms:")])
    lags = _worst([curve for name, curve in curves.items() if name.startswith("lag:")])
    wanted = (
        ("Operations a second, all primaries", list(curves.get("ops", ())), 10.0, count, PRIMARY),
        ("PING of the slowest client", waits, 1.0, milliseconds, GOOD),
        ("Replication lag, the longest", lags, 1000.0, size, BUSY),
    )
    present = [each for each in wanted if any(value is not None for value in each[1])]
    shown = present[: max(0, height // _LEAST_CHART)]
    lines: list[Text] = []
    for title, values, least, words, style in shown:
        rows = min(_MOST_CHART, height // len(shown) - 2)
        known = [value for value in values[-width:] if value is not None]
        lines.append(Text.assemble((title, _TITLE), (f"  up to {words(max(known))}" if max(known) > 0 else "", FAINT)))
        lines += [Text(row, style) for row in chart(values, width, rows, least=least)]
        lines.append(Text())
    return lines


def _worst(curves: Sequence[Sequence[float | None]]) -> list[float | None]:
    """The highest value at each moment, counted from the end; a PING that was not answered counts as the worst of all."""
    length = max(map(len, curves), default=0)
    nothing: list[float | None] = [None]
    padded = [nothing * (length - len(curve)) + list(curve) for curve in curves]
    found: list[float | None] = []
    for values in zip(*padded, strict=True):
        known = [value for value in values if value is not None]
        found.append(None if not known else -1.0 if min(known) < 0 else max(known))
    return found


def events(kept: Sequence[Mapping[str, Any]], width: int, height: int) -> list[Text]:
    """The last events, the newest at the bottom."""
    shown = list(kept)[-height:] if height > 0 else []
    lines = []
    for event in shown:
        clock = datetime.fromtimestamp(event["at_s"]).astimezone().strftime("%H:%M:%S")
        lines.append(
            _cut(Text.assemble((f"{clock} ", FAINT), (event["text"], EVENT_STYLES.get(event["kind"], ""))), width)
        )
    return lines


def summary(frame: Frame) -> str:
    """One plain line, for where there is no terminal."""
    parts = [datetime.fromtimestamp(frame.at_s).astimezone().strftime("%H:%M:%S"), frame.lab]
    parts.append("healthy" if not frame.reasons else f"unhealthy ({frame.reasons[0]})")
    for shard in frame.picture.shards:
        for node in shard.nodes:
            if node.leads:
                parts.append(f"{node.name} primary {count(node.ops_per_s)} op/s")
            elif node.condition is not Condition.UP:
                parts.append(f"{node.name} {node.condition.value}")
            elif node.link != "up":
                parts.append(f"{node.name} link {node.link}")
            elif node.lag_bytes:
                parts.append(f"{node.name} lag {size(node.lag_bytes)}")
    parts += [f"{group} {_slowest(own)}" for group, own in _by_group(frame.pings).items()]
    parts += [f"fault {f.id} {f.kind} {f.target}" for f in frame.faults]
    return "  ".join(parts)


def _cut(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.rstrip()
    line.truncate(max(0, width), overflow="ellipsis")
    return line


def planned(answer: Mapping[str, Any]) -> Text:
    """What a fault would do, for whoever has to agree to it: first what would follow, then what would be done."""
    text = Text()
    for line in answer["consequences"]:
        text.append(f"{line}\n", BUSY)
    if not answer["consequences"]:
        text.append("Nothing further can be foretold.\n", FAINT)
    text.append("\n")
    for line in actions_in_words(answer["actions"], named=_LINKS_NAMED):
        text.append(f"{line}\n", FAINT)
    text.rstrip()
    return text


def one_line(text: str, width: int) -> str:
    """`text` without line breaks in exactly so many columns."""
    return fit(" ".join(text.split()), width)
