"""Large histories of correct registers, made with a few array operations.

Each client draws the lengths of its operations and of the pauses between them; each operation takes effect at a random
moment between its invocation and its completion; registers then hold what the latest write before left. Linearizable
by construction.
"""

from __future__ import annotations

import numpy as np

from labctl.model.history import NEVER, NIL, History, OpOutcome


def linearizable_registers(
    operations: int,
    clients: int,
    keys: int,
    seed: int,
    *,
    write_share: float = 0.5,
    unknown_share: float = 0.0,
    failed_share: float = 0.0,
) -> History:
    """A correct history; unknown writes took effect up to a second late, or never; failed ones never."""
    rng = np.random.default_rng(seed)
    each = operations // clients
    shape = (clients, each)
    pause, length = rng.integers(1, 50_000, shape), rng.integers(1, 1_000_000, shape)
    complete = (pause + length).cumsum(axis=1)
    invoke = complete - length
    process = np.repeat(np.arange(clients), each)
    invoke, complete, length = invoke.ravel(), complete.ravel(), length.ravel()
    count = len(invoke)
    key = rng.integers(0, keys, count)
    is_write = rng.random(count) < write_share
    draw = rng.random(count)
    unknown, failed = draw < unknown_share, draw > 1 - failed_share
    effect = invoke + (length * rng.random(count)).astype(np.int64)
    effect = np.where(unknown & is_write, invoke + rng.integers(0, 10**9, count), effect)
    applied = is_write & ~failed & (~unknown | (rng.random(count) < 0.5))

    value = np.where(is_write, np.arange(count) + 1, NIL)
    order = np.lexsort((effect, key))
    takes = np.where(applied[order], np.arange(count), -1)
    first_of_key = np.searchsorted(key[order], key[order])
    last_write = np.maximum.accumulate(takes)
    seen = np.where(last_write >= first_of_key, value[order[np.maximum(last_write, 0)]], NIL)
    read = order[~is_write[order]]
    value[read] = seen[~is_write[order]]
    outcome = np.where(unknown, OpOutcome.UNKNOWN, np.where(failed, OpOutcome.FAIL, OpOutcome.OK))

    by_time = np.argsort(invoke, kind="stable")
    return History(
        process=process[by_time].astype(np.int32),
        function=is_write[by_time].astype(np.int32),
        key=key[by_time].astype(np.int32),
        value=value[by_time].astype(np.int64),
        invoke_ns=invoke[by_time].astype(np.int64),
        complete_ns=np.where(unknown & (draw < unknown_share / 2), NEVER, complete)[by_time].astype(np.int64),
        due_ns=invoke[by_time].astype(np.int64),
        outcome=outcome[by_time].astype(np.int8),
        node=np.full(count, -1, np.int32),
        error=np.full(count, -1, np.int32),
        functions=("read", "write"),
        keys=tuple(f"k{i}" for i in range(keys)),
    )
