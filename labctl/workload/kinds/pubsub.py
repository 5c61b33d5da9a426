"""`pubsub` and `sharded-pubsub`: messages to whoever listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from labctl.model.topology import Kind
from labctl.workload.keys import Keys
from labctl.workload.kind import WorkloadKind
from labctl.workload.roles import Roles

if TYPE_CHECKING:
    from labctl.workload.options import Options
    from labctl.workload.process import Process
    from labctl.workload.subscription import Subscription

_LISTEN_S = 0.05
_QUIET_S = 0.3


class PubSub(WorkloadKind):
    """Publishers and subscribers. Redis delivers at most once, to those who are connected (redis.io/docs/pubsub).

    History per channel: `publish` (unique integer); by each subscriber `subscribe` (ok: confirmed by the server, from
    then on it must hear), `receive` (the integer), `disconnect` (it stopped to hear: the connection broke) and
    `unsubscribe` (it was told to stop, after it had heard nothing more for a while). A message is lost to a subscriber
    that was subscribed before it was published and stayed so. For `pubsub`.

    Options:
        keys, distribution, theta, hot_share: Channels, see `Keys`; 2 by default. Each subscriber has one.
        consumers: Share of the clients that subscribe.
    """

    name = "pubsub"
    summary = "PUBLISH and SUBSCRIBE"
    publish: ClassVar[str] = "PUBLISH"

    def __init__(self, prefix: str, options: Options, clients: int) -> None:
        self._channels = Keys(prefix, options, default=2)
        self._roles = Roles(clients, options.number("consumers", 0.5, most=1))
        self._subscriptions: dict[int, Subscription] = {}

    def paced(self, process: Process) -> bool:
        """Publishers are."""
        return not self._roles.consumes(process)

    async def step(self, process: Process) -> None:
        """Publish once, or listen for a while."""
        if self._roles.consumes(process):
            await self._listen(process, _LISTEN_S)
            return
        channel, value = self._channels.choose(process.rng), process.unique()
        await process.op("publish", channel, value, process.client.write(self.publish, channel, value, key=channel))

    async def finish(self, process: Process) -> None:
        """Listen until it is quiet, then unsubscribe."""
        if process.number not in self._subscriptions:
            return
        while await self._listen(process, _QUIET_S):
            pass
        subscription = self._subscriptions.pop(process.number, None)
        if subscription is not None:
            process.note("unsubscribe", subscription.channel, None)
            await subscription.close()

    async def final_reads(self, process: Process) -> None:
        """Nothing is kept."""

    async def _listen(self, process: Process, seconds: float) -> int:
        """Receive for so long; returns how many messages came. Subscribes first where need be."""
        subscription = self._subscriptions.get(process.number)
        if subscription is None:
            await self._subscribe(process)
            return 0
        count = 0
        try:
            async for message in subscription.messages(seconds):
                process.note("receive", subscription.channel, int(message), node=subscription.node_port)
                count += 1
        except Exception:  # noqa: BLE001  # as in `Process.op`
            process.note("disconnect", subscription.channel, None)
            del self._subscriptions[process.number]
            await subscription.close()
        return count

    async def _subscribe(self, process: Process) -> None:
        channels = self._channels.all
        channel = channels[process.number % len(channels)]
        subscription = process.client.subscription(channel, sharded=self.publish == "SPUBLISH")
        answer = await process.op("subscribe", channel, None, subscription.open())
        if answer.ok:
            self._subscriptions[process.number] = subscription
        else:
            await subscription.close()


class ShardedPubSub(PubSub):
    """The same with SPUBLISH and SSUBSCRIBE: a channel lives on the shard of its hash slot (Redis 7.0 and later).

    History and options as `pubsub`.
    """

    name = "sharded-pubsub"
    summary = "SPUBLISH and SSUBSCRIBE"
    publish = "SPUBLISH"
    runs_on = frozenset({Kind.CLUSTER})
    refusal = "sharded channels differ from plain ones only in a Cluster; use pubsub"
