"""The link server: proxies by name, states in bulk.

Everything here runs on one event loop and returns without waiting: adding binds, cutting assigns. The HTTP API
(`labctl.links.api`) and the lab's agent are two callers of the same object.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, Self

from labctl.errors import LabError
from labctl.links.listener import Listener
from labctl.links.poller import Poller, make_poller
from labctl.links.proxy import Proxy
from labctl.links.sockets import Sockets, own_sockets
from labctl.links.spec import (
    Address,
    AddressError,
    LinkState,
    LinkStats,
    ListenError,
    ProxyExistsError,
    ProxySpec,
    UnknownProxyError,
)
from labctl.links.tap import Tap
from labctl.links.toxics.collection import ToxicCollection

Selection = Iterable[str] | Callable[[ProxySpec], bool]
"""Proxies by name, or by a predicate over their specs."""


class LinkServer:
    """Proxies on shared listeners. Make it, use it and close it on one running event loop.

    Args:
        seed: Of everything that toxics draw: the same seed and the same connections give the same draws.
        expose: Allow listen addresses that other machines can reach.
        poller: For tests; the platform's fastest by default.
        sockets: Makes the sockets, where addresses are in network namespaces.
    """

    def __init__(
        self, *, seed: int = 0, expose: bool = False, poller: Poller | None = None, sockets: Sockets = own_sockets
    ) -> None:
        self.seed = seed
        self._sockets = sockets
        self._expose = expose
        self._poller = poller or make_poller(asyncio.get_running_loop())
        self._proxies: dict[str, Proxy] = {}
        self._listeners: dict[Address, Listener] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Reset every connection and free every port."""
        for proxy in self._proxies.values():
            self._end(proxy)
        for listener in self._listeners.values():
            listener.close()
        self._proxies.clear()
        self._listeners.clear()
        self._poller.close()

    def __len__(self) -> int:
        return len(self._proxies)

    def __iter__(self) -> Iterator[Proxy]:
        return iter(self._proxies.values())

    def __contains__(self, name: object) -> bool:
        return name in self._proxies

    def get(self, name: str) -> Proxy:
        """Return a proxy.

        Raises:
            UnknownProxyError: There is none of that name.
        """
        try:
            return self._proxies[name]
        except KeyError:
            raise UnknownProxyError(name) from None

    # Adding and removing

    def add(self, spec: ProxySpec) -> ProxySpec:
        """Add one proxy. See `add_many`."""
        return self.add_many([spec])[0]

    def add_many(self, specs: Iterable[ProxySpec]) -> list[ProxySpec]:
        """Add proxies, all or none, and listen.

        Returns:
            The specs as they are now: a listen port of 0 is replaced by the port taken.

        Raises:
            ProxyExistsError: A name, or a pair of listen address and source, is taken.
            AddressError: A listen address is neither loopback nor allowed.
            ListenError: A listen address cannot be bound.
        """
        added: list[Proxy] = []
        touched: dict[Address, Listener] = {}
        try:
            for spec in specs:
                self._require_free(spec.name)
                listener = self._listener(spec.listen)
                touched[listener.address] = listener
                if not spec.listen.port:
                    spec = dataclasses.replace(spec, listen=listener.address)  # noqa: PLW2901
                proxy = Proxy(spec, self._poller, self._sockets)
                listener.put(proxy)
                self._proxies[spec.name] = proxy
                added.append(proxy)
            for listener in touched.values():
                listener.update()
        except BaseException:
            self._take_out(added, touched)
            raise
        return [proxy.spec for proxy in added]

    def remove(self, name: str) -> None:
        """Remove a proxy and reset its connections.

        Raises:
            UnknownProxyError: There is none of that name.
        """
        self.remove_many([name])

    def remove_many(self, names: Iterable[str]) -> None:
        """Remove proxies, all or none. See `remove`."""
        proxies = [self.get(name) for name in names]
        self._take_out(proxies, {p.spec.listen: self._listeners[p.spec.listen] for p in proxies})

    def replace(self, name: str, *, listen: Address | None = None, upstream: Address | None = None) -> ProxySpec:
        """Move a proxy to another listen address or upstream; its connections are reset, its counters stay.

        Returns:
            The spec as it is now.

        Raises:
            UnknownProxyError: There is none of that name.
            ProxyExistsError: Another proxy has the listen address and source.
            AddressError: The new listen address is neither loopback nor allowed.
            ListenError: It cannot be bound. Nothing has changed after any of these errors.
        """
        proxy = self.get(name)
        old = self._listeners[proxy.spec.listen]
        spec = dataclasses.replace(proxy.spec, upstream=upstream or proxy.spec.upstream)
        if listen is not None and listen != spec.listen:
            new = self._listener(listen)
            try:
                new.put(proxy)
                new.update()
            except LabError:
                new.drop(proxy)
                proxy.listener = old
                self._tidy(new)
                raise
            spec = dataclasses.replace(spec, listen=new.address)
            old.drop(proxy)
            self._tidy(old)
        proxy.spec = spec
        proxy.close()
        return spec

    def _require_free(self, name: str) -> None:
        if name in self._proxies:
            raise ProxyExistsError(f"a link called {name!r} exists already", "Give it another name.")

    def _listener(self, address: Address) -> Listener:
        known = self._listeners.get(address)
        if known is not None:
            return known
        if not (self._expose or address.is_loopback or address.namespace):
            raise AddressError(
                f"listen tcp {address}: not a loopback address, and this server listens on loopback only",
                "Listen on 127.0.0.1.",
            )
        listener = Listener(address, self._poller, self._sockets)
        self._listeners[listener.address] = listener
        return listener

    def _take_out(self, proxies: Iterable[Proxy], listeners: dict[Address, Listener]) -> None:
        for proxy in proxies:
            del self._proxies[proxy.spec.name]
            listeners[proxy.spec.listen].drop(proxy)
            self._end(proxy)
        for listener in listeners.values():
            self._tidy(listener)

    def _tidy(self, listener: Listener) -> None:
        """Close a listener that lost its last proxy; let others listen or not as their states say."""
        if len(listener):
            listener.update()
        else:
            del self._listeners[listener.address]
            listener.close()

    @staticmethod
    def _end(proxy: Proxy) -> None:
        proxy.close()
        if proxy.toxics is not None:
            proxy.toxics.forget_timers()

    # Toxics

    def toxics(self, name: str) -> ToxicCollection:
        """Return the toxics of a proxy, to be read and changed.

        Raises:
            UnknownProxyError: There is none of that name.
        """
        proxy = self.get(name)
        if proxy.toxics is None:
            proxy.toxics = ToxicCollection(proxy, self.seed)
        return proxy.toxics

    def reset(self) -> None:
        """Open every link and remove every toxic, except what is held.

        Raises:
            ListenError: A port could not be listened on again; everything else was done.
        """
        for proxy in self._proxies.values():
            if proxy.toxics is not None:
                proxy.toxics.clear()
        self.set_state(self._proxies, LinkState.OPEN)

    # Listening

    def listen(self, taps: Mapping[str, Tap | None]) -> None:
        """Let taps listen to proxies by name, or nobody any more. Bytes go on as before, whoever listens.

        Raises:
            UnknownProxyError: A name is unknown; nothing was changed.
        """
        for proxy in self._select(taps):
            proxy.listen(taps[proxy.spec.name])

    # States

    def set_state(self, which: Selection, state: LinkState) -> int:
        """Put links into `state`, as far as none is held in a worse one. In force when this returns; nothing waits.

        Args:
            which: Names, or a predicate over specs.
            state: The state to enter.

        Returns:
            How many links changed.

        Raises:
            UnknownProxyError: A name is unknown; nothing was changed.
            ListenError: A port could not be listened on again: its links are still REFUSED, all others have changed.
        """
        proxies = self._select(which)
        for proxy in proxies:
            proxy.asked = state
        return self._enter(proxies, "asked")

    def hold(self, which: Selection, state: LinkState) -> int:
        """Hold links in `state` or worse, whatever `set_state` and `reset` say; OPEN lets go. See `set_state`."""
        proxies = self._select(which)
        for proxy in proxies:
            proxy.held = state
        return self._enter(proxies, "held")

    def _enter(self, proxies: list[Proxy], wish: Literal["asked", "held"]) -> int:
        """First nothing passes through any of them, then listeners stop or start, then connections are told.

        So the first link and the last are cut within the time of some assignments; closing thousands of sockets
        comes after.
        """
        refused = LinkState.REFUSED
        changed = [(proxy, before) for proxy in proxies if (before := proxy.enter()) is not None]
        touched = {proxy.listener for proxy, before in changed if before is refused or proxy.state is refused}
        failure: ListenError | None = None
        for listener in touched:
            assert listener is not None
            try:
                listener.update()
            except ListenError as error:
                failure = failure or error
                for proxy, _ in changed:
                    if proxy.listener is listener:
                        setattr(proxy, wish, refused)
                        proxy.enter()
        for proxy, _ in changed:
            proxy.settle()
        if failure is not None:
            raise failure
        return len(changed)

    def states(self) -> dict[str, LinkState]:
        """Return every link's state by name."""
        return {name: proxy.state for name, proxy in self._proxies.items()}

    def held(self) -> dict[str, LinkState]:
        """Return the state that every link is held in by name; see `hold`."""
        return {name: proxy.held for name, proxy in self._proxies.items()}

    def stats(self, name: str) -> LinkStats:
        """Return a link's counters.

        Raises:
            UnknownProxyError: There is none of that name.
        """
        return self.get(name).stats()

    def _select(self, which: Selection) -> list[Proxy]:
        if callable(which):
            return [proxy for proxy in self._proxies.values() if which(proxy.spec)]
        try:
            return [self._proxies[name] for name in which]
        except KeyError as error:
            raise UnknownProxyError(str(error.args[0])) from None
