"""Certificates and secrets of a lab, made when it comes up and gone when it goes down."""

from __future__ import annotations

import secrets as random_secrets
from pathlib import Path

from labctl.model.plan import ANNOUNCED_HOST, Secrets, TlsFiles
from labctl.plan.acl import make_secrets
from labctl.store.folders import write_private

AUTHORITY_KEY = "ca.key"
"""The authority's own key, in the folder of the certificates: maintenance issues another certificate with it."""


def make_certificates(folder: Path, *addresses: str) -> TlsFiles:
    """A certificate authority and one certificate that every server of the lab shows.

    Args:
        folder: Made for them.
        addresses: What the certificate is for, besides 127.0.0.1 and localhost.
    """
    import trustme  # noqa: PLC0415 - only a lab with TLS pays for it

    folder.mkdir(mode=0o700)
    authority = trustme.CA(organization_name="labctl lab")
    certificate = authority.issue_cert(*{ANNOUNCED_HOST, "localhost", *addresses})
    files = TlsFiles(ca=str(folder / "ca.crt"), cert=str(folder / "server.crt"), key=str(folder / "server.key"))
    write_private(Path(files.ca), authority.cert_pem.bytes().decode())
    write_private(folder / AUTHORITY_KEY, authority.private_key_pem.bytes().decode())
    write_private(Path(files.cert), "".join(blob.bytes().decode() for blob in certificate.cert_chain_pems))
    write_private(Path(files.key), certificate.private_key_pem.bytes().decode())
    return files


def fresh_secrets() -> Secrets:
    """Random passwords of 192 bits each."""
    return make_secrets(lambda: random_secrets.token_urlsafe(24))
