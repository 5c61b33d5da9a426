"""The error table: which errors certainly mean *not applied*, and which leave it open.

A checker may call a write lost, or a read stale, only because nothing is recorded as `fail` that could have been
applied. So the table is short on trust: an error that it does not know is `unknown`, and so is every error of an
operation of which one attempt was never answered, whatever a later attempt came to. An application that retries gets
`READONLY` from a demoted primary whose link swallowed the first attempt's reply; that attempt may have been applied.

Most refusals are certain because Redis decides them before it runs a command. `processCommand()` in server.c goes
through authentication, ACL, cluster redirection, memory, disk errors, `min-replicas-to-write`, read-only replica, stale
replica, loading, busy script, in this order, and only then calls the command.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from redis import exceptions as rx

from labctl.model.history import OpOutcome


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    Attributes:
        name: What the history records as the error's class. For a server's reply: its first word.
        outcome: FAIL, certainly not applied; or UNKNOWN.
        reason: Why, in a sentence.
        source: Where that is written: a function of the server's source or a page of the documentation.
    """

    name: str
    outcome: OpOutcome
    reason: str
    source: str


class NotReplicatedError(Exception):
    """WAIT or WAITAOF counted fewer copies than the application wants before it calls a write done."""


class PartialTransactionError(Exception):
    """EXEC ran, and some of its commands answered with an error."""


class DeclinedError(Exception):
    """The command ran and answered that it changed nothing: SET NX on a key that exists, a compare that failed."""


_PROCESS = "server.c processCommand()"
_CLUSTER = "cluster.c getNodeByQuery(), called by processCommand(); redis.io/docs/reference/cluster-spec"


def _never(name: str, reason: str, source: str = _PROCESS) -> Rule:
    return Rule(name, OpOutcome.FAIL, reason, source)


def _open(name: str, reason: str, source: str) -> Rule:
    return Rule(name, OpOutcome.UNKNOWN, reason, source)


REPLIES: Final = (
    _never("MOVED", "another node owns the slot; the command was not looked at", _CLUSTER),
    _never("ASK", "the slot is migrating and the key is not here any more", _CLUSTER),
    _never("TRYAGAIN", "the keys of one command are split between the two ends of a migration", _CLUSTER),
    _never("CROSSSLOT", "the keys of one command are in different slots", _CLUSTER),
    _never("CLUSTERDOWN", "the cluster's state is FAIL or nobody serves the slot", _CLUSTER),
    _never("REDIRECT", "Valkey: this server hands its role over and names the next primary"),
    _never("LOADING", "the server reads its data from disk or from its primary"),
    _never("MASTERDOWN", "a replica without its primary, and `replica-serve-stale-data no`"),
    _never("READONLY", "a replica refuses writes"),
    _never("OOM", "`maxmemory` is reached and nothing may be evicted"),
    _never("MISCONF", "the last save or AOF write failed, and writes are refused until one succeeds"),
    _never("NOREPLICAS", "fewer replicas are in touch than `min-replicas-to-write`; checked before, unlike WAIT"),
    _never("NOPERM", "the ACL user may not run this command, or not on this key or channel"),
    _never("NOAUTH", "the connection is not authenticated"),
    _never("WRONGPASS", "the user or password is wrong, so the connection never became usable", "acl.c authCommand()"),
    _never("DENIED", "protected mode refuses the connection", "networking.c clientAcceptHandler()"),
    _never("BUSY", "another client's script or function is running past `busy-reply-threshold`"),
    _never("NOSCRIPT", "no script has this digest; nothing was run", "eval.c evalGenericCommand()"),
    _never("NOPROTO", "the server does not speak this protocol version", "networking.c helloCommand()"),
    _never("WRONGTYPE", "a command checks its key's type before it changes anything", "object.c checkType()"),
    _never("BUSYKEY", "RESTORE without REPLACE on a key that exists", "cluster.c restoreCommand()"),
    _never("BUSYGROUP", "the consumer group exists already", "t_stream.c xgroupCommand()"),
    _never("NOGROUP", "the stream or its consumer group does not exist", "t_stream.c"),
    _never(
        "EXECABORT",
        "a command was refused while it was queued, or EXEC itself was, and all of them are dropped",
        "multi.c execCommandAbort(); redis.io/docs/interact/transactions",
    ),
    _never("NOTBUSY", "SCRIPT KILL found no script", "script.c scriptKill()"),
    _never(
        "NOGOODSLAVE", "SENTINEL FAILOVER found no replica to promote and did not begin", "sentinel.c sentinelCommand()"
    ),
    _never(
        "INPROG",
        "a failover is in progress and SENTINEL FAILOVER did not begin another",
        "sentinel.c sentinelCommand()",
    ),
    _never(
        "UNBLOCKED",
        "a blocked command ended before it got what it waited for (CLIENT UNBLOCK, or a demotion). "
        "WAIT ends so too, but the write before it was applied: a write with WAIT is open",
        "blocked.c disconnectAllBlockedClients(), networking.c clientCommand()",
    ),
    _open("IOERR", "MIGRATE lost its target: the keys may be on either side or on both", "redis.io/commands/migrate"),
    _never(
        "ERR",
        "arity, syntax and arguments are checked before anything is changed; scripts and MIGRATE have their own rows",
        "redis.io/docs/reference/protocol-spec; the commands' own source",
    ),
)
"""What a server answers, by the first word of the reply."""

