"""Nodes of another lab that find this lab's ports are turned away: they would make one lab out of two."""

from __future__ import annotations

import pytest

from tests.support.client import Client
from tests.support.command import Labctl

pytestmark = pytest.mark.system


def test_a_link_knows_its_own_lab_alone(labctl: Labctl) -> None:
    labctl.run("up", "standalone")
    plan = labctl.plan("standalone")
    port = plan["nodes"][0]["port"]
    for group, source in plan["client_hosts"]:
        assert Client("127.0.0.1", port, source).answers(), group
    assert Client("127.0.0.1", port).answers()
    number = int(plan["client_hosts"][1][1].split(".")[1])
    stranger = f"127.{number % 254 + 1}.0.1"
    assert Client("127.0.0.1", port, stranger).gives_no_answer()
    labctl.run("down")
