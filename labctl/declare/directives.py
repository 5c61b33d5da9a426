"""Which lines of redis.conf a topology may state, and why labctl keeps the others to itself."""

from __future__ import annotations

import re

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_QUOTED = r"""(?:"(?:\\.|[^"\\])*"|'(?:\\'|[^'\\]|\\(?!'))*')"""
# A word of sdssplitargs(), Redis's own splitter: bare text, or text that ends in one quoted part. Valkey 9 also takes
# text after a closing quote, but a topology should run on both. The alternatives exclude each other, so that a word is
# read in one way only. (Possessive quantifiers would say so, but before 3.11.5 Python gets them wrong in groups.)
_WORD = re.compile(rf"""(?:[^\s"']+{_QUOTED}?|{_QUOTED})(?=\s|$)""")

_ADDRESSES = "labctl gives each node its address, so that links can tell who is talking to whom"
_FILES = "labctl keeps each node's files where `labctl logs`, `down` and the disk faults find them"
_PROCESS = "labctl starts, watches and ends the process itself"
_SECRETS = "state `acl: true`, and labctl makes users with random secrets for every purpose"
_TLS = "state `tls: true`, and labctl makes the certificates and sets the ports"
_SHAPE = "the shape follows from `kind` and the counts"
_COMMANDS = "labctl's faults and observer need the commands under their own names"
_WHOLE = "the directives of this topology would no longer be all in this file"

_OWNED: dict[str, str] = {
    "port": _ADDRESSES,
    "bind": _ADDRESSES,
    "bind-source-addr": _ADDRESSES,
    "protected-mode": _ADDRESSES,
    "unixsocket": _ADDRESSES,
    "unixsocketperm": _ADDRESSES,
    "unixsocketgroup": _ADDRESSES,
    "cluster-port": _ADDRESSES,
    "dir": _FILES,
    "dbfilename": _FILES,
    "appendfilename": _FILES,
    "appenddirname": _FILES,
    "logfile": _FILES,
    "pidfile": _FILES,
    "aclfile": _SECRETS,
    "cluster-config-file": _FILES,
    "daemonize": _PROCESS,
    "supervised": _PROCESS,
    "replicaof": _SHAPE,
    "slaveof": _SHAPE,
    "cluster-enabled": _SHAPE,
    "user": _SECRETS,
    "requirepass": _SECRETS,
    "masterauth": _SECRETS,
    "masteruser": _SECRETS,
    "primaryauth": _SECRETS,
    "primaryuser": _SECRETS,
    "rename-command": _COMMANDS,
    "enable-debug-command": _COMMANDS,
    "enable-protected-configs": _COMMANDS,
    "include": _WHOLE,
    "cluster-node-timeout": "state it as `cluster: {node-timeout: …}`",
}
_OWNED_PREFIXES: dict[str, str] = {
    "cluster-announce-": _ADDRESSES,
    "replica-announce-": _ADDRESSES,
    "slave-announce-": _ADDRESSES,
    "syslog-": _FILES,
    "tls-": _TLS,
}
# What is left to choose of TLS once labctl has set it up.
_FREE_TLS = frozenset(
    {
        "tls-protocols",
        "tls-ciphers",
        "tls-ciphersuites",
        "tls-prefer-server-ciphers",
        "tls-session-caching",
        "tls-session-cache-size",
        "tls-session-cache-timeout",
    }
)
# One line of YAML states these for the whole topology; a single role may still differ, as an unpersisted primary does.
_STATED_ELSEWHERE: dict[str, str] = {
    "save": "persistence: {rdb: …}",
    "appendonly": "persistence: {aof: …}",
    "appendfsync": "persistence: {aof: …}",
    "maxmemory": "maxmemory: …",
    "maxmemory-policy": "maxmemory-policy: …",
}
_SENTINEL_STATED: dict[str, str] = {
    "down-after-milliseconds": "sentinel: {down-after: …}",
    "failover-timeout": "sentinel: {failover-timeout: …}",
    "parallel-syncs": "sentinel: {parallel-syncs: …}",
    "monitor": "sentinel: {quorum: …, primary-name: …}",
}
_SENTINEL_FREE = frozenset(
    {
        "deny-scripts-reconfig",
        "notification-script",
        "client-reconfig-script",
        "master-reboot-down-after-period",
        "primary-reboot-down-after-period",
    }
)


def refusal(role: str, name: str, *, tls: bool) -> str | None:
    """Why this role cannot have this directive from a user; None if it can.

    Args:
        role: `all`, `primary`, `replica` or `sentinel`.
        name: The directive.
        tls: Whether the topology has TLS, so that its finer settings mean something.
    """
    if not _NAME.fullmatch(name):
        return "is not the name of a directive: small letters, digits and dashes"
    if tls and name in _FREE_TLS:
        return None
    reason = _OWNED.get(name) or next((why for start, why in _OWNED_PREFIXES.items() if name.startswith(start)), None)
    if reason:
        return f"is labctl's own: {reason}"
    if role == "all" and name in _STATED_ELSEWHERE:
        return f"has a key of its own: state `{_STATED_ELSEWHERE[name]}` (or the directive under one role only)"
    return None


def argument_refusal(name: str, arguments: str) -> str | None:
    """Why a directive cannot have these arguments, as a whole sentence; None if it can."""
    if any(character < " " or character == "\x7f" for character in arguments):
        return f"`{name}` must be a single line without control characters"
    if not _is_words(arguments):
        return f"`{name}` has quotes that do not match, or text right after a closing quote"
    if name == "sentinel":
        option = arguments.split(maxsplit=1)[0].lower() if arguments.strip() else ""
        if option in _SENTINEL_STATED:
            return f"`sentinel {option}` has a key of its own: state `{_SENTINEL_STATED[option]}`"
        if option not in _SENTINEL_FREE:
            return f"`sentinel {option}` is labctl's own; allowed: {', '.join(sorted(_SENTINEL_FREE))}"
    return None


def _is_words(text: str) -> bool:
    rest = text.lstrip()
    while rest:
        word = _WORD.match(rest)
        if word is None:
            return False
        rest = rest[word.end() :].lstrip()
    return True
