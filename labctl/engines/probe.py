"""Asking a server binary what it is: its flavour and version, and whether it was built with TLS.

Both questions are answered by short-lived processes that never listen.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from labctl.model.engine import Capability, Flavour, Version

_VERSION = re.compile(r"(?P<flavour>Redis|Valkey) server v=(?P<version>[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5})")
_PATIENCE_S = 10.0
# A TLS port without a certificate: a build with TLS complains of the certificate, one without of the port (or, before
# Redis 7.0, of the directive). Either way it exits before it listens.
_TLS_QUESTION = ("--port", "0", "--tls-port", "1", "--bind", "127.0.0.1", "--save", "", "--loglevel", "notice")
_TLS_ANSWERS = ("No tls-cert-file configured", "Failed to configure TLS")


class ProbeError(Exception):
    """The file does not answer as a server does; the message says how."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a binary said of itself."""

    flavour: Flavour
    version: Version
    tls: bool


def probe(path: str) -> Answer:
    """Ask the binary at `path` what it is.

    Raises:
        ProbeError: It cannot be run, or is no Redis or Valkey server.
    """
    flavour, version = _ask_version(path)
    return Answer(flavour, version, _ask_tls(path))


def capabilities(answer: Answer) -> tuple[Capability, ...]:
    """What follows from flavour, version and build, sorted."""
    redis, version = answer.flavour is Flavour.REDIS, answer.version
    has = {
        Capability.TLS: answer.tls,
        Capability.LINKS: version >= (7, 0, 0),
        Capability.DEBUG_GATE: version >= (7, 0, 0),
        Capability.WAITAOF: version >= (7, 2, 0),
        Capability.COORDINATED_FAILOVER: not redis and version >= (9, 0, 0),
        Capability.MIGRATE_SLOTS: not redis and version >= (9, 0, 0),
    }
    return tuple(sorted(capability for capability, there in has.items() if there))


def _ask_version(path: str) -> tuple[Flavour, Version]:
    said = _run(path, "--version")
    match = _VERSION.search(said)
    if match is None:
        first_line = said.strip().partition("\n")[0][:200]
        raise ProbeError(f"does not answer --version as a server does: {first_line or 'it says nothing'}")
    major, minor, patch = (int(number) for number in match["version"].split("."))
    return Flavour(match["flavour"].lower()), (major, minor, patch)


def _ask_tls(path: str) -> bool:
    said = _run(path, *_TLS_QUESTION)
    return any(answer in said for answer in _TLS_ANSWERS)


def _run(path: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeError(f"did not exit within {_PATIENCE_S:g} s when asked `{' '.join(arguments)}`") from error
    except OSError as error:
        raise ProbeError(f"cannot be run: {error.strerror}") from error
    return done.stdout.decode(errors="replace")
