"""Split brain as clients saw it: two nodes that acknowledged writes of the same data at overlapping times.

Model. At any moment one node may acknowledge writes of a key (of all keys under Sentinel or plain replication, of a
slot in a Cluster). A *term* is what a node acknowledged from one loss of the primary's role to the next. Within a term
a node was serving at least from the first acknowledgement that its clients held until the last of its writes was sent.
When the terms of two nodes overlap so, or a write of one lies wholly inside the other's, both were taking writes at
once, and the overlap is a *window*.

Sound as long as a node's loss of its role (or its next promotion, if nobody saw the loss) is recorded before it takes
writes again, and the first role of each node is recorded. A history without any role event cannot tell A, B, A in a
split brain from two failovers; there an overlap is UNKNOWN. The window is a lower bound: a node that would have
acknowledged but was asked nothing is not seen. `epoch` of role events, where given, tells a deposed primary that does
not know (different epochs, documented) from two primaries of one epoch (never allowed).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np

from labctl.check.common import SHOWN, Anomaly, Deadline, Stats, milliseconds, never, unknown
from labctl.check.prose import duration, moment, surroundings, tell
from labctl.model.history import ROLE, History, Int64
from labctl.model.slots import key_slot
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "split-brain"
Scope = Literal["all", "slot", "key"]


@dataclass(frozen=True, slots=True)
class _Term:
    """The writes that one node acknowledged while it kept the role, in order of acknowledgement."""

    node: str
    epoch: object
    positions: Int64
    begin_ns: int  # the first acknowledgement was held
    end_ns: int  # the last write was sent


@dataclass(frozen=True, slots=True)
class _Window:
    older: _Term
    newer: _Term
    begin_ns: int
    end_ns: int


def check(
    history: History,
    *,
    deadline: Deadline = never,
    scope: Scope = "all",
    writes: Sequence[str] = ("write", "add", "append", "cas", "incr"),
) -> Finding:
    """Find windows in which two nodes acknowledged writes.

    Args:
        history: The run; operations say which node answered, role events say when roles changed.
        deadline: Consulted between groups of keys.
        scope: Which data has one primary: all of it, each Cluster slot, or each key.
        writes: Functions that only a primary acknowledges.
    """
    acked = np.flatnonzero(history.ok & history.where(*writes) & (history.node >= 0))
    if not len(acked):
        return unknown(NAME, "the history has no acknowledged write that says which node answered")
    windows: list[_Window] = []
    for group in _groups(history, acked, scope):
        if deadline():
            return unknown(NAME, "out of time", {"writes": len(acked)})
        windows += _windows(history, _terms(history, group))
    windows.sort(key=lambda window: window.begin_ns)
    lengths = [window.end_ns - window.begin_ns for window in windows]
    same_epoch = [w for w in windows if w.older.epoch is not None and w.older.epoch == w.newer.epoch]
    stats: Stats = {
        "writes": len(acked),
        "nodes": len(np.unique(history.node[acked])),
        "role_events": sum(event.kind == ROLE for event in history.events),
        "windows": len(windows),
        "longest_window_ms": milliseconds(max(lengths, default=0)),
        "same_epoch_windows": len(same_epoch),
        "writes_in_windows": len(
            {int(p) for w in windows for term in (w.older, w.newer) for p in _inside(history, term, w)}
        ),
    }
    if not windows:
        many = f"{stats['nodes']} nodes acknowledged {len(acked)} writes, never two at once"
        return Finding(NAME, Outcome.VALID, many, "No two terms of acknowledgement overlap.", stats=stats)
    worst = windows[int(np.argmax(lengths))]
    story, witness = _tell(history, worst)
    anomalies = tuple(_anomaly(history, window) for window in windows[:SHOWN])
    summary = f"{len(windows)} windows with two nodes acknowledging, longest {duration(max(lengths))}"
    if not stats["role_events"]:
        summary += "; no role events were recorded, so that quick failovers there and back would look the same"
    outcome = Outcome.INVALID if stats["role_events"] else Outcome.UNKNOWN
    return Finding(NAME, outcome, summary, story, witness, stats, anomalies)


def _groups(history: History, acked: Int64, scope: Scope) -> Iterator[Int64]:
    """Writes whose data has one primary, for groups that more than one node answered."""
    if scope == "all":
        yield acked
        return
    if scope == "key":
        of_key = np.arange(len(history.keys))
    elif scope == "slot":
        of_key = np.array([key_slot(key) for key in history.keys])
    else:
        assert_never(scope)
    groups = of_key[history.key[acked]]
    pairs = np.unique(np.stack([groups, history.node[acked]]), axis=1)
    ids, nodes = np.unique(pairs[0], return_counts=True)
    for group in ids[nodes > 1]:
        yield acked[groups == group]


def _terms(history: History, group: Int64) -> list[_Term]:
    terms: list[_Term] = []
    for code in np.unique(history.node[group]):
        node = history.nodes[code]
        cuts, epochs = _tenures(history, node)
        mine = group[history.node[group] == code]
        mine = mine[np.argsort(history.complete_ns[mine], kind="stable")]
        parts = np.split(mine, np.searchsorted(history.complete_ns[mine], cuts))
        for part, epoch in zip(parts, epochs, strict=True):
            if len(part):
                begin, end = int(history.complete_ns[part[0]]), int(history.invoke_ns[part].max())
                terms.append(_Term(node, epoch, part, begin, end))
    return sorted(terms, key=lambda term: term.begin_ns)


def _tenures(history: History, node: str) -> tuple[list[int], list[object]]:
    """When a node's tenure as primary ended, and the epoch of each tenure (one more than there are ends).

    The observer sees a promotion after clients may have had their first acknowledgement, so a promotion cuts nothing,
    unless the node was last seen as primary of another epoch: then nobody saw it lose the role in between.
    """
    cuts: list[int] = []
    epochs: list[object] = [None]
    was_primary = False
    for event in history.events:
        if event.kind != ROLE or event.node != node:
            continue
        is_primary, epoch = event.detail.get("role") == "primary", event.detail.get("epoch")
        if not is_primary:
            cuts.append(event.at_ns)
            epochs.append(None)
        elif was_primary and epoch != epochs[-1]:
            cuts.append(event.at_ns)
            epochs.append(epoch)
        else:
            epochs[-1] = epoch
        was_primary = is_primary
    return cuts, epochs


def _windows(history: History, terms: list[_Term]) -> list[_Window]:
    """Overlaps of terms of different nodes. Terms are few: one for each failover."""
    windows: list[_Window] = []
    for older, newer in combinations(terms, 2):
        end = min(older.end_ns, newer.end_ns)
        sent, acked = history.invoke_ns[newer.positions], history.complete_ns[newer.positions]
        inside = (sent > older.begin_ns) & (acked < older.end_ns)
        if older.node != newer.node and (newer.begin_ns < end or inside.any()):
            windows.append(_Window(older, newer, newer.begin_ns, max(newer.begin_ns, end)))
    return windows


def _inside(history: History, term: _Term, window: _Window) -> Int64:
    at = history.complete_ns[term.positions]
    return term.positions[(at >= window.begin_ns) & (history.invoke_ns[term.positions] <= window.end_ns)]


def _anomaly(history: History, window: _Window) -> Anomaly:
    return {
        "kind": "split-brain",
        "nodes": [window.older.node, window.newer.node],
        "epochs": [window.older.epoch, window.newer.epoch],
        "start_ms": milliseconds(window.begin_ns - history.start_ns),
        "end_ms": milliseconds(window.end_ns - history.start_ns),
        "window_ms": milliseconds(window.end_ns - window.begin_ns),
        "writes": [len(_inside(history, term, window)) for term in (window.older, window.newer)],
    }


def _tell(history: History, window: _Window) -> tuple[str, tuple[int, ...]]:
    """The window as prose, and its witness: a write of the older term, one of the newer, one of the older again."""
    older, newer = window.older, window.newer
    last = int(older.positions[history.invoke_ns[older.positions].argmax()])
    witness = (int(older.positions[0]), int(newer.positions[0]), last)
    epochs = ""
    if older.epoch is not None and older.epoch == newer.epoch:
        epochs = f" Both were primary in epoch {older.epoch}, which no configuration allows."
    told = "; then ".join(tell(history, position) for position in witness)
    span = f"{moment(history, window.begin_ns)} to {moment(history, window.end_ns)}"
    text = f"{older.node} and {newer.node} both acknowledged writes from {span}. In this order: {told}.{epochs}"
    return text + surroundings(history, witness), witness
