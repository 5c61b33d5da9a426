"""Plan → its links, and the links between two sides of a partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.model.fault import Link
from labctl.model.topology import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from labctl.model.plan import LabPlan


ANYONE = "anyone"
"""The one source of links where a plan is not per link."""


def links(plan: LabPlan) -> Iterator[Link]:
    """Every directed link that anybody uses: all pairs of nodes that are no two clients, and no node to itself.

    Data nodes never connect to Sentinels.
    """
    for target in plan.nodes:
        if not plan.per_link:
            yield Link(ANYONE, target.name)
            continue
        for source in plan.nodes:
            if source is not target and not (target.role is Role.SENTINEL and source.role is not Role.SENTINEL):
                yield Link(source.name, target.name)
        for group, _ in plan.client_hosts:
            yield Link(group, target.name)


def parties(plan: LabPlan) -> tuple[str, ...]:
    """Everybody who has links: nodes and client groups."""
    return (*(node.name for node in plan.nodes), *(group for group, _ in plan.client_hosts))


def between(plan: LabPlan, one: Collection[str], other: Collection[str]) -> tuple[Link, ...]:
    """Every directed link from one side to the other and back."""
    return tuple(
        link
        for link in links(plan)
        if (link.source in one and link.target in other) or (link.source in other and link.target in one)
    )
