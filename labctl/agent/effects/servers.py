"""HoldDown and HoldPaused: a server is gone, or frozen."""

from __future__ import annotations

import asyncio

from redis.exceptions import RedisError

from labctl.agent.effects.base import PROOF_DEADLINE_S, Bench, Effect, eventually, only, raise_together
from labctl.agent.effects.local import data_folder, end_children, page, require_shim
from labctl.agent.proof import hangs_up
from labctl.errors import InjectionError
from labctl.faults.claims import server_states
from labctl.model.fault import (
    Action,
    Ending,
    HoldCrashing,
    HoldDown,
    HoldFull,
    HoldKnob,
    HoldLimit,
    HoldPaused,
    HoldSetting,
    HoldTraffic,
    LinkAction,
    ServerState,
)
from labctl.runtime.shim import Lost

_SHUTDOWN_DEADLINE_S = 20.0
"""SHUTDOWN waits up to 10 s for replicas to catch up (`shutdown-timeout`), then may have to save."""


_FAILED_SHUTDOWN = "Errors trying to SHUTDOWN"
"""Said also while the first AOF after a full resync is written, which is soon over."""
_ASK_AGAIN_S = 0.1


class Servers(Effect):
    """Proven by what the kernel says of the process.

    Limits and the shim may end a server as well; when they are dropped it is started again here.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self._lost: dict[str, Lost] = {}

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:  # noqa: ARG002
        """See `Effect`."""
        names = {action.node for action in actions if not isinstance(action, LinkAction)}
        gone = [name for name in sorted(names) if await self.bench.state(name) is ServerState.GONE]
        if gone:
            raise InjectionError(
                f"It would have no effect: {', '.join(gone)} {'is' if len(gone) == 1 else 'are'} not running.",
                "labctl status; labctl chaos ls",
            )
        told = {a.node for a in actions if isinstance(a, HoldKnob | HoldFull | HoldSetting | HoldTraffic)}
        frozen = [name for name in sorted(told) if await self.bench.state(name) is ServerState.PAUSED]
        if frozen:
            raise InjectionError(
                f"It cannot be seen to take effect: {', '.join(frozen)} {'is' if len(frozen) == 1 else 'are'} frozen.",
                "labctl chaos ls; labctl heal",
            )
        for action in only(HoldDown, actions):
            if action.by is Ending.POWER:
                require_shim(self.bench, action.node)
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        wanted = server_states(standing)
        endings = {action.node: action for action in only(HoldDown, touched)}
        names = sorted(_process_claims(touched))
        results = await asyncio.gather(
            *(self._bring(name, wanted.get(name, ServerState.RUNNING), endings.get(name)) for name in names),
            return_exceptions=True,
        )
        raise_together(results)

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:
        """See `Effect`."""
        words = []
        for name, wanted in server_states(actions).items():
            seen = await self.bench.state(name)
            if seen is not wanted and seen is not ServerState.GONE:
                raise InjectionError(f"{name} should be {wanted} and is {seen}.")
            words.append(f"{name} {seen}")
            if name in self._lost:
                lost = self._lost.pop(name)
                words.append(f"{lost.bytes} bytes of {lost.files} files had not been fsynced and are lost")
        return words

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """See `Effect`."""
        names = _process_claims(actions) - set(server_states(standing)) - {a.node for a in only(HoldCrashing, standing)}
        results = await asyncio.gather(*(self.bench.answers(name) for name in sorted(names)), return_exceptions=True)
        raise_together(results)

    async def _bring(self, name: str, wanted: ServerState, ending: HoldDown | None) -> None:
        node, runtime = self.bench.node(name), self.bench.runtime
        state = await self._settled(name) if wanted is ServerState.RUNNING else await runtime.state(node)
        match wanted:
            case ServerState.GONE:
                if state is not ServerState.GONE:
                    await self._end(name, ending or HoldDown(name))
            case ServerState.PAUSED if state is ServerState.RUNNING:
                await runtime.pause(node)
            case ServerState.RUNNING if state is ServerState.PAUSED:
                await runtime.resume(node)
            case ServerState.RUNNING if state is ServerState.GONE:
                await runtime.start(node)
            case ServerState.PAUSED if state is ServerState.GONE:  # healed of what held it down, and frozen still
                await runtime.start(node)
                await runtime.pause(node)
            case _:
                pass

    async def _settled(self, name: str) -> ServerState:
        """Its state; of a server whose connections end, once the kernel has brought that to an end.

        A process that the kernel kills, or that exits, closes its connections first and is gone later.
        """
        state, tls = await self.bench.state(name), self.bench.plan.topology.tls

        async def settled() -> bool:
            nonlocal state
            state = await self.bench.state(name)
            return state is not ServerState.RUNNING or not await hangs_up(self.bench.node(name).direct, tls=tls)

        await eventually(settled, PROOF_DEADLINE_S)
        return state

    async def _end(self, name: str, ending: HoldDown) -> None:
        node, runtime = self.bench.node(name), self.bench.runtime
        match ending.by:
            case Ending.KILL:
                await runtime.kill(node)
            case Ending.POWER:
                await self._lose_power(name)
            case Ending.TERM:
                await runtime.stop(node)
            case Ending.SHUTDOWN:
                await self._shutdown(name, ending.options)

    async def _lose_power(self, name: str) -> None:
        """What it forked, a rewriting child, dies with it. The kernel writes nothing more for a dead process."""
        await self.bench.runtime.kill(self.bench.node(name))
        await end_children(self.bench, name)
        with page(self.bench, name) as shared:
            self._lost[name] = shared.lose_unsynced(data_folder(self.bench, name))

    async def _shutdown(self, name: str, options: tuple[str, ...]) -> None:
        """The connection closes instead of an answer; an answer is a refusal."""
        if await self.bench.state(name) is ServerState.PAUSED:
            await self.bench.runtime.resume(self.bench.node(name))
        session, reply = self.bench.session(name), None
        try:
            async with asyncio.timeout(_SHUTDOWN_DEADLINE_S):
                while True:
                    (reply,) = await session.call(("SHUTDOWN", *options))
                    if _FAILED_SHUTDOWN not in str(reply):
                        raise InjectionError(f"{name} refused to shut down: {reply}")
                    await asyncio.sleep(_ASK_AGAIN_S)
        except TimeoutError:
            raise InjectionError(
                f"{name} did not shut down within {_SHUTDOWN_DEADLINE_S:g} s: {reply or 'it does not answer'}"
            ) from None
        except (RedisError, OSError):
            await self._until_gone(name)
        finally:
            await session.close()

    async def _until_gone(self, name: str) -> None:
        async def gone() -> bool:
            return await self.bench.state(name) is ServerState.GONE

        if not await eventually(gone, _SHUTDOWN_DEADLINE_S):
            raise InjectionError(f"{name} closed the connection at SHUTDOWN and still runs.")


def _process_claims(actions: tuple[Action, ...]) -> set[str]:
    """Nodes whose process these claims are about."""
    return {
        action.node for action in actions if isinstance(action, HoldDown | HoldPaused | HoldKnob | HoldLimit | HoldFull)
    }
