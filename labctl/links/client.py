"""One client for labctl's link server and for Toxiproxy: it raises on every failure and reads back what it changed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from labctl.errors import InjectionError, LabError, UsageError
from labctl.links.spec import LinkState
from labctl.links.transport import HttpTransport, LibraryTransport, Transport, is_library_here

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = Any


class RefusedRequestError(UsageError):
    """The server refused a request (4xx).

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, message: str, hint: str, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


class ServerFailedError(LabError):
    """The server could not do what was asked (5xx), bind a port for example.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, message: str, hint: str, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class ToxicView:
    """A toxic as the server states it. `ttl_ms` and `seed` are known to labctl's server only."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, int | float | str | bool]
    ttl_ms: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class ProxyView:
    """A proxy as the server states it. `source`, `state` and `stats` are known to labctl's server only.

    Attributes:
        name: Unique on the server.
        listen: `host:port` where it listens.
        upstream: `host:port` where it connects to.
        enabled: False refuses connections.
        toxics: The upstream chain first.
        source: The peer address that it carries; None for any.
        state: With Toxiproxy, what `enabled` says.
        stats: Counters of `LinkStats`; empty with Toxiproxy.
    """

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[ToxicView, ...]
    source: str | None = None
    state: LinkState = LinkState.OPEN
    stats: Mapping[str, int] = field(default_factory=dict)


