"""Acknowledged writes: is everything that was acknowledged still there at the end?

Model. Writers make operations `write` (a register takes the value) or `add` (a set or list gains the value); per key no
value is written twice. When all is healed and the writers have stopped, operations `final-read` fetch what is left: a
list is the whole content of a set or list, anything else the value of a register (None when the key is absent). Nobody
deletes. The last acknowledged final read of a key counts, and only writes that had ended before it began are judged.

- *lost*: acknowledged and absent. In a register a write is also lost when the value present was completely written,
  acknowledged, before this write began: then this one was newer in every possible order.
- *resurrected*: present although it was refused as certainly not applied, or although a lost write had overwritten it.
- *duplicated*: more than once in a list.
- *phantom*: present, and nobody wrote it.

Sound, for unknown writes may be present or absent without complaint, an unknown write that is a register's last value
may have come after any other, and order is only taken from one operation ending before another begins. It cannot see a
write that was lost and written again by a client's retry, nor a register's write that a later one overwrote anyway.
Acknowledged writes of keys that were never read back leave the finding UNKNOWN unless something is lost elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from labctl.check.common import (
    SHOWN,
    Anomaly,
    Deadline,
    Stats,
    milliseconds,
    never,
    pair_ids,
    refuse_duplicates,
    unknown,
)
from labctl.check.prose import moment, surroundings, tell
from labctl.model.history import FINAL_READ, NEVER, NIL, History, Int64, Mask
from labctl.model.verdict import Finding, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "acked-writes"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the final reads found.

    Attributes:
        read: Per key code: position of the read that counts, -1 where none.
        is_set: Per key code: the read returned a list.
        key, value: One row per element or value found, None left out.
    """

    read: Int64
    is_set: Mask
    key: Int64
    value: Int64


def check(
    history: History,
    *,
    deadline: Deadline = never,
    functions: Sequence[str] = ("write", "add"),
    listed: int = SHOWN,
) -> Finding:
    """Compare acknowledged writes with the final reads; see the module for the model.

    Args:
        history: The run, with `final-read` operations at its end.
        deadline: Not consulted: the work is a few array operations.
        functions: Which functions write.
        listed: Anomalies of one kind that the finding lists; the stats count all.
    """
    del deadline
    writes = history.where(*functions)
    finals = history.where(FINAL_READ) & history.ok
    if not finals.any() or not (writes & history.ok).any():
        what = "acknowledged write" if finals.any() else "acknowledged final read"
        return unknown(NAME, f"the history has no {what}", {"operations": len(history)})
    if refused := refuse_duplicates(NAME, history, writes, "written values"):
        return refused
    kept = _final_state(history, finals)
    rows = np.flatnonzero(writes)
    write_ids, kept_ids = pair_ids((history.key[rows], history.value[rows]), (kept.key, kept.value))
    read_at = np.where(kept.read >= 0, history.invoke_ns[kept.read], -1)[history.key[rows]]
    settled = np.where(history.complete_ns[rows] == NEVER, history.invoke_ns[rows], history.complete_ns[rows]) < read_at
    present = np.isin(write_ids, kept_ids)
    newer = _newer_than_present(history, kept, rows, present)
    in_set = kept.is_set[history.key[rows]]
    ok, failed = history.ok[rows], history.failed[rows]
    lost = ok & settled & ~present & (in_set | newer)
    overwritten = np.zeros(len(kept.read), bool)
    overwritten[history.key[rows[lost & ~in_set]]] = True
    back = present & (failed | (ok & overwritten[history.key[rows]]))
    duplicated = rows[present & np.isin(write_ids, _repeated(kept_ids))]
    phantoms = np.flatnonzero(~np.isin(kept_ids, write_ids))
    stats: Stats = {
        "acknowledged": int(ok.sum()),
        "judged": int((ok & settled).sum()),
        "unread": int((ok & (read_at < 0)).sum()),
        "lost": int(lost.sum()),
        "resurrected": int(back.sum()),
        "duplicated": len(duplicated),
        "phantom": len(phantoms),
        "unknown": int((~ok & ~failed).sum()),
        "unknown_present": int((~ok & ~failed & present).sum()),
        "refused": int(failed.sum()),
        "keys_read": int((kept.read >= 0).sum()),
    }
    anomalies = [
        *(_anomaly("lost", history, int(p)) for p in rows[lost][:listed]),
        *(_anomaly("resurrected", history, int(p)) for p in rows[back][:listed]),
        *(_anomaly("duplicated", history, int(p)) for p in duplicated[:listed]),
        *(_phantom(history, kept, int(i)) for i in phantoms[:listed]),
    ]
    return _conclude(history, stats, anomalies, rows[lost], kept)