IN_SCRIPT: Final = _open(
    "script-error",
    "a script that fails halfway keeps what it had written: scripts are not rolled back",
    "script.c, call_script.c; redis.io/docs/interact/programmability/eval-intro",
)
IN_MIGRATE: Final = _open(
    "migrate-error", "some keys may have arrived before the target refused one", "cluster.c migrateCommand()"
)
MAX_CLIENTS: Final = _never("MAXCLIENTS", "the server closed the new connection: `maxclients`", "networking.c")
OTHER_REPLY: Final = _open("unknown-reply", "an error reply that this table does not know", "none")

CLIENT: Final = (
    _never(
        "NotConnected",
        "no connection: refused, or lost in its handshake; the command was not sent",
        "redis-py connect()",
    ),
    _open("ConnectionLost", "the connection ended after the command was sent and before its reply", "TCP"),
    _never("ConnectTimeout", "no connection in time; the command was not sent", "redis-py connect()"),
    _open("ReplyTimeout", "sent, and no reply in time; it may be applied even later than this", "TCP"),
    _never("PoolExhausted", "every connection of the pool is in use; nothing was sent", "redis-py MaxConnectionsError"),
    _never("NoPrimary", "no Sentinel names a primary; nothing was sent", "redis-py MasterNotFoundError"),
    _never("NoReplica", "no Sentinel names a replica; nothing was sent", "redis-py SlaveNotFoundError"),
    _never("NoCluster", "no node of the cluster gave a slot table; nothing was sent", "redis-py RedisClusterException"),
    _never("TooManyRedirects", "every node that was asked redirected to another", "redis-py ClusterError"),
    _never("WatchError", "EXEC answered nil: a watched key changed, and nothing was run", "multi.c execCommand()"),
    _never(
        "Declined", "it ran and answered that it changed nothing (SET NX, a compare-and-set)", "the command's reply"
    ),
    _never("DataError", "the command cannot be encoded; nothing was sent", "redis-py DataError"),
    _open("BadReply", "the reply was no RESP: it says nothing about the command", "redis-py InvalidResponse"),
    _open("NotReplicated", "applied where it was sent, not copied as widely as wanted", "redis.io/commands/wait"),
    _open(
        "PartialTransaction",
        "EXEC does not roll back: the commands that succeeded are applied, the others are not",
        "redis.io/docs/interact/transactions",
    ),
    _open("Cancelled", "the workload was stopped before the reply", "asyncio"),
    _open("Unexpected", "an exception that this table does not know", "none"),
)
"""What happens on the client's own side, by the name that the history records."""

_BY_CODE: Final = {rule.name: rule for rule in REPLIES}
_BY_NAME: Final = {rule.name: rule for rule in CLIENT}
_CODE_OF_CLASS: Final[dict[type[BaseException], str]] = {
    rx.MovedError: "MOVED",
    rx.AskError: "ASK",
    rx.TryAgainError: "TRYAGAIN",
    rx.ClusterCrossSlotError: "CROSSSLOT",
    rx.MasterDownError: "MASTERDOWN",
    rx.ClusterDownError: "CLUSTERDOWN",
    rx.BusyLoadingError: "LOADING",
    rx.ReadOnlyError: "READONLY",
    rx.OutOfMemoryError: "OOM",
    rx.NoPermissionError: "NOPERM",
    rx.NoScriptError: "NOSCRIPT",
    rx.ExecAbortError: "EXECABORT",
}
"""redis-py strips the first word from these replies and keeps it as the class."""

_MAX_CLIENTS_TEXT: Final = "max number of clients reached"
_WORD: Final = re.compile(r"^-?([A-Z][A-Z0-9]+)\b")
_INSIDE_SCRIPT: Final = re.compile(r"\bscript: [0-9a-f]{40}|on @user_script|@user_function|Error running script")
_BEFORE_ANY_SCRIPT: Final = frozenset(
    {
        "NOSCRIPT",
        "MOVED",
        "ASK",
        "TRYAGAIN",
        "CROSSSLOT",
        "CLUSTERDOWN",
        "LOADING",
        "BUSY",
        "NOAUTH",
        "WRONGPASS",
        "MAXCLIENTS",
    }
)
"""Refusals of EVAL, EVALSHA and FCALL themselves."""

