"""Each anomaly in a few lines: its name, what it rules out, how it is told."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from labctl.check.transactions import Model, check
from labctl.model.history import FAULT_START, Event, History, Op, OpOutcome
from labctl.model.verdict import Finding, Outcome
from tests.unit.check_transactions.notation import one_after_another, overlapping, txn


def names(finding: Finding) -> list[str]:
    return [str(anomaly["anomaly"]) for anomaly in finding.anomalies]


LISTS = {
    "G0": overlapping("ax1 ay1", "ax2 ay2", "rx[1,2]", "ry[2,1]"),
    "G1a": overlapping("ax1", "rx[1]", failed=(0,)),
    "G1b": overlapping("ax1 ax2", "rx[1]", "rx[1,2]"),
    "G1c": overlapping("ax1 ry[1]", "rx[1] ay1"),
    "G-single": overlapping("ax1 ay1", "rx[1] ry[]", "ry[1]"),
    "G-nonadjacent": overlapping("ax1", "ay1", "rx[1] ry[]", "ry[1] rx[]"),
    "G2-item": overlapping("ax1 ry[]", "ay1 rx[]"),
    "lost-update": overlapping("rx[] ax1", "rx[] ax2"),
    "internal": overlapping("ax1 rx[]"),
    "future-read": overlapping("rx[1] ax1"),
    "unwritten-read": overlapping("ax1", "rx[1,7]"),
    "duplicate-elements": overlapping("ax1", "rx[1,1]"),
    "incompatible-order": overlapping("ax1", "ax2", "rx[1]", "rx[2]"),
    "reordered-appends": overlapping("ax1 ax2", "rx[2,1]"),
    "dirty-update": overlapping("ax1", "ax2", "rx[1,2]", failed=(0,)),
    "G0-process": one_after_another("ax1", "ax2", "rx[2,1]", processes=(0, 0, 1)),
    "G0-realtime": one_after_another("ax1", "ax2", "rx[2,1]"),
    "G1c-process": History.of(
        [
            txn("rx[1]", process=0, span=(0, 5)),
            txn("ay1", process=0, span=(10, 15)),
            txn("ry[1] ax1", process=1, span=(0, 20)),
        ]
    ),
    "G1c-realtime": one_after_another("rx[1]", "ax1"),
    "G-single-process": one_after_another("ax1", "rx[]", processes=(0, 0)),
    "G-single-realtime": one_after_another("ax1", "rx[]"),
    "G2-item-realtime": History.of(
        [
            txn("rx[] ay1", process=0, span=(0, 100)),
            txn("ax1", process=1, span=(1, 10)),
            txn("ry[] rz[]", process=2, span=(20, 30)),
            txn("rz[] rx[1]", process=3, span=(40, 50)),
        ]
    ),
}

REGISTERS = {
    "G1a": overlapping("wx1", "rx1", failed=(0,)),
    "G1b": overlapping("wx1 wx2", "rx1"),
    "G1c": overlapping("wx1 ry1", "rx1 wy1"),
    "G-single": overlapping("wx1 wy1", "rx1 ry_"),
    "G2-item": overlapping("wx1 ry_", "wy1 rx_"),
    "lost-update": overlapping("rx_ wx1", "rx_ wx2"),
    "internal": overlapping("wx1 rx_"),
    "future-read": overlapping("rx1 wx1"),
    "unwritten-read": overlapping("wx1", "rx7"),
    "dirty-update": overlapping("wx1", "rx1 wx2", failed=(0,)),
    "G-single-process": one_after_another("wx1", "rx_", processes=(0, 0)),
    "G-single-realtime": one_after_another("wx1", "wx2", "rx1"),
    "G1c-realtime": one_after_another("rx1", "wx1"),
}


@pytest.mark.parametrize("history", [*LISTS.values(), *REGISTERS.values()])
def test_keys_may_have_braces_as_those_of_a_cluster_do(history: History) -> None:
    """Explanations quote keys and values; nothing in them is a placeholder."""

    def renamed(op: Op) -> Op:
        assert isinstance(op.value, list)
        return replace(op, value=[[function, f"{{{key}}}:{{0}}{{", value] for function, key, value in op.value])

    before, finding = check(history), check(History.of(map(renamed, history)))
    assert names(finding) == names(before)
    assert finding.explanation.replace("}:{0}{", "").replace("{", "") == before.explanation


@pytest.mark.parametrize(
    ("name", "history"),
    [*LISTS.items(), *REGISTERS.items()],
    ids=[f"lists-{name}" for name in LISTS] + [f"registers-{name}" for name in REGISTERS],
)
def test_each_anomaly_is_named(name: str, history: History) -> None:
    finding = check(history)
    assert finding.outcome is Outcome.INVALID
    assert name in names(finding)
    assert finding.stats[f"anomaly_{name}"]
    assert finding.witness
    assert finding.witness == tuple(sorted(set(finding.witness)))


def test_a_process_knows_the_order_of_what_it_wrote() -> None:
    """Without time: the values of a register follow each other as the process that wrote them says."""
    history = History.of(
        [
            txn("wx1", process=0, span=(0, 50)),
            txn("wx2", process=0, span=(51, 100)),
            txn("rx2", process=1, span=(0, 49)),
            txn("rx1", process=1, span=(50, 100)),
        ]
    )
    finding = check(history, model=Model.STRONG_SESSION_SERIALIZABLE)
    assert finding.outcome is Outcome.INVALID
    assert "G-single-process" in names(finding)
    assert "later in the same process, met" in finding.explanation


@pytest.mark.parametrize(("process", "name"), [(0, "G-single-process"), (2, "G-single-realtime")])
def test_a_write_that_nobody_read_is_older_than_what_was_read_after_it(process: int, name: str) -> None:
    """T0 wrote 1 before 2 was read, so T1, which wrote 2, comes after it; but T1 did not see T0's z."""
    history = History.of(
        [
            txn("wx1 wz1", process=0, span=(0, 10)),
            txn("rz_ wx2", process=1, span=(0, 100)),
            txn("rx2", process=process, span=(20, 30)),
        ]
    )
    finding = check(history)
    assert names(finding) == [name]
    assert finding.witness == (0, 1)
    assert "T2's 2 replaced T1's 1 in x" in finding.explanation


