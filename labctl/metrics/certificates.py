"""Until when the certificates are valid that nodes show: looked at by shaking hands, as a client would see them."""

from __future__ import annotations

import asyncio
import time
from ssl import CERT_NONE, PROTOCOL_TLS_CLIENT, SSLContext, SSLError

from labctl.metrics.exposition import Exposition
from labctl.metrics.scrape import labels_of
from labctl.model.plan import LabPlan, NodePlan, TlsFiles

LOOK_EVERY_S = 10.0
"""A handshake costs a server a millisecond of its processor, and a certificate does not change unasked."""
_DEADLINE_S = 2.0


class Certificates:
    """What each node of a lab with TLS showed last. One that does not shake hands keeps what it showed before."""

    def __init__(self, plan: LabPlan, tls: TlsFiles) -> None:
        self._plan = plan
        self._context = _context(tls)
        self._not_after: dict[str, float] = {}
        self._due = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def look(self, within_s: float) -> None:
        """Look if it is time to, and wait for it no longer than this."""
        if self._looking is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + LOOK_EVERY_S
            self._looking = asyncio.create_task(self._look(), name="look at certificates")
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=within_s)
            if self._looking.done():
                self._looking = None

    def write(self, out: Exposition) -> None:
        """Their metric."""
        for node in self._plan.nodes:
            if (until := self._not_after.get(node.name)) is not None:
                text = "When the certificate that a node shows ends, Unix time."
                out.gauge("labctl_certificate_not_after_seconds", text, until, **labels_of(node))

    async def _look(self) -> None:
        found = await asyncio.gather(*(self._shown(node) for node in self._plan.nodes))
        for node, until in zip(self._plan.nodes, found, strict=True):
            if until is not None:
                self._not_after[node.name] = until

    async def _shown(self, node: NodePlan) -> float | None:
        from cryptography import x509  # noqa: PLC0415 - only a lab with TLS pays for it

        host, port = node.direct
        try:
            async with asyncio.timeout(_DEADLINE_S):
                _, writer = await asyncio.open_connection(host, port, ssl=self._context)
                try:
                    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                finally:
                    writer.transport.abort()
        except (OSError, SSLError, TimeoutError):
            return None
        return x509.load_der_x509_certificate(shown).not_valid_after_utc.timestamp()


def _context(tls: TlsFiles) -> SSLContext:
    """Trusts anybody: what is of interest is what a node shows, also when it is not valid any more."""
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = CERT_NONE
    context.load_cert_chain(tls.cert, tls.key)
    return context
