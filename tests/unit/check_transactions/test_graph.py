"""The building blocks against plain definitions: components, products, zones, cycle names."""

from __future__ import annotations

from itertools import pairwise, product
from random import Random

import numpy as np
import pytest
import rustworkx

from labctl.check.common import never
from labctl.check.transactions.cycles import Search, Step, find_cycles, name_of
from labctl.check.transactions.graph import Dependencies, Edges, Kind, Level, distinct, expand
from labctl.check.transactions.models import ANOMALIES, Model, ruled_out, says, weaker, weakest
from labctl.check.transactions.order import Timeline, components
from labctl.check.transactions.packing import pack
from labctl.check.transactions.registers import direct_successors
from labctl.model.history import History, OpOutcome
from tests.unit.check_transactions.notation import txn


def column(values: object) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(list(values), dtype=np.int64)  # type: ignore[call-overload]


def spans(random: Random, count: int) -> Timeline:
    """Transactions that overlap at random, some of them never answered."""
    ops = []
    for process in range(count):
        invoke = random.randint(0, 3 * count)
        outcome = OpOutcome.UNKNOWN if random.random() < 0.2 else OpOutcome.OK
        ops.append(txn("", process=process, span=(invoke, invoke + random.randint(0, 12)), outcome=outcome))
    return Timeline.of(pack(History.of(ops)))


def reachable_components(count: int, pairs: set[tuple[int, int]]) -> set[frozenset[int]]:
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from_no_data(list(pairs))
    return {frozenset(group) for group in rustworkx.strongly_connected_components(graph) if len(group) > 1}


@pytest.mark.parametrize("seed", range(200))
def test_components_are_those_of_the_whole_graph(seed: int) -> None:
    """Pruned by blocks and with a chain for time, against every time edge made by itself."""
    random = Random(seed)
    count = random.randint(2, 40)
    timeline = spans(random, count)
    forward = random.random() < 0.5
    drawn = {(random.randrange(count), random.randrange(count)) for _ in range(random.randint(0, 3 * count))}
    pairs = {(a, b) if not forward or random.random() < 0.05 else (min(a, b), max(a, b)) for a, b in drawn if a != b}
    edges = Edges.of(column(a for a, _ in pairs), column(b for _, b in pairs), Kind.WR)
    late = {(a, b) for a, b in product(range(count), repeat=2) if timeline.closed[a] <= timeline.invoked[b]}
    for realtime, whole in ((False, pairs), (True, pairs | late)):
        found = components(edges, count, timeline, realtime=realtime)
        groups = {frozenset(int(node) for node in group if node < count) for group in found.members}
        assert groups == reachable_components(count, whole)


@pytest.mark.parametrize("seed", range(100))
def test_a_cycle_is_found_exactly_if_there_is_a_component_and_it_is_a_real_one(seed: int) -> None:
    random = Random(seed)
    count = random.randint(2, 12)
    timeline = spans(random, count)
    kinds = {}
    for _ in range(random.randint(1, 3 * count)):
        a, b = random.randrange(count), random.randrange(count)
        if a != b:
            kinds[a, b] = random.choice([Kind.WW, Kind.WR, Kind.RW])
    edges = Edges.concatenate([Edges.of(column([a]), column([b]), kind) for (a, b), kind in kinds.items()])
    none = Edges.concatenate([])
    search = find_cycles(edges, none, count, timeline, Search(1_000_000, never))
    late = {(a, b) for a, b in product(range(count), repeat=2) if timeline.closed[a] <= timeline.invoked[b]}
    assert bool(search.cycles) == bool(reachable_components(count, set(kinds) | late))
    for cycle in search.cycles:
        for step, following in zip(cycle.steps, cycle.steps[1:] + cycle.steps[:1], strict=True):
            assert step.target == following.source
            edge = (step.source, step.target)
            assert (edge in late) if step.kind is Kind.TIME else (kinds[edge] is step.kind)
        assert len({step.source for step in cycle.steps}) == len(cycle.steps)


@pytest.mark.parametrize("seed", range(100))
def test_a_product_reaches_what_its_definition_says(seed: int) -> None:
    """Also with sources that are targets, up to two of them in a group."""
    random = Random(seed)
    dependencies = Dependencies(20)
    sources, targets = set(), set()
    for group in range(3):
        members = random.sample(range(20), 12)
        sources |= {(group, node) for node in members[:5]}
        targets |= {(group, node) for node in members[5 - random.randint(0, 2) : random.randint(5, 12)]}
    columns = [(column(g for g, _ in pairs), column(n for _, n in pairs)) for pairs in (sources, targets)]
    dependencies.add_product(columns[0], columns[1], Kind.RW, Level.REALTIME)
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(dependencies.nodes))
    edges = dependencies.edges()
    graph.add_edges_from_no_data(list(zip(edges.source.tolist(), edges.target.tolist(), strict=True)))
    hubs = range(20, dependencies.nodes)
    reached = {(a, b) for a, b in graph.edge_list() if a < 20 and b < 20}
    reached |= {(a, b) for hub in hubs for a in graph.predecessor_indices(hub) for b in graph.successor_indices(hub)}
    assert reached == {(a, b) for g, a in sources for h, b in targets if g == h and a != b}


