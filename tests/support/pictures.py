"""Views that went wrong in some way → pictures and frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from labctl.live.frame import Frame, Ping, Standing
from labctl.live.picture import Seen, draw
from labctl.model.fault import Action, Link, LinkState, ServerState
from labctl.model.plan import LabPlan
from labctl.model.topology import Topology
from labctl.model.view import NodeView, View
from tests.support.views import healthy_view, plan_of

GROUPS = (("clients", "127.0.0.1"), ("clients-a", "127.9.0.201"), ("clients-b", "127.9.0.202"))


def with_groups(topology: Topology) -> LabPlan:
    """A plan with all three client groups."""
    return replace(plan_of(topology), client_hosts=GROUPS)


def silent(name: str, error: str = "no answer within 1 s") -> NodeView:
    """A node that does not answer."""
    return NodeView(name, up=False, error=error)


def change(view: View, *nodes: NodeView) -> View:
    """`view` with these nodes in place of those of their names."""
    new = {node.name: node for node in nodes}
    return replace(view, nodes=tuple(new.get(node.name, node) for node in view.nodes))


def seen(
    plan: LabPlan,
    view: View | None = None,
    *,
    before: View | None = None,
    servers: Mapping[str, ServerState] | None = None,
    cut: Mapping[Link, LinkState] | None = None,
    claims: Mapping[int, Sequence[Action]] | None = None,
    votes: Mapping[str, tuple[str, int]] | None = None,
) -> Seen:
    """What a picture is made of; a healthy lab where nothing else is said."""
    known = before or healthy_view(plan)
    return Seen(
        plan,
        view or healthy_view(plan),
        {node.name: node for node in known.nodes},
        servers or {},
        cut or {},
        claims or {},
        votes or {},
    )


def frame(what: Seen, **fields: Any) -> Frame:
    """A frame of it."""
    plan = what.plan
    values: dict[str, Any] = {
        "number": 1,
        "at_s": 0.0,
        "lab": plan.lab,
        "topology": plan.topology.name,
        "kind": plan.topology.kind,
        "engine": plan.engine_name,
        "quorum": 2 if plan.sentinels else 0,
        "reasons": (),
        "more_reasons": 0,
        "picture": draw(what),
    }
    return Frame(**{**values, **fields})


def fault(number: int = 1, **fields: Any) -> Standing:
    """A fault in force."""
    values: dict[str, Any] = {
        "id": number,
        "kind": "partition",
        "target": "primary,clients-a",
        "params": (),
        "lasts_s": 30.0,
        "ends_in_s": 12.0,
        "links": 14,
        "nodes": (),
    }
    return Standing(**{**values, **fields})


def ping(group: str, node: str, ms: float | None = 0.3, error: str = "") -> Ping:
    """What a client of a group found."""
    return Ping(group, node, ms, error or ("" if ms is not None else "silent"))
