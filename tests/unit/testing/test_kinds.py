"""The methods of a lab and the registry of faults say the same; what everybody imports is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import labctl
from labctl.declare import library
from labctl.errors import DeclarationError
from labctl.faults import methods
from labctl.faults.registry import FAULTS
from labctl.testing import kinds
from labctl.testing.lab import RedisLab


def test_every_kind_of_fault_is_a_method() -> None:
    """`python -m labctl.faults.methods > labctl/testing/kinds.py` mends this."""
    assert ast.dump(ast.parse(Path(kinds.__file__).read_text())) == ast.dump(ast.parse(methods.source()))
    assert {name.replace("-", "_") for name in FAULTS} <= vars(kinds.Kinds).keys()


def test_no_kind_of_fault_hides_what_a_lab_can_do() -> None:
    own = {name for name in vars(RedisLab) if not name.startswith("_")}
    assert not own & {name.replace("-", "_") for name in FAULTS}


@pytest.mark.parametrize("module", ["labctl", "labctl.testing.plugin"])
def test_importing_is_cheap(module: str) -> None:
    """pytest imports the plugin at every start, of every project."""
    code = f"import sys, pytest; before = set(sys.modules); import {module}; print(*sorted(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(said) <= {"labctl", "labctl.testing", "labctl.testing.plugin"}


def test_what_the_package_names_is_there() -> None:
    for name in labctl.__all__:
        assert getattr(labctl, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        labctl.nothing  # noqa: B018


def test_changes_to_a_topology() -> None:
    changed = library.changed(library.topology("sentinel"), {"sentinels": 5, "sentinel": {"down-after": "500ms"}})
    assert (changed.sentinels, changed.sentinel.quorum, changed.sentinel.down_after_ms) == (5, 3, 500)
    assert library.changed(library.topology("cluster"), {}) == library.topology("cluster")


def test_wrong_changes_are_all_told() -> None:
    with pytest.raises(DeclarationError) as refused:
        library.changed(
            library.topology("replica"), {"sentinels": 3, "cluster": {"node-timeout": 5}, "engin": "redis-8"}
        )
    told = refused.value.message
    assert "`engin`" in told or "engin" in told
    assert "changes:" in told
    assert len(refused.value.problems) >= 2
