"""What a snapshot kept, as a page shows it: in the phase's own time, counters as rates, alerts as stretches."""

from __future__ import annotations

import gzip
from pathlib import Path

from labctl.report.measured import WANTED, measured
from labctl.store.metrics import FILE, Kept, Series, read_metrics

T0 = 1_700_000_000.0


def write(folder: Path, text: str) -> None:
    with gzip.open(folder / FILE, "wt") as file:
        file.write(text)


def series(name: str, values: dict[float, float], **labels: str) -> Series:
    return Series(name, labels, tuple(T0 + at for at in values), tuple(values.values()))


def test_wanted_metrics_are_read_in_order_of_time(tmp_path: Path) -> None:
    write(
        tmp_path,
        'redis_up{node="redis-1"} 1 1700000000.000\n'
        'redis_memory_used_bytes{node="redis-1"} 10 1700000001.000\n'
        'redis_memory_used_bytes{node="redis-1"} 12 1700000001.250\n'
        'redis_memory_used_bytes{node="a \\"b\\" {c}"} 7 1700000001.000\n'
        "# EOF\n",
    )
    kept = read_metrics(tmp_path, WANTED)
    assert kept.why_not == ""
    assert {one.labels["node"]: (one.at_s, one.values) for one in kept.series} == {
        "redis-1": ((T0 + 1, T0 + 1.25), (10, 12)),
        'a "b" {c}': ((T0 + 1,), (7,)),
    }


def test_no_snapshot_is_nothing_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    assert read_metrics(tmp_path, WANTED) == Kept()
    (tmp_path / FILE).write_bytes(b"\x1f\x8bnot gzip at all")
    assert "damaged" in read_metrics(tmp_path, WANTED).why_not
    write(tmp_path, 'redis_memory_used_bytes{node="redis-1"} many 1700000001.000\n# EOF\n')
    assert "damaged" in measured(read_metrics(tmp_path, WANTED), T0, 5).why_not


def test_curves_are_in_the_phases_time_and_counters_are_rates() -> None:
    kept = Kept((
        series("redis_memory_used_bytes", {-1: 5, 0: 6, 2: 8, 9: 1}, node="redis-1"),
        series("redis_commands_processed_total", {-1: 100, 0: 110, 2: 150, 4: 30}, node="redis-2"),
        series("redis_connected_clients", {1: 3}),
    ))  # fmt: skip
    found = {chart.title: curves for chart, curves in measured(kept, T0, 5).curves}
    (memory,), (commands,) = found["Memory"], found["Commands"]
    assert (memory.node, memory.at_s, memory.values) == ("redis-1", (0, 2), (6, 8))
    assert (commands.at_s, commands.values) == ((0, 2, 4), (10, 20, 15)), "after a restart it counts from nothing"
    assert found.keys() == {"Memory", "Commands"}, "a series of no node is no curve"


def test_alerts_are_stretches_of_firing() -> None:
    labels = {"alertname": "NoPrimary", "severity": "critical", "lab": "l", "job": "j"}
    times = dict.fromkeys([-2.0, -1.0, 0.0, 1.0, 8.0, 9.0, 10.0], 1.0)
    kept = Kept((
        series("ALERTS", times, alertstate="firing", node="redis-1", **labels),
        series("ALERTS", {3.0: 1.0}, alertstate="pending", node="redis-2", **labels),
        series("ALERTS", {30.0: 1.0}, alertstate="firing", node="redis-3", **labels),
    ))  # fmt: skip
    found = measured(kept, T0, 10).alerts
    assert [(f.name, f.about, f.severity, f.from_s, f.to_s) for f in found] == [
        ("NoPrimary", "redis-1", "critical", 0, 2),
        ("NoPrimary", "redis-1", "critical", 8, None),
    ]