class ToxiproxyClient:
    """Speaks Toxiproxy's HTTP API, synchronously.

    Args:
        host: Of the API.
        port: Of the API.
        timeout_s: Of each request, in seconds.
        through: `http` is the standard library; `library` is toxiproxy-python; None takes the latter where installed.

    Every method raises `ServerUnreachableError` when nothing answers, `RefusedRequestError` on a 4xx and
    `ServerFailedError` on a 5xx; those that change something also `InjectionError` when the server's own account
    afterwards differs from what was asked for.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8474,
        *,
        timeout_s: float = 10.0,
        through: Literal["http", "library"] | None = None,
    ) -> None:
        library = is_library_here() if through is None else through == "library"
        self._where = f"{host}:{port}"
        self._transport: Transport = (LibraryTransport if library else HttpTransport)(host, port, timeout_s)

    def version(self) -> str:
        """Return the version of Toxiproxy that the server says it is."""
        return str(self._call("GET", "/version")["version"])

    # Proxies

    def proxies(self) -> dict[str, ProxyView]:
        """Return all proxies by name."""
        return {name: _proxy(stated) for name, stated in self._call("GET", "/proxies").items()}

    def proxy(self, name: str) -> ProxyView:
        """Return one proxy."""
        return _proxy(self._call("GET", _path(name)))

    def create(
        self, name: str, upstream: str, listen: str = "127.0.0.1:0", *, enabled: bool = True, source: str | None = None
    ) -> ProxyView:
        """Create a proxy and return it with the address that it listens on.

        `source` needs labctl's server; on Toxiproxy the proxy is removed again and the call fails.
        """
        body: dict[str, Json] = {"name": name, "upstream": upstream, "listen": listen, "enabled": enabled}
        if source is not None:
            body["source"] = source
        self._call("POST", "/proxies", body)
        made = self.proxy(name)
        if made.source != source:
            self.delete(name)
            raise InjectionError(
                f"the server at {self._where} does not tell connections apart by their source",
                "Toxiproxy cannot; labctl's link server can.",
            )
        self._expect(f"proxy {name}", {"enabled": enabled}, made)
        return made

    def populate(self, proxies: Iterable[Mapping[str, Json]]) -> list[ProxyView]:
        """Create the proxies that are missing or have other addresses; leave the rest as they are."""
        stated = self._call("POST", "/populate", list(proxies))["proxies"]
        return [_proxy(proxy) for proxy in stated or []]

    def enable(self, name: str) -> ProxyView:
        """Let a proxy accept again."""
        return self._change(name, enabled=True)

    def disable(self, name: str) -> ProxyView:
        """Close a proxy's connections and refuse new ones: the toxic that Toxiproxy's documentation calls `down`."""
        return self._change(name, enabled=False)

    def set_state(self, name: str, state: LinkState) -> ProxyView:
        """Put a link into `state`. BLACKHOLE needs labctl's server."""
        if state is LinkState.BLACKHOLE:
            return self._change(name, state=state.value)
        changed = self._change(name, enabled=state is LinkState.OPEN)
        # A black-holed link counts as enabled already, so opening it has to be said by name.
        return changed if changed.state is state else self._change(name, state=state.value)

    def move(self, name: str, *, listen: str | None = None, upstream: str | None = None) -> ProxyView:
        """Give a proxy other addresses; its connections are closed."""
        stated = {"listen": listen, "upstream": upstream}
        return self._change(name, **{key: value for key, value in stated.items() if value is not None})

    def delete(self, name: str) -> None:
        """Remove a proxy."""
        self._call("DELETE", _path(name))

    def reset(self) -> None:
        """Enable every proxy and remove every toxic."""
        self._call("POST", "/reset")
        left = [name for name, proxy in self.proxies().items() if proxy.toxics or proxy.state is not LinkState.OPEN]
        if left:
            raise InjectionError(f"after a reset, {self._where} still has faults on {', '.join(sorted(left))}")

    # Toxics

    def toxics(self, proxy: str) -> dict[str, ToxicView]:
        """Return a proxy's toxics by name, the upstream chain first."""
        return {stated["name"]: _toxic(stated) for stated in self._call("GET", f"{_path(proxy)}/toxics")}

    def add_toxic(
        self,
        proxy: str,
        kind: str,
        *,
        name: str | None = None,
        stream: str | None = None,
        toxicity: float = 1.0,
        ttl_ms: int | None = None,
        seed: int | None = None,
        **attributes: float | str | bool,
    ) -> ToxicView:
        """Add a toxic of type `kind`. `ttl_ms` and `seed` need labctl's server."""
        stated = {"name": name, "stream": stream, "ttl_ms": ttl_ms, "seed": seed}
        body: dict[str, Json] = {"type": kind, "toxicity": toxicity, "attributes": attributes}
        body.update((key, value) for key, value in stated.items() if value is not None)
        answered = _toxic(self._call("POST", f"{_path(proxy)}/toxics", body))
        made = self._toxic_at(proxy, answered.name)
        wanted = {"type": kind, "toxicity": toxicity} | {k: v for k, v in stated.items() if v is not None}
        try:
            self._expect(f"toxic {made.name} on proxy {proxy}", wanted, made)
            self._expect_attributes(proxy, made, attributes)
        except InjectionError:
            self.remove_toxic(proxy, made.name)
            raise
        return made

    def update_toxic(
        self, proxy: str, name: str, *, toxicity: float | None = None, **attributes: float | str | bool
    ) -> ToxicView:
        """Change the toxicity or attributes that are given, and leave the others."""
        body: dict[str, Json] = {"attributes": attributes}
        if toxicity is not None:
            body["toxicity"] = toxicity
        self._call("POST", _path(proxy, name), body)
        now = self._toxic_at(proxy, name)
        self._expect(f"toxic {name} on proxy {proxy}", {} if toxicity is None else {"toxicity": toxicity}, now)
        self._expect_attributes(proxy, now, attributes)
        return now

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Remove a toxic."""
        self._call("DELETE", _path(proxy, name))
        if name in self.toxics(proxy):
            raise InjectionError(f"toxic {name} is still on proxy {proxy} of {self._where} after its removal")

    # Inside

    def _toxic_at(self, proxy: str, name: str) -> ToxicView:
        return _toxic(self._call("GET", _path(proxy, name)))

    def _change(self, name: str, **stated: Json) -> ProxyView:
        self._call("POST", _path(name), stated)
        now = self.proxy(name)
        wanted = {k: v for k, v in stated.items() if k != "listen" or not str(v).endswith(":0")}
        self._expect(f"proxy {name}", wanted, now)
        return now

    def _expect(self, what: str, wanted: Mapping[str, Json], seen: ProxyView | ToxicView) -> None:
        for key, value in wanted.items():
            found = getattr(seen, key)
            same = abs(found - value) < 1e-6 if isinstance(value, float) else found == value
            if not same:
                raise InjectionError(f"{what} of {self._where}: asked for {key} {value!r}, the server says {found!r}")

    def _expect_attributes(self, proxy: str, seen: ToxicView, wanted: Mapping[str, Json]) -> None:
        for key, value in wanted.items():
            if seen.attributes.get(key) != value:
                raise InjectionError(
                    f"toxic {seen.name} on proxy {proxy} of {self._where}: asked for {key} {value!r}, "
                    f"the server says {seen.attributes.get(key)!r}",
                    f"A {seen.type} toxic has: {', '.join(seen.attributes)}.",
                )

    def _call(self, method: str, path: str, body: Json = None) -> Json:
        status, content = self._transport.request(method, path, body)
        if status < 300:
            return json.loads(content) if content else None
        text = content.decode("utf-8", "replace").strip()
        try:
            text = str(json.loads(text)["error"])
        except (ValueError, KeyError, TypeError):
            text = text or "no reason given"
        message = f"{method} {path} at {self._where} failed with {status}: {text}"
        if status >= 500:
            raise ServerFailedError(message, "Is the port free, and the server healthy? Its log has more.", status)
        raise RefusedRequestError(message, "Check the names and attributes in the request.", status)


def _path(*names: str) -> str:
    """`/proxies/a` or `/proxies/a/toxics/b`, quoted."""
    first, *rest = (quote(name, safe="") for name in names)
    return f"/proxies/{first}" + "".join(f"/toxics/{name}" for name in rest)


def _toxic(stated: Mapping[str, Json]) -> ToxicView:
    return ToxicView(
        stated["name"],
        stated["type"],
        stated["stream"],
        float(stated["toxicity"]),
        dict(stated["attributes"]),
        stated.get("ttl_ms"),
        stated.get("seed"),
    )


def _proxy(stated: Mapping[str, Json]) -> ProxyView:
    enabled = bool(stated["enabled"])
    return ProxyView(
        stated["name"],
        stated["listen"],
        stated["upstream"],
        enabled,
        tuple(_toxic(toxic) for toxic in stated.get("toxics", ())),
        stated.get("source"),
        LinkState(stated.get("state") or (LinkState.OPEN if enabled else LinkState.REFUSED)),
        dict(stated.get("stats", {})),
    )
