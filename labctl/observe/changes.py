"""Two views → what changed between them, as events that a person and a checker understand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from labctl.model.topology import Role
from labctl.model.view import NodeView, View


@dataclass(frozen=True, slots=True)
class Change:
    """One observed change. `kind` is `role`, `up`, `down`, `link`, `sentinel` or `cluster`; `text` is for people."""

    kind: str
    node: str
    text: str
    detail: dict[str, object] = field(default_factory=dict)


def changes(old: View | None, new: View) -> list[Change]:
    """What differs. Without an old view: the role of every node, so that a history knows where it began."""
    found: list[Change] = []
    before = {node.name: node for node in old.nodes} if old is not None else {}
    for node in new.nodes:
        found += _node(before.get(node.name), node, new)
    return found


def epoch_of(node: NodeView, view: View) -> int:
    """Epoch of the configuration under which `node` plays its part; 0 where there are no epochs.

    In a Cluster its own config epoch; under Sentinels the highest epoch among those that call it the primary.
    """
    if node.cluster is not None:
        return node.cluster.my_epoch
    beliefs = [
        n.sentinel.config_epoch for n in view.nodes if n.sentinel is not None and n.sentinel.primary == node.name
    ]
    return max(beliefs, default=0)


def _node(old: NodeView | None, new: NodeView, view: View) -> Iterator[Change]:
    if new.up and (old is None or not old.up) and old is not None:
        yield Change("up", new.name, f"{new.name} answers again")
    if not new.up:
        if old is None or old.up:
            yield Change("down", new.name, f"{new.name} does not answer: {new.error}", {"error": new.error})
        return
    if new.role in (Role.PRIMARY, Role.REPLICA) and (old is None or not old.up or _part(old) != _part(new)):
        yield _role(new, view)
    if old is None or not old.up:
        return
    if new.role is Role.REPLICA and old.link_up != new.link_up and old.follows == new.follows:
        state = "up" if new.link_up else "down"
        yield Change(
            "link", new.name, f"{new.name}: replication link to {new.follows} is {state}", {"link_up": new.link_up}
        )
    yield from _sentinel(old, new)
    if old.cluster is not None and new.cluster is not None and old.cluster.state != new.cluster.state:
        state = "ok" if new.cluster.state else "fail"
        yield Change("cluster", new.name, f"{new.name} sees the cluster {state}", {"state": state})


def _part(node: NodeView) -> tuple[object, ...]:
    return (node.role, node.follows if node.role is Role.REPLICA else None)


def _role(node: NodeView, view: View) -> Change:
    assert node.role is not None
    epoch = epoch_of(node, view)
    text = f"{node.name} is primary" if node.role is Role.PRIMARY else f"{node.name} is a replica of {node.follows}"
    detail: dict[str, object] = {"role": node.role.value, "follows": node.follows}
    if epoch:
        detail["epoch"] = epoch
        text += f" (epoch {epoch})" if node.role is Role.PRIMARY else ""
    return Change("role", node.name, text, detail)


def _sentinel(old: NodeView, new: NodeView) -> Iterator[Change]:
    if old.sentinel is None or new.sentinel is None:
        return
    was, now = old.sentinel, new.sentinel
    if was.primary != now.primary:
        yield Change(
            "sentinel",
            new.name,
            f"{new.name} sends clients to {now.primary} (epoch {now.config_epoch})",
            {"primary": now.primary, "epoch": now.config_epoch},
        )
    if was.s_down != now.s_down:
        yield Change(
            "sentinel",
            new.name,
            f"{new.name}: {now.primary} is {'down' if now.s_down else 'back'} for it",
            {"s_down": now.s_down},
        )
    if now.o_down and not was.o_down:
        yield Change("sentinel", new.name, f"{new.name}: a quorum agrees that {now.primary} is down", {"o_down": True})
    if was.tilt != now.tilt:
        yield Change("sentinel", new.name, f"{new.name} {'enters' if now.tilt else 'leaves'} TILT", {"tilt": now.tilt})
