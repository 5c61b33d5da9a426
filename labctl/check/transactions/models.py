"""Which consistency models an anomaly rules out.

Names and hierarchy follow Adya's thesis (1999) for the phenomena, Berenson et al. (1995) and Cerone et al. (2015, 2016)
for snapshot isolation, Daudjee and Salem (2004, 2006) for the session variants, and Kingsbury and Alvaro (Elle, 2020)
for the anomalies of lists. A *strong session* model orders each process's transactions as it ran them; a *strong* or
*strict* one orders all transactions that did not overlap.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


class Model(StrEnum):
    """Consistency models, weakest first."""

    READ_UNCOMMITTED = "read-uncommitted"
    READ_COMMITTED = "read-committed"
    READ_ATOMIC = "read-atomic"
    REPEATABLE_READ = "repeatable-read"
    SNAPSHOT_ISOLATION = "snapshot-isolation"
    SERIALIZABLE = "serializable"
    STRONG_SESSION_SNAPSHOT_ISOLATION = "strong-session-snapshot-isolation"
    STRONG_SNAPSHOT_ISOLATION = "strong-snapshot-isolation"
    STRONG_SESSION_SERIALIZABLE = "strong-session-serializable"
    STRICT_SERIALIZABLE = "strict-serializable"


_WEAKER: Final[dict[Model, tuple[Model, ...]]] = {
    Model.READ_UNCOMMITTED: (),
    Model.READ_COMMITTED: (Model.READ_UNCOMMITTED,),
    Model.READ_ATOMIC: (Model.READ_COMMITTED,),
    Model.REPEATABLE_READ: (Model.READ_ATOMIC,),
    Model.SNAPSHOT_ISOLATION: (Model.READ_ATOMIC,),
    Model.SERIALIZABLE: (Model.REPEATABLE_READ, Model.SNAPSHOT_ISOLATION),
    Model.STRONG_SESSION_SNAPSHOT_ISOLATION: (Model.SNAPSHOT_ISOLATION,),
    Model.STRONG_SNAPSHOT_ISOLATION: (Model.STRONG_SESSION_SNAPSHOT_ISOLATION,),
    Model.STRONG_SESSION_SERIALIZABLE: (Model.SERIALIZABLE, Model.STRONG_SESSION_SNAPSHOT_ISOLATION),
    Model.STRICT_SERIALIZABLE: (Model.STRONG_SESSION_SERIALIZABLE, Model.STRONG_SNAPSHOT_ISOLATION),
}

_SNAPSHOT: Final = (Model.SNAPSHOT_ISOLATION, Model.REPEATABLE_READ)
_RULES_OUT: Final[dict[str, tuple[Model, ...]]] = {
    "unwritten-read": (Model.READ_UNCOMMITTED,),
    "duplicate-elements": (Model.READ_UNCOMMITTED,),
    "G0": (Model.READ_UNCOMMITTED,),
    "incompatible-order": (Model.READ_COMMITTED,),  # short of a dirty read, two orders of one list are impossible
    "reordered-appends": (Model.READ_COMMITTED,),
    "dirty-update": (Model.READ_COMMITTED,),
    "G1a": (Model.READ_COMMITTED,),
    "G1b": (Model.READ_COMMITTED,),
    "G1c": (Model.READ_COMMITTED,),
    "future-read": (Model.READ_COMMITTED,),  # a cycle of one transaction
    "internal": (Model.READ_ATOMIC,),
    "lost-update": _SNAPSHOT,
    "G-single": _SNAPSHOT,
    "G-nonadjacent": _SNAPSHOT,
    "G2-item": (Model.REPEATABLE_READ,),
    "G0-process": (Model.STRONG_SESSION_SNAPSHOT_ISOLATION,),
    "G1c-process": (Model.STRONG_SESSION_SNAPSHOT_ISOLATION,),
    "G-single-process": (Model.STRONG_SESSION_SNAPSHOT_ISOLATION,),
    "G-nonadjacent-process": (Model.STRONG_SESSION_SNAPSHOT_ISOLATION,),
    "G2-item-process": (Model.STRONG_SESSION_SERIALIZABLE,),
    "G0-realtime": (Model.STRONG_SNAPSHOT_ISOLATION,),
    "G1c-realtime": (Model.STRONG_SNAPSHOT_ISOLATION,),
    "G-single-realtime": (Model.STRONG_SNAPSHOT_ISOLATION,),
    "G-nonadjacent-realtime": (Model.STRONG_SNAPSHOT_ISOLATION,),
    "G2-item-realtime": (Model.STRICT_SERIALIZABLE,),
}

ANOMALIES: Final = tuple(_RULES_OUT)
"""Every anomaly that the checker can name, gravest first."""

SAYS: Final[dict[str, str]] = {
    "unwritten-read": "a read of something that was never written",
    "duplicate-elements": "an element that was appended once and read twice",
    "incompatible-order": "reads that disagree about the order of appends",
    "reordered-appends": "appends of one transaction in another order than its own",
    "dirty-update": "a committed write upon one that was rolled back",
    "future-read": "a read of the transaction's own later write",
    "internal": "a transaction that contradicts its own reads or writes",
    "lost-update": "two transactions that each updated the same version, one of them in vain",
    "G0": "write cycle",
    "G1a": "aborted read",
    "G1b": "intermediate read",
    "G1c": "circular information flow",
    "G-single": "read skew",
    "G-nonadjacent": "long read skew, which snapshot isolation forbids as well",
    "G2-item": "anti-dependency cycle, of which write skew is one",
}
"""The anomaly in a few words; those with `-process` and `-realtime` are the same with session or real-time order."""


def weaker(model: Model) -> frozenset[Model]:
    """The model and every one that it implies."""
    found = {model}
    for below in _WEAKER[model]:
        found |= weaker(below)
    return frozenset(found)


def ruled_out(anomalies: Iterable[str]) -> tuple[Model, ...]:
    """Every model that at least one of these anomalies rules out, weakest first."""
    direct = {model for anomaly in anomalies for model in _RULES_OUT[anomaly]}
    return tuple(model for model in Model if direct & weaker(model))


def weakest(models: Iterable[Model]) -> tuple[Model, ...]:
    """Those of these models that imply none of the others: the shortest way to say which are ruled out."""
    given = set(models)
    return tuple(model for model in Model if model in given and not (given - {model}) & weaker(model))


def says(anomaly: str) -> str:
    """The anomaly in a few words."""
    for suffix, order in (("-process", "the order of a process"), ("-realtime", "the order of real time")):
        if anomaly.endswith(suffix):
            return f"{SAYS[anomaly.removesuffix(suffix)]}, given {order}"
    return SAYS[anomaly]
