"""How many append transactions a second the transactional checker judges, beside a plain Python version of the same.

Usage: python benchmarks/transactions.py [--transactions N] [--clients N] [--sample N]

The history is that of Elle's paper (Kingsbury and Alvaro, VLDB 2020, section 7.5): transactions of one to five
micro-operations, half of them reads, over 100 lists at a time, each retired after 100 appends, on a strictly
serializable store; here with 20 clients whose transactions overlap. The checker looks for every anomaly at every level.
"from file" is what `labctl check` does with a run: the history is recorded as a worker would have recorded it, read from
the file, validated and judged. "from values" begins with Python lists in memory, as an import does.
The baseline infers the same edges with dictionaries and lists, adds time edges by the standard reduction, and finds
components with rustworkx. It and "from values" run on
a sample, for minutes would pass and gigabytes be taken.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import rustworkx

from labctl.check import registry
from labctl.check.transactions import NAME, Transactions, check, check_columns, pack
from labctl.check.transactions.columns import Function
from labctl.check.transactions.graph import expand
from labctl.model.history import NIL, History, Op, OpOutcome
from labctl.model.verdict import Finding, Outcome
from labctl.store.history import HistoryWriter, read_history

if TYPE_CHECKING:
    from collections.abc import Callable

LISTS, APPENDS_PER_LIST = 100, 100
Result = TypeVar("Result")


def generate(count: int, clients: int, seed: int) -> Transactions:
    """A strictly serializable history: each transaction takes effect at a random moment of its span."""
    rng = np.random.default_rng(seed)
    per_client = -(-count // clients)
    spans = rng.integers(50_000, 500_000, (clients, per_client))
    ends = np.cumsum(spans + rng.integers(1_000, 20_000, spans.shape), axis=1)
    invoke, complete = (ends - spans).ravel()[:count], ends.ravel()[:count]
    process = np.repeat(np.arange(clients), per_client)[:count]
    effect = invoke + (rng.random(count) * (complete - invoke)).astype(np.int64)
    by_effect = np.argsort(effect, kind="stable")
    size = rng.integers(1, 6, count)  # of the transaction with each effect rank
    total = int(size.sum())
    slot, is_append = rng.integers(0, LISTS, total), rng.random(total) < 0.5

    # In order of effect, a list's content is what was appended to its slot since the slot's last retirement.
    order = np.argsort(slot, kind="stable")
    appended = np.cumsum(is_append[order]) - is_append[order]
    starts = np.flatnonzero(np.diff(slot[order], prepend=-1))
    first = np.repeat(appended[starts], np.diff(np.append(starts, total)))
    before = np.empty(total, dtype=np.int64)
    before[order] = appended - first
    key = slot + LISTS * (before // APPENDS_PER_LIST)
    value = np.where(is_append, np.arange(total), NIL)
    contents = value[order][is_append[order]]  # all appends, slot after slot
    slot_start = np.zeros(LISTS, dtype=np.int64)
    slot_start[slot[order][starts]] = appended[starts]
    end = slot_start[slot] + before
    begin = end - np.where(is_append, 0, before % APPENDS_PER_LIST)
    begin = np.where(is_append, end, begin)

    # From order of effect to order of invocation.
    effect_rank = np.empty(count, dtype=np.int64)
    effect_rank[by_effect] = np.arange(count)
    by_invoke = np.argsort(invoke, kind="stable")
    rank = effect_rank[by_invoke]
    micro_start = np.concatenate(([0], np.cumsum(size)))
    micros = expand(micro_start[rank], micro_start[rank] + size[rank])
    lengths = (end - begin)[micros]
    return Transactions(
        process=process[by_invoke],
        invoke_ns=invoke[by_invoke],
        complete_ns=complete[by_invoke],
        outcome=np.zeros(count, dtype=np.int8),
        position=np.arange(count),
        start=np.concatenate(([0], np.cumsum(size[rank]))),
        function=np.where(is_append[micros], Function.APPEND, Function.READ_LIST).astype(np.int8),
        key=key[micros],
        value=value[micros],
        list_begin=np.cumsum(lengths) - lengths,
        list_length=lengths,
        elements=contents[expand(begin[micros], end[micros])],
        keys=tuple(f"k{k}" for k in range(int(key.max()) + 1)),
    )


def as_history(t: Transactions, count: int) -> History:
    """The first transactions as a recorder would have left them."""
    return History.of(
        Op(int(t.process[i]), "txn", "g", value_of(t, i), int(t.invoke_ns[i]), int(t.complete_ns[i]))
        for i in range(count)
    )


def value_of(t: Transactions, transaction: int) -> list[list[object]]:
    """A transaction's value as Python has it; an empty list reads as a key that does not exist."""
    value: list[list[object]] = []
    for m in range(int(t.start[transaction]), int(t.start[transaction + 1])):
        key = t.keys[t.key[m]]
        if t.function[m] == Function.APPEND:
            value.append(["append", key, int(t.value[m])])
        else:
            value.append(["r", key, t.read_elements(m).tolist() or None])
    return value


def record(t: Transactions, path: Path) -> float:
    """Record the transactions as a worker does: reads without results first. Returns the recorder's CPU seconds."""
    moments = np.concatenate((t.invoke_ns, t.complete_ns))
    order = np.argsort(moments, kind="stable")
    handles: dict[int, int] = {}
    now, spent = 0, 0.0
    with HistoryWriter(path, clock=lambda: now, flush_interval_s=1e9) as writer:
        for moment in order.tolist():
            now, i = int(moments[moment]), moment % len(t)
            value: list[list[object]] = value_of(t, i)
            began = time.process_time()
            if moment < len(t):
                asked = [[function, key, None if function == "r" else v] for function, key, v in value]
                handles[i] = writer.invoke(int(t.process[i]), "txn", "g", asked)
            else:
                writer.complete(handles.pop(i), OpOutcome.OK, value, node="redis-1")
            spent += time.process_time() - began
    return spent