@pytest.mark.parametrize("name", ["G0", "G1c", "G-single", "G-nonadjacent", "G2-item", "G-single-realtime"])
def test_a_plain_cycle_is_called_by_one_name_alone(name: str) -> None:
    cycles = [anomaly for anomaly in check(LISTS[name]).anomalies if "edges" in anomaly]
    assert [anomaly["anomaly"] for anomaly in cycles] == [name]


@pytest.mark.parametrize(
    "history",
    [
        overlapping("ax1 rz[] aw1", "ay1 rw[] az1", "rx[1] ry[]", "ry[1] rx[]"),  # beside a write skew
        overlapping("ax1", "ay1", "rx[1] ry[] av1", "ry[1] rx[] rv[]"),  # beside rw, wr, rw, in a row where it closes
        overlapping("ax1 aw1", "ay1", "rx[1] ry[] ru[]", "ry[1] rx[]", "au1 rw[]"),  # the same, by appends never read
    ],
)
def test_a_shorter_but_milder_cycle_does_not_hide_a_graver_one(history: History) -> None:
    assert names(check(history)) == ["G-nonadjacent"]


def test_a_milder_cycle_without_time_does_not_hide_a_graver_one_with_it() -> None:
    """Write skew of two transactions, and a reader later who sees neither: each rules out what the other does not."""
    ops = [
        txn("ax1 ry[]", process=0, span=(0, 10)),
        txn("ay1 rx[]", process=1, span=(0, 10)),
        txn("rx[]", process=2, span=(20, 30)),
    ]
    finding = check(History.of(ops))
    assert names(finding) == ["G2-item", "G-single-realtime"]
    assert check(History.of(ops), model=Model.STRONG_SNAPSHOT_ISOLATION).outcome is Outcome.INVALID
    assert check(History.of(ops), model=Model.REPEATABLE_READ).outcome is Outcome.INVALID


@pytest.mark.parametrize(
    "history",
    [
        overlapping("ax1 ax2 rx[2,1]"),
        overlapping("ax5", "rx[] ax1 rx[5]"),
        overlapping("ax5", "rx[] ax1 rx[1,5]"),
        overlapping("ax1", "rx[1] rx[]"),
        overlapping("ax1", "ax2", "rx[1] rx[2]"),
        overlapping("ax1", "ax2", "rx[1,2]", "rx[2] ax3 rx[1,3]"),
        overlapping("wx1 rx2", "wx2"),
        overlapping("wx1", "wx2", "rx1 rx2"),
    ],
)
def test_ways_to_contradict_oneself(history: History) -> None:
    assert "internal" in names(check(history))


