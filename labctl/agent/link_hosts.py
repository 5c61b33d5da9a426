"""Where the proxies of a lab run: in the agent's own process, or, for a large lab, spread over worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from labctl.errors import LabError, UsageError
from labctl.links.change import ToxicChange
from labctl.links.server import LinkServer
from labctl.links.sockets import Sockets, own_sockets
from labctl.links.spec import LinkState, LinkStats, ListenError, ProxySpec
from labctl.links.tally import Tally
from labctl.links.tap import Tap
from labctl.links.worker import as_fields

API_PORT = 8474
"""Toxiproxy's own default; the next free one where it is taken."""
_LONGEST_ANSWER = 1024 * 1024


class LinkHost(Protocol):
    """Carries proxies."""

    async def add(self, specs: Sequence[ProxySpec]) -> None:
        """Listen. Raises ListenError for an address that cannot be bound."""

    async def hold(self, names: Sequence[str], state: LinkState) -> None:
        """Hold proxies in a state, or let go of them; in force when this returns."""

    def held(self) -> Mapping[str, LinkState]:
        """The state that every proxy is held in."""
        ...

    def states(self) -> Mapping[str, LinkState]:
        """The state of every proxy; those that it is not held in were asked for through the API."""
        ...

    async def change_toxics(self, changes: Mapping[str, ToxicChange]) -> None:
        """Change toxics by proxy; in force when this returns."""

    async def tallies(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Tally]]:
        """The toxics that proxies have now, those of users of the API too, and what each has done so far."""
        ...

    def stats(self) -> Mapping[str, LinkStats]:
        """The counters of every proxy; nothing where they are in other processes."""
        ...

    def listen(self, taps: Mapping[str, Tap | None]) -> bool:
        """Let taps listen to proxies by name, or nobody any more; whether that is possible here."""
        ...

    async def serve_api(self) -> list[str]:
        """Serve Toxiproxy's API on loopback; the addresses, one a process."""
        ...

    async def close(self) -> None:
        """Close every connection and free every port."""


class OwnProcess:
    """One link server on the agent's own loop.

    Args:
        sockets: Makes its sockets, where addresses are in network namespaces.
    """

    def __init__(self, sockets: Sockets = own_sockets) -> None:
        self.server = LinkServer(sockets=sockets)
        self._stack = contextlib.AsyncExitStack()

    async def add(self, specs: Sequence[ProxySpec]) -> None:
        """See `LinkHost`."""
        self.server.add_many(specs)

    async def hold(self, names: Sequence[str], state: LinkState) -> None:
        """See `LinkHost`."""
        self.server.hold(names, state)

    def held(self) -> Mapping[str, LinkState]:
        """Read from the server."""
        return self.server.held()

    def states(self) -> Mapping[str, LinkState]:
        """As they are now, whoever changed them."""
        return self.server.states()

    async def change_toxics(self, changes: Mapping[str, ToxicChange]) -> None:
        """See `LinkHost`."""
        for name, change in changes.items():
            change.make(self.server, name)

    async def tallies(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Tally]]:
        """See `LinkHost`."""
        return {name: self.server.toxics(name).tallies() for name in names}

    def stats(self) -> Mapping[str, LinkStats]:
        """See `LinkHost`."""
        return {proxy.spec.name: proxy.stats() for proxy in self.server}

    def listen(self, taps: Mapping[str, Tap | None]) -> bool:
        """See `LinkHost`."""
        self.server.listen(taps)
        return True

    async def serve_api(self) -> list[str]:
        """See `LinkHost`."""
        from labctl.links.api import serve_api  # noqa: PLC0415 - a web framework, wanted once the lab is up

        try:
            address = await self._stack.enter_async_context(serve_api(self.server, port=API_PORT))
        except ListenError:
            address = await self._stack.enter_async_context(serve_api(self.server))
        return [str(address)]

    async def close(self) -> None:
        """See `LinkHost`."""
        self.server.close()
        await self._stack.aclose()


