"""Which requests a RESP toxic means: by command, by key, by share."""

from __future__ import annotations

import binascii
import fnmatch
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

_ALL_KEYS = frozenset(
    b"DEL UNLINK EXISTS TOUCH MGET WATCH SINTER SUNION SDIFF SINTERSTORE SUNIONSTORE SDIFFSTORE PFCOUNT PFMERGE "
    b"RENAME RENAMENX RPOPLPUSH".split()
)
_PAIRED_KEYS = frozenset((b"MSET", b"MSETNX"))
_COUNTED_KEYS = frozenset(b"EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO".split())
_SECOND_WORD = frozenset(b"OBJECT XINFO XGROUP MEMORY BITOP DEBUG".split())
_STREAM_READS = frozenset((b"XREAD", b"XREADGROUP"))
_KEYLESS = frozenset(
    b"PING ECHO AUTH HELLO SELECT INFO CONFIG CLIENT CLUSTER COMMAND REPLCONF PSYNC SYNC WAIT WAITAOF SUBSCRIBE "
    b"PSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE PUBLISH SENTINEL ROLE ACL LATENCY SLOWLOG FUNCTION SCRIPT MULTI EXEC "
    b"DISCARD UNWATCH FLUSHALL FLUSHDB SAVE BGSAVE SHUTDOWN FAILOVER REPLICAOF SLAVEOF SCAN KEYS QUIT RESET".split()
)


def keys_of(words: list[bytes]) -> list[bytes]:
    """Return a request's keys.

    From the first word alone, as the documentation of each command has it, for a proxy has no `COMMAND` table: the
    second word, except for the commands named above. Commands of modules follow the rule.
    """
    if len(words) < 2:
        return []
    command = words[0].upper()
    if command in _KEYLESS:
        return []
    if command in _ALL_KEYS:
        return words[1:]
    if command in _PAIRED_KEYS:
        return words[1::2]
    if command in _SECOND_WORD:
        return words[2:] if command == b"BITOP" else words[2:3]
    if command in _COUNTED_KEYS:
        count = int(words[2]) if len(words) > 2 and words[2].isdigit() and len(words[2]) < 9 else 0
        return words[3 : 3 + count]
    if command in _STREAM_READS:
        upper = [word.upper() for word in words]
        names = words[upper.index(b"STREAMS") + 1 :] if b"STREAMS" in upper else []
        return names[: len(names) // 2]
    return words[1:2]


def slot_of(key: bytes) -> int:
    """Return a key's hash slot: CRC16 of the key, or of its hash tag (Redis Cluster specification)."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    tag = key[start + 1 : end] if end > start + 1 else key
    return binascii.crc_hqx(tag, 0) % 16384


@lru_cache(maxsize=1024)
def _glob(pattern: str, *, any_case: bool) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern), re.DOTALL | (re.IGNORECASE if any_case else 0))


@dataclass(frozen=True)
class Match:
    """A condition on requests.

    Attributes:
        command: Globs separated by commas, in any case: `GET,SET`, `H*`, `CLIENT PAUSE` (with the second word).
        key: A glob that one of the keys has to match; empty for requests with or without keys.
    """

    command: str
    key: str

    @cached_property
    def _commands(self) -> list[re.Pattern[str]]:
        names = [" ".join(name.split()) for name in self.command.split(",")]
        return [_glob(name, any_case=True) for name in names if name]

    def meets(self, words: list[bytes]) -> bool:
        """Whether a request is meant."""
        command = words[0].decode("latin-1")
        longer = f"{command} {words[1][:64].decode('latin-1')}" if len(words) > 1 else command
        if not any(pattern.match(command) or pattern.match(longer) for pattern in self._commands):
            return False
        if not self.key:
            return True
        pattern = _glob(self.key, any_case=False)
        return any(pattern.match(key.decode("utf-8", "surrogateescape")) for key in keys_of(words))