def _final_state(history: History, finals: Mask) -> _Kept:
    """The contents of every key by its last acknowledged final read."""
    read = np.full(len(history.keys), -1, np.int64)
    positions = np.flatnonzero(finals)
    read[history.key[positions]] = positions  # positions ascend, and the last assignment stays
    is_set = np.zeros(len(history.keys), bool)
    scalar = read[read >= 0]
    keys, values = [history.key[scalar]], [history.value[scalar]]
    for position in scalar[history.value[scalar] < NIL]:
        content = history.value_at(int(position))
        if isinstance(content, list | tuple):
            is_set[history.key[position]] = True
            keys.append(np.full(len(content), history.key[position]))
            values.append(history.codes_of(content))
    scalars = ~is_set[keys[0]] & (values[0] != NIL)
    keys[0], values[0] = keys[0][scalars], values[0][scalars]
    return _Kept(read, is_set, np.concatenate(keys).astype(np.int64), np.concatenate(values))


def _newer_than_present(history: History, kept: _Kept, rows: Int64, present: Mask) -> Mask:
    """Which writes began after the value present in their register was acknowledged; all, if none is present."""
    written_by = np.full(len(history.keys), -1, np.int64)
    at_end = present & ~kept.is_set[history.key[rows]]
    written_by[history.key[rows[at_end]]] = rows[at_end]
    bound = np.where(written_by < 0, -1, np.where(history.ok[written_by], history.complete_ns[written_by], NEVER))
    return np.greater(history.invoke_ns[rows], bound[history.key[rows]])


def _repeated(ids: Int64) -> Int64:
    found, counts = np.unique(ids, return_counts=True)
    return found[counts > 1]


def _anomaly(kind: str, history: History, position: int) -> Anomaly:
    op = history[position]
    return {
        "kind": kind,
        "position": position,
        "key": op.key,
        "value": op.value,
        "process": op.process,
        "node": op.node,
        "outcome": op.outcome.label,
        "completed_ns": op.complete_ns,
        "completed_ms": None if op.complete_ns is None else milliseconds(op.complete_ns - history.start_ns),
    }


def _phantom(history: History, kept: _Kept, index: int) -> Anomaly:
    value = history.tell(int(kept.value[index]))
    key = int(kept.key[index])
    return {"kind": "phantom", "position": int(kept.read[key]), "key": history.keys[key], "value": value}


def _conclude(history: History, stats: Stats, anomalies: list[Anomaly], lost: Int64, kept: _Kept) -> Finding:
    bad = {kind: stats[kind] for kind in ("lost", "resurrected", "duplicated", "phantom")}
    counts = ", ".join(f"{count} {kind}" for kind, count in bad.items() if count)
    summary = f"{stats['judged']} acknowledged writes judged: {counts or 'all present'}"
    if counts:
        first = anomalies[0]
        position = int(str(first["position"]))
        read = int(kept.read[history.key[position]])
        witness = (position,) if position == read else (position, read)
        return Finding(
            NAME, Outcome.INVALID, summary, _story(history, first, witness, lost), witness, stats, tuple(anomalies)
        )
    if stats["unread"] or not stats["judged"]:
        why = f"{summary}; {stats['unread']} acknowledged writes were never read back"
        return unknown(NAME, why, stats)
    return Finding(NAME, Outcome.VALID, summary, "Every acknowledged write was found by the final reads.", stats=stats)


def _story(history: History, first: Anomaly, witness: tuple[int, ...], lost: Int64) -> str:
    read = tell(history, witness[-1])
    if first["kind"] == "phantom":
        text = f"The final read found {first['value']!r} in {first['key']}, which nobody wrote: {read}."
    else:
        says = {
            "lost": "and it is not there at the end",
            "resurrected": "and yet it is what the system kept",
            "duplicated": "and it is there more than once at the end",
        }
        told = tell(history, witness[0])
        text = f"{told[0].upper()}{told[1:]}, {says[str(first['kind'])]}: {read}."
    if len(lost) > 1:
        times = history.complete_ns[lost]
        nodes = sorted({history.nodes[n] for n in np.unique(history.node[lost]) if n >= 0})
        by = f" by {', '.join(nodes)}" if nodes else ""
        text += (
            f" The {len(lost)} lost writes were acknowledged{by} between {moment(history, int(times.min()))} "
            f"and {moment(history, int(times.max()))}."
        )
    return text + surroundings(history, witness[:1])
