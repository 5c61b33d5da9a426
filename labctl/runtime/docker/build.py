"""Images without a registry: a server, or Toxiproxy, and the shared libraries that it needs, and nothing else.

Written in the format of `docker save`, which `docker load`, Podman and the engine's API read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import IO

from labctl.engines.doctor import find_cli
from labctl.errors import CapabilityError
from labctl.model.engine import Engine
from labctl.runtime.docker.images import BUILT_TOXIPROXY, ENGINE_LABEL, TLS_LABEL

TOXIPROXY_VERSION = "2.12.0"
_TOXIPROXY_MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{TOXIPROXY_VERSION}"
_LIBRARY = re.compile(r"(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_BUILD_S = 600.0


@dataclass(frozen=True, slots=True)
class Image:
    """An image to be made.

    Attributes:
        reference: Such as `labctl/redis:7.0.15`.
        programs: Path in the image → program of this machine.
        entrypoint: What a container of it runs.
        labels: Of the image.
        files: Path in the image → any other file of this machine. Times are kept: compiled Python modules name their
            sources'.
        environment: Of a container of it, besides where its libraries are.
    """

    reference: str
    programs: Mapping[str, Path]
    entrypoint: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def libraries(self) -> list[Path]:
        """Shared libraries of its programs and extensions, the loader included; none for static programs."""
        loading = [*self.programs.values(), *(path for path in self.files.values() if path.suffix == ".so")]
        said = subprocess.run(["ldd", *loading], capture_output=True, text=True, check=False).stdout
        return sorted({Path(match[1]) for match in _LIBRARY.finditer(said)} - set(self.files.values()))


def server_image(engine: Engine) -> Image:
    """A server of this machine, with a console if there is one here."""
    program = f"{engine.flavour}-server"
    programs = {f"/usr/bin/{program}": Path(engine.path)}
    if cli := find_cli():
        programs[f"/usr/bin/{engine.flavour}-cli"] = Path(cli)
    labels = {ENGINE_LABEL: engine.name, TLS_LABEL: "yes" if engine.tls else "no"}
    return Image(f"labctl/{engine.flavour}:{engine.version_text}", programs, (program,), labels)


def toxiproxy_image(program: Path) -> Image:
    """Toxiproxy, laid out as the official image is."""
    return Image(BUILT_TOXIPROXY, {"/toxiproxy": program}, ("/toxiproxy",))


def toxiproxy_program(stated: str | None, folder: Path) -> Path:
    """The program as stated, as `toxiproxy-server` on PATH, or built from source into `folder` where Go is installed.

    Raises:
        CapabilityError: There is none and it cannot be built.
    """
    found = stated or shutil.which("toxiproxy-server")
    if found is not None:
        if not Path(found).is_file():
            raise CapabilityError(f"There is no program {found}.", "--toxiproxy PATH names a toxiproxy-server.")
        return Path(found)
    go = shutil.which("go")
    if go is None:
        raise CapabilityError(
            "There is no toxiproxy-server on PATH, and no Go to build it.",
            f"go install {_TOXIPROXY_MODULE}, or --toxiproxy PATH.",
        )
    done = subprocess.run(
        [go, "install", "-ldflags=-s -w", _TOXIPROXY_MODULE],
        env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(folder)},
        capture_output=True,
        text=True,
        timeout=_BUILD_S,
        check=False,
    )
    if done.returncode:
        raise CapabilityError(f"Toxiproxy could not be built: {done.stderr.strip()}", "--toxiproxy PATH names one.")
    return folder / "server"


def archive(images: list[Image], out: IO[bytes]) -> None:
    """Write images as one archive."""
    manifest = []
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for image in images:
            libraries = image.libraries()
            with tempfile.TemporaryFile() as layer:
                digest, size = _write_layer(image, libraries, layer)
                config = _config(image, libraries, digest)
                name = hashlib.sha256(config).hexdigest()
                _add(tar, f"{name}.json", config)
                item = tarfile.TarInfo(f"{name}/layer.tar")
                item.size = size
                layer.seek(0)
                tar.addfile(item, layer)
            manifest.append({"Config": f"{name}.json", "RepoTags": [image.reference], "Layers": [f"{name}/layer.tar"]})
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _write_layer(image: Image, libraries: list[Path], layer: IO[bytes]) -> tuple[str, int]:
    """The image's files as a tar; its SHA-256 and size. No owners: the same files, the same image."""
    programs = {**image.programs, **{str(library): library for library in libraries}}
    files = {**programs, **image.files}
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in sorted({parent for inside in files for parent in PurePath(inside).parents if parent.name}):
            item = tarfile.TarInfo(str(folder).lstrip("/"))  # left out, engines make them as each sees fit
            item.type, item.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(item)
        for inside, path in sorted(files.items()):
            item = tarfile.TarInfo(inside.lstrip("/"))
            stat = path.stat()
            item.size, item.mode = stat.st_size, 0o755 if inside in programs else 0o644
            item.mtime = 0 if inside in programs else int(stat.st_mtime)
            with path.open("rb") as file:
                tar.addfile(item, file)
    size = layer.tell()
    layer.seek(0)
    digest = hashlib.sha256()
    while chunk := layer.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest(), size


def _config(image: Image, libraries: list[Path], layer_digest: str) -> bytes:
    """OCI image configuration. Libraries lie where they lay here, which an RPATH relative to the program would miss."""
    folders = sorted({str(library.parent) for library in libraries})
    environment = ["PATH=/usr/bin:/usr/sbin", *(f"{name}={value}" for name, value in image.environment.items())]
    if folders:
        environment.append(f"LD_LIBRARY_PATH={':'.join(folders)}")
    machine = platform.machine()
    return json.dumps(
        {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {"Entrypoint": image.entrypoint, "Env": environment, "Labels": dict(image.labels)},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            "history": [{"created_by": "labctl images build"}],
        }
    ).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    item = tarfile.TarInfo(name)
    item.size = len(content)
    tar.addfile(item, io.BytesIO(content))
