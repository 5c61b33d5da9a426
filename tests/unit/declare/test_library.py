"""Shipped files by name and users' files by path, in a checkout and as a wheel lays them out."""

import os
from pathlib import Path

import pytest

from labctl.declare import library
from labctl.declare.scenario import Known
from labctl.errors import DeclarationError, UsageError
from labctl.model.topology import Kind

KNOWN = Known(frozenset({"kill"}), frozenset({"recovery"}), frozenset({"set"}))


def test_shipped_names() -> None:
    assert library.names("topologies") == [
        "cluster",
        "cluster-tls-acl",
        "replica",
        "sentinel",
        "sentinel-tls-acl",
        "standalone",
        "standalone-tls-acl",
    ]
    assert "sentinel-failover" in library.names("scenarios")


def test_an_unknown_name_gets_the_near_ones_and_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        library.read("topologies", "sentinle")
    assert caught.value.message == "There is no topology `sentinle`."
    assert caught.value.hint.startswith("Did you mean sentinel")
    assert "Known: cluster, cluster-tls-acl, replica" in caught.value.hint
    assert caught.value.hint.endswith("./sentinle.yaml")


@pytest.mark.parametrize("name", ["", ".", "..", "\x00", "*", "a" * 5000, "Sentinel"])
def test_odd_names_are_only_unknown(name: str) -> None:
    with pytest.raises(UsageError):
        library.read("scenarios", name)


def test_a_path_is_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("kind: cluster\n")
    topology = library.topology(str(file))
    assert (topology.name, topology.kind) == ("mine", Kind.CLUSTER)


def test_a_wrong_file_is_named_as_the_user_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yml").write_text("kind: x\n")
    with pytest.raises(DeclarationError, match=r"^mine\.yml:1:7: "):
        library.topology("mine.yml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"a: \xff\n", "is not UTF-8 text (byte 3)."),
        (b"#" * 1_000_001, "is larger than 1 MB."),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        library.read("topologies", str(file))
    assert caught.value.message == f"{file} {message}"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        library.read("topologies", f"{tmp_path}/")


def test_a_pipe_is_read_and_bounded(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as writer:
        writer.write("kind: replica\n")
    assert library.read("topologies", f"/dev/fd/{read_end}").text == "kind: replica\n"
    os.close(read_end)


def test_a_scenarios_topology_counts_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "labs").mkdir()
    (tmp_path / "labs" / "small.yaml").write_text("kind: standalone\n")
    drill = tmp_path / "drill.yaml"
    text = "title: T\ndescription: D\ntopology: {}\nduration: 1s\nchecks: [{check: recovery, promise: P}]\n"
    drill.write_text(text.replace("{}", "labs/small.yaml"))
    assert library.scenario(str(drill), KNOWN).topology.name == "small"
    drill.write_text(text.replace("{}", "sentinel"))
    assert library.scenario(str(drill), KNOWN).topology.kind is Kind.SENTINEL


def test_as_a_wheel_lays_them_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "labctl"
    (package / "data" / "topologies").mkdir(parents=True)
    (package / "data" / "topologies" / "only.yaml").write_text("kind: replica\n")
    monkeypatch.setattr(library, "__file__", str(package / "declare" / "library.py"))
    assert library.names("topologies") == ["only"]
    assert library.topology("only").kind is Kind.REPLICA
