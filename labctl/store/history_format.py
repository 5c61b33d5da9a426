"""The layout of a history segment, shared by its writer and its reader.

A *segment* is what one recorder wrote: `MAGIC`, then blocks. A block is `BLOCK` (magic, kind, block number, records in
it, payload bytes, CRC-32 of the payload that starts from kind and count) and a payload, little-endian throughout:

- `HEADER`: JSON object; first block. `unix_ns` and `monotonic_ns` were read at the same moment.
- `NAMES`: JSON object of lists to append to the segment's tables `functions`, `keys`, `processes`, `answers` (pairs of
  node and error), `values` and `micro_keys`; comes before the first block that uses them.
- `TRANSACTIONS`: values of transactions as columns, see `transactions_payload`. Values are numbered from 1 on in order
  of recording; those that no such block claims are those of the table `values`.
- `RECORDS`: a check (see `record_checks`) for each record, then the 24-byte records, see `RECORD`.
- `EVENTS`: JSON list of `[kind, at_ns, node, detail]`.
- `END`: empty; the recorder closed the segment. Without it the recorder died, and the tail may be missing.

A record is an invocation (code = function, slot = process, number = key), a completion (code = outcome, slot = answer,
number = the operation's ordinal among the invocations of the segment; value `SAME` when it does not change) or a due
time (number = the ordinal). Blocks are written whole by one system call, so that only the last can be incomplete. The
checksum of an incomplete block says nothing; its records are taken as far as their own checks are right.
"""

from __future__ import annotations

import struct
import zlib
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from labctl.model.micro_operations import NOTHING, Batch, Numbers

MAGIC: Final = b"labhist2"
BLOCK: Final = struct.Struct("<4sIIIII")
BLOCK_MAGIC: Final = b"LBLK"

HEADER, NAMES, RECORDS, EVENTS, END, TRANSACTIONS = range(1, 7)

RECORD: Final = struct.Struct("<BBHIqq")
RECORD_TYPE: Final = np.dtype(
    [("tag", "u1"), ("code", "u1"), ("slot", "<u2"), ("number", "<u4"), ("value", "<i8"), ("at_ns", "<i8")]
)
INVOKE, COMPLETE, DUE = 1, 2, 3

SAME: Final = -(2**63)
"""In a completion: the value is the invocation's."""

assert RECORD.size == RECORD_TYPE.itemsize

Checks = npt.NDArray[np.uint16]
CHECK_BYTES: Final = 2
_FACTORS: Final = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1, 0xD3A2646D], np.uint32)
_PLACE: Final = np.uint32(0xFD7046C5)


def checksum(kind: int, count: int, payload: bytes | memoryview) -> int:
    """What a block states: of its payload, its kind and its count of records."""
    return zlib.crc32(payload, kind << 24 ^ count)


def checks_size(kind: int, count: int) -> int:
    """Bytes of the payload of a block that come before its records: their checks."""
    return count * CHECK_BYTES if kind == RECORDS else 0


def record_checks(records: bytes | memoryview) -> Checks:
    """A number for each whole record, from its bytes and its place in the block: what tells a torn block's records."""
    words = np.frombuffer(records, "<u4").reshape(-1, RECORD.size // 4)
    sums = words @ _FACTORS + np.arange(1, len(words) + 1, dtype=np.uint32) * _PLACE
    checks: Checks = (sums ^ sums >> np.uint32(16)).astype("<u2")
    return checks


_COUNTS: Final = struct.Struct("<IIII")  # values, micro-operations, growths of lists, elements
_LIST: Final = 0x80  # in a function's byte: the content is the beginning of a list, `number << 32 | length`
_COLUMNS: Final = tuple(map(np.dtype, ("<u4", "<u4", "u1", "<u4", "<i8", "<u4", "<u4", "<i8")))


def transactions_payload(numbers: Numbers, batch: Batch) -> bytes:
    """The payload of a `TRANSACTIONS` block: counts, then column after column.

    Args:
        numbers: The number of each value of the batch among all values of the segment.
        batch: The values.
    """
    is_list = batch.of_list >= 0
    content = np.where(is_list, batch.of_list.astype(np.int64) << 32 | batch.length, batch.value)
    function = batch.function | np.where(is_list, _LIST, 0).astype(np.uint8)
    counts = _COUNTS.pack(len(batch.size), len(function), len(batch.grown), len(batch.element))
    columns = (numbers, batch.size, function, batch.key, content, batch.grown, batch.growth, batch.element)
    return b"".join([counts, *(np.ascontiguousarray(column).tobytes() for column in columns)])


def read_transactions(payload: memoryview) -> tuple[Numbers, Batch]:
    """The reverse of `transactions_payload`.

    Raises:
        ValueError: The payload's size, or a column's sum, is not what it says.
    """
    if len(payload) < _COUNTS.size:
        raise ValueError
    values, micros, growths, elements = _COUNTS.unpack_from(payload)
    lengths = (values, values, micros, micros, micros, growths, growths, elements)
    bounds = list(accumulate((n * t.itemsize for n, t in zip(lengths, _COLUMNS, strict=True)), initial=_COUNTS.size))
    if bounds[-1] != len(payload):
        raise ValueError
    parts = (np.frombuffer(payload[a:b], t) for (a, b), t in zip(pairwise(bounds), _COLUMNS, strict=True))
    numbers, size, function, key, content, grown, growth, element = parts
    if size.sum(dtype=np.int64) != micros or growth.sum(dtype=np.int64) != elements:
        raise ValueError
    is_list = (function & _LIST) != 0
    of_list = np.where(is_list, content >> 32, -1).astype(np.int32)
    length = np.where(is_list, content & 0xFFFFFFFF, 0).astype(np.uint32)
    value = np.where(is_list, NOTHING, content)
    return numbers, Batch(size, function & ~np.uint8(_LIST), key, value, of_list, length, grown, growth, element)