class Workers:
    """Link servers in processes of their own. All links to one node are in the same one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._workers: list[_Worker] = []
        self._of_port: dict[int, _Worker] = {}
        self._of_name: dict[str, _Worker] = {}
        self._states: dict[str, LinkState] = {}

    async def add(self, specs: Sequence[ProxySpec]) -> None:
        """See `LinkHost`. After a ListenError every worker is gone, and the next call starts anew."""
        if not self._workers:
            self._workers = list(await asyncio.gather(*(_Worker.start() for _ in range(self._count))))
        shares: dict[_Worker, list[ProxySpec]] = {worker: [] for worker in self._workers}
        for spec in specs:
            worker = self._worker_of(spec)
            shares[worker].append(spec)
            self._of_name[spec.name] = worker
            self._states[spec.name] = LinkState.OPEN
        try:
            await asyncio.gather(*(worker.ask(add=[as_fields(s) for s in share]) for worker, share in shares.items()))
        except LabError:
            await self.close()
            raise

    async def hold(self, names: Sequence[str], state: LinkState) -> None:
        """See `LinkHost`."""
        shares: dict[_Worker, list[str]] = {}
        for name in names:
            shares.setdefault(self._of_name[name], []).append(name)
        await asyncio.gather(*(w.ask(hold=share, state=state.value) for w, share in shares.items()))
        self._states.update(dict.fromkeys(names, state))

    def held(self) -> Mapping[str, LinkState]:
        """As they were held last; nobody else can change that."""
        return self._states

    def states(self) -> Mapping[str, LinkState]:
        """As they are held; what users asked for through the API of a worker, only that worker knows."""
        return self._states

    async def change_toxics(self, changes: Mapping[str, ToxicChange]) -> None:
        """See `LinkHost`."""
        shares: dict[_Worker, dict[str, list[Any]]] = {}
        for name, change in changes.items():
            shares.setdefault(self._of_name[name], {})[name] = change.to_fields()
        await asyncio.gather(*(worker.ask(change_toxics=share) for worker, share in shares.items()))

    async def tallies(self, names: Sequence[str]) -> Mapping[str, Mapping[str, Tally]]:
        """See `LinkHost`."""
        shares: dict[_Worker, list[str]] = {}
        for name in names:
            shares.setdefault(self._of_name[name], []).append(name)
        answers = await asyncio.gather(*(worker.ask(tallies=share) for worker, share in shares.items()))
        return {
            name: {toxic: Tally(*tally) for toxic, tally in found.items()}
            for answer in answers
            for name, found in answer.items()
        }

    def stats(self) -> Mapping[str, LinkStats]:
        """See `LinkHost`."""
        return {}

    def listen(self, taps: Mapping[str, Tap | None]) -> bool:
        """Not possible: a lab this large has more to say than anybody wants to read."""
        del taps
        return False

    async def serve_api(self) -> list[str]:
        """See `LinkHost`."""
        return [str(await worker.ask(serve_api=API_PORT)) for worker in self._workers]

    async def close(self) -> None:
        """See `LinkHost`."""
        await asyncio.gather(*(worker.close() for worker in self._workers))
        self._workers.clear()
        self._of_port.clear()
        self._of_name.clear()
        self._states.clear()

    def _worker_of(self, spec: ProxySpec) -> _Worker:
        port = spec.listen.port
        if port not in self._of_port:
            self._of_port[port] = self._workers[len(self._of_port) % self._count]
        return self._of_port[port]


class _Worker:
    """One worker process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def start(cls) -> _Worker:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "labctl.links.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST_ANSWER,
            )
        )

    async def ask(self, **request: object) -> Any:
        """One request, one answer. Raises what the worker refused, or LabError when it is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                await self._process.stdin.drain()
                line = await self._process.stdout.readline()
            except OSError as error:
                raise _gone() from error
        if not line:
            raise _gone()
        answer = json.loads(line)
        if "error" in answer:
            kinds: dict[str, type[LabError]] = {"ListenError": ListenError, "UnknownProxyError": UsageError}
            raise kinds.get(answer["kind"], LabError)(answer["error"], answer["hint"])
        return answer["ok"]

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


def _gone() -> LabError:
    return LabError("A process that carries links of the lab has ended.", "labctl down, and up again.")


def by_state(wanted: Mapping[str, LinkState]) -> Iterable[tuple[LinkState, list[str]]]:
    """Names grouped by the state that they are to enter."""
    for state in sorted(set(wanted.values())):
        yield state, [name for name, to in wanted.items() if to is state]
