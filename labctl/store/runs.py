"""Run folders: `run.json`, a history for each phase, the servers' logs, `verdicts.json`."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import UsageError
from labctl.model.run import PhaseVerdicts, Run
from labctl.store import codec
from labctl.store.folders import LabFolder, discard_empty_home, home


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run."""

    path: Path

    def save_run(self, run: Run) -> None:
        """Keep what was run; called again as phases end."""
        codec.save(self.path / "run.json", run)

    def load_run(self) -> Run:
        """What was run.

        Raises:
            UsageError: The folder holds no run, or one that was edited by hand.
        """
        try:
            return codec.load(Run, self.path / "run.json")
        except FileNotFoundError:
            raise UsageError(f"{self.path} holds no run.", "labctl runs lists them.") from None
        except ValueError as error:
            raise UsageError(f"{self.path / 'run.json'} cannot be read: {error}", "Was it edited?") from None

    def save_verdicts(self, verdicts: tuple[PhaseVerdicts, ...]) -> None:
        """Keep what the checks said."""
        codec.save(self.path / "verdicts.json", _Verdicts(verdicts))

    def load_verdicts(self) -> tuple[PhaseVerdicts, ...]:
        """What the checks said when the run was made; empty when it ended before them.

        Raises:
            UsageError: The file was edited by hand.
        """
        path = self.path / "verdicts.json"
        try:
            return codec.load(_Verdicts, path).phases
        except FileNotFoundError:
            return ()
        except ValueError as error:
            raise UsageError(
                f"{path} cannot be read: {error}", f"labctl check {self.path.name} judges again."
            ) from None

    def discard_if_empty(self) -> None:
        """Remove the folder of a run that never began."""
        with suppress(OSError):
            self.path.rmdir()
            discard_empty_home()

    def save_anomalies(self, phase: str, check: str, anomalies: Sequence[Mapping[str, object]]) -> None:
        """Keep every anomaly that a check found, as CSV; verdicts.json carries the first hundred of each kind."""
        columns = list(dict.fromkeys(name for row in anomalies for name in row))
        with (self.path / f"{phase}.{check}.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(anomalies)

    def load_positions(self, phase: str, check: str, kind: str) -> list[int] | None:
        """Where in the history the anomalies of one kind are; None when none were kept, or the file was edited."""
        try:
            with (self.path / f"{phase}.{check}.csv").open(newline="") as file:
                return [int(row["position"]) for row in csv.DictReader(file) if row["kind"] == kind]
        except (OSError, KeyError, ValueError):
            return None

    def keep_logs(self, lab: LabFolder) -> None:
        """Copy every server's log and the agent's."""
        logs = self.path / "logs"
        logs.mkdir(exist_ok=True, mode=0o700)
        for log in sorted((lab.path / "nodes").glob("*/server.log")):
            shutil.copyfile(log, logs / f"{log.parent.name}.log")
        if lab.agent_log.exists():
            shutil.copyfile(lab.agent_log, logs / "agent.log")


@dataclass(frozen=True, slots=True)
class _Verdicts:
    phases: tuple[PhaseVerdicts, ...]


def runs() -> Path:
    """The folder of all runs."""
    return home() / "runs"


def new_run(scenario: str) -> RunFolder:
    """A fresh folder, named by time and scenario; numbered when two start in the same second."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{scenario}"
    for number in range(1, 1000):
        path = runs() / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            continue
        return RunFolder(path)
    raise UsageError(f"There are a thousand runs called {stem}.", "Wait a second.")


def run_names() -> list[str]:
    """All runs, oldest first."""
    return sorted(p.name for p in runs().iterdir() if (p / "run.json").exists()) if runs().is_dir() else []


def find_run(name: str | None) -> RunFolder:
    """A run by name, by path, or the newest.

    Raises:
        UsageError: There is none.
    """
    names = run_names()
    if name is None:
        if not names:
            raise UsageError("There is no run yet.", "labctl drill SCENARIO makes one.")
        return RunFolder(runs() / names[-1])
    if name in names:
        return RunFolder(runs() / name)
    if Path(name).is_dir():
        return RunFolder(Path(name))
    raise UsageError(f"There is no run '{name}'.", f"The latest: {', '.join(names[-5:])}." if names else "labctl runs")
