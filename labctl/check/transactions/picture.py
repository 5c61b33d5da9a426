"""A cycle as a picture: self-contained SVG that reads in light and dark surroundings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape as escape_markup

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH: Final = 640
_BOX_WIDTH: Final = 168
_BOX_HEIGHT: Final = 40
_TEXT_LIMIT: Final = 28  # characters in a box
_COLOURS: Final = {"ww": "#c2410c", "wr": "#1d4ed8", "rw": "#a21caf", "process": "#15803d", "realtime": "#57534e"}
_STYLE: Final = (
    ".cycle text{font:12px system-ui,sans-serif;fill:#1c1917}.cycle .name{font-weight:600}"
    ".cycle rect{fill:#fafaf9;stroke:#78716c}.cycle .edge{fill:none;stroke-width:1.5}"
    ".cycle .label{paint-order:stroke;stroke:#fff;stroke-width:4px}"
    "@media(prefers-color-scheme:dark){.cycle text{fill:#f5f5f4}.cycle rect{fill:#292524}.cycle .label{stroke:#1c1917}}"
)


@dataclass(frozen=True, slots=True)
class Node:
    """A transaction in the picture: a name (`T1`) and what it did."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge to the next node: its kind (`ww`, `wr`, `rw`, `process` or `realtime`) and the key, if any."""

    kind: str
    key: str


def draw_cycle(title: str, nodes: Sequence[Node], arrows: Sequence[Arrow]) -> str:
    """The SVG of a cycle of at least two nodes, `arrows[i]` leading from node i to the next."""
    step = 2 * math.pi / len(nodes)
    wide = (_WIDTH - _BOX_WIDTH) / 2 - 12
    radius = max(110.0, (_BOX_HEIGHT + 36) / (1 - math.cos(step)))  # leaves room for an arrow below the top box
    height = 2 * radius + _BOX_HEIGHT + 60
    centres = [
        (
            _WIDTH / 2 + wide * math.sin(step * i),
            30 + height / 2 - radius * math.cos(step * i),
        )
        for i in range(len(nodes))
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="cycle" viewBox="0 0 {_WIDTH} {height + 30:.0f}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style><defs>{''.join(map(_marker, _COLOURS))}</defs>",
        f'<text x="12" y="22" class="name">{escape(title)}</text>',
    ]
    for i, arrow in enumerate(arrows):
        parts.append(_edge(centres[i], centres[(i + 1) % len(nodes)], arrow, bend=len(nodes) == 2))
    parts += [_box(centre, node) for centre, node in zip(centres, nodes, strict=True)]
    return "".join([*parts, "</svg>"])


def escape(text: str) -> str:
    """Text for markup: escaped, and without the control characters that XML cannot hold."""
    return escape_markup("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _marker(kind: str) -> str:
    return (
        f'<marker id="to-{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{_COLOURS[kind]}"/></marker>'
    )


def _box(centre: tuple[float, float], node: Node) -> str:
    x, y = centre
    text = node.text if len(node.text) <= _TEXT_LIMIT else node.text[: _TEXT_LIMIT - 1] + "…"
    return (
        f"<g><title>{escape(f'{node.name}: {node.text}')}</title>"
        f'<rect x="{x - _BOX_WIDTH / 2:.1f}" y="{y - _BOX_HEIGHT / 2:.1f}" width="{_BOX_WIDTH}" '
        f'height="{_BOX_HEIGHT}" rx="6"/>'
        f'<text class="name" text-anchor="middle" x="{x:.1f}" y="{y - 4:.1f}">{escape(node.name)}</text>'
        f'<text text-anchor="middle" x="{x:.1f}" y="{y + 12:.1f}">{escape(text)}</text></g>'
    )


def _edge(start: tuple[float, float], end: tuple[float, float], arrow: Arrow, *, bend: bool) -> str:
    (x1, y1), (x2, y2) = start, end
    distance = math.hypot(x2 - x1, y2 - y1)
    aside = 60.0 if bend else 14.0  # two arrows between the same boxes must not lie upon each other
    middle_x = (x1 + x2) / 2 + aside * (y1 - y2) / distance
    middle_y = (y1 + y2) / 2 + aside * (x2 - x1) / distance
    x1, y1 = _border((x1, y1), (middle_x, middle_y))
    x2, y2 = _border((x2, y2), (middle_x, middle_y))
    colour = _COLOURS[arrow.kind]
    label = f"{arrow.kind} {arrow.key}".strip()
    return (
        f'<path class="edge" d="M{x1:.1f} {y1:.1f}Q{middle_x:.1f} {middle_y:.1f} {x2:.1f} {y2:.1f}" stroke="{colour}" '
        f'marker-end="url(#to-{arrow.kind})"/>'
        f'<text class="label" text-anchor="middle" x="{(x1 + 2 * middle_x + x2) / 4:.1f}" '
        f'y="{(y1 + 2 * middle_y + y2) / 4 + 4:.1f}">{escape(label)}</text>'
    )


def _border(centre: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Where a line from a box's centre leaves the box."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    scale = min(
        (_BOX_WIDTH / 2 + 2) / abs(dx) if dx else math.inf,
        (_BOX_HEIGHT / 2 + 2) / abs(dy) if dy else math.inf,
    )
    return centre[0] + dx * scale, centre[1] + dy * scale
