"""Counters in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labctl.links.spec import LinkState

if TYPE_CHECKING:
    from labctl.links.server import LinkServer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(server: LinkServer) -> str:
    """Render Toxiproxy's two counters, with live connections counted, and labctl's gauges and counters.

    Proxies that never had a connection are left out of all but the state: a large cluster has thousands.
    """
    received, sent = "toxiproxy_proxy_received_bytes_total", "toxiproxy_proxy_sent_bytes_total"
    accepted, refused = "labctl_link_accepted_total", "labctl_link_refused_total"
    failed, live, cut = "labctl_link_failed_total", "labctl_link_connections", "labctl_link_open"
    families: dict[str, tuple[str, list[str]]] = {
        received: ("counter", []),
        sent: ("counter", []),
        accepted: ("counter", []),
        refused: ("counter", []),
        failed: ("counter", []),
        live: ("gauge", []),
        cut: ("gauge", []),
    }
    for proxy in server:
        spec = proxy.spec
        link = f'proxy="{_escape(spec.name)}"'
        families[cut][1].append(f"{cut}{{{link}}} {int(proxy.state is LinkState.OPEN)}")
        if not (proxy.accepted or proxy.refused):
            continue
        stats = proxy.stats()
        where = f'{link},listener="{_escape(str(spec.listen))}",upstream="{_escape(str(spec.upstream))}"'
        for name, value in (
            (accepted, stats.accepted),
            (refused, stats.refused),
            (failed, stats.failed),
            (live, stats.connections),
        ):
            families[name][1].append(f"{name}{{{link}}} {value}")
        for direction, got, given in (
            ("upstream", stats.upstream_received, stats.upstream_sent),
            ("downstream", stats.downstream_received, stats.downstream_sent),
        ):
            families[received][1].append(f'{received}{{direction="{direction}",{where}}} {got}')
            families[sent][1].append(f'{sent}{{direction="{direction}",{where}}} {given}')
    lines: list[str] = []
    for name, (kind, samples) in families.items():
        if samples:
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(samples)
    return "\n".join(lines) + "\n"


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
