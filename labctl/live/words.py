"""How a server's state and a link's state are said, drawn and coloured; the same in every part of the terminal. Pure."""

from __future__ import annotations

from typing import assert_never

from labctl.live.frame import Condition, Edge, Node
from labctl.model.fault import LinkState
from labctl.model.topology import Role

GOOD, BAD, BUSY, FAINT = "green", "bold red", "yellow", "dim"
PRIMARY = "bold cyan"


def mark(node: Node) -> tuple[str, str]:
    """A character for a server, and its style. No state is told by colour alone."""
    match node.condition:
        case Condition.UP:
            if node.role is Role.PRIMARY:
                return "◆", PRIMARY
            return ("●", GOOD) if node.link in ("up", "") else ("○", BUSY if node.link == "sync" else BAD)
        case Condition.LOADING:
            return "↻", BUSY
        case Condition.HUNG:
            return "?", BAD
        case Condition.PAUSED:
            return "‖", BUSY
        case Condition.DOWN:
            return "✖", BAD
        case _:
            assert_never(node.condition)


def state(node: Node) -> str:
    """A word for a server: its role, or what keeps it from playing it."""
    match node.condition:
        case Condition.UP:
            return node.role.value
        case Condition.LOADING:
            return f"{node.role.value}, loading"
        case Condition.HUNG:
            return "does not answer"
        case Condition.PAUSED:
            return "paused"
        case Condition.DOWN:
            return "down"
        case _:
            assert_never(node.condition)


def link_mark(edge: Edge | None, node: Node) -> tuple[str, str]:
    """A character for a replica's link to its primary, and its style."""
    if edge is not None and edge.faulty:
        return edge_mark(edge), BUSY if edge.state is LinkState.OPEN else BAD
    if node.condition is not Condition.UP:
        return "╎", FAINT
    return {"up": ("│", GOOD), "sync": ("↻", BUSY)}.get(node.link, ("╎", BAD))


def edge_mark(edge: Edge) -> str:
    """A character for a line with a fault; empty for one without."""
    marks = {LinkState.OPEN: "≈" if edge.toxics else "", LinkState.BLACKHOLE: "✂", LinkState.REFUSED: "⊘"}
    return marks[edge.state]


def edge_words(edge: Edge) -> str:
    """What is wrong with a line, in words; empty while nothing is."""
    words = {LinkState.OPEN: "", LinkState.BLACKHOLE: "✂ link cut", LinkState.REFUSED: "⊘ link refuses"}[edge.state]
    return ", ".join([*([words] if words else []), *(f"≈ {toxic}" for toxic in edge.toxics)])
