"""Backups: a dump is taken and copied away; a server is started on it again, and holds what was saved."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.actions.kind import ActionKind, Done, Param
from labctl.errors import LabError
from labctl.model.topology import Kind
from labctl.observe.access import OTHER_CHILD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.actions.operator import Operator
    from labctl.model.fault import Scalar
    from labctl.model.topology import Topology
    from labctl.model.view import View

_PAUSE_MS = 20_000
"""Writes are held back while the digest is taken; longer than any digest of a lab takes, given back at once after."""
_LOOK_S = 0.05
_SAVE_S = 60.0
_CHILDREN = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress")
_PAGE = 500
_DIGEST = "local d = redis.call('DUMP', KEYS[1]) return d and redis.sha1hex(string.sub(d, 1, -11)) or ''"
_DELETES = "rdb-del-sync-files"
"""With `yes` a server without persistence deletes its dump once a replica has got one from it, whoever asked for it."""
_BASE = "appendonly.aof.1.base.rdb"


async def backup(operator: Operator, target: str, params: Mapping[str, Scalar]) -> Done:
    """BGSAVE, wait until it is done, and copy the dump into the run's folder."""
    node = (await operator.data_targets(target))[0].name
    kept = operator.folder / f"{params['name']}.rdb"
    deletes = str((await operator.call(node, "CONFIG", "GET", _DELETES))[1])
    await operator.call(node, "CONFIG", "SET", _DELETES, "no")
    try:
        digest, keys = await _save(operator, node, digested=params["digest"] == "yes")
        await asyncio.to_thread(shutil.copyfile, await _dump(operator, node), kept)
    finally:
        await operator.call(node, "CONFIG", "SET", _DELETES, deletes)
    (operator.folder / f"{params['name']}.digest").write_text(f"{digest} {keys}\n")
    text = f"{keys} keys of {node} saved as {kept.name}, {kept.stat().st_size} bytes"
    return Done(text, {"node": node, "keys": keys, "digest": digest})


async def _save(operator: Operator, node: str, *, digested: bool) -> tuple[str, int]:
    """Have a node save. The digest of what it saves, if wanted, and its keys.

    For a digest writes are held back until the fork, so that what is read is what is saved.
    """
    deadline = time.monotonic() + _SAVE_S
    while True:
        await _until_idle(operator, node)
        digest, keys, taken = await _fork(operator, node, digested=digested)
        if taken:
            break
        if time.monotonic() > deadline:
            raise LabError(f"{node} has another child whenever it is to save.", f"labctl logs {node}")
    if (await _until_idle(operator, node))["rdb_last_bgsave_status"] != "ok":
        raise LabError(f"BGSAVE of {node} failed.", f"labctl logs {node}")
    return digest, keys


async def _fork(operator: Operator, node: str, *, digested: bool) -> tuple[str, int, bool]:
    """Digest, keys, and whether the node has begun to save just that: not while it has another child, or too late."""
    digest, keys = "", int(await operator.call(node, "DBSIZE"))
    began = time.monotonic()
    if digested:
        await operator.call(node, "CLIENT", "PAUSE", _PAUSE_MS, "WRITE")
    try:
        if digested:
            digest, keys = await dataset_digest(operator, node)
        await operator.call(node, "BGSAVE")
    except LabError as error:
        if not any(words in str(error) for words in OTHER_CHILD):
            raise
        return digest, keys, False
    finally:
        if digested:
            await operator.call(node, "CLIENT", "UNPAUSE")
    return digest, keys, not digested or time.monotonic() - began < _PAUSE_MS / 1000


