"""Which images a lab runs on: what was asked for, what is here, what can be pulled."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from labctl import __version__
from labctl.engines.find import VARIABLE, is_path
from labctl.errors import CapabilityError, LabError, UsageError
from labctl.model.plan import LinksBy
from labctl.model.topology import Topology
from labctl.runtime.docker.engine import Engine, RefusedError
from labctl.runtime.docker.pods import not_startable

TOXIPROXY = "ghcr.io/shopify/toxiproxy:2.12.0"
BUILT_TOXIPROXY = "labctl/toxiproxy:2.12.0"
BUILT_LABCTL = f"labctl/labctl:{__version__}"
"""labctl's own link server, and the helpers that do to a pod what Toxiproxy cannot. In no registry."""
TOXIPROXY_VARIABLE = "LABCTL_TOXIPROXY_IMAGE"
ENGINE_LABEL, TLS_LABEL, VERSION_LABEL = "labctl.engine", "labctl.tls", "labctl.version"
"""On images that `labctl images build` makes: `redis 7.0.15`, and `yes` or `no`; labctl's own version on its own."""

_DEFAULT = "redis-8"
_NAMELESS = "<none>:<none>"
"""An image whose name another one took, as old engines list it."""
_ENGINE = re.compile(r"(?P<flavour>redis|valkey)(?:-(?P<major>[0-9]{1,5}))?")
_REFERENCE = re.compile(r"[a-z0-9][a-zA-Z0-9._\-/:@]{0,254}")
_OFFICIAL = {"redis": ("redis", "8"), "valkey": ("valkey/valkey", "9")}
_SAID = re.compile(r"(?P<flavour>Redis|Valkey) server v=(?P<version>[0-9]+\.[0-9]+\.[0-9]+)")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Images:
    """What a lab runs on.

    Attributes:
        server: Image of the servers.
        engine_name: What is in it, such as `redis 7.0.15`.
        links: What the links run on.
    """

    server: str
    engine_name: str
    links: str


def select_images(
    engine: Engine, request: str | None, needs: Topology, progress: Progress, links_by: LinksBy = LinksBy.TOXIPROXY
) -> Images:
    """The images for a lab, pulled where they are not here.

    Args:
        engine: Where they are to be.
        request: What `--engine` says: `redis-8`, `valkey-9` …, or an image. None: what `LABCTL_ENGINE` says, then what
            the topology says, then Redis 8.
        needs: The topology that they have to serve.
        progress: Told how pulling goes.
        links_by: Which program is to carry the links.

    Raises:
        UsageError: The request is no image.
        CapabilityError: An image is neither here nor to be had.
    """
    wanted = request or os.environ.get(VARIABLE) or needs.engine
    if wanted and is_path(wanted) and wanted.startswith((".", os.sep)):
        raise UsageError(
            f"{wanted} is a path; containers are started from images.", "labctl images build makes an image of it."
        )
    server = _first_here(engine, _candidates(engine, wanted, needs), progress)
    return Images(server, _engine_name(engine, server, progress), _links_image(engine, links_by, progress))


def _links_image(engine: Engine, links_by: LinksBy, progress: Progress) -> str:
    if links_by is LinksBy.LABCTL:
        return labctl_image(engine)
    stated = os.environ.get(TOXIPROXY_VARIABLE)
    return _first_here(engine, [stated] if stated else [TOXIPROXY, BUILT_TOXIPROXY], progress)


def labctl_image(engine: Engine) -> str:
    """The image with labctl itself. Raises CapabilityError where it was not built; it is in no registry."""
    if _inspect(engine, BUILT_LABCTL) is None:
        raise CapabilityError(f"The image {BUILT_LABCTL} is not here.", "labctl images build makes it, on Linux.")
    return BUILT_LABCTL


def built_images(engine: Engine) -> list[tuple[str, Mapping[str, str]]]:
    """Reference and labels of the server images that `labctl images build` made: Redis first, newest version first."""
    found = engine.now("list its images", engine.api.images, filters={"label": [ENGINE_LABEL]})
    every = [(tag, item["Labels"]) for item in found for tag in item["RepoTags"] or () if tag != _NAMELESS]
    return sorted(every, key=lambda item: _preference(item[1][ENGINE_LABEL]), reverse=True)