@pytest.mark.parametrize(
    "history",
    [
        overlapping("rx[] ax1 rx[1] ax2 ax3 rx[1,2,3] rx[1,2,3]"),
        overlapping("ax1", "ax2 rx[1,2] ax3 rx[1,2,3]"),
        overlapping("wx1 rx1 wx2 rx2 rx2"),
        overlapping("wx1", "rx1 wx2 rx2", "ry_ wy1 ry1"),
    ],
)
def test_ways_to_agree_with_oneself(history: History) -> None:
    assert check(history).outcome is Outcome.VALID


@pytest.mark.parametrize(
    ("name", "kept", "lost"),
    [
        ("G2-item", Model.SNAPSHOT_ISOLATION, Model.SERIALIZABLE),
        ("lost-update", Model.READ_ATOMIC, Model.SNAPSHOT_ISOLATION),
        ("G-nonadjacent", Model.READ_ATOMIC, Model.SNAPSHOT_ISOLATION),
        ("G-single-process", Model.SERIALIZABLE, Model.STRONG_SESSION_SNAPSHOT_ISOLATION),
        ("G-single-realtime", Model.STRONG_SESSION_SERIALIZABLE, Model.STRICT_SERIALIZABLE),
        ("G1c", Model.READ_UNCOMMITTED, Model.READ_COMMITTED),
        ("internal", Model.READ_COMMITTED, Model.READ_ATOMIC),
    ],
)
def test_the_outcome_is_about_the_model_asked_for(name: str, kept: Model, lost: Model) -> None:
    weaker, stronger = check(LISTS[name], model=kept), check(LISTS[name], model=lost)
    assert weaker.outcome is Outcome.VALID
    assert name in names(weaker), "what was found is reported all the same"
    assert stronger.outcome is Outcome.INVALID
    assert str(lost) in stronger.summary


def test_the_smallest_cycle_is_the_witness() -> None:
    """A long way round and a short one between the same transactions."""
    finding = check(overlapping("ax1 ay1", "rx[1] az1", "rz[1] aw1", "rw[1] ry[]", "rz[1] ry[]", "ry[1]"))
    assert len(finding.witness) == 3


def test_a_cycle_is_told_in_plain_words() -> None:
    finding = check(overlapping("ak5 am1", "ak7 am2", "rk[5,7] rm[2,1]"))
    assert "T1 before T2, because T2 appended 7 to k after T1 had appended 5" in finding.explanation
    assert "T2 before T1, because T1 appended 1 to m after T2 had appended 2" in finding.explanation
    assert "T1 is operation 0 (process 0): append k 5, append m 1." in finding.explanation


def test_every_kind_of_edge_is_told() -> None:
    said = " ".join(check(history).explanation for history in (*LISTS.values(), *REGISTERS.values()))
    for words in (
        "where T1 had appended 1",  # wr
        "without the 1 that T1 appended",  # rw
        "process 0 ran T1 and then T2",
        "before T2 was invoked",
        "which T2's 1 replaced: nobody wrote before the first value was there",  # rw from the initial version
        "met 1, and operation 1 (process 1), invoked after that completed, met 2",  # rw from real time
        "which T1 had written",
    ):
        assert words in said


def test_an_append_that_no_read_shows_is_later_than_all_that_are_shown() -> None:
    """An acknowledged write that a failover lost: it is nowhere, although it was complete before the reads."""
    finding = check(one_after_another("ax1", "ax2", "rx[2]"))
    assert "G-single-realtime" in names(finding) or "G0-realtime" in names(finding)
    assert finding.stats["appends_never_read"] == 1


def test_the_fault_around_the_witness_is_told() -> None:
    history = one_after_another("ax1", "rx[]").with_events([Event(FAULT_START, 7, "redis-1", {"fault": "kill"})])
    assert "fault kill began on redis-1" in check(history).explanation