@pytest.mark.parametrize("seed", range(200))
def test_direct_successors_imply_the_whole_order_of_zones(seed: int) -> None:
    random = Random(seed)
    count = random.randint(1, 25)
    versions = []
    for _ in range(count):
        closed = random.randint(0, 30)
        versions.append((random.randint(0, 2), closed + random.randint(-8, 1 if seed % 2 else 6), closed))
    versions.sort()
    key, last, closed = (column(values) for values in zip(*versions, strict=True))
    last = np.maximum(last, 0)
    order = np.lexsort((last, key))
    key, last, closed = key[order], last[order], closed[order]
    before, after = direct_successors(key, closed, last)
    whole = {(v, w) for v, w in product(range(count), repeat=2) if v != w and key[v] == key[w] and closed[v] <= last[w]}
    direct = set(zip(before.tolist(), after.tolist(), strict=True))
    assert direct <= whole
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from_no_data(list(direct))
    if rustworkx.is_directed_acyclic_graph(graph):
        assert whole <= {(v, w) for v in range(count) for w in rustworkx.descendants(graph, v)}
    else:
        assert reachable_components(count, whole)


def test_expand_lists_ranges() -> None:
    assert expand(column([3, 9, 5]), column([5, 9, 8])).tolist() == [3, 4, 5, 6, 7]
    assert expand(column([]), column([])).tolist() == []


def test_distinct_is_sorted_and_has_no_repeats() -> None:
    assert distinct(column([5, 1, 5, 3, 1])).tolist() == [1, 3, 5]
    assert distinct(column([])).tolist() == []


def test_weaker_evidence_for_the_same_pair_is_left_out() -> None:
    parts = [
        Edges.of(column([1]), column([2]), Kind.RW),
        Edges.of(column([1]), column([2]), Kind.WR),
        Edges.of(column([1]), column([2]), Kind.WR, Level.REALTIME),
        Edges.of(column([1]), column([2]), Kind.PROCESS, Level.SESSION),
        Edges.of(column([3]), column([2]), Kind.RW),
        Edges.of(column([3]), column([2]), Kind.WW, Level.REALTIME),
    ]
    kept = Edges.concatenate(parts).sorted()
    assert list(zip(kept.source.tolist(), kept.kind.tolist(), kept.level.tolist(), strict=True)) == [
        (1, Kind.WR, Level.PLAIN),
        (1, Kind.PROCESS, Level.SESSION),
        (1, Kind.WR, Level.REALTIME),
        (3, Kind.RW, Level.PLAIN),
        (3, Kind.WW, Level.REALTIME),
    ]


@pytest.mark.parametrize(
    ("kinds", "level", "name"),
    [
        ("ww ww", Level.PLAIN, "G0"),
        ("ww process", Level.SESSION, "G0-process"),
        ("ww wr", Level.PLAIN, "G1c"),
        ("wr time", Level.REALTIME, "G1c-realtime"),
        ("rw ww wr", Level.PLAIN, "G-single"),
        ("rw time", Level.REALTIME, "G-single-realtime"),
        ("rw ww rw wr", Level.PLAIN, "G-nonadjacent"),
        ("rw time rw process", Level.REALTIME, "G-nonadjacent-realtime"),
        ("rw ww rw", Level.PLAIN, "G2-item"),
        ("rw rw", Level.PLAIN, "G2-item"),
        ("ww rw rw", Level.SESSION, "G2-item-process"),
    ],
)
def test_a_cycle_is_named_by_its_edges(kinds: str, level: Level, name: str) -> None:
    words = kinds.split()
    steps = [Step(i, (i + 1) % len(words), Kind[word.upper()], Level.PLAIN) for i, word in enumerate(words)]
    last = steps[-1]
    steps[-1] = Step(last.source, last.target, last.kind, level)
    assert name_of(tuple(steps)) == name


def test_models_form_a_hierarchy() -> None:
    for model in Model:
        assert model in weaker(model)
        for below in weaker(model):
            assert weaker(below) <= weaker(model)
    assert weaker(Model.STRICT_SERIALIZABLE) == set(Model)
    assert Model.REPEATABLE_READ not in weaker(Model.SNAPSHOT_ISOLATION)


def test_every_anomaly_rules_out_strict_serializability_and_has_words() -> None:
    for anomaly in ANOMALIES:
        assert Model.STRICT_SERIALIZABLE in ruled_out([anomaly])
        assert says(anomaly)
    assert ruled_out([]) == ()
    assert weakest(ruled_out(["G-single"])) == (Model.REPEATABLE_READ, Model.SNAPSHOT_ISOLATION)


def test_graver_kinds_rule_out_more() -> None:
    for suffix in ("", "-process", "-realtime"):
        ruled = [set(ruled_out([kind + suffix])) for kind in ("G0", "G1c", "G-single", "G-nonadjacent", "G2-item")]
        for graver, milder in pairwise(ruled):
            assert graver >= milder
    for kind in ("G0", "G1c", "G-single", "G-nonadjacent", "G2-item"):
        plain, session, realtime = (set(ruled_out([kind + suffix])) for suffix in ("", "-process", "-realtime"))
        assert plain > session > realtime