async def restore(operator: Operator, target: str, params: Mapping[str, Scalar]) -> Done:
    """Cut the server off, start it on the dump in place of its data, compare, and let clients back in."""
    node = (await operator.data_targets(target))[0].name
    kept = operator.folder / f"{params['name']}.rdb"
    if not kept.exists():
        raise LabError(
            f"There is no backup '{params['name']}' in this run.", "A `backup` step of that name comes first."
        )
    saved, _, keys = (operator.folder / f"{params['name']}.digest").read_text().strip().partition(" ")
    aof = (await operator.call(node, "CONFIG", "GET", "appendonly"))[1] == "yes"
    dump = await _dump(operator, node)
    apart = await operator.fault("isolate", node)  # nobody writes to it before it was compared
    try:
        # at once, and with whatever it has forked, which would put its own dump in place of this one
        number = await operator.fault("shutdown", node, options="nosave+now+force")
        try:
            await asyncio.to_thread(_put, kept, dump, aof=aof)
        finally:
            await operator.heal(number)
        await operator.until(f"{node} is up on the backup", lambda view: _not_up(view, node))
        restored, found = await dataset_digest(operator, node)
    finally:
        await operator.heal(apart)
    equal = restored == saved if saved else None
    detail: dict[str, object] = {"node": node, "keys_saved": int(keys), "keys": found, "equal": equal}
    said = "" if equal is None else (", equal to what was saved" if equal else ", NOT what was saved")
    return Done(f"{node} started on {kept.name} with {found} keys of {keys}{said}", detail)


def _not_up(view: View, node: str) -> list[str]:
    seen = view.node(node)
    return [] if seen.up and not seen.loading else [f"{node} is not up"]


async def dataset_digest(operator: Operator, node: str) -> tuple[str, int]:
    """A digest of every key with its value, whatever the order, and how many keys there are.

    Of DUMP's payload the last ten bytes (format version and checksum) are left out. A time to live is not looked at.
    """
    total, count, cursor = 0, 0, "0"
    while True:
        cursor, names = await operator.call(node, "SCAN", cursor, "COUNT", _PAGE)
        values = await operator.call_all(node, [("EVAL_RO", _DIGEST, 1, name) for name in names]) if names else []
        for name, value in zip(names, values, strict=True):
            if value:
                total ^= int.from_bytes(hashlib.sha256(f"{name} {value}".encode()).digest(), "big")
                count += 1
        if cursor == "0":
            return f"{total:064x}", count


async def _until_idle(operator: Operator, node: str) -> dict[str, str]:
    """INFO persistence once no child saves or rewrites. Raises LabError when that takes too long."""
    deadline = time.monotonic() + _SAVE_S
    while True:
        found = await _persistence(operator, node)
        if not any(int(found[name]) for name in _CHILDREN):
            return found
        if time.monotonic() > deadline:
            raise LabError(f"What {node} saves or rewrites is not over within {_SAVE_S:g} s.", f"labctl logs {node}")
        await asyncio.sleep(_LOOK_S)


async def _persistence(operator: Operator, node: str) -> dict[str, str]:
    text = str(await operator.call(node, "INFO", "persistence"))
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def _dump(operator: Operator, node: str) -> Path:
    replies = await operator.call_all(node, [("CONFIG", "GET", "dir"), ("CONFIG", "GET", "dbfilename")])
    return Path(str(replies[0][1])) / str(replies[1][1])


def _put(kept: Path, dump: Path, *, aof: bool) -> None:
    """Put a backup where a server looks for its data: with an append-only file as its base, for a dump is not loaded then."""
    if not aof:
        shutil.copyfile(kept, dump)
        return
    folder = dump.parent / "appendonlydir"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    shutil.copyfile(kept, folder / _BASE)
    (folder / "appendonly.aof.manifest").write_text(f"file {_BASE} seq 1 type b\n")


def _refuse(_: Mapping[str, Scalar], topology: Topology) -> str | None:
    if topology.kind in (Kind.STANDALONE, Kind.REPLICA):
        return None
    return f"a node of a {topology.kind} lab cannot be restored by itself: the others would take over meanwhile"


_NAME = Param("name", "what it is called in the run's folder", "backup")

KINDS = (
    ActionKind(
        "backup",
        "BGSAVE, and copy the dump into the run's folder",
        "primary",
        backup,
        (
            _NAME,
            Param("digest", "yes: digest what is saved, so that `restore` can compare", "yes", choices=("yes", "no")),
        ),
    ),
    ActionKind(
        "restore",
        "Stop a server, start it on a backup, and compare what it holds with what was saved; the check `restored` judges",
        "primary",
        restore,
        (_NAME,),
        refuse=_refuse,
    ),
)
