"""Certificates that are changed while servers run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from labctl.actions.kind import ActionKind, Param
from labctl.agent.tls import AUTHORITY_KEY
from labctl.errors import LabError
from labctl.model.plan import ANNOUNCED_HOST, RuntimeName
from labctl.model.topology import Role
from labctl.store.folders import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.actions.operator import Operator
    from labctl.model.fault import Scalar
    from labctl.model.plan import TlsFiles
    from labctl.model.topology import Topology


async def cert_rotate(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """A new certificate and key in place of the old ones; CONFIG SET has servers read them, Sentinels are restarted."""
    tls = operator.lab.keys().tls
    if tls is None or operator.plan.runtime is not RuntimeName.PROCESS:
        raise LabError("There are no certificates on this machine's disk.", "tls: true, --runtime process")
    names = await operator.targets(target)
    cert, key = await asyncio.to_thread(_issue, tls, str(params["authority"]))
    for name in names:
        if operator.plan.node(name).role is Role.SENTINEL:
            await operator.fault("restart", name, by="term")
        else:
            await operator.call(name, "CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key)
    return f"{', '.join(names)} show a new certificate of {_OWN if params['authority'] == 'same' else 'a stranger'}"


_OWN = "the lab's own authority"


def _issue(tls: TlsFiles, authority: str) -> tuple[str, str]:
    """Write a certificate and its key over those of the lab; a stranger's beside them. Paths of both.

    The lab's own look at its nodes goes through the same files, so a stranger's certificate must not replace them.
    """
    import trustme  # noqa: PLC0415 - only a lab with TLS pays for it

    folder = Path(tls.ca).parent
    if authority == "same":
        issuer = trustme.CA.from_pem(Path(tls.ca).read_bytes(), (folder / AUTHORITY_KEY).read_bytes())
        cert, key = Path(tls.cert), Path(tls.key)
    else:
        issuer = trustme.CA(organization_name="a stranger")
        cert, key = folder / "stranger.crt", folder / "stranger.key"
    issued = issuer.issue_cert(ANNOUNCED_HOST, "localhost")
    write_private(cert, "".join(blob.bytes().decode() for blob in issued.cert_chain_pems))
    write_private(key, issued.private_key_pem.bytes().decode())
    return str(cert), str(key)


def _refuse(_: Mapping[str, Scalar], topology: Topology) -> str | None:
    return None if topology.tls else f"`{topology.name}` has no TLS"


KINDS = (
    ActionKind(
        "cert-rotate",
        "Give servers another certificate while they run (CONFIG SET tls-cert-file), Sentinels by a restart",
        "all",
        cert_rotate,
        (
            Param(
                "authority",
                "same: of the lab's own authority; other: of one that nobody trusts",
                "same",
                choices=("same", "other"),
            ),
        ),
        refuse=_refuse,
    ),
)
