"""The command that makes a run again."""

from __future__ import annotations

import re
import shlex

from labctl.model.run import Run

_WITH_VALUE = frozenset({"--seed", "-o", "--output", "--junit", "--cell", "--repeat"})
_ATTACHED = re.compile(r"--(seed|output|junit|cell|repeat)=|-o.")
_ALONE = frozenset({"--keep", "--open"})
_ENGINE = re.compile(r"(redis|valkey) (\d+)\.")


def replay(run: Run) -> str:
    """The command line, with the cell, the seed and the engine of the run stated."""
    words = list(run.command) or ["drill", run.scenario.name]
    words += ["--seed", str(run.seed)]
    if run.scenario.cell:
        words += ["--cell", run.scenario.cell]
    varied = any(axis.path == "engine" for axis in run.scenario.matrix)
    engine = None if varied else _ENGINE.match(run.engine)
    if engine and run.runtime == "process" and not any(word.startswith("--engine") for word in words):
        words += ["--engine", f"{engine[1]}-{engine[2]}"]
    return shlex.join(["labctl", *words])


def repeatable(arguments: list[str]) -> tuple[str, ...]:
    """What of a command line says what to do; what one run of several has of its own, and output, are left out."""
    if "drill" not in arguments:
        return ()
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word in _WITH_VALUE:
            skip = True
        elif word not in _ALONE and not _ATTACHED.match(word):
            kept.append(word)
    return tuple(kept)
