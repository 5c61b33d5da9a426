"""Every kind of workload by name. A new kind is one file under `kinds/` and one line here."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from labctl.errors import UsageError
from labctl.workload.habits import Habits
from labctl.workload.kinds.append import Append
from labctl.workload.kinds.bank import Bank
from labctl.workload.kinds.cache import Cache
from labctl.workload.kinds.cas import Cas
from labctl.workload.kinds.counter import Counter
from labctl.workload.kinds.expiry import Expiry
from labctl.workload.kinds.grow_set import GrowSet
from labctl.workload.kinds.leaderboard import Leaderboard
from labctl.workload.kinds.lock import Lock
from labctl.workload.kinds.pubsub import PubSub, ShardedPubSub
from labctl.workload.kinds.queue import Queue
from labctl.workload.kinds.rate_limit import RateLimit
from labctl.workload.kinds.redlock import Redlock
from labctl.workload.kinds.register import Register
from labctl.workload.kinds.session import Session
from labctl.workload.kinds.stream import Stream
from labctl.workload.kinds.unique_ids import UniqueIds
from labctl.workload.kinds.unique_writes import UniqueWrites
from labctl.workload.options import Options

if TYPE_CHECKING:
    from labctl.model.scenario import Workload
    from labctl.model.topology import Kind
    from labctl.workload.kind import WorkloadKind

KINDS: Final[dict[str, type[WorkloadKind]]] = {
    kind.name: kind
    for kind in (
        Register,
        Cas,
        GrowSet,
        UniqueWrites,
        Append,
        Counter,
        UniqueIds,
        Bank,
        Queue,
        Stream,
        PubSub,
        ShardedPubSub,
        Lock,
        Redlock,
        RateLimit,
        Cache,
        Leaderboard,
        Session,
        Expiry,
    )
}


def make(workload: Workload, prefix: str) -> tuple[WorkloadKind, Habits]:
    """A workload's kind and its habits.

    Args:
        workload: As declared.
        prefix: Begins every key.

    Raises:
        UsageError: The kind is unknown or an option is wrong; every problem at once.
    """
    options = Options(f"workload {workload.kind}", workload.options)
    kind = _class_of(workload.kind)(prefix, options, workload.clients)
    habits = Habits.read(options)
    options.finish()
    return kind, habits


def problems(workload: Workload, lab: Kind) -> list[str]:
    """What is wrong with a declared workload on a lab of this shape, as sentences; empty when nothing is."""
    try:
        kind, _ = make(workload, "check")
    except UsageError as error:
        return error.message.splitlines()
    wrong = [] if lab in kind.runs_on else [f"workload {kind.name} does not run on a {lab} lab: {kind.refusal}"]
    if workload.clients < 1:
        wrong.append(f"workload {kind.name}: clients is {workload.clients}, and has to be 1 or more")
    if workload.rate is not None and workload.rate <= 0:
        wrong.append(f"workload {kind.name}: rate is {workload.rate:g}, and has to be above 0")
    return wrong


def _class_of(name: str) -> type[WorkloadKind]:
    if name not in KINDS:
        near = get_close_matches(name, KINDS, n=2)
        meant = f" Do you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"there is no workload kind {name!r}.{meant}", f"Known kinds: {', '.join(sorted(KINDS))}.")
    return KINDS[name]
