"""The catalogue of faults as a page: what `docs/faults.md` has between its markers, made from the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.faults import commands, failovers, machine, network, packets, servers, toxics
from labctl.faults.registry import FAULTS

if TYPE_CHECKING:
    from types import ModuleType

    from labctl.faults.kind import FaultKind

_CHAPTERS: tuple[tuple[str, ModuleType], ...] = (
    ("Servers", servers),
    ("Partitions", network),
    ("Packets", packets),
    ("Links that carry on badly", toxics),
    ("Commands and clients", commands),
    ("Failovers", failovers),
    ("The machine below", machine),
)


def markdown() -> str:
    """A chapter for each file of kinds, a paragraph for each kind."""
    assert sum(len(module.KINDS) for _, module in _CHAPTERS) == len(FAULTS), "a chapter is missing"
    chapters = (f"### {title}\n\n" + "\n".join(map(_entry, module.KINDS)) for title, module in _CHAPTERS)
    return "\n".join(chapters)


def _entry(kind: FaultKind) -> str:
    in_cluster = f" (in a Cluster `{kind.cluster_target}`)" if kind.cluster_target else ""
    lines = [f"**`{kind.name}`**: {kind.summary}.", f"Target: `{kind.default_target}`{in_cluster} unless stated."]
    if kind.momentary:
        lines.append("Over once it is done.")
    if kind.one_way:
        lines.append("One way with `--from`.")
    if kind.needs:
        lines.append(f"Needs {kind.needs}.")
    lines.append(f"Proven: {kind.proof}.")
    params = "".join(f"- `{p.name}` ({_default(p.default)}): {p.meaning}\n" for p in kind.params)
    return " ".join(lines) + "\n" + (f"\n{params}" if params else "")


def _default(value: object) -> str:
    return f"`{value}`" if value != "" else "empty"


if __name__ == "__main__":
    print(markdown())