def check_file(path: Path) -> Finding:
    """What `labctl check` does with a history."""
    return registry.run(NAME, read_history(path))


def baseline(history: History) -> int:
    """The textbook way; returns the number of components with a cycle."""
    writer: dict[tuple[str, int], int] = {}
    longest: dict[str, list[int]] = {}
    reads: list[tuple[int, str, list[int]]] = []
    spans = []
    for i, op in enumerate(history):
        spans.append((op.invoke_ns, op.complete_ns, i))
        for function, key, value in op.value:
            if function == "append":
                writer[key, value] = i
            else:
                content = value or []
                reads.append((i, key, content))
                if len(content) > len(longest.get(key, ())):
                    longest[key] = content
    edges: list[tuple[int, int]] = []
    for key, values in longest.items():
        edges += [(writer[key, a], writer[key, b]) for a, b in pairwise(values)]
    unseen = defaultdict(list)
    shown = {key: set(values) for key, values in longest.items()}
    for (key, value), i in writer.items():
        if value not in shown.get(key, ()):
            unseen[key].append(i)
    for i, key, values in reads:
        order = longest.get(key, [])
        assert order[: len(values)] == values
        if values:
            edges.append((writer[key, values[-1]], i))
        if len(values) < len(order):
            edges.append((i, writer[key, order[len(values)]]))
        else:
            edges += [(i, other) for other in unseen[key]]
    edges += time_edges(spans)
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(len(history)))
    graph.add_edges_from_no_data([(a, b) for a, b in edges if a != b])
    return sum(len(group) > 1 for group in rustworkx.strongly_connected_components(graph))


def time_edges(spans: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Transitive reduction of the time order: each transaction after the latest that completed before it."""
    events = sorted([(invoke, 0, i) for invoke, _, i in spans] + [(complete, 1, i) for _, complete, i in spans])
    invoked = {i: invoke for invoke, _, i in spans}
    completed = {i: complete for _, complete, i in spans}
    frontier: list[int] = []
    edges = []
    for _, is_completion, i in events:
        if is_completion:
            frontier = [j for j in frontier if completed[j] >= invoked[i]]
            frontier.append(i)
        else:
            edges += [(j, i) for j in frontier]
    return edges


class Cost(NamedTuple):
    """Seconds by the clock, and of the processor: on a busy machine only the second says much."""

    wall: float
    cpu: float


def timed(what: Callable[[], Result]) -> tuple[Result, Cost]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = what()
    return result, Cost(time.perf_counter() - wall, time.process_time() - cpu)


def report(name: str, count: int, cost: Cost, what: str) -> None:
    rates = f"{count / cost.wall:>9,.0f} transactions/s ({cost.wall:.2f} s)"
    print(f"{name:<11} {rates}, {count / cost.cpu:>9,.0f} per second of processor time: {what}")


def resident_mib(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (highest since `forget_peak`) of this process, from Linux's /proc."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(field))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--transactions", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--sample", type=int, default=200_000, help="transactions that are also Python values")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    transactions = generate(options.transactions, options.clients, options.seed)
    size = f"{len(transactions)} transactions of {options.clients} clients, {len(transactions.key)} micro-operations"
    print(f"{size}, {int(transactions.list_length.sum())} elements read from {len(transactions.keys)} lists")
    forget_peak()
    before = resident_mib("VmRSS")
    finding, cost = timed(lambda: check_columns(transactions))
    assert finding.outcome is Outcome.VALID, finding.summary
    report("checker", len(transactions), cost, "every anomaly at every level, from columns")
    above = resident_mib("VmHWM") - before
    print(
        f"            peak memory {above} MiB above {before} MiB held before; columns {transactions.nbytes >> 20} MiB"
    )
    edges = {name: finding.stats[name] for name in ("list_versions_ordered", "edges_ww", "edges_wr", "edges_rw")}
    print(f"            {', '.join(f'{name} {value}' for name, value in edges.items())}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history"
        recorded = record(transactions, path)
        size = path.stat().st_size / len(transactions)
        forget_peak()
        before = resident_mib("VmRSS")
        finding, from_file = timed(lambda: check_file(path))
    assert finding.outcome is Outcome.VALID, finding.summary
    report("from file", options.transactions, from_file, "recorded history: read, validated, judged")
    print(f"            peak memory {resident_mib('VmHWM') - before} MiB above {before} MiB held before")
    print(f"            {size:.0f} bytes and {recorded / options.transactions * 1e6:.1f} µs to record each")

    sample = as_history(generate(options.sample, options.clients, options.seed), options.sample)
    _, packing = timed(lambda: pack(sample))
    report("packing", len(sample), packing, f"a history's Python values to columns, on {len(sample)}")
    finding, whole = timed(lambda: check(sample))
    assert finding.outcome is Outcome.VALID, finding.summary
    report("from values", len(sample), whole, f"a history's Python values to the finding, on {len(sample)}")
    cycles, plain = timed(lambda: baseline(sample))
    assert cycles == 0
    report("baseline", len(sample), plain, f"plain Python with rustworkx, also from Python values, on {len(sample)}")
    everything = options.transactions
    for name, other, count in (
        ("checker", cost, everything),
        ("from file", from_file, everything),
        ("from values", whole, len(sample)),
    ):
        ratio = (plain.cpu / len(sample)) / (other.cpu / count)
        print(f"ratio       {name}: {ratio:.1f} times the baseline's transactions per second of processor time")


if __name__ == "__main__":
    main()