_FIRST_WRITE: Final = frozenset({"READONLY", "MISCONF", "NOREPLICAS", "OOM"})
"""Refusals of a write inside a script that Redis makes only while the script has written nothing
(script.c scriptVerifyWriteCommandAllow() and scriptVerifyOOM(), both look at SCRIPT_WRITE_DIRTY)."""


def is_reply(exc: BaseException) -> bool:
    """Whether an exception of redis-py stands for an error reply, so that its request is answered.

    Some replies come as connection errors: `-LOADING`, `-NOAUTH`, `-WRONGPASS` and the refusal at `maxclients`.
    """
    if isinstance(exc, rx.ResponseError | rx.BusyLoadingError | rx.AuthenticationError):
        return True
    return isinstance(exc, rx.ConnectionError) and str(exc).removeprefix("ERR ") == _MAX_CLIENTS_TEXT


def classify(exc: BaseException, unanswered: bool, *, scripted: bool = False) -> tuple[OpOutcome, str]:
    """What an exception says about the operation that it ended.

    Args:
        exc: What redis-py, the lean client or asyncio raised.
        unanswered: Whether a request of this operation went out, by this attempt or an earlier one, and has no reply.
        scripted: Whether the operation is a script or function that writes. Its author may return any error after any
            write, with no trace of the script in the text.

    Returns:
        FAIL or UNKNOWN, and the error class for the history.
    """
    rule = rule_for(exc, unanswered)
    if scripted and rule.name not in _BEFORE_ANY_SCRIPT and is_reply(exc) and not _first_write_refused(exc):
        rule = IN_SCRIPT
    if unanswered and rule.outcome is OpOutcome.FAIL:
        return OpOutcome.UNKNOWN, f"{rule.name} after a lost reply"
    if rule is _BY_NAME["Unexpected"]:
        return rule.outcome, f"{rule.name} {type(exc).__name__}"
    return rule.outcome, rule.name


def rule_for(exc: BaseException, unanswered: bool = False) -> Rule:
    """The row that an exception falls under. `unanswered` tells a lost connection from one that never was."""
    if is_reply(exc):
        return _rule_for_reply(exc)
    return _BY_NAME[_client_name(exc, unanswered)]


def code_of(exc: BaseException) -> str:
    """The first word of the error reply that an exception stands for, such as `READONLY`; empty when it has none."""
    status = getattr(exc, "status_code", None)  # redis-py 8 keeps it
    if status:
        return str(status)
    for kind in type(exc).__mro__:
        if kind in _CODE_OF_CLASS:
            return _CODE_OF_CLASS[kind]
    text = str(exc)
    if isinstance(exc, rx.AuthenticationError):
        return "NOAUTH" if "Authentication required" in text else "WRONGPASS"
    found = _WORD.match(text)
    if found:
        return found[1]
    return "ERR" if isinstance(exc, rx.ResponseError) else ""  # redis-py strips `ERR ` from every reply


def _rule_for_reply(exc: BaseException) -> Rule:
    text, code = str(exc), code_of(exc)
    if text.endswith(_MAX_CLIENTS_TEXT):
        return MAX_CLIENTS
    if _INSIDE_SCRIPT.search(text) and code not in _BEFORE_ANY_SCRIPT and not _first_write_refused(exc):
        return IN_SCRIPT
    if "Target instance replied with error" in text:
        return IN_MIGRATE
    return _BY_CODE.get(code, OTHER_REPLY)


def _first_write_refused(exc: BaseException) -> bool:
    """Whether an uncaught `redis.call` ended the script at its first write."""
    return code_of(exc) in _FIRST_WRITE and _INSIDE_SCRIPT.search(str(exc)) is not None


def _client_name(exc: BaseException, unanswered: bool) -> str:
    """The name of the client-side row for an exception that is no reply. Order matters: subclasses first."""
    # By name, for redis-py's asyncio and blocking Sentinels raise different classes of the same name.
    by_class_name = {"MasterNotFoundError": "NoPrimary", "SlaveNotFoundError": "NoReplica"}.get(type(exc).__name__)
    if by_class_name and not unanswered:
        return by_class_name
    match exc:
        case rx.MaxConnectionsError():
            return "PoolExhausted"
        case rx.TimeoutError() | TimeoutError():
            return "ReplyTimeout" if unanswered else "ConnectTimeout"
        case rx.ConnectionError() | OSError() | EOFError():
            return "ConnectionLost" if unanswered else "NotConnected"
        case rx.InvalidResponse():
            return "BadReply"
        case rx.RedisClusterException():
            return "NoCluster"
        case rx.ClusterError():
            return "TooManyRedirects"
        case _:
            return _OTHERS.get(type(exc), "Unexpected")


_OTHERS: Final[dict[type[BaseException], str]] = {
    rx.WatchError: "WatchError",
    rx.DataError: "DataError",
    DeclinedError: "Declined",
    NotReplicatedError: "NotReplicated",
    PartialTransactionError: "PartialTransaction",
    asyncio.CancelledError: "Cancelled",
}
