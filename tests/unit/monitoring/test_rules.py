"""Every alert fires on what it is about and is quiet on what it is not, by Prometheus' own `promtool test rules`."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.monitoring import rules
from labctl.monitoring.rules import RuleSettings
from labctl.monitoring.shipped import dashboards

SETTINGS = RuleSettings(hold_s=3, window_s=10)
LONG = 30
R1, R2, R3 = (f'lab="x",node="redis-{n}",instance="127.0.0.1:700{n}"' for n in (1, 2, 3))
S1, S2 = (f'lab="x",node="sentinel-{n}",instance="127.0.0.1:2600{n}"' for n in (1, 2))


def steps(*parts: tuple[float | None, int]) -> str:
    """Values that last for so many seconds each; None for a series that is not there."""
    return " ".join(
        f"stale _x{seconds - 1}" if value is None else f"{value!r}+0x{seconds - 1}" for value, seconds in parts
    )


def blip(quiet: float | None, bad: float | None) -> str:
    """As it should be for 10 s, not for 20 s, and as it should be again."""
    return steps((quiet, 10), (bad, 20), (quiet, LONG))


@dataclass(frozen=True)
class Case:
    """One alert.

    Attributes:
        alert: Its name.
        series: Values by series, a second apart.
        who: A label and the values of it for which it fires.
        at: Second at which it fires.
        quiet: Seconds at which it does not.
    """

    alert: str
    series: dict[str, str]
    who: tuple[str, tuple[str, ...]] = ("node", ("redis-1",))
    at: int = 20
    quiet: tuple[int, ...] = (5, 50)


def nodes(*names: str, shard: str = "1", role: str = "primary") -> dict[str, str]:
    return {f'labctl_node_info{{{name},planned_role="{role}",shard="{shard}"}}': steps((1, 60)) for name in names}


def info(node: str, role: str, values: str) -> dict[str, str]:
    return {f'redis_instance_info{{{node},role="{role}"}}': values}


ALWAYS = steps((1, 60))
AT = 'master_name="lab",master_address="127.0.0.1:7001"'
CASES = (
    Case(
        "LabAgentDown",
        {
            'up{job="redis",lab="x"}': blip(1, 0),
            'up{job="redis",lab="taken-down"}': steps((1, 10), (0, 6), (None, 40)),
        },
        ("lab", ("x",)),
        at=28,
        quiet=(17, 45),
    ),
    Case("LabFaultStuck", {'labctl_faults_stuck{lab="x"}': blip(0, 2)}, ("lab", ("x",))),
    Case(
        "LabFaultActive",
        {'labctl_fault_active{lab="x",kind="kill",target="redis-1"}': blip(None, 1)},
        ("kind", ("kill",)),
        at=11,
    ),
    Case(
        "RedisFailover",
        {'labctl_failovers_total{lab="x",shard="1"}': steps((0, 10), (1, 50))},
        ("shard", ("1",)),
        at=12,
    ),
    Case(
        "WorkloadFailing",
        {
            'labctl_operations_total{lab="x",run="r",phase="p",outcome="ok"}': "0+100x60",
            'labctl_operations_total{lab="x",run="r",phase="p",outcome="fail"}': "0+0x9 0+20x19 400+0x30",
        },
        ("run", ("r",)),
    ),
    Case(
        "WorkloadStalled",
        {
            'labctl_operations_under_way{lab="x",run="r",phase="p"}': steps((8, 60)),
            'labctl_operations_total{lab="x",run="r",phase="p",outcome="ok"}': "0+100x9 900+0x19 900+100x30",
            'labctl_operations_under_way{lab="x",run="idle",phase="p"}': steps((0, 60)),
            'labctl_operations_total{lab="x",run="idle",phase="p",outcome="ok"}': steps((7, 60)),
        },
        ("run", ("r",)),
    ),
    Case("RedisDown", {f"redis_up{{{R1}}}": blip(1, 0), f"redis_up{{{R2}}}": ALWAYS}),
    Case("RedisRestarted", {f"redis_uptime_in_seconds{{{R1}}}": "0+1x9 0+1x50"}, at=12),
    Case("RedisLoading", {f"redis_loading_dump_file{{{R1}}}": blip(0, 1)}, at=11),
    Case(
        "RedisNoPrimary",
        {**nodes(R1, R2), **info(R1, "master", blip(1, None)), **info(R2, "slave", ALWAYS)},
        ("shard", ("1",)),
    ),
    Case(
        "RedisTwoPrimaries",
        {**nodes(R1, R2), **info(R1, "master", ALWAYS), **info(R2, "master", blip(None, 1))},
        ("shard", ("1",)),
    ),
    Case("RedisReplicationBroken", {f'redis_master_link_up{{{R1},master_host="h"}}': blip(1, 0)}),
    Case(
        "RedisReplicationLag",
        {
            f"redis_master_repl_offset{{{R1}}}": blip(5e6, 7e6),
            f'redis_slave_repl_offset{{{R2},master_host="127.0.0.1",master_port="7001"}}': steps((5e6, 60)),
            f'redis_slave_repl_offset{{{R3},master_host="127.0.0.1",master_port="7001"}}': blip(5e6, 6.5e6),
        },
        ("node", ("redis-2",)),
    ),
    Case(
        "RedisReplicaSilent",
        {f'redis_connected_slave_lag_seconds{{{R1},slave_port="7002"}}': blip(1, 9)},
        ("slave_port", ("7002",)),
    ),
    Case(
        "RedisReplicaMissing",
        {**nodes(R1, R2, R3), f"redis_connected_slaves{{{R1}}}": blip(2, 1)},
        ("shard", ("1",)),
    ),
    Case("RedisFullResync", {f"redis_replica_resyncs_full{{{R1}}}": steps((2, 10), (3, 50))}, at=12),
    Case(
        "SentinelQuorumLost",
        {
            f'redis_sentinel_master_ckquorum_status{{{S1},master_name="lab",message="NOQUORUM"}}': blip(None, 0),
            f'redis_sentinel_master_ckquorum_status{{{S1},master_name="lab",message="OK"}}': blip(1, None),
        },
        ("node", ("sentinel-1",)),
    ),
    Case(
        "SentinelQuorumAtRisk",
        {
            f"redis_sentinel_master_ok_sentinels{{{S1},{AT}}}": blip(3, 2),
            f"redis_sentinel_master_sentinels{{{S1},{AT}}}": steps((3, 60)),
            f"redis_sentinel_master_ok_sentinels{{{S2},{AT}}}": blip(5, 4),
            f"redis_sentinel_master_sentinels{{{S2},{AT}}}": steps((5, 60)),
        },
        ("node", ("sentinel-1",)),
    ),
    Case(
        "SentinelsDisagree",
        {
            f'redis_sentinel_master_status{{{S1},master_address="127.0.0.1:7001"}}': blip(None, 1),
            f'redis_sentinel_master_status{{{S2},master_address="127.0.0.1:7002"}}': ALWAYS,
        },
        ("lab", ("x",)),
    ),
    Case(
        "SentinelSeesPrimaryDown",
        {f'redis_sentinel_master_status{{{S1},{AT},master_status="sdown"}}': blip(None, 0)},
        ("node", ("sentinel-1",)),
        at=11,
    ),
    Case("SentinelTilt", {f"redis_sentinel_tilt{{{S1}}}": blip(0, 1)}, ("node", ("sentinel-1",)), at=11),
    Case("ClusterStateFail", {f"redis_cluster_state{{{R1}}}": blip(1, 0)}),
    Case("ClusterSlotsUncovered", {f"redis_cluster_slots_ok{{{R1}}}": blip(16384, 10923)}),
    Case(
        "ClusterViewsDisagree",
        {
            f"redis_cluster_current_epoch{{{R1}}}": steps((6, 10), (7, 50)),
            f"redis_cluster_current_epoch{{{R2}}}": steps((6, 30), (7, 30)),
        },
        ("lab", ("x",)),
    ),
    Case(
        "RedisMemoryNearLimit",
        {
            f"redis_memory_used_bytes{{{R1}}}": blip(50, 95),
            f"redis_memory_max_bytes{{{R1}}}": steps((100, 60)),
            f"redis_memory_used_bytes{{{R2}}}": steps((95, 60)),
            f"redis_memory_max_bytes{{{R2}}}": steps((0, 60)),
        },
    ),
    Case("RedisEvicting", {f"redis_evicted_keys_total{{{R1}}}": steps((0, 10), (7, 50))}, at=12),
    Case(
        "RedisRefusesWrites",
        {f"redis_up{{{R1}}}": ALWAYS, f'redis_errors_total{{{R1},err="OOM"}}': steps((None, 12), (4, 50))},
        at=13,
    ),
    Case("RedisSaveFailing", {f"redis_rdb_last_bgsave_status{{{R1}}}": blip(1, 0)}, at=11),
    Case(
        "RedisUnsaved",
        {
            f"redis_rdb_last_save_timestamp_seconds{{{R1}}}": steps((-3595, 40), (35, 20)),
            f"redis_rdb_changes_since_last_save{{{R1}}}": steps((1, 60)),
            f"redis_rdb_last_save_timestamp_seconds{{{R2}}}": steps((-9999, 60)),
            f"redis_rdb_changes_since_last_save{{{R2}}}": steps((0, 60)),
            f"redis_rdb_last_save_timestamp_seconds{{{R3}}}": steps((-9999, 60)),
            f"redis_rdb_changes_since_last_save{{{R3}}}": steps((1, 60)),
            f"redis_aof_enabled{{{R3}}}": ALWAYS,
        },
    ),
    Case(
        "RedisAofFailing",
        {f"redis_aof_last_write_status{{{R1}}}": blip(1, 0), f"redis_aof_last_bgrewrite_status{{{R2}}}": blip(1, 0)},
        ("node", ("redis-1", "redis-2")),
        at=11,
    ),
    Case("RedisAofDelayed", {f"redis_aof_delayed_fsync{{{R1}}}": steps((0, 10), (1, 50))}, at=12),
    Case(
        "RedisCertificateEnding",
        {f"labctl_certificate_not_after_seconds{{{R1}}}": steps((14 * 86400 + 15, 40), (30 * 86400, 20))},
    ),
    Case(
        "RedisClientsNearLimit",
        {f"redis_connected_clients{{{R1}}}": blip(5, 95), f"redis_config_maxclients{{{R1}}}": steps((100, 60))},
    ),
    Case("RedisRejectsConnections", {f"redis_rejected_connections_total{{{R1}}}": steps((0, 10), (3, 50))}, at=12),
    Case("RedisSlowCommands", {f"redis_slowlog_last_id{{{R1}}}": steps((4, 10), (6, 50))}, at=12),
    Case(
        "RedisAccessDenied",
        {f"redis_up{{{R1}}}": ALWAYS, f'redis_errors_total{{{R1},err="NOPERM"}}': steps((2, 12), (4, 50))},
        at=14,
    ),
)


def as_test(case: Case) -> dict[str, Any]:
    """A test as promtool reads it. ALERTS is the series that Prometheus itself makes of alerts."""
    label, values = case.who
    expression = f'count by ({label}) (ALERTS{{alertname="{case.alert}",alertstate="firing"}})'
    fires = [{"labels": f'{{{label}="{value}"}}', "value": 1} for value in values]
    return {
        "interval": "1s",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": f"{at}s", "exp_samples": []} for at in case.quiet]
        + [{"expr": expression, "eval_time": f"{case.at}s", "exp_samples": fires}],
    }


def promtool(*args: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool on PATH: apt-get install prometheus")
    return subprocess.run([program, *args], capture_output=True, text=True, check=False, timeout=60)


def run(tmp_path: Path, settings: RuleSettings, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    (tmp_path / "rules.yml").write_text(rules.render(settings))
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1s", "tests": tests}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(document))
    return promtool("test", "rules", str(tmp_path / "tests.yml"))


def test_every_alert_is_tested() -> None:
    assert [case.alert for case in CASES] == [alert.name for alert in rules.alerts(SETTINGS)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_it_fires_and_clears(case: Case, tmp_path: Path) -> None:
    done = run(tmp_path, SETTINGS, [as_test(case)])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_condition_that_does_not_last_fires_nothing(tmp_path: Path) -> None:
    held = [alert.name for alert in rules.alerts(SETTINGS) if alert.holds]
    short = {f"redis_up{{{R1}}}": steps((1, 10), (0, 3), (1, 20))}
    case = Case("RedisDown", short, ("node", ()), at=12, quiet=(13, 15))
    assert "RedisDown" in held
    assert run(tmp_path, SETTINGS, [as_test(case)]).returncode == 0
    at_once = Case("RedisDown", short, at=11, quiet=(5, 15))
    assert run(tmp_path, RuleSettings(hold_s=0), [as_test(at_once)]).returncode == 0


def test_a_case_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    """promtool's own verdict, on a healthy node that is said to be down."""
    wrong = Case("RedisDown", {f"redis_up{{{R1}}}": ALWAYS})
    assert run(tmp_path, SETTINGS, [as_test(wrong)]).returncode != 0


def test_annotations_are_filled_in(tmp_path: Path) -> None:
    alert = next(a for a in rules.alerts(SETTINGS) if a.name == "RedisDown")
    expected = {
        "exp_labels": {"severity": "critical", "lab": "x", "node": "redis-1", "instance": "127.0.0.1:7001"},
        "exp_annotations": {
            "summary": "redis-1 of x does not answer",
            "description": alert.description.replace("{{ $labels.node }}", "redis-1"),
        },
    }
    test = {
        "interval": "1s",
        "input_series": [{"series": f"redis_up{{{R1}}}", "values": steps((0, 20))}],
        "alert_rule_test": [{"eval_time": "10s", "alertname": "RedisDown", "exp_alerts": [expected]}],
    }
    done = run(tmp_path, SETTINGS, [test])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shipped_file_is_what_the_module_makes() -> None:
    assert (dashboards() / "rules.yml").read_text() == rules.render(RuleSettings()), (
        "python -m labctl.monitoring.rules > dashboards/rules.yml"
    )


def test_the_shipped_file_is_valid() -> None:
    done = promtool("check", "rules", str(dashboards() / "rules.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
