"""The lists of docs/yaml.md that come from registries: conditions, actions, numbers of INFO, checkers.

`python -m labctl.timeline.page docs/yaml.md` writes them between their markers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.actions.registry import ACTIONS
from labctl.check.registry import CHECKERS, parameters_of
from labctl.model.view import COUNTERS
from labctl.timeline.conditions import CONDITIONS

if TYPE_CHECKING:
    from labctl.actions.kind import ActionKind

_EXAMPLES = {"node": "NODE", "node?": "NODE", "count": "N", "count?": "N", "info": "COMPARISON"}


def filled(page: str) -> str:
    """The page with its lists as the registries have them."""
    for name, text in (
        ("conditions", _conditions()),
        ("actions", "\n".join(map(_action, ACTIONS.values()))),
        ("checkers", _checkers()),
    ):
        page = _between(page, f"<!-- {name} -->\n", f"<!-- end of {name} -->", f"{text}\n")
    return _between(page, "<!-- counters -->", "<!-- end of counters -->", ", ".join(f"`{c}`" for c in COUNTERS))


def _between(page: str, start: str, end: str, text: str) -> str:
    return re.sub(f"({re.escape(start)}).*?({re.escape(end)})", lambda m: m[1] + text + m[2], page, flags=re.DOTALL)


def _conditions() -> str:
    rows = ["| condition | it is met when |", "|---|---|"]
    for name, kind in CONDITIONS.items():
        argument = _EXAMPLES.get(kind.argument, kind.argument.replace("|", " or "))
        spelled = f"`{name}`" if not argument else f"`{{{name}: {argument}}}`"
        if kind.of_node:
            spelled += f" or `{{{name}: {argument} on NODE}}`"
        if kind.argument.endswith("?"):
            spelled = f"`{name}` or {spelled}"
        only = f" Kind {kind.needs} only." if kind.needs else ""
        rows.append(f"| {spelled} | {kind.meaning}{only} |")
    return "\n".join(rows)


def _action(kind: ActionKind) -> str:
    target = f"Target: `{kind.default_target}` unless stated." if kind.default_target else "It takes no target."
    lines = [f"**`{kind.name}`**: {kind.summary}.", target]
    if kind.kinds:
        lines.append(f"For kind {', '.join(kind.kinds)}.")
    params = "".join(f"- `{p.name}` ({_default(p.default)}): {p.meaning}\n" for p in kind.params)
    if kind.any_param:
        params += "- any other name: a parameter of redis.conf and its value\n"
    return " ".join(lines) + "\n" + (f"\n{params}" if params else "")


def _default(value: object) -> str:
    return f"`{value}`" if value != "" else "to be stated"


def _checkers() -> str:
    rows = ["| checker | what it says | options under `with` |", "|---|---|---|"]
    for name, checker in CHECKERS.items():
        options = ", ".join(f"`{option}`" for option in sorted(parameters_of(name)))
        rows.append(f"| `{name}` | {checker.about} | {options} |")
    return "\n".join(rows)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