def test_a_cycle_has_a_picture_that_is_well_formed_and_escaped() -> None:
    hostile = '<script>&"\x00'
    history = History.of(
        [
            txn("", process=0, span=(0, 9)),
            txn("", process=1, span=(1, 9)),
        ]
    )
    history.values[1].extend([["append", hostile, 1], ["r", "y", []]])  # type: ignore[attr-defined]
    history.values[2].extend([["append", "y", 1], ["r", hostile, []]])  # type: ignore[attr-defined]
    (anomaly,) = check(history).anomalies
    picture = ET.fromstring(str(anomaly["picture"]))
    text = "".join(picture.itertext())
    assert "<script>&" in text
    assert "G2-item" in text
    assert not picture.findall(".//{*}script")
    assert len(picture.findall(".//{*}rect")) == 2
    assert len([path for path in picture.findall(".//{*}path") if path.get("class") == "edge"]) == 2


def test_edges_say_key_and_reason() -> None:
    (anomaly,) = check(LISTS["G2-item"]).anomalies
    assert anomaly["edges"] == [
        {
            "from": "T1",
            "to": "T2",
            "kind": "rw",
            "key": "y",
            "because": "T1 read y as [], without the 1 that T2 appended",
        },
        {
            "from": "T2",
            "to": "T1",
            "kind": "rw",
            "key": "x",
            "because": "T2 read x as [], without the 1 that T1 appended",
        },
    ]
    assert anomaly["rules_out"] == ["repeatable-read"]
    assert anomaly["operations"] == [0, 1]


def test_a_valid_history_says_what_it_was_judged_on() -> None:
    finding = check(one_after_another("ax1", "rx[1]", "ax2 ay1", "rx[1,2] ry[1]"))
    assert finding.outcome is Outcome.VALID
    expected = {"transactions": 4, "ok": 4, "keys": 2, "appends": 3, "list_reads": 3, "list_versions_ordered": 3}
    assert {name: finding.stats[name] for name in expected} == expected
    assert (finding.stats["edges_ww"], finding.stats["edges_wr"], finding.stats["edges_rw"]) == (1, 3, 1)
    assert finding.stats["edges_process"] == 0


def test_a_read_that_contradicts_the_order_of_versions_still_shows_where_it_read_from() -> None:
    finding = check(overlapping("ax1 ry[1]", "ax2", "ax3", "rx[2,3]", "rx[1] ay1"))
    assert names(finding) == ["incompatible-order", "G1c"]


def test_an_earlier_append_that_is_missing_behind_a_later_one_is_out_of_order() -> None:
    assert "reordered-appends" in names(check(overlapping("ax1 ax2", "rx[2]")))


def test_two_reads_of_nothing_known_are_no_lost_update() -> None:
    assert names(check(overlapping("rx7 wx1", "rx8 wx2"))) == ["unwritten-read", "unwritten-read"]


def test_long_lists_and_long_transactions_are_shortened() -> None:
    elements = ",".join(str(i) for i in range(1, 101))
    appends = " ".join(f"ax{i}" for i in range(1, 101))
    finding = check(overlapping(appends + " ry[1]", f"rx[{elements}] ay1"))
    assert finding.outcome is Outcome.INVALID
    assert "read x [… 89 90" in finding.explanation
    assert "append x 12, and 89 more" in finding.explanation
    assert len(finding.explanation) < 2000


def test_a_history_nobody_read_from_shows_itself() -> None:
    finding = check(one_after_another("ax1", "ax2"))
    assert finding.outcome is Outcome.VALID
    assert finding.stats["list_versions_ordered"] == 0
    assert "0 list reads" in finding.explanation


def test_an_unknown_transaction_counts_only_once_it_was_observed() -> None:
    """The second append of an observed transaction is committed too, the one of an unobserved is not."""
    half_seen = overlapping("ax1 ay1", "rx[1]", "rx[1] ry[]", "ry[1]", unknown=(0,))
    assert "G-single" in names(check(half_seen))
    unseen = overlapping("ax1 ay1", "rx[] ry[]", unknown=(0,))
    assert check(unseen).outcome is Outcome.VALID
    assert check(unseen).stats["observed_unknown"] == 0


def test_an_unknown_transaction_may_take_effect_long_after_its_client_gave_up() -> None:
    ops = [
        txn("ax1", process=0, span=(0, 5), outcome=OpOutcome.UNKNOWN),
        txn("rx[]", process=1, span=(10, 15)),
        txn("rx[]", process=0, span=(20, 25)),
        txn("rx[1]", process=1, span=(30, 35)),
    ]
    assert check(History.of(ops)).outcome is Outcome.VALID