def _preference(engine_name: str) -> tuple[bool, tuple[int, ...]]:
    return engine_name.startswith("redis"), tuple(map(int, re.findall(r"[0-9]+", engine_name)))


def _candidates(engine: Engine, wanted: str | None, needs: Topology) -> list[str]:
    """References to try, the one to be pulled first."""
    match = _ENGINE.fullmatch(wanted or _DEFAULT)
    if match is None:
        return [str(wanted)]
    repository, newest = _OFFICIAL[match["flavour"]]
    official = f"{repository}:{match['major'] or newest}"
    name = f"{match['flavour']} {match['major']}." if wanted and match["major"] else match["flavour"]
    built = [
        tag
        for tag, labels in built_images(engine)
        if labels[ENGINE_LABEL].startswith(name if wanted else "") and not (needs.tls and labels[TLS_LABEL] == "no")
    ]
    return [official, *built]


def _first_here(engine: Engine, candidates: list[str], progress: Progress) -> str:
    """The first that is here; if none is, the first of all, pulled."""
    for image in candidates:
        if not _REFERENCE.fullmatch(image):
            raise UsageError(f"'{image}' is no image.", "Write it as redis:8 or registry.example.com/redis:8.")
        if _inspect(engine, image) is not None:
            return image
    _pull(engine, candidates[0], progress)
    return candidates[0]


def _inspect(engine: Engine, image: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = engine.now(f"look at the image {image}", engine.api.inspect_image, image)
    except RefusedError as error:
        if error.status == 404:
            return None
        raise
    return found


def _pull(engine: Engine, image: str, progress: Progress) -> None:
    progress(f"pulling {image}")
    try:
        seen = ""
        for entry in engine.now(f"pull {image}", engine.api.pull, _tagged(image), stream=True, decode=True):
            if "error" in entry:
                raise _not_to_be_had(image, str(entry["error"]))
            status = str(entry.get("status", ""))
            if status != seen and "id" in entry:
                seen = status
                progress(f"{image}: {entry['id']} {status.lower()}")
    except RefusedError as error:
        raise _not_to_be_had(image, error.reason) from error


def _tagged(image: str) -> str:
    """With its tag; without one, an engine would pull every tag of the repository."""
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def _not_to_be_had(image: str, reason: str) -> CapabilityError:
    return CapabilityError(
        f"The image {image} is not here and cannot be pulled: {reason}",
        "Without a registry: `labctl images build` makes images of the servers of this machine, "
        "`docker load -i FILE` loads one that `docker save` wrote elsewhere, --engine names another.",
    )


def _engine_name(engine: Engine, image: str, progress: Progress) -> str:
    """`redis 7.0.15`: by labctl's label, by what official images say in their environment, else by running it."""
    found = _inspect(engine, image)
    assert found is not None
    config = found["Config"] or {}
    if name := (config.get("Labels") or {}).get(ENGINE_LABEL):
        return str(name)
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
    for flavour in ("redis", "valkey"):
        if version := environment.get(f"{flavour.upper()}_VERSION"):
            return f"{flavour} {version}"
    progress(f"asking {image} which server it is")
    for program in ("redis-server", "valkey-server"):
        if name := _ask(engine, image, program):
            return name
    raise CapabilityError(
        f"The image {image} has no redis-server and no valkey-server.", "--engine names another image."
    )


def _ask(engine: Engine, image: str, program: str) -> str:
    """Run `program --version` in a container that can reach nothing; empty where the image has no such program."""
    host = engine.api.create_host_config(network_mode="none", cap_drop=["ALL"], read_only=True)
    made = engine.now(
        f"try {image}", engine.api.create_container, image, ["--version"], entrypoint=[program], host_config=host
    )
    try:
        engine.now(f"try {image}", engine.api.start, made["Id"])
        engine.now(f"try {image}", engine.api.wait, made["Id"], timeout=30)
        said = engine.now(f"try {image}", engine.api.logs, made["Id"]).decode(errors="replace")
    except RefusedError as error:
        clearer: LabError = not_startable(image, program, error)
        if clearer is error:
            raise
        return ""
    finally:
        engine.now(f"try {image}", engine.api.remove_container, made["Id"], force=True)
    match = _SAID.search(said)
    return f"{match['flavour'].lower()} {match['version']}" if match else ""
