"""Where things are kept: one folder a lab, one folder a run, and the lock that port allocation takes.

`$LABCTL_HOME` moves all of it; otherwise it is the user's state folder. Nothing is shared between users.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from labctl.errors import UsageError

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")
_UNUSABLE = {errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}
_CLAIMS = 100
_ALLOCATION_S = 60.0


def home() -> Path:
    """The state folder: `$LABCTL_HOME`, or the user's own."""
    override = os.environ.get("LABCTL_HOME")
    return Path(override).absolute() if override else platformdirs.user_state_path("labctl")


def unusable_home(error: OSError) -> UsageError | None:
    """In words, where an error says that the state folder cannot be made or written; None where it is about anything else."""
    if not isinstance(error.filename, str):
        return None
    path, folder = Path(error.filename), home()
    outside = path == folder or path in folder.parents
    if not (outside or (folder in path.parents and error.errno in _UNUSABLE)):
        return None
    return UsageError(
        f"The state folder {folder} cannot be used: {error.strerror} ({path}).", "LABCTL_HOME names another one."
    )


def check_name(name: str) -> str:
    """`name`, when it can name a lab: it becomes a folder, a container label and a process marker."""
    if not _NAME.match(name):
        raise UsageError(
            f"'{name}' cannot name a lab.",
            "Use a lower-case letter, then letters, digits and '-', 40 characters at the most.",
        )
    return name


def allocation_lock() -> AbstractContextManager[None]:
    """Held while ports are chosen: a file outside the state folder, one a user, for all state folders share the ports.

    Raises:
        LabError: Somebody else holds it for a minute.
    """
    from labctl.store.locks import file_lock  # noqa: PLC0415 - only who brings a lab up needs it

    path = Path(tempfile.gettempdir()) / f"labctl-{_user()}.lock"
    return file_lock(path, "chooses ports", _ALLOCATION_S)


def _user() -> int:
    """The user's number outside, also for an agent that is root in a user namespace (user_namespaces(7), uid_map)."""
    user = os.getuid()
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/uid_map").read_text().splitlines():
            inside, outside, count = map(int, line.split())
            if inside <= user < inside + count:
                return user - inside + outside
    return user


@dataclass(frozen=True, slots=True)
class LabFolder:
    """The files of one lab. Mode 0700; secrets and keys inside are 0600."""

    path: Path

    @property
    def request(self) -> Path:
        """What `labctl up` asked for; written before the agent starts."""
        return self.path / "request.json"

    @property
    def plan(self) -> Path:
        """The planned lab; written by the agent before the first server starts."""
        return self.path / "plan.json"

    @property
    def secrets(self) -> Path:
        """Passwords of the lab's ACL users."""
        return self.path / "secrets.json"

    @property
    def tls(self) -> Path:
        """Certificates and keys."""
        return self.path / "tls"

    @property
    def journal(self) -> Path:
        """Undo records of faults."""
        return self.path / "journal.jsonl"

    @property
    def socket(self) -> Path:
        """The agent's control socket."""
        return self.path / "agent.sock"

    @property
    def formed(self) -> Path:
        """Exists once the lab was seen healthy: from then on an agent can take over, before there is nothing to save."""
        return self.path / "formed"

    @property
    def agent_lock(self) -> Path:
        """Held by the lab's guard and agent for as long as one of them lives."""
        return self.path / "agent.lock"

    @property
    def agent_log(self) -> Path:
        """What the agent says."""
        return self.path / "agent.log"

    @property
    def web(self) -> Path:
        """Where the web view is served, once somebody asked for it."""
        return self.path / "web.json"

    @property
    def metrics(self) -> Path:
        """Where the agent's metrics are: `host:port`, a space, and the lab's id."""
        return self.path / "metrics"

    @property
    def ending(self) -> Path:
        """Exists from the moment that somebody began to take the lab down."""
        return self.path / "ending"

    @property
    def emptied(self) -> Path:
        """Exists once the agent has removed everything of the lab that is outside of this folder, and will make no more."""
        return self.path / "emptied"

    def node(self, name: str) -> Path:
        """A node's folder: configuration, log and `data/`."""
        return self.path / "nodes" / name


def labs() -> Path:
    """The folder of all labs."""
    return home() / "labs"


def lab_folder(name: str) -> LabFolder:
    """The folder of the lab called `name`, whether or not it exists."""
    return LabFolder(labs() / check_name(name))


def lab_names() -> list[str]:
    """Names of all labs that have a folder, sorted."""
    try:
        return sorted(p.name for p in labs().iterdir() if p.is_dir() and _NAME.match(p.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def claim_lab(name: str) -> LabFolder:
    """Make the folder of a new lab. Creating it is what makes the name taken, so two `labctl up` cannot share one.

    Raises:
        UsageError: A lab of this name exists.
    """
    folder = lab_folder(name)
    for left in reversed(range(_CLAIMS)):
        try:
            folder.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.path.mkdir(mode=0o700)
            break
        except FileNotFoundError:
            if not left:  # otherwise the last other lab went down meanwhile, and the empty state folder with it
                raise
        except FileExistsError:
            if not folder.path.exists():
                raise
            raise UsageError(
                f"A lab called '{name}' exists already.",
                f"labctl down {name}, or choose another name with --name.",
            ) from None
    return folder


class SameFolder:
    """Whether a path still leads to the folder that it led to when this was made.

    A lab's name may be taken down and claimed by another lab at any moment; whoever cleans up after itself must not
    clean up that one. The open descriptor keeps the inode number from being given to another folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def __bool__(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


@contextmanager
def same_folder(path: Path) -> Iterator[SameFolder]:
    """A `SameFolder` of what is at `path` now. Raises FileNotFoundError when nothing is."""
    same = SameFolder(path)
    try:
        yield same
    finally:
        same.close()


def discard_empty_home() -> None:
    """Remove `labs/`, `runs/` and the state folder itself where nothing is left in them."""
    for folder in (labs(), home() / "runs", home()):
        with suppress(OSError):
            folder.rmdir()


def write_private(path: Path, text: str) -> None:
    """Write `text` with mode 0600 from the first byte on, atomically."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.rename(path)
