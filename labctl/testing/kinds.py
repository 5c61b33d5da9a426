"""Every kind of fault as a method. Made from the registry by `labctl.faults.methods`; change kinds there."""

# ruff: noqa: A002  # parameters are called as in the catalogue

from __future__ import annotations

from typing import Literal, Unpack

from labctl.model.fault import Scalar
from labctl.testing.injected import Injected, LinkOptions, Options


class Kinds:
    """The methods; `fault` is what all of them come down to."""

    def fault(
        self,
        kind: str,
        target: str = "",
        /,
        *,
        for_s: float | None = None,
        from_: str = "",
        seed: int | None = None,
        **params: Scalar,
    ) -> Injected:
        """Inject a fault of any kind; see `RedisLab.fault`."""
        raise NotImplementedError

    def kill(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """End a server at once (SIGKILL); it is started again afterwards.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("kill", target, **more)

    def stop(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """End a server in its own order (SIGTERM); it is started again afterwards.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("stop", target, **more)

    def shutdown(
        self,
        target: str = "",
        *,
        options: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """End a server by the command SHUTDOWN; it is started again afterwards.

        Args:
            target: `primary` unless stated.
            options: Words behind SHUTDOWN, joined by +: save or nosave, now, force.
            **more: `for_s`, `seed`.
        """
        return self.fault("shutdown", target, options=options, **more)

    def restart(
        self,
        target: str = "",
        *,
        by: Literal["kill", "term", "shutdown"] = "kill",
        **more: Unpack[Options],
    ) -> Injected:
        """End a server and start it again at once.

        Args:
            target: `primary` unless stated.
            by: SIGKILL, SIGTERM or SHUTDOWN.
            **more: `for_s`, `seed`.
        """
        return self.fault("restart", target, by=by, **more)

    def crash_loop(
        self,
        target: str = "",
        *,
        up: int = 500,
        **more: Unpack[Options],
    ) -> Injected:
        """Kill a server each time that it has come up.

        Args:
            target: `primary` unless stated.
            up: Milliseconds that it may run each time.
            **more: `for_s`, `seed`.
        """
        return self.fault("crash-loop", target, up=up, **more)

    def pause(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """Freeze a server (SIGSTOP): it holds its connections and says nothing.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("pause", target, **more)

    def power_loss(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """Kill a server and lose what it wrote without fsync; it is started again afterwards.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("power-loss", target, **more)

    def partition(
        self,
        target: str = "",
        *,
        how: Literal["drop", "reject"] = "drop",
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Split the network in two: the target on one side, everything else on the other.

        Args:
            target: `primary,clients-a` unless stated, in a Cluster `minority,clients-a`.
            how: Drop: packets vanish, connections stall; reject: connections are reset and refused.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("partition", target, how=how, **more)

    def isolate(
        self,
        target: str = "",
        *,
        how: Literal["drop", "reject"] = "drop",
        **more: Unpack[Options],
    ) -> Injected:
        """Cut a node from everybody, clients included.

        Args:
            target: `primary` unless stated.
            how: Drop: packets vanish, connections stall; reject: connections are reset and refused.
            **more: `for_s`, `seed`.
        """
        return self.fault("isolate", target, how=how, **more)

    def packet_drop(
        self,
        target: str = "",
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Drop every packet: not even a SYN or a keep-alive gets through.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("packet-drop", target, **more)

    def packet_loss(
        self,
        target: str = "",
        *,
        percent: float = 10.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Lose packets at random; TCP sends them again.

        Args:
            target: `primary` unless stated.
            percent: Percent of packets.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("packet-loss", target, percent=percent, **more)

    def packet_duplicate(
        self,
        target: str = "",
        *,
        percent: float = 10.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Deliver packets twice.

        Args:
            target: `primary` unless stated.
            percent: Percent of packets.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("packet-duplicate", target, percent=percent, **more)

    def packet_corrupt(
        self,
        target: str = "",
        *,
        percent: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Flip a bit of packets; the receiving kernel notices by the checksum and drops them.

        Args:
            target: `primary` unless stated.
            percent: Percent of packets.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("packet-corrupt", target, percent=percent, **more)

    def packet_reorder(
        self,
        target: str = "",
        *,
        percent: float = 10.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Deliver packets out of order, up to 10 ms late.

        Args:
            target: `primary` unless stated.
            percent: Percent of packets.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("packet-reorder", target, percent=percent, **more)

    def packet_delay(
        self,
        target: str = "",
        *,
        ms: int = 50,
        jitter: int = 0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Delay packets, in order: connecting and acknowledging too, unlike `latency`.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds each way.
            jitter: Up to so many milliseconds more or less.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("packet-delay", target, ms=ms, jitter=jitter, **more)

    def disconnect(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """Take a pod off the network: its interface is down, and the lab itself cannot see it either.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("disconnect", target, **more)

    def latency(
        self,
        target: str = "",
        *,
        ms: int = 100,
        jitter: int = 0,
        stream: Literal["both", "up", "down"] = "both",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Delay what goes through links, in order; throughput stays.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds each way (stream=both: twice that for a round trip).
            jitter: Up to so many milliseconds more or less.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("latency", target, ms=ms, jitter=jitter, stream=stream, toxicity=toxicity, **more)

    def bandwidth(
        self,
        target: str = "",
        *,
        rate: int = 100,
        stream: Literal["both", "up", "down"] = "both",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Let through no more than so many kilobytes a second.

        Args:
            target: `primary` unless stated.
            rate: KB/s, of 1,000 bytes; 0 blocks.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("bandwidth", target, rate=rate, stream=stream, toxicity=toxicity, **more)

    def slow_close(
        self,
        target: str = "",
        *,
        ms: int = 1000,
        stream: Literal["both", "up", "down"] = "both",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Hold back the end of connections.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("slow-close", target, ms=ms, stream=stream, toxicity=toxicity, **more)

    def timeout(
        self,
        target: str = "",
        *,
        ms: int = 1000,
        stream: Literal["both", "up", "down"] = "up",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Swallow data, then close the connection.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds until the connection is closed; 0 never.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("timeout", target, ms=ms, stream=stream, toxicity=toxicity, **more)

    def reset(
        self,
        target: str = "",
        *,
        ms: int = 0,
        stream: Literal["both", "up", "down"] = "up",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Reset connections (RST), those that exist too.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds after the connection was made.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("reset", target, ms=ms, stream=stream, toxicity=toxicity, **more)

    def slice(
        self,
        target: str = "",
        *,
        size: int = 16,
        variation: int = 8,
        us: int = 1000,
        stream: Literal["both", "up", "down"] = "both",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Cut the stream into small packets with pauses between.

        Args:
            target: `primary` unless stated.
            size: Bytes of a piece on average.
            variation: Up to so many bytes more or less; less than size.
            us: Microseconds between pieces.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault(
            "slice",
            target,
            size=size,
            variation=variation,
            us=us,
            stream=stream,
            toxicity=toxicity,
            **more,
        )

    def limit_data(
        self,
        target: str = "",
        *,
        bytes: int = 4096,
        stream: Literal["both", "up", "down"] = "down",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Close each connection once so many bytes went through.

        Args:
            target: `primary` unless stated.
            bytes: Bytes.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault("limit-data", target, bytes=bytes, stream=stream, toxicity=toxicity, **more)

    def command_delay(
        self,
        target: str = "",
        *,
        command: str = "*",
        key: str = "",
        share: float = 1.0,
        ms: int = 100,
        jitter: int = 0,
        stream: Literal["both", "up", "down"] = "up",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Delay single commands (or, stream=down, their replies).

        Args:
            target: `primary` unless stated.
            command: Names of commands, globs, joined by commas.
            key: A glob that one of its keys matches; empty: any.
            share: Share of these commands that are met.
            ms: Milliseconds.
            jitter: Up to so many milliseconds more or less.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault(
            "command-delay",
            target,
            command=command,
            key=key,
            share=share,
            ms=ms,
            jitter=jitter,
            stream=stream,
            toxicity=toxicity,
            **more,
        )

    def command_error(
        self,
        target: str = "",
        *,
        command: str = "*",
        key: str = "",
        share: float = 1.0,
        error: str = "LOADING",
        stream: Literal["both", "up", "down"] = "up",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Answer single commands with an error; the server never sees them (stream=down: it has run them).

        Args:
            target: `primary` unless stated.
            command: Names of commands, globs, joined by commas.
            key: A glob that one of its keys matches; empty: any.
            share: Share of these commands that are met.
            error: LOADING, OOM, READONLY, CLUSTERDOWN …, or the whole text; {slot} is the key's.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault(
            "command-error",
            target,
            command=command,
            key=key,
            share=share,
            error=error,
            stream=stream,
            toxicity=toxicity,
            **more,
        )

    def command_drop(
        self,
        target: str = "",
        *,
        command: str = "*",
        key: str = "",
        share: float = 1.0,
        stream: Literal["both", "up", "down"] = "up",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Lose single commands (or, stream=down, their replies) and what follows on that connection.

        Args:
            target: `primary` unless stated.
            command: Names of commands, globs, joined by commas.
            key: A glob that one of its keys matches; empty: any.
            share: Share of these commands that are met.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault(
            "command-drop",
            target,
            command=command,
            key=key,
            share=share,
            stream=stream,
            toxicity=toxicity,
            **more,
        )

    def command_truncate(
        self,
        target: str = "",
        *,
        command: str = "*",
        key: str = "",
        share: float = 1.0,
        keep: int = -1,
        stream: Literal["both", "up", "down"] = "down",
        toxicity: float = 1.0,
        **more: Unpack[LinkOptions],
    ) -> Injected:
        """Cut replies off in the middle and close the connection (stream=up: requests).

        Args:
            target: `primary` unless stated.
            command: Names of commands, globs, joined by commas.
            key: A glob that one of its keys matches; empty: any.
            share: Share of these commands that are met.
            keep: Bytes of it that get through; -1: half of it.
            stream: Up: from the link's source to its target; down: back; both.
            toxicity: Share of connections that it applies to.
            **more: `for_s`, `seed`, `from_`.
        """
        return self.fault(
            "command-truncate",
            target,
            command=command,
            key=key,
            share=share,
            keep=keep,
            stream=stream,
            toxicity=toxicity,
            **more,
        )

    def block(
        self,
        target: str = "",
        *,
        ms: int = 2000,
        pause: int = 0,
        **more: Unpack[Options],
    ) -> Injected:
        """Keep a server's one thread busy: it serves nobody, replicas and Sentinels included.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds of each block; it cannot be ended early.
            pause: Milliseconds between two blocks.
            **more: `for_s`, `seed`.
        """
        return self.fault("block", target, ms=ms, pause=pause, **more)

    def slow_lua(
        self,
        target: str = "",
        *,
        ms: int = 200,
        pause: int = 300,
        **more: Unpack[Options],
    ) -> Injected:
        """Run a slow Lua script again and again.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds of processor time of each run.
            pause: Milliseconds between two runs.
            **more: `for_s`, `seed`.
        """
        return self.fault("slow-lua", target, ms=ms, pause=pause, **more)

    def big_key(
        self,
        target: str = "",
        *,
        members: int = 200000,
        pause: int = 100,
        **more: Unpack[Options],
    ) -> Injected:
        """Fill a set with very many members and sort all of them again and again.

        Args:
            target: `primary` unless stated.
            members: Members of the set.
            pause: Milliseconds between two.
            **more: `for_s`, `seed`.
        """
        return self.fault("big-key", target, members=members, pause=pause, **more)

    def client_pause(
        self,
        target: str = "",
        *,
        mode: Literal["write", "all"] = "write",
        **more: Unpack[Options],
    ) -> Injected:
        """CLIENT PAUSE: commands are accepted and not run.

        Args:
            target: `primary` unless stated.
            mode: Write: commands that write; all: every command, which get through in a bunch each second.
            **more: `for_s`, `seed`.
        """
        return self.fault("client-pause", target, mode=mode, **more)

    def connection_storm(
        self,
        target: str = "",
        *,
        connections: int = 0,
        **more: Unpack[Options],
    ) -> Injected:
        """Open connections until maxclients is reached: newcomers are turned away.

        Args:
            target: `primary` unless stated.
            connections: How many; 0 for as many as the server takes.
            **more: `for_s`, `seed`.
        """
        return self.fault("connection-storm", target, connections=connections, **more)

    def output_buffer(
        self,
        target: str = "",
        *,
        limit: int = 8388608,
        pause: int = 1000,
        **more: Unpack[Options],
    ) -> Injected:
        """A subscriber that does not read: its buffer grows until the server drops it.

        Args:
            target: `primary` unless stated.
            limit: Bytes that the server may buffer for it (client-output-buffer-limit pubsub).
            pause: Milliseconds until the next such subscriber.
            **more: `for_s`, `seed`.
        """
        return self.fault("output-buffer", target, limit=limit, pause=pause, **more)

    def config_drift(
        self,
        target: str = "",
        *,
        name: str = "",
        value: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """CONFIG SET a parameter; it goes back to what it was, in the rewritten file too.

        Args:
            target: `primary` unless stated.
            name: The parameter, as in redis.conf.
            value: Its value meanwhile.
            **more: `for_s`, `seed`.
        """
        return self.fault("config-drift", target, name=name, value=value, **more)

    def backlog_overrun(
        self,
        target: str = "",
        *,
        backlog: int = 16384,
        **more: Unpack[Options],
    ) -> Injected:
        """Cut replicas off and let the stream run past the backlog: only a full resync can follow.

        Args:
            target: `replicas` unless stated.
            backlog: Bytes of the backlog meanwhile (repl-backlog-size).
            **more: `for_s`, `seed`.
        """
        return self.fault("backlog-overrun", target, backlog=backlog, **more)

    def failover(
        self,
        target: str = "",
        *,
        timeout: int = 10000,
        force: Literal["no", "yes"] = "no",
        **more: Unpack[Options],
    ) -> Injected:
        """FAILOVER: hand over to a replica, in order; the primary holds writes back until it has caught up.

        Args:
            target: `primary` unless stated.
            timeout: Milliseconds until it is given up, or forced.
            force: Yes: after the timeout hand over all the same.
            **more: `for_s`, `seed`.
        """
        return self.fault("failover", target, timeout=timeout, force=force, **more)

    def sentinel_failover(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """SENTINEL FAILOVER: one Sentinel promotes a replica without asking the others.

        Args:
            target: `sentinels` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("sentinel-failover", target, **more)

    def cluster_failover(
        self,
        target: str = "",
        *,
        how: Literal["plain", "force", "takeover"] = "plain",
        **more: Unpack[Options],
    ) -> Injected:
        """CLUSTER FAILOVER: a replica takes its primary's slots.

        Args:
            target: `shard:1` unless stated.
            how: Plain: the primary agrees, nothing is lost; force: without it; takeover: without a vote.
            **more: `for_s`, `seed`.
        """
        return self.fault("cluster-failover", target, how=how, **more)

    def cpu_throttle(
        self,
        target: str = "",
        *,
        percent: int = 10,
        **more: Unpack[Options],
    ) -> Injected:
        """Give a server a share of one processor only.

        Args:
            target: `primary` unless stated.
            percent: Percent of one processor.
            **more: `for_s`, `seed`.
        """
        return self.fault("cpu-throttle", target, percent=percent, **more)

    def memory_limit(
        self,
        target: str = "",
        *,
        mb: int = 64,
        **more: Unpack[Options],
    ) -> Injected:
        """Let a server take no more than so much memory on top of now; beyond it the kernel kills it.

        Args:
            target: `primary` unless stated.
            mb: Megabytes more than now.
            **more: `for_s`, `seed`.
        """
        return self.fault("memory-limit", target, mb=mb, **more)

    def oom_kill(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """Let the kernel kill a server for its memory; it is started again afterwards.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("oom-kill", target, **more)

    def no_fork(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """Fork fails: no BGSAVE, no AOF rewrite, no full resync from disk.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("no-fork", target, **more)

    def slow_fsync(
        self,
        target: str = "",
        *,
        ms: int = 1000,
        **more: Unpack[Options],
    ) -> Injected:
        """Every fsync takes longer.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds more.
            **more: `for_s`, `seed`.
        """
        return self.fault("slow-fsync", target, ms=ms, **more)

    def failing_fsync(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """Every fsync fails (EIO).

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("failing-fsync", target, **more)

    def disk_full(
        self,
        target: str = "",
        *,
        bytes: int = 0,
        **more: Unpack[Options],
    ) -> Injected:
        """Files cannot grow any more (ENOSPC).

        Args:
            target: `primary` unless stated.
            bytes: Bytes that may be written before.
            **more: `for_s`, `seed`.
        """
        return self.fault("disk-full", target, bytes=bytes, **more)

    def read_only_folder(
        self,
        target: str = "",
        **more: Unpack[Options],
    ) -> Injected:
        """Files cannot be made or renamed (EACCES); those that are open stay so.

        Args:
            target: `primary` unless stated.
            **more: `for_s`, `seed`.
        """
        return self.fault("read-only-folder", target, **more)

    def clock_skew(
        self,
        target: str = "",
        *,
        ms: int = 60000,
        **more: Unpack[Options],
    ) -> Injected:
        """A server's wall clock jumps and stays off.

        Args:
            target: `primary` unless stated.
            ms: Milliseconds ahead; negative: behind.
            **more: `for_s`, `seed`.
        """
        return self.fault("clock-skew", target, ms=ms, **more)

    def clock_drift(
        self,
        target: str = "",
        *,
        percent: float = 10.0,
        **more: Unpack[Options],
    ) -> Injected:
        """A server's wall clock runs fast or slow; it jumps back when this ends.

        Args:
            target: `primary` unless stated.
            percent: Percent fast; negative: slow.
            **more: `for_s`, `seed`.
        """
        return self.fault("clock-drift", target, percent=percent, **more)

    def corrupt_file(
        self,
        target: str = "",
        *,
        file: Literal["aof", "rdb"] = "aof",
        how: Literal["truncate", "flip"] = "truncate",
        bytes: int = 10,
        at: float = 0.5,
        **more: Unpack[Options],
    ) -> Injected:
        """Kill a server, damage its AOF or RDB file, and start it on that.

        Args:
            target: `primary` unless stated.
            file: Aof: the newest incremental file; rdb: the dump.
            how: Truncate: cut the end off; flip: bits.
            bytes: How many bytes.
            at: For flip, where: 0 the beginning, 1 the end.
            **more: `for_s`, `seed`.
        """
        return self.fault("corrupt-file", target, file=file, how=how, bytes=bytes, at=at, **more)
