"""Publish and subscribe: what subscribers missed, got twice, or got in another order.

Model. `publish` sends a unique message to the channel that the key names. A subscriber is a process: `subscribe` opens
its subscription of a channel, `unsubscribe` ends it, `disconnect` notes that its connection broke, `receive` is a
message as it arrives, invoked and completed at once. A subscription is certain from the acknowledgement of `subscribe`
until `unsubscribe` or the next `subscribe` is sent, or the history ends; one that ends by `disconnect` only until the
last message that arrived, for the connection broke at any moment after that.

- *lost*: sent after a subscription was certain and acknowledged before it ended, and never received by that process.
- *duplicated*: received twice by one process.
- *phantom*: received, and nobody published it, or its publication was refused.
- *reordered*: of two messages of one publisher and channel, the first acknowledged before the second was sent and both by
  the same node, received the other way round. In a Cluster each node spreads what it was told over links of its own, so
  messages that were published at two nodes may overtake each other; redis-py picks any node for a PUBLISH.

Sound for the reasons given. Redis promises at most once: lost messages are documented when a connection breaks or a
failover happens, duplicates and other orders are not. A message still on its way at the end of the history counts as
lost; let receivers listen on for a while.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from labctl.check.common import Deadline, Stats, never, refuse_duplicates, unknown
from labctl.check.tally import Tally
from labctl.model.history import NEVER, NIL, History, Int64
from labctl.model.verdict import Finding, Outcome

NAME: Final = "pubsub"
_KINDS: Final = {
    "duplicated": "The message {value!r} reached one subscriber twice.",
    "reordered": "One publisher's messages reached a subscriber the other way round.",
    "phantom": "A message was received that nobody published.",
    "lost": "The message {value!r} never reached a process that was subscribed all the time.",
}


def check(history: History, *, deadline: Deadline = never) -> Finding:
    """Follow every message to every subscription.

    Args:
        history: Operations as in the model.
        deadline: Consulted before each subscriber.
    """
    published = history.where("publish")
    if refused := refuse_duplicates(NAME, history, published, "messages"):
        return refused
    subscriptions = expected = received = 0
    tally = Tally(history, _KINDS)
    subscribing = history.where("subscribe", "unsubscribe", "disconnect", "receive")
    for key, rows in history.by_key(published | subscribing):
        sent = rows[published[rows]]
        for process in np.unique(history.process[rows[subscribing[rows]]]):
            if deadline():
                return unknown(NAME, "out of time", {"published": len(sent)})
            mine = rows[subscribing[rows] & (history.process[rows] == process)]
            got = mine[history.where("receive")[mine] & history.ok[mine]]
            received += len(got)
            _judge_received(history, sent, got, tally)
            for begin, end in _subscriptions(history, mine):
                subscriptions += 1
                due = sent[history.ok[sent] & (history.invoke_ns[sent] > begin) & (history.complete_ns[sent] < end)]
                expected += len(due)
                for message in due[~np.isin(history.value[due], history.value[got])]:
                    tally.note("lost", [message], subscriber=int(process), channel=key)
    stats: Stats = {
        "published": int((published & history.ok).sum()),
        "subscriptions": subscriptions,
        "received": received,
        "expected": expected,
        **tally.counts,
    }
    summary = f"{received} messages received, {expected} due: {tally.text or 'none lost'}"
    if tally.any:
        return tally.invalid(NAME, summary, stats)
    if not expected:
        return unknown(NAME, "no message was published to a certain subscription: nothing to judge", stats)
    return Finding(NAME, Outcome.VALID, summary, "Every subscriber got what it was due, once, in order.", stats=stats)


def _subscriptions(history: History, mine: Int64) -> list[tuple[int, int]]:
    """From when to when a process was certainly subscribed; failed and unknown `subscribe`s are certain of nothing."""
    received = mine[history.where("receive")[mine]]
    edges = mine[~history.where("receive")[mine]]
    spans: list[tuple[int, int]] = []
    for i, position in enumerate(edges.tolist()):
        if history.functions[history.function[position]] != "subscribe" or not history.ok[position]:
            continue
        begin, end = int(history.complete_ns[position]), NEVER
        if i + 1 < len(edges):
            end = int(history.invoke_ns[edges[i + 1]])
            if history.functions[history.function[edges[i + 1]]] == "disconnect":
                heard = history.invoke_ns[received]
                end = int(heard[(heard >= begin) & (heard <= end)].max(initial=begin))
        spans.append((begin, end))
    return spans


def _judge_received(history: History, sent: Int64, got: Int64, tally: Tally) -> None:
    """What one process received from one channel, held against what was sent to it."""
    possible = sent[~history.failed[sent]]
    order = possible[np.argsort(history.value[possible], kind="stable")]
    at = np.minimum(np.searchsorted(history.value[order], history.value[got]), max(len(order) - 1, 0))
    found = history.value[order[at]] == history.value[got] if len(order) else np.zeros(len(got), bool)
    for position in got[~found & (history.value[got] != NIL)]:
        tally.note("phantom", [position])
    messages, got = order[at[found]] if len(order) else got[:0], got[found]
    by_message = np.argsort(messages, kind="stable")
    for i in np.flatnonzero(np.diff(messages[by_message]) == 0):
        again = got[by_message[i : i + 2]]
        tally.note("duplicated", [messages[by_message[i]], *again])
    sure = history.ok[messages]
    routes = np.stack([history.process[messages], history.node[messages]])[:, sure]
    for route in np.unique(routes, axis=1).T:
        own = sure.copy()
        own[sure] = (routes == route[:, None]).all(axis=0)
        _judge_order(history, messages[own], got[own], tally)


def _judge_order(history: History, messages: Int64, got: Int64, tally: Tally) -> None:
    """A publisher is sequential: its messages to one node, by arrival, have to be in the order in which they were sent."""
    arrival = np.lexsort((got, history.invoke_ns[got]))
    messages, got = messages[arrival], got[arrival]
    _, first = np.unique(messages, return_index=True)
    first.sort()
    messages, got = messages[first], got[first]
    for i in np.flatnonzero(history.invoke_ns[messages[1:]] < history.invoke_ns[messages[:-1]]):
        tally.note("reordered", [messages[i + 1], messages[i], got[i], got[i + 1]])
