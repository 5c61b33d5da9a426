"""What an effect is, and the bench that all of them work on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import RedisError

from labctl.errors import InjectionError, LabError, RevertError
from labctl.model.fault import Action, ServerState

if TYPE_CHECKING:
    from labctl.model.plan import LabPlan, NodePlan
    from labctl.model.view import NodeView
    from labctl.observe.access import Access, Session
    from labctl.observe.poll import Observer
    from labctl.runtime.base import Links, Runtime
    from labctl.store.folders import LabFolder

BACK_DEADLINE_S = 30.0
"""How long a server that is started again may take to answer; it may have a large file to load."""
PROOF_DEADLINE_S = 5.0
"""How long an effect may take to show. None needs a tenth of it on a machine that is not overloaded."""
LOOK_S = 0.01

A = TypeVar("A", bound=Action)


@dataclass(frozen=True, slots=True)
class Bench:
    """What effects work with: one lab, held by its agent."""

    plan: LabPlan
    folder: LabFolder
    runtime: Runtime
    links: Links
    observer: Observer
    access: Access

    def node(self, name: str) -> NodePlan:
        """The node called `name`."""
        return self.plan.node(name)

    async def state(self, name: str) -> ServerState:
        """What the kernel says about its server now."""
        return await self.runtime.state(self.node(name))

    async def runs(self, name: str) -> bool:
        """Whether its server is there and not frozen."""
        return await self.state(name) is ServerState.RUNNING

    def session(self, name: str) -> Session:
        """A connection of the lab's own to the node, past every link, as admin."""
        return self.access.session(self.node(name))

    async def ask(self, name: str, *command: str | int, within_s: float = PROOF_DEADLINE_S) -> object:
        """One command on a connection of its own.

        Raises:
            InjectionError: It was refused, or nothing came back in time.
        """
        session = self.session(name)
        try:
            async with asyncio.timeout(within_s):
                return await session.one(*command)
        except TimeoutError:
            raise InjectionError(f"{name} did not answer {command[0]} within {within_s:g} s.") from None
        except (RedisError, OSError) as error:
            raise InjectionError(f"{name} refused {' '.join(map(str, command[:3]))}: {error}") from error
        finally:
            await session.close()

    async def view(self, name: str) -> NodeView:
        """The node as it is now."""
        return (await self.observer.poll()).node(name)

    async def answers(self, name: str) -> None:
        """Wait until the server runs and answers, be it that it is still loading.

        Raises:
            RevertError: It ended, or is silent for longer than any start takes.
        """
        node = self.node(name)
        last_words = self.runtime.last_words
        try:
            async with asyncio.timeout(BACK_DEADLINE_S):
                while True:
                    state = await self.runtime.state(node)
                    if state is not ServerState.RUNNING:
                        raise RevertError(
                            f"{name} was started again and is {state}.", f"Its last words:\n{last_words(node)}"
                        )
                    view = await self.view(name)
                    if view.up or view.loading or "loading" in view.error.lower():
                        return
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise RevertError(
                f"{name} runs and does not answer after {BACK_DEADLINE_S:g} s.",
                f"Its last words:\n{last_words(node)}",
            ) from None


@dataclass(frozen=True, slots=True)
class Felt:
    """How much of a fault the lab has felt so far.

    Attributes:
        times: How often, counted from wherever its counter began; 0 since a fault began says that it is in force and
            nothing has met it.
        some: What to say of it; `{}` stands for how often.
        none: What to say where it was not felt at all.
    """

    times: int
    some: str
    none: str

    def since(self, before: int) -> Felt:
        """Counted from when the counter stood at `before`; one that was reset meanwhile counts from its reset."""
        return replace(self, times=self.times - before if self.times >= before else self.times)

    @property
    def text(self) -> str:
        """In words."""
        return self.some.format(self.times) if self.times else self.none


class Effect:
    """One sort of claim. Every method may be called for claims of other sorts and passes over them.

    `apply` is idempotent and asks only what stands: it is called when claims are made, when they are dropped, and when
    a server that they are about was started again. Methods raise LabError and nothing else for what a lab may do.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    async def prepare(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> tuple[Action, ...]:  # noqa: ARG002
        """Look at the lab without changing it: refuse what could not take effect, fill in what an undo will need.

        Raises:
            LabError: It cannot take effect; says why and what would help.
        """
        return actions

    async def apply(self, touched: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """Bring everything that `touched` is about to what `standing` says."""

    async def strike(self, actions: tuple[Action, ...]) -> None:
        """Do what is done once and has no inverse. Only when a fault is injected."""

    async def prove(self, actions: tuple[Action, ...]) -> list[str]:  # noqa: ARG002
        """Measure that claims just made took effect; what was measured, in words.

        Raises:
            InjectionError: They did not.
        """
        return []

    async def felt(self, actions: tuple[Action, ...]) -> Felt | None:  # noqa: ARG002
        """What the lab has felt so far of claims that stand; None where `prove` has said all that there is to say."""
        return None

    async def aftermath(self, actions: tuple[Action, ...]) -> Felt | None:  # noqa: ARG002
        """What came of claims that were dropped, where the effect shows only then: a full resync after a cut."""
        return None

    async def prove_gone(self, actions: tuple[Action, ...], standing: tuple[Action, ...]) -> None:
        """Measure that nothing is left of claims just dropped, except what others hold still.

        Raises:
            RevertError: Names what remains.
        """

    async def close(self) -> None:
        """The agent leaves: end what belongs to it."""


def only(kind: type[A], actions: Iterable[Action]) -> Iterator[A]:
    """The actions of one sort."""
    return (action for action in actions if isinstance(action, kind))


async def eventually(condition: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    """Whether `condition` comes true in time. For what no event tells of: the state of a process, a file, a counter."""
    until = time.monotonic() + within_s
    while not await condition():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(LOOK_S)
    return True


def raise_together(results: Iterable[object]) -> None:
    """One error out of several, so that the first does not hide the others; anything but a LabError goes through."""
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        if not isinstance(error, LabError):
            raise error
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InjectionError("\n".join(str(error) for error in errors))
