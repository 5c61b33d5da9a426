"""Kinds of maintenance: what they take, where they make sense, and which upgrades data survives."""

import pytest

from labctl.actions.registry import ACTIONS, complete
from labctl.actions.upgrade import refusal
from labctl.errors import UsageError
from labctl.faults.registry import FAULTS
from labctl.model.engine import Engine, Flavour
from labctl.model.scenario import Maintenance
from tests.support.views import CLUSTER, REPLICA, SENTINEL, STANDALONE


def test_no_action_is_called_as_a_fault_is() -> None:
    assert not set(ACTIONS) & set(FAULTS)


def test_target_and_parameters_are_filled_in() -> None:
    roll = complete(Maintenance("rolling-restart", params={"by": "term"}), SENTINEL)
    assert roll == Maintenance("rolling-restart", "all", {"by": "term"})


def test_config_takes_any_parameter_of_redis() -> None:
    params = complete(Maintenance("config", "primary", {"maxmemory": "1mb"}), STANDALONE).params
    assert params == {"rewrite": "no", "maxmemory": "1mb"}


@pytest.mark.parametrize(
    ("wanted", "topology", "words"),
    [
        (Maintenance("restart"), STANDALONE, "There is no action 'restart'"),
        (Maintenance("restart-node", params={"how": "kill"}), STANDALONE, "has no parameter 'how'"),
        (Maintenance("restart-node", params={"by": "magic"}), STANDALONE, "none of shutdown, term, kill"),
        (Maintenance("promote"), CLUSTER, "not for a topology of kind cluster"),
        (Maintenance("reshard"), SENTINEL, "not for a topology of kind sentinel"),
        (Maintenance("reshard", params={"slots": 0}), CLUSTER, "not a whole number from 1"),
        (Maintenance("command"), STANDALONE, "needs what to send"),
        (Maintenance("command", params={"send": "SET a 'b"}), STANDALONE, "cannot be read: No closing quotation"),
        (Maintenance("config"), STANDALONE, "needs what to set"),
        (Maintenance("rolling-upgrade"), REPLICA, "needs an engine"),
        (Maintenance("restore"), SENTINEL, "the others would take over"),
        (Maintenance("cert-rotate"), REPLICA, "has no TLS"),
        (Maintenance("rotate-password"), REPLICA, "has no ACL users"),
        (Maintenance("add-node"), STANDALONE, "not for a topology of kind standalone"),
    ],
)
def test_refusals(wanted: Maintenance, topology: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        complete(wanted, topology)  # type: ignore[arg-type]


def engine(flavour: str, major: int, minor: int = 0) -> Engine:
    return Engine("/x", Flavour(flavour), (major, minor, 0), (), "PATH")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("redis 7.0.15", engine("redis", 8, 2), None),
        ("redis 7.0.15", engine("valkey", 9, 1), None),
        ("redis 7.2.4", engine("valkey", 8), None),
        ("valkey 8.1.0", engine("valkey", 9), None),
        ("redis 7.4.0", engine("valkey", 9, 1), "cannot read the dumps of redis 7.4.0"),
        ("redis 8.2.3", engine("valkey", 9, 1), "cannot read the dumps of redis 8.2.3"),
        ("valkey 9.1.2", engine("redis", 8, 2), "cannot read the dumps of valkey 9.1.2"),
        ("redis 8.2.3", engine("redis", 7), "older than redis 8.2.3"),
    ],
)
def test_which_data_survives_an_upgrade(before: str, after: Engine, words: str | None) -> None:
    found = refusal(before, after)
    assert found is None if words is None else words in (found or "")
