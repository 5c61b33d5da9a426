"""The transactional checker: from a history to a finding.

**Model.** Transactions over lists and registers with unique values; see `columns` for what they look like, `lists` and
`registers` for the orders of versions that their reads reveal, `order` for time, and `cycles` for the anomalies. After
Kingsbury and Alvaro, Elle: Inferring Isolation Anomalies from Experimental Observations (VLDB 2020), and Adya's
thesis (1999).

**Soundness.** Every edge u → v is a fact about each execution that explains the history under the level that the edge
carries: u before v. An order of transactions in which each reads what the ones before it left, that is a serial
execution, has to place u before v; a cycle says that there is no such order. So an anomaly is a proof, and which models
it disproves follows from its edges alone (`models`). An unknown transaction counts as committed only if an `ok` one
read something of it; every other one is left out, as if it had never been applied, which is one of its possibilities.

**What VALID means.** No anomaly was found that rules out the model. For lists with frequent reads that is close to the
truth, because nearly every order of versions is known. For registers it is weaker; see `registers`. The stats say how
many versions were ordered and how many edges there are of each kind: a history that nobody read from shows itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from labctl.check.common import Deadline, Stats, never, unknown
from labctl.check.prose import surroundings
from labctl.check.transactions.anomalies import Collected
from labctl.check.transactions.columns import Function, Transactions
from labctl.check.transactions.cycles import Search, find_cycles
from labctl.check.transactions.evidence import Evidence
from labctl.check.transactions.graph import MAX_NODES, Dependencies, Edges, Kind, Level
from labctl.check.transactions.internal import add_internal
from labctl.check.transactions.lists import Lists
from labctl.check.transactions.models import Model
from labctl.check.transactions.order import Timeline, process_edges
from labctl.check.transactions.packing import pack
from labctl.check.transactions.program import Program, Writers
from labctl.check.transactions.reads import Reads
from labctl.check.transactions.registers import Registers
from labctl.check.transactions.verdict import Analysis, finding
from labctl.errors import HistoryError, UsageError
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.model.history import History, Int64, Mask

NAME: Final = "transactions"
_BYTES_PER_MICRO: Final = 600  # to infer edges, and to tell anomalies: the most that histories full of them needed
_BYTES_PER_EDGE: Final = 256  # to search for cycles, likewise
_EDGES_OF_TIME: Final = 3  # for each transaction, where time counts


def check(
    history: History,
    *,
    deadline: Deadline = never,
    model: str = Model.STRICT_SERIALIZABLE,
    memory_mb: int = 4096,
    max_steps: int = 20_000_000,
) -> Finding:
    """Check the transactions of a history against a consistency model.

    Args:
        history: Operations with the function `txn`, and `final-read` of their keys, are looked at.
        deadline: Consulted between the stages and during the search for cycles.
        model: A value of `Model`. An anomaly that rules it out makes the finding INVALID; others are reported all the
            same.
        memory_mb: Limit in MiB beyond the history's own memory; estimated before each stage.
        max_steps: Edges that the search for shortest cycles may look at; cycles found before the limit count.

    Raises:
        UsageError: There is no such model.
    """
    wanted = _model(model)
    try:
        transactions = pack(history)
        finding = check_columns(transactions, deadline=deadline, model=wanted, memory_mb=memory_mb, max_steps=max_steps)
    except HistoryError as error:
        return unknown(NAME, "refused: " + "; ".join(error.problems), {"operations": len(history)})
    if finding.outcome is not Outcome.INVALID:
        return finding
    return replace(finding, explanation=finding.explanation + surroundings(history, finding.witness))


def _model(name: str) -> Model:
    try:
        return Model(name)
    except ValueError:
        raise UsageError(f"no consistency model is called {name!r}", f"There are: {', '.join(Model)}.") from None


def check_columns(
    transactions: Transactions,
    *,
    deadline: Deadline = never,
    model: Model = Model.STRICT_SERIALIZABLE,
    memory_mb: int = 4096,
    max_steps: int = 20_000_000,
) -> Finding:
    """The same for transactions that are columns already.

    Raises:
        HistoryError: Values are not unique per key.
    """
    stats: Stats = {"transactions": len(transactions), "ok": int(np.count_nonzero(transactions.ok))}
    if not stats["ok"]:
        return unknown(NAME, "no transaction was acknowledged: nothing to judge", stats)
    if len(transactions) * 4 > MAX_NODES:
        return unknown(NAME, f"not judged: more than {MAX_NODES // 4} transactions", stats)
    if excess := _excess(len(transactions.key) * _BYTES_PER_MICRO, memory_mb):
        return unknown(NAME, excess, stats)
    inference = infer(transactions)
    if deadline():
        return unknown(NAME, "not judged: time was up when the dependencies were inferred", stats)
    edges = len(inference.edges) + len(inference.process) + _EDGES_OF_TIME * len(transactions)
    if excess := _excess(edges * _BYTES_PER_EDGE, memory_mb):
        return unknown(NAME, excess, stats)
    search = inference.search(max_steps, deadline)
    return finding(NAME, inference.analysis(search), model)


def _excess(needed: int, memory_mb: int) -> str:
    """Why so many bytes are too many, or nothing."""
    text = f"not judged: it could take {needed >> 20} MiB, and {memory_mb} MiB are allowed"
    return text if needed > memory_mb << 20 else ""


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """What the reads and writes of a history imply.

    Attributes:
        transactions: The history.
        owner: (m,) the transaction of each micro-operation.
        evidence: What edges follow from.
        timeline: When transactions were invoked and completed.
        nodes: Nodes of the graph, auxiliary ones included.
        edges: Dependencies.
        process: Process edges.
        ordered: How many versions of lists and registers were put in order.
    """

    transactions: Transactions
    owner: Int64
    evidence: Evidence
    timeline: Timeline
    nodes: int
    edges: Edges
    process: Edges
    ordered: Mapping[str, int]

    def search(self, max_steps: int, deadline: Deadline) -> Search:
        """Look for cycles."""
        return find_cycles(self.edges, self.process, self.nodes, self.timeline, Search(max_steps, deadline))

    def analysis(self, search: Search) -> Analysis:
        """Add the anomalies that need no cycle, and the stats."""
        evidence, found = self.evidence, Collected()
        reads = Reads(self.transactions, self.owner, evidence.program, found)
        reads.of_lists(evidence.lists, evidence.committed)
        reads.of_registers(evidence.registers)
        add_internal(self.transactions, self.owner, evidence.program, evidence.lists, found)
        return Analysis(evidence, search, found, self._stats(search))

    def _stats(self, search: Search) -> Stats:
        t, committed = self.transactions, self.evidence.committed
        kind = np.bincount(self.edges.kind, minlength=len(Kind))
        level = np.bincount(self.edges.level, minlength=len(Level))
        return {
            "transactions": len(t),
            "ok": _count(t.ok),
            "failed": _count(t.failed),
            "unknown": _count(t.unknown),
            "observed_unknown": _count(committed & t.unknown),
            "keys": len(t.keys),
            "appends": _count(t.function == Function.APPEND),
            "writes": _count(t.function == Function.WRITE),
            "list_reads": _count(t.function == Function.READ_LIST),
            "register_reads": _count(t.function == Function.READ),
            **self.ordered,
            "edges_ww": int(kind[Kind.WW]),
            "edges_wr": int(kind[Kind.WR]),
            "edges_rw": int(kind[Kind.RW]),
            "edges_process": len(self.process),
            "edges_from_sessions": int(level[Level.SESSION]),
            "edges_from_time": int(level[Level.REALTIME]),
            "transactions_in_cycles": search.suspects,
            "search_finished": not search.exhausted,
        }


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def infer(transactions: Transactions) -> Inference:
    """Infer the dependencies between transactions.

    Raises:
        HistoryError: Values are not unique per key.
    """
    owner = transactions.owner
    program, writers = Program.of(transactions, owner), Writers.of(transactions, owner)
    lists = Lists.of(transactions, owner, program, writers)
    registers = Registers.of(transactions, owner, program, writers)
    committed = transactions.ok | (transactions.unknown & (lists.observed() | registers.observed()))
    timeline = Timeline.of(transactions)
    dependencies = Dependencies(len(transactions))
    ordered = lists.add_edges(committed, dependencies) | registers.add_edges(committed, timeline, dependencies)
    return Inference(
        transactions=transactions,
        owner=owner,
        evidence=Evidence(transactions, program, lists, registers, committed),
        timeline=timeline,
        nodes=dependencies.nodes,
        edges=dependencies.edges(),
        process=process_edges(transactions.process, committed, transactions.ok),
        ordered=ordered,
    )
