"""A history as a few thousand buckets of time, in which no spike is lost.

A chart of a million operations has about a thousand pixels. Each bucket keeps what a chart can show of it and what it must
not hide: how many operations ended in it and how, and of the latencies the smallest, the median, the 99th percentile and
the largest one. Percentiles are by nearest rank, so each is a latency that some operation really had.

Several *levels* of the same phase are made, coarse to fine, each from the operations themselves; a page shows the finest
one whose buckets are still told apart on the screen, and so gets sharper as a reader zooms in.

An operation counts where its client knew how it ended: its completion, or its invocation when there was none. Latency is
that of acknowledged operations, from the moment when they were due, so that waiting behind a stalled one counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from labctl.model.history import CLIENTS, FINAL_READ, NEVER, History, Int64, Mask

if TYPE_CHECKING:
    from collections.abc import Sequence

MS: Final = 1_000_000
_WIDTHS: Final[tuple[int, ...]] = tuple(factor * 10**power for power in range(6, 12) for factor in (1, 2, 5))
"""1, 2, 5, 10 ms … 500 s."""

FINEST_NS: Final = 5 * MS
"""Narrower buckets would hold single operations."""

RATE_NS: Final = 100 * MS
"""Buckets wider than this also keep the slowest and the fastest stretch of this length within them."""

_NODES = 8
OTHERS = "other nodes"


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Buckets of one width over a whole phase; every array has one entry a bucket.

    Attributes:
        width_ns: Of a bucket.
        acked: Acknowledged operations by node that answered; `None` collects those of unknown node.
        slowest, fastest: Acknowledged operations in the slowest and fastest `RATE_NS` of the bucket; None where a bucket
            is no wider than that.
        refused: Operations that were certainly not applied.
        unknown: Operations of unknown outcome.
        least_ns, median_ns, p99_ns, most_ns: Latencies; 0 where nothing was acknowledged.
    """

    width_ns: int
    acked: dict[str, Int64]
    slowest: Int64 | None
    fastest: Int64 | None
    refused: Int64
    unknown: Int64
    least_ns: Int64
    median_ns: Int64
    p99_ns: Int64
    most_ns: Int64

    def __len__(self) -> int:
        return len(self.refused)


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """The load of a phase, sorted by the moment when each operation ended.

    Attributes:
        at_ns: Since the history began.
        ok, failed: Outcomes; the rest is unknown.
        process: Who sent it.
        node: Codes into the history's nodes, -1 for none.
        latency_ns: At least 1, so that 0 can stand for none.
    """

    at_ns: Int64
    ok: Mask
    failed: Mask
    process: npt.NDArray[np.int32]
    node: npt.NDArray[np.int32]
    latency_ns: Int64


def ended(history: History) -> Ended:
    """The operations of the load, final reads left out."""
    load = np.flatnonzero(~history.where(FINAL_READ))
    complete = history.complete_ns[load]
    at = np.where(complete == NEVER, history.invoke_ns[load], complete) - history.start_ns
    order = np.argsort(at, kind="stable")
    rows = load[order]
    latency = np.maximum(complete[order] - history.due_ns[rows], 1)
    return Ended(at[order], history.ok[rows], history.failed[rows], history.process[rows], history.node[rows], latency)


def client_groups(history: History) -> dict[str, list[int]]:
    """The processes of each client group, as the history names them."""
    listed = [event.detail for event in history.events if event.kind == CLIENTS]
    return {str(d.get("group")): list(p) for d in listed if isinstance(p := d.get("processes"), list)}


def width_for(span_ns: int, most: int, finest_ns: int = FINEST_NS) -> int:
    """The narrowest round width that needs at most `most` buckets for `span_ns`, and is no less than `finest_ns`."""
    for width in _WIDTHS:
        if width >= finest_ns and -(-span_ns // width) <= most:
            return width
    return -(-span_ns // most)


def levels(history: History, load: Ended, most: Sequence[int] = (400, 2000, 8000)) -> list[Level]:
    """The levels of a phase, coarse to fine, with at most so many buckets each; fewer levels where they would be equal."""
    span = max(history.end_ns - history.start_ns, 1)
    widths = dict.fromkeys(width_for(span, count) for count in most)
    return [_level(load, history.nodes, span, width) for width in widths]


def busiest(load: Ended, nodes: Sequence[str]) -> dict[str, Mask]:
    """Which operations each node acknowledged, for the busiest few; the others together."""
    counts = np.bincount(load.node[load.ok & (load.node >= 0)], minlength=len(nodes))
    chosen = sorted(np.argsort(-counts, kind="stable")[:_NODES].tolist(), key=lambda code: nodes[code])
    masks = {nodes[code]: load.ok & (load.node == code) for code in chosen if counts[code]}
    rest = load.ok & ~np.isin(load.node, chosen)
    return {**masks, OTHERS: rest} if rest.any() else masks


def _level(load: Ended, nodes: Sequence[str], span_ns: int, width_ns: int) -> Level:
    count = -(-span_ns // width_ns)
    bucket = np.minimum(load.at_ns // width_ns, count - 1)
    slowest, fastest = _rates(load, span_ns, width_ns, count)
    least, median, p99, most = _latencies(bucket[load.ok], load.latency_ns[load.ok], count)

    def counted(mask: Mask) -> Int64:
        return np.bincount(bucket[mask], minlength=count).astype(np.int64)

    return Level(
        width_ns=width_ns,
        acked={name: counted(mask) for name, mask in busiest(load, nodes).items()},
        slowest=slowest,
        fastest=fastest,
        refused=counted(load.failed),
        unknown=counted(~load.ok & ~load.failed),
        least_ns=least,
        median_ns=median,
        p99_ns=p99,
        most_ns=most,
    )


def _rates(load: Ended, span_ns: int, width_ns: int, count: int) -> tuple[Int64 | None, Int64 | None]:
    """Acknowledgements in the slowest and the fastest stretch of each bucket. A last stretch that is not whole is left out."""
    if width_ns <= RATE_NS:
        return None, None
    whole = max(span_ns // RATE_NS, 1)
    stretch = load.at_ns[load.ok] // RATE_NS
    counts = np.bincount(stretch[stretch < whole], minlength=whole)
    starts = np.minimum(np.arange(count) * (width_ns // RATE_NS), whole - 1)
    return np.minimum.reduceat(counts, starts), np.maximum.reduceat(counts, starts)


def _latencies(bucket: Int64, latency: Int64, count: int) -> tuple[Int64, Int64, Int64, Int64]:
    """Smallest, median, 99th percentile and largest latency of each bucket; 0 for an empty one."""
    order = np.lexsort((latency, bucket))
    ordered = latency[order]
    sizes = np.bincount(bucket, minlength=count)
    ends = np.cumsum(sizes)
    filled = np.flatnonzero(sizes)

    def rank(share: float) -> Int64:
        found = np.zeros(count, np.int64)
        place = np.maximum(np.ceil(share * sizes[filled]).astype(np.int64), 1) - 1
        found[filled] = ordered[(ends - sizes)[filled] + place]
        return found

    return rank(0.0), rank(0.5), rank(0.99), rank(1.0)
