"""A picture drawn with characters. As much as fits: boxes joined by lines, else a line a server, else a mark a server. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from labctl.live.canvas import BROKEN, DOUBLE, LIGHT, Canvas, count, fit, size, sparkline
from labctl.live.frame import Condition, Edge, EdgeKind, Node, Picture, Shard
from labctl.live.words import BAD, BUSY, FAINT, PRIMARY, edge_words, link_mark, mark, state
from labctl.model.topology import Role

Curves = Mapping[str, Sequence[float | None]]
"""The last values of each of `Frame.samples`, oldest first."""

_BOX = 4
_RAIL = 2
_NARROWEST = 24
_WIDEST = 44
_GAP = 2
_ROW_LABEL = 34
_ROW = 60


@dataclass(frozen=True, slots=True)
class _Family:
    """A primary and what follows it, drawn as one block. `below` hang from it unless they are former primaries."""

    top: Node | None
    below: tuple[Node, ...]

    @property
    def wide(self) -> int:
        """How many boxes stand side by side where there is room."""
        return max(1, len(self.below))


def sketch(picture: Picture, curves: Curves, width: int, height: int) -> list[Text]:
    """At most `height` lines of at most `width` columns."""
    links = {edge.source: edge for edge in picture.edges if edge.kind is EdgeKind.REPLICATION}
    families = [family for shard in picture.shards for family in _families(shard)]
    return (
        _boxes(families, links, curves, width, height)
        or _rows(picture.shards, links, curves, width, height)
        or _marks(picture.shards, width, height)
    )


def _families(shard: Shard) -> list[_Family]:
    found: list[_Family] = []
    loose: list[Node] = []
    for node in shard.nodes:
        if node.depth == 0 and not node.former:
            found.append(_Family(node, ()))
        elif node.former or not found:
            loose.append(node)
        else:
            found[-1] = _Family(found[-1].top, (*found[-1].below, node))
    if not found:
        return [_Family(None, tuple(loose))]
    return [_Family(found[0].top, (*found[0].below, *loose)), *found[1:]]


# Boxes


@dataclass(frozen=True, slots=True)
class _Grid:
    """How families share a width: so many columns of boxes for each, side by side, and rows of families."""

    box: int
    columns: int
    per_row: int

    def block(self) -> int:
        """Columns of characters that a family takes."""
        return self.columns * (self.box + _GAP) - _GAP


def _boxes(
    families: Sequence[_Family], links: Mapping[str, Edge], curves: Curves, width: int, height: int
) -> list[Text]:
    """Empty when it does not fit."""
    for columns in range(max(family.wide for family in families), 0, -1):
        for per_row in range(len(families), 0, -1):
            box = min(_WIDEST, (width + _GAP) // (columns * per_row) - _GAP)
            grid = _Grid(box, columns, per_row)
            if box < _NARROWEST:
                continue
            rows = [families[at : at + per_row] for at in range(0, len(families), per_row)]
            heights = [max(_height(family, columns) for family in row) for row in rows]
            if sum(heights) <= height:
                return _draw_rows(rows, heights, grid, links, curves, width)
            break  # fewer families side by side only make it higher
    return []


def _height(family: _Family, columns: int) -> int:
    below = -(-len(family.below) // columns)
    top = _BOX if family.top else 0
    return top + (_RAIL if family.top and below else 0) + below * _BOX


def _draw_rows(
    rows: Sequence[Sequence[_Family]],
    heights: Sequence[int],
    grid: _Grid,
    links: Mapping[str, Edge],
    curves: Curves,
    width: int,
) -> list[Text]:
    canvas = Canvas(width, sum(heights))
    y = 0
    for row, height in zip(rows, heights, strict=True):
        taken = len(row) * (grid.block() + _GAP) - _GAP
        x = max(0, (width - taken) // 2)
        for family in row:
            _draw_family(canvas, x, y, family, grid, links, curves)
            x += grid.block() + _GAP
        y += height
    return canvas.lines()


def _draw_family(
    canvas: Canvas, x: int, y: int, family: _Family, grid: _Grid, links: Mapping[str, Edge], curves: Curves
) -> None:
    middle = x + (grid.block() - 1) // 2
    if family.top is not None:
        _draw_box(canvas, middle - (grid.box - 1) // 2, y, grid.box, family.top, None, curves)
        y += _BOX
    below = [family.below[at : at + grid.columns] for at in range(0, len(family.below), grid.columns)]
    for number, row in enumerate(below):
        start = x + (grid.block() - (len(row) * (grid.box + _GAP) - _GAP)) // 2
        places = [start + place * (grid.box + _GAP) for place in range(len(row))]
        if number == 0 and family.top is not None:
            _draw_rail(canvas, middle, y, [p + (grid.box - 1) // 2 for p in places], row, links)
            y += _RAIL
        for place, node in zip(places, row, strict=True):
            _draw_box(canvas, place, y, grid.box, node, links.get(node.name), curves)
        y += _BOX


def _draw_rail(
    canvas: Canvas, middle: int, y: int, places: Sequence[int], row: Sequence[Node], links: Mapping[str, Edge]
) -> None:
    """From a primary's lower side to the upper sides of its replicas; each replica's link has a mark of its own."""
    hanging = [(place, node) for place, node in zip(places, row, strict=True) if not node.former]
    if not hanging:
        return
    ends = [middle, *(place for place, _ in hanging)]
    canvas.put(min(ends), y, "─" * (max(ends) - min(ends) + 1), FAINT)
    for place in set(ends):
        up, down = place == middle, any(place == other for other, _ in hanging)
        left, right = place > min(ends), place < max(ends)
        canvas.put(place, y, _JOINTS[up, down, left, right], FAINT)
    for place, node in hanging:
        canvas.put(place, y + 1, *link_mark(links.get(node.name), node))


_JOINTS = {
    (True, True, True, True): "┼",
    (True, True, True, False): "┤",
    (True, True, False, True): "├",
    (True, True, False, False): "│",
    (True, False, True, True): "┴",
    (True, False, True, False): "╯",
    (True, False, False, True): "╰",
    (True, False, False, False): "│",
    (False, True, True, True): "┬",
    (False, True, True, False): "╮",
    (False, True, False, True): "╭",
}


def _draw_box(canvas: Canvas, x: int, y: int, width: int, node: Node, edge: Edge | None, curves: Curves) -> None:
    symbol, style = mark(node)
    alive = node.condition in (Condition.UP, Condition.LOADING)
    frame = (DOUBLE if node.role is Role.PRIMARY else LIGHT) if alive else BROKEN
    border = (PRIMARY if node.role is Role.PRIMARY else FAINT) if alive else style
    if node.faults:
        border = BAD
    canvas.box(x, y, width, _BOX, frame, border)
    title = f" {symbol} {node.name} "
    canvas.put(x + 2, y, title, style)
    word = fit(f"{state(node)} ", min(len(state(node)) + 1, width - len(title) - 4))
    canvas.put(x + 2 + len(title), y, word, style if not alive else FAINT)
    if node.faults:
        held = f" fault {', '.join(map(str, node.faults))} "
        canvas.put(x + max(1, width - 2 - len(held)), y + _BOX - 1, held[: width - 2], BAD)
    inner = width - 4
    for row, (text, row_style) in enumerate(_content(node, edge, curves, inner), 1):
        canvas.put(x + 2, y + row, fit(text, inner), row_style)


def _content(node: Node, edge: Edge | None, curves: Curves, width: int) -> list[tuple[str, str]]:
    """The two lines inside a box: what it does, and what is wrong with it or else what it has."""
    if node.condition not in (Condition.UP, Condition.LOADING):
        was = "was the primary" if node.role is Role.PRIMARY else f"followed {node.follows}" if node.follows else ""
        return [(was, FAINT), (_trouble(node, edge) or node.note, BAD)]
    trouble = _trouble(node, edge)
    if node.role is Role.PRIMARY:
        rate = f"{count(node.ops_per_s)} op/s "
        first = rate + sparkline(curves.get(f"ops:{node.name}", ()), width - len(rate))
        return [(first, PRIMARY), (trouble, BAD) if trouble else (_has(node, width), FAINT)]
    lag = f"lag {'?' if node.lag_bytes is None else size(node.lag_bytes)} "
    first = lag + sparkline(curves.get(f"lag:{node.name}", ()), width - len(lag), least=1000)
    words = {"down": ("link to its primary is down", BAD), "sync": ("loads a full copy", BUSY)}
    if trouble:
        return [(first, ""), (trouble, BAD)]
    carries = f"  {size(edge.bytes_per_s)}/s" if edge is not None and edge.bytes_per_s is not None else ""
    return [(first, ""), words.get(node.link, (f"offset {node.offset:,}{carries}", FAINT))]


def _trouble(node: Node, edge: Edge | None) -> str:
    words = [edge_words(edge)] if edge is not None and edge.faulty else []
    if node.reach:
        words = [f"✂ {node.reach}"]
    return ", ".join(words)


def _has(node: Node, width: int) -> str:
    """What a primary has, as much of it as fits."""
    parts = [f"slots {node.slots}"] if node.slots else []
    parts += [f"epoch {node.epoch}"] if node.epoch else []
    parts += [f"{count(node.keys)} keys", size(node.memory_bytes)]
    while len("  ".join(parts)) > width and len(parts) > 1:
        parts.pop()
    return "  ".join(parts)


# A line a server


def _rows(shards: Iterable[Shard], links: Mapping[str, Edge], curves: Curves, width: int, height: int) -> list[Text]:
    """In as few columns as fit. Empty when it does not fit."""
    nodes = [node for shard in shards for node in shard.nodes]
    columns = -(-len(nodes) // max(1, height))
    column = (width + _GAP) // columns - _GAP
    if columns > 1 and column < _ROW:
        return []
    deep = -(-len(nodes) // columns)
    canvas = Canvas(width, deep)
    for number, node in enumerate(nodes):
        x = number // deep * (column + _GAP)
        for text, style in _row(node, links.get(node.name), curves, column):
            canvas.put(x, number % deep, text, style)
            x += len(text)
    return canvas.lines()


def _row(node: Node, edge: Edge | None, curves: Curves, width: int) -> list[tuple[str, str]]:
    symbol, style = mark(node)
    indent = "  " * min(3, node.depth)
    (first, first_style), (second, second_style) = _content(node, edge, curves, 22)
    name = fit(f"{node.name} {state(node)}", _ROW_LABEL - 10 - len(indent))
    used = len(indent) + 2 + len(name) + 24
    return [
        (f"{indent}{symbol} ", style),
        (name, style),
        (fit(first, 24), first_style),
        (fit(second, width - used), second_style),
    ]


# A mark a server


def _marks(shards: Sequence[Shard], width: int, height: int) -> list[Text]:
    """A cell a shard, in as many columns as fit. Where even that is too much, those with trouble come first."""
    cells = [_cell(shard) for shard in shards]
    widest = min(width, max(sum(len(text) for text, _ in cell) for cell in cells) + 2)
    columns = max(1, (width + 1) // widest)
    rows = -(-len(cells) // columns)
    if rows > height:
        rows = max(0, height - 1)
        cells = [_cell(shard) for shard in sorted(shards, key=_is_well)][: rows * columns]
    canvas = Canvas(width, rows)
    for number, cell in enumerate(cells):
        x, end = number % columns * widest, (number % columns + 1) * widest - 1
        for text, style in cell:
            canvas.put(x, number // columns, text[: max(0, end - x)], style)
            x += len(text)
    hidden = len(shards) - len(cells)
    return canvas.lines() + ([Text(f"… and {hidden} more shards", FAINT)] if hidden else [])


def _is_well(shard: Shard) -> bool:
    return all(node.condition is Condition.UP and node.link in ("", "up") and not node.faults for node in shard.nodes)


def _cell(shard: Shard) -> list[tuple[str, str]]:
    """The first server by name, the others by marks, a bad one by name too."""
    parts: list[tuple[str, str]] = []
    for place, node in enumerate(shard.nodes):
        symbol, style = mark(node)
        named = place == 0 or node.faults or node.condition is not Condition.UP
        parts.append((f"{symbol}{node.name} " if named else f"{symbol} ", BAD if node.faults else style))
    return parts
