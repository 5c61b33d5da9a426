"""Who was what, and when: a lane for each client group, node, Sentinel and alert, and one for a Cluster's own state.

A lane is a row of spans. The `primary` of a span names the node that it is about: for clients who acknowledged, for a data
node the primary that it is or follows, for a Sentinel where it sends clients. So one colour means one primary in every
lane, and a split brain is two colours above each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from labctl.check.alerts import firing
from labctl.model.history import ALERT, ROLE, SENTINEL, Event, History, Int64
from labctl.model.topology import Role
from labctl.model.view import NodeView, View
from labctl.report.buckets import MS, Ended, client_groups

_SILENCE_NS = 100 * MS
_SILENCE_GAPS = 20
_MOST_SPANS = 200


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a lane during which nothing changed.

    Attributes:
        from_s, to_s: Seconds since the phase began.
        primary: The node that it is about; None where there is no single one.
        state: `answered`; `primary`, `replica`, `detached` (its replication link is down), `down`; `sure`, `suspects`
            (one Sentinel alone), `agreed` (a quorum), `tilt`; `ok`, `fail`; `firing`.
        text: For people.
    """

    from_s: float
    to_s: float
    primary: str | None
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One row. `kind` is `clients`, `node`, `sentinel`, `cluster` or `alert`."""

    name: str
    kind: str
    spans: tuple[Span, ...]


@dataclass(slots=True)
class _Spans:
    """Spans that begin where the one before ends."""

    end_s: float
    spans: list[Span]
    since_s: float = 0.0
    now: tuple[str | None, str, str] | None = None

    def turn(self, at_s: float, now: tuple[str | None, str, str] | None) -> None:
        """From now on it is `(primary, state, text)`; None when nothing is known."""
        if now == self.now:
            return
        self.close(at_s)
        self.since_s, self.now = at_s, now

    def close(self, at_s: float) -> None:
        if self.now is not None and at_s > self.since_s:
            self.spans.append(Span(self.since_s, at_s, *self.now))

    def finished(self) -> tuple[Span, ...]:
        self.close(self.end_s)
        return tuple(self.spans)


def lanes(history: History, load: Ended, views: Sequence[View]) -> tuple[Lane, ...]:
    """Every lane of a phase: clients, data nodes, the Cluster, Sentinels, alerts."""
    end_s = (history.end_ns - history.start_ns) / 1e9
    return (
        *_clients(history, load),
        *_data_nodes(history, views, end_s),
        *_cluster(history, views, end_s),
        *_sentinels(history, views, end_s),
        *_alerts(history, end_s),
    )


# Clients


def _clients(history: History, load: Ended) -> Iterator[Lane]:
    for group, processes in client_groups(history).items():
        mine = load.ok & np.isin(load.process, processes)
        yield Lane(group, "clients", tuple(_answers(load.at_ns[mine], load.node[mine], history.nodes)))


def _answers(at_ns: Int64, node: np.ndarray[tuple[int], np.dtype[np.int32]], nodes: Sequence[str]) -> Iterator[Span]:
    """Stretches of acknowledgements by one node without a silence; of any node, where several take turns all the time."""
    if not len(at_ns):
        return
    gaps = np.diff(at_ns)
    silent = gaps > max(_SILENCE_NS, _SILENCE_GAPS * int(np.median(gaps))) if len(gaps) else np.zeros(0, bool)
    breaks = silent | (np.diff(node) != 0)
    mixed = int(breaks.sum()) > _MOST_SPANS
    cuts = np.flatnonzero(silent if mixed else breaks) + 1
    for part in np.split(np.arange(len(at_ns)), cuts[:_MOST_SPANS]):
        first, last = int(part[0]), int(part[-1])
        code = int(node[first])
        who = None if mixed or code < 0 else nodes[code]
        begin, end = int(at_ns[first]) / 1e9, (int(at_ns[last]) + MS) / 1e9
        yield Span(begin, end, who, "answered", f"{len(part):,} acknowledged by {who or 'several nodes'}")


# Data nodes


@dataclass(slots=True)
class _Node:
    role: str | None = None
    follows: str | None = None
    up: bool = True
    linked: bool = True
    epoch: object = None

    def hear(self, event: Event) -> None:
        match event.kind:
            case "role":
                self.up, self.role, self.epoch = True, str(event.detail.get("role")), event.detail.get("epoch")
                if (follows := event.detail.get("follows")) is not None:
                    self.linked = follows == self.follows and self.linked  # a new one is not linked before it says so
                    self.follows = str(follows)
            case "up":
                self.up = True
            case "down":
                self.up = False
            case "link":
                self.linked = bool(event.detail.get("link_up"))
            case _:
                pass

    def see(self, node: NodeView) -> None:
        self.up = node.up
        if node.up:
            if node.role != self.role:
                self.epoch = None
            self.role, self.follows, self.linked = node.role, node.follows, node.link_up is not False

    def shown(self, name: str) -> tuple[str | None, str, str] | None:
        """What a span says: its primary, its state, its text; None when nothing is known yet."""
        if not self.up:
            return None, "down", f"{name} does not answer"
        if self.role == Role.PRIMARY:
            return name, "primary", "primary" + (f", epoch {self.epoch}" if self.epoch else "")
        if self.role == Role.REPLICA:
            of = f"replica of {self.follows}" if self.follows else "replica"
            return self.follows, "replica" if self.linked else "detached", of + ("" if self.linked else ", link down")
        return None


def _data_nodes(history: History, views: Sequence[View], end_s: float) -> Iterator[Lane]:
    names = dict.fromkeys(n.name for view in views[:1] for n in view.nodes if n.role is not Role.SENTINEL)
    names.update(dict.fromkeys(event.node for event in history.events if event.kind == ROLE and event.node))
    for name in names:
        if name.startswith("sentinel-"):
            continue
        node, spans = _Node(), _Spans(end_s, [])
        for seen in views[:1]:
            for first in (n for n in seen.nodes if n.name == name):
                node.see(first)
        for at_ns, said in _heard(history, views, name):
            if isinstance(said, Event):
                node.hear(said)
            else:
                node.see(said)
            spans.turn(max(0.0, (at_ns - history.start_ns) / 1e9), node.shown(name))
        yield Lane(name, "node", spans.finished())


def _heard(history: History, views: Sequence[View], name: str) -> list[tuple[int, Event | NodeView]]:
    """Everything known about a node in order of time; an event before the view that it was taken from."""
    heard: list[tuple[int, Event | NodeView]] = [(event.at_ns, event) for event in _of(history.events, name)]
    heard += [(view.at_ns, node) for view in views for node in view.nodes if node.name == name]
    return sorted(heard, key=lambda entry: entry[0])


# Sentinels


def _sentinels(history: History, views: Sequence[View], end_s: float) -> Iterator[Lane]:
    names = [n.name for view in views[:1] for n in view.nodes if n.role is Role.SENTINEL or n.sentinel]
    names += [e.node for e in history.events if e.kind == SENTINEL and e.node and e.node not in names]
    for name in dict.fromkeys(names):
        spans = _Spans(end_s, [])
        belief = _Belief.of(next((n for view in views[:1] for n in view.nodes if n.name == name), None))
        spans.turn(0.0, belief.shown())
        for event in _of(history.events, name):
            if event.kind in (SENTINEL, "up", "down"):
                belief.take(event)
                spans.turn((event.at_ns - history.start_ns) / 1e9, belief.shown())
        yield Lane(name, "sentinel", spans.finished())


@dataclass(slots=True)
class _Belief:
    primary: str | None = None
    up: bool = True
    suspects: bool = False
    agreed: bool = False
    tilt: bool = False

    @classmethod
    def of(cls, node: NodeView | None) -> _Belief:
        if node is None or node.sentinel is None:
            return cls(up=node is None or node.up)
        seen = node.sentinel
        return cls(seen.primary, node.up, seen.s_down, seen.o_down, seen.tilt)

    def take(self, event: Event) -> None:
        if event.kind != SENTINEL:
            self.up = event.kind == "up"
            return
        detail = event.detail
        if "primary" in detail:
            self.primary = str(detail["primary"])
            self.suspects = self.agreed = False
        self.suspects = bool(detail.get("s_down", self.suspects))
        self.agreed = bool(detail.get("o_down", self.agreed)) and self.suspects
        self.tilt = bool(detail.get("tilt", self.tilt))

    def shown(self) -> tuple[str | None, str, str] | None:
        if not self.up:
            return None, "down", "does not answer"
        if self.primary is None:
            return None
        if self.tilt:
            return self.primary, "tilt", f"in TILT; sends clients to {self.primary}"
        if self.agreed:
            return self.primary, "agreed", f"knows that a quorum holds {self.primary} for down"
        if self.suspects:
            return self.primary, "suspects", f"holds {self.primary} for down"
        return self.primary, "sure", f"sends clients to {self.primary}"


# Cluster


def _cluster(history: History, views: Sequence[View], end_s: float) -> Iterator[Lane]:
    """The state that the nodes report, all together."""
    first = {n.name: n.cluster.state for view in views[:1] for n in view.nodes if n.cluster is not None}
    if not first and not any(event.kind == "cluster" for event in history.events):
        return
    spans, states = _Spans(end_s, []), dict(first)
    spans.turn(0.0, _together(states))
    for event in history.events:
        if event.node and event.kind in ("cluster", "down"):
            if event.kind == "cluster":
                states[event.node] = event.detail.get("state") == "ok"
            else:
                states.pop(event.node, None)
            spans.turn((event.at_ns - history.start_ns) / 1e9, _together(states))
    yield Lane("cluster", "cluster", spans.finished())


def _together(states: dict[str, bool]) -> tuple[str | None, str, str]:
    failing = sum(not state for state in states.values())
    if not failing:
        return None, "ok", "every node that answers says: cluster_state ok"
    return None, "fail", f"{failing} of {len(states)} nodes that answer say: cluster_state fail"


# Alerts


def _alerts(history: History, end_s: float) -> Iterator[Lane]:
    """Each alert that fired, for however many nodes: the times at which it did for one or more of them."""
    named = (event.detail.get("alert") for event in history.events if event.kind == ALERT)
    for name in dict.fromkeys(str(name) for name in named if name):
        spans = _Spans(end_s, [])
        for event, about in firing(history.events, name):
            now = (None, "firing", f"{name} {about}") if about else None
            spans.turn(max(0.0, (event.at_ns - history.start_ns) / 1e9), now)
        yield Lane(name, "alert", spans.finished())


def _of(events: Iterable[Event], node: str) -> Iterator[Event]:
    return (event for event in events if event.node == node)
