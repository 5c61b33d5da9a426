"""What was heard on links, told with the names of nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from labctl.links.tap import Raw, Recorder, ends
from labctl.model.message import Heard, Message
from labctl.model.plan import ANNOUNCED_HOST, LabPlan

_WORDS = re.compile(r"[0-9a-f]{40}|\d+\.\d+\.\d+\.\d+[: ]\d+")
_SHORT = 8


def told(recorder: Recorder, plan: LabPlan) -> Heard:
    """Everything that a recorder heard, with nodes for addresses and ids; other ids shortened."""
    names = {node.node_id: node.name for node in plan.nodes if node.node_id}
    for node in plan.nodes:
        for host, port in ((ANNOUNCED_HOST, node.port), (node.host, node.listen_port)):
            names[f"{host}:{port}"] = names[f"{host} {port}"] = node.name
    return Heard(tuple(_messages(recorder.messages, names)), recorder.dropped, tuple(sorted(recorder.unreadable)))


def _messages(raw: Iterable[Raw], names: dict[str, str]) -> Iterable[Message]:
    def name(match: re.Match[str]) -> str:
        word = match[0]
        return names.get(word) or (word if "." in word else word[:_SHORT])

    for at_ns, link, answer, topic, text in raw:
        source, target = ends(link, answer=answer)
        yield Message(at_ns, source, target, topic, _WORDS.sub(name, text))
