"""Every fault of the catalogue, on real servers: it bites, it is listed, it goes, and nothing is left of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labctl.faults.registry import FAULTS
from labctl.model.plan import RuntimeName
from tests.support.needs import require_for
from tests.system.faults.trial import CASES, Case, Trial

pytestmark = pytest.mark.system


def test_every_kind_has_a_case() -> None:
    here = {name for name, kind in FAULTS.items() if not kind.runtimes or RuntimeName.PROCESS in kind.runtimes}
    assert {case.kind for case in CASES} == here, "what needs containers has its cases in test_docker_faults.py"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fault_bites_and_goes(case: Case, trial: Callable[[str], Trial]) -> None:
    require_for(case.kind)
    lab = trial(case.lab)
    lab.until_well()
    before = lab.settings()
    injected = lab.perform(case)
    if not FAULTS[case.kind].momentary:
        (listed,) = lab.faults()
        assert (listed["kind"], listed["trouble"]) == (case.kind, "")
        assert listed["evidence"]
        lab.heal()
    assert lab.faults() == [], str(injected)
    lab.until_well()
    assert lab.residue() == []
    assert lab.settings() == before
