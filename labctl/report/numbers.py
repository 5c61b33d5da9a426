"""What clients saw of a phase, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labctl.model.history import NEVER, History, Mask
from labctl.report.buckets import MS, Ended, client_groups


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies of acknowledged operations in milliseconds, from the moment when each was due; nearest rank."""

    median: float
    p95: float
    p99: float
    p999: float
    most: float


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """Operations that ended with the same error in the same way; times in seconds since the phase began."""

    error: str
    outcome: str
    count: int
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class Numbers:
    """A phase's load in numbers.

    Attributes:
        acknowledged, refused, unknown: Operations by outcome.
        load_s: From the first invocation to the last end.
        latency: None when nothing was acknowledged.
        silence_ms: The longest time in which a group of clients got no acknowledgement, between two that it got.
        silence_at_s: When it began; None with fewer than two acknowledgements.
        silent: Which group; empty where the history names none.
        by_node: Acknowledged operations by node that answered, sorted by name.
        errors: The most frequent first.
    """

    acknowledged: int
    refused: int
    unknown: int
    load_s: float
    latency: Latency | None
    silence_ms: float
    silence_at_s: float | None
    silent: str
    by_node: dict[str, int]
    errors: tuple[ErrorRow, ...]

    @property
    def operations(self) -> int:
        """All of them."""
        return self.acknowledged + self.refused + self.unknown

    @property
    def per_s(self) -> float:
        """Acknowledged operations a second, over the time of the load."""
        return self.acknowledged / self.load_s if self.load_s else 0.0

    def sentence(self) -> str:
        """The numbers for people."""
        if not self.operations:
            return "Clients sent nothing."
        text = (
            f"Clients sent {self.operations:,} operations: {self.acknowledged:,} acknowledged, {self.refused:,} refused, "
            f"{self.unknown:,} of unknown outcome."
        )
        if self.latency is None or self.silence_at_s is None:
            return text
        text += (
            f" Median latency {self.latency.median:.2f} ms, 99th percentile {self.latency.p99:.2f} ms; "
            f"longest silence {self.silence_ms:,.0f} ms{f' ({self.silent})' if self.silent else ''}."
        )
        shares = ", ".join(f"{name} {count:,}" for name, count in self.by_node.items())
        return f"{text} Acknowledged by: {shares}." if shares else text


def numbers(history: History, load: Ended) -> Numbers:
    """The numbers of a phase from its load (`buckets.ended`)."""
    ok = load.at_ns[load.ok]
    silence = _silence(history, load)
    counts = np.bincount(load.node[load.ok & (load.node >= 0)], minlength=len(history.nodes))
    first = int(history.invoke_ns[0]) - history.start_ns if len(history) else 0
    return Numbers(
        acknowledged=len(ok),
        refused=int(load.failed.sum()),
        unknown=len(load.at_ns) - len(ok) - int(load.failed.sum()),
        load_s=(int(load.at_ns[-1]) - first) / 1e9 if len(load.at_ns) else 0.0,
        latency=_latency(load),
        silence_ms=0.0 if silence is None else silence[0] / MS,
        silence_at_s=None if silence is None else silence[1] / 1e9,
        silent="" if silence is None else silence[2],
        by_node={name: int(counts[code]) for code, name in sorted(enumerate(history.nodes), key=_name) if counts[code]},
        errors=_errors(history),
    )


def _silence(history: History, load: Ended) -> tuple[int, int, str] | None:
    """The longest gap, when it began, and whose it was. Groups are told apart: one may be served while another is not."""
    members = client_groups(history)
    masks = [(name, load.ok & np.isin(load.process, processes)) for name, processes in members.items()]
    found = []
    for name, mask in masks or [("", load.ok)]:
        at = load.at_ns[mask]
        if len(at) > 1:
            longest = int(np.diff(at).argmax())
            found.append((int(at[longest + 1] - at[longest]), int(at[longest]), name if len(masks) > 1 else ""))
    return max(found, default=None)


def _name(pair: tuple[int, str]) -> str:
    return pair[1]


def _latency(load: Ended) -> Latency | None:
    taken = np.sort(load.latency_ns[load.ok]) / MS
    if not len(taken):
        return None
    ranks = [max(int(np.ceil(share * len(taken))), 1) - 1 for share in (0.5, 0.95, 0.99, 0.999, 1.0)]
    return Latency(*(float(taken[rank]) for rank in ranks))


def _errors(history: History) -> tuple[ErrorRow, ...]:
    wrong = ~history.ok
    rows = []
    ended = np.where(history.complete_ns == NEVER, history.invoke_ns, history.complete_ns) - history.start_ns
    for outcome, among in (("refused", history.failed), ("unknown", history.unknown)):
        for code in np.unique(history.error[wrong & among]):
            mine: Mask = among & (history.error == code)
            name = history.errors[code] if code >= 0 else "no answer"
            at = ended[mine]
            rows.append(ErrorRow(name, outcome, int(mine.sum()), int(at.min()) / 1e9, int(at.max()) / 1e9))
    return tuple(sorted(rows, key=lambda row: (-row.count, row.error)))
