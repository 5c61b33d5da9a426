"""What the plugin's fixtures hand out, and all labs of a test run with what a failure shows of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from labctl.errors import LabError
from labctl.model.topology import Topology
from labctl.testing import evidence
from labctl.testing.lab import RedisLab, redis_lab


@dataclass(slots=True)
class _Up:
    """A lab that is up.

    Attributes:
        lab: The lab.
        fixture: Name of the fixture that made it.
        began: Where it stood when the test that runs now began, or when it came up in that test.
        mine: It came up since that test began.
    """

    lab: RedisLab
    fixture: str
    began: evidence.Mark
    mine: bool


@dataclass(slots=True)
class Labs:
    """Every lab of this process that is up, with the fixture that made it and where it stood when the test began."""

    up: dict[str, _Up] = field(default_factory=dict)

    def add(self, lab: RedisLab, fixture: str) -> None:
        """A lab that was just brought up, in the test or for it."""
        self.up[lab.name] = _Up(lab, fixture, evidence.mark(lab), mine=True)

    def remove(self, lab: RedisLab) -> None:
        """It goes down."""
        self.up.pop(lab.name, None)

    def test_begins(self) -> None:
        """What the labs do from now on belongs to the next test."""
        for each in self.up.values():
            each.began, each.mine = evidence.mark(each.lab), False

    def heal(self) -> LabError | None:
        """End every fault; the first error, if some cannot be ended."""
        errors = []
        for each in list(self.up.values()):
            try:
                each.lab.heal()
            except LabError as error:
                errors.append(error)
        return errors[0] if errors else None

    def sections(self, fixtures: Collection[str]) -> Iterator[tuple[str, str]]:
        """Title and text for each lab that a test with these fixtures used. Nothing that goes wrong here hides the failure."""
        for each in list(self.up.values()):
            if each.mine or each.fixture in fixtures:
                title = f"lab {each.lab.name}"
                try:
                    yield title, evidence.text(each.lab, each.began)
                except (LabError, OSError) as error:
                    yield title, f"It cannot be looked at any more: {error}"


class LabFactory:
    """Brings up labs: `redis_lab("sentinel")`. All of them go down with the fixture's scope, whatever happened."""

    def __init__(
        self,
        labs: Labs,
        *,
        engine: str | None,
        runtime: str,
        keep: bool,
        mark: tuple[tuple[Any, ...], Mapping[str, Any]],
        fixture: str,
    ) -> None:
        self._labs = labs
        self._defaults: dict[str, Any] = {"engine": engine, "runtime": runtime}
        self._keep = keep
        self._mark = mark
        self._fixture = fixture
        self._mine: list[RedisLab] = []

    def __call__(self, topology: str | Topology | None = None, **options: Any) -> RedisLab:
        """Bring up a lab; return when it was observed healthy.

        Args:
            topology: As `labctl.redis_lab` takes it; the mark's, or `sentinel`, when left out.
            **options: As `labctl.redis_lab` takes them: `changes`, `engine`, `runtime`, `name`, `disk_faults`. What is not
                stated here is the mark's, if that is for the same topology; then of the command line, then of the ini file.

        Raises:
            LabError: As `labctl.redis_lab`.
        """
        args, marked = self._mark
        if topology is None:
            chosen, options = (*args, "sentinel")[0], {**marked, **options}
        else:
            chosen = topology
            options = {**{name: marked[name] for name in ("engine", "runtime") if name in marked}, **options}
        lab = redis_lab(chosen, **{**self._defaults, **options})
        self._mine.append(lab)
        self._labs.add(lab, self._fixture)
        if self._keep:
            lab.keep()
        return lab

    @property
    def kept(self) -> list[str]:
        """Names of labs that are left up, by --labctl-keep or `RedisLab.keep`."""
        return [lab.name for lab in self._mine if lab.kept]

    def close(self) -> None:
        """End every lab; one that fails does not keep the others up. Raises the first error."""
        errors = []
        for lab in reversed(self._mine):
            self._labs.remove(lab)
            try:
                lab.close()
            except LabError as error:
                errors.append(error)
        if errors:
            raise errors[0]
