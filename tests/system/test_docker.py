"""What only containers have: isolation, labels, published ports, images, and everything that can be wrong with an engine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from labctl.model.plan import Containers
from labctl.runtime.docker.images import BUILT_LABCTL
from labctl.runtime.docker.names import Names, Part
from labctl.runtime.docker.pods import PortTakenError, make_network, start_gateway
from labctl.runtime.docker.remove import remove_lab
from tests.support.client import Client
from tests.support.command import REPOSITORY, Labctl, labctl_at, until
from tests.support.containers import (
    TOXIPROXY,
    containers,
    engine,
    inspected,
    remove_residue,
    residue,
    server_images,
    why_no_engine,
)
from tests.system.links.servers import ApiServer
from tests.system.test_topologies import answers_ordinary_clients, engine_named

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ENGINE = "redis-7"


@pytest.fixture(autouse=True)
def _nothing_is_left_of_a_test_that_failed(labctl: Labctl) -> Iterator[None]:
    yield
    remove_residue(labctl)


NOWHERE = "unix:///nowhere/docker.sock"


@pytest.fixture(autouse=True, scope="module")
def _needs_an_engine() -> None:
    if reason := why_no_engine():
        pytest.skip(reason)
    engine_named(ENGINE)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labctl]:
    with labctl_at(tmp_path_factory.mktemp("docker") / "home") as labctl:
        labctl.run("up", "sentinel-tls-acl", "--runtime", "docker", "--engine", ENGINE)
        yield labctl
        labctl.run("down")
        assert residue(labctl) == []


def test_every_part_says_whose_it_is(lab: Labctl) -> None:
    plan = lab.plan("sentinel-tls-acl")
    found = [c["Labels"] for c in containers(lab)]
    assert {labels["labctl.lab"] for labels in found} == {"sentinel-tls-acl"}
    assert {labels["labctl.id"] for labels in found} == {plan["lab_id"]}
    parts = sorted((labels["labctl.part"], labels.get("labctl.node", "")) for labels in found)
    names = [node["name"] for node in plan["nodes"]]
    assert parts == sorted([("gateway", ""), *(("links", n) for n in names), *(("server", n) for n in names)])


def test_volumes_and_the_network_say_whose_they_are(lab: Labctl) -> None:
    plan = lab.plan("sentinel-tls-acl")
    api, filters = engine().api, {"label": f"labctl.id={plan['lab_id']}"}
    volumes = api.volumes(filters=filters)["Volumes"]
    assert sorted(v["Labels"]["labctl.node"] for v in volumes) == sorted(node["name"] for node in plan["nodes"])
    assert {v["Labels"]["labctl.part"] for v in volumes} == {"data"}
    (network,) = api.networks(filters=filters)
    assert network["Labels"]["labctl.part"] == "network"
    assert network["Labels"]["labctl.lab"] == "sentinel-tls-acl"


def test_a_server_is_in_its_pods_network_and_on_its_nodes_volume(lab: Labctl) -> None:
    links = {c["Labels"]["labctl.node"]: c["Id"] for c in containers(lab, part="links")}
    for container in containers(lab, part="server"):
        found, node = inspected(container), container["Labels"]["labctl.node"]
        assert found["HostConfig"]["NetworkMode"] == f"container:{links[node]}"
        (mount,) = found["Mounts"]
        assert (mount["Type"], mount["Destination"], mount["RW"]) == ("volume", "/lab", True)
        assert engine().api.inspect_volume(mount["Name"])["Labels"]["labctl.node"] == node


def test_the_health_check_of_a_server_is_true(lab: Labctl) -> None:
    """With TLS and a password, too: what counts is that it answers."""
    for container in containers(lab, part="server"):
        check = inspected(container)["Config"]["Healthcheck"]
        assert check["Interval"] == 10 * 10**9
        trial = engine().api.exec_create(container["Id"], check["Test"][1:])
        engine().api.exec_start(trial["Id"])
        assert engine().api.exec_inspect(trial["Id"])["ExitCode"] == 0


def test_containers_have_no_privileges_and_publish_on_loopback_alone(lab: Labctl) -> None:
    for container in containers(lab):
        host = inspected(container)["HostConfig"]
        assert host["Privileged"] is False
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert host["ReadonlyRootfs"] is True
        assert host["Memory"] == (1 << 30 if container["Labels"]["labctl.part"] == "server" else 256 << 20)
        assert host["PidsLimit"] > 0
        assert {b["HostIp"] for bindings in (host["PortBindings"] or {}).values() for b in bindings} <= {"127.0.0.1"}
        assert inspected(container)["Config"]["User"] not in ("", "0", "root")


def test_no_secret_is_in_what_the_engine_tells(lab: Labctl) -> None:
    secrets = yaml.safe_load((lab.lab_folder("sentinel-tls-acl") / "secrets.json").read_text())["secrets"]
    passwords = [user["password"] for user in secrets.values()]
    assert len(passwords) == 4
    told = "".join(str(inspected(container)) for container in containers(lab))
    assert not [password for password in passwords if password in told]


def test_hanging_up_does_not_cross_a_black_hole(labctl: Labctl) -> None:
    """With packets dropped, a server does not learn that a client has gone; `min-replicas` depends on that."""
    labctl.run("up", "standalone", "--runtime", "docker", "--engine", ENGINE)
    plan = labctl.plan("standalone")
    direct = Client(*plan["nodes"][0]["admin"])

    def connected() -> bool:
        return "name=visitor" in str(direct.ask("CLIENT", "LIST"))

    with socket.create_connection(("127.0.0.1", plan["nodes"][0]["port"])) as visitor:
        visitor.sendall(b"CLIENT SETNAME visitor\r\n")
        assert visitor.recv(100) == b"+OK\r\n"
        labctl.run("chaos", "isolate", "redis-1", "--forever")
        visitor.sendall(b"SET written yes\r\n")
    time.sleep(0.5)  # nothing may come of it: there is no condition to wait for
    assert connected()
    labctl.run("chaos", "heal")
    until(lambda: not connected(), "the end of the connection once the link is whole")
    assert direct.ask("GET", "written") is None
    labctl.run("down")


@pytest.mark.parametrize("how", ["drop", "reject"])
def test_a_reset_of_the_pods_own_toxiproxy_does_not_end_a_partition(lab: Labctl, how: str) -> None:
    """Nobody can be kept from asking a pod's Toxiproxy; what is listed is in force all the same."""
    lab.run("chaos", "isolate", "redis-2", "--set", f"how={how}", "--for", "120s")
    servers = [
        ApiServer(part, 8474, inspected(container)["NetworkSettings"]["Networks"].popitem()[1]["IPAddress"])
        for part in ("links", "gateway")
        for container in containers(lab, part=part)
    ]

    def cut() -> set[str]:
        proxies = {n: p for server in servers for n, p in server.call("GET", "/proxies").json.items()}
        return {n for n, p in proxies.items() if n != "probe" and (p["toxics"] or not p["enabled"])}

    before = cut()
    assert "redis-1.to.redis-2" in before
    for server in servers:
        assert server.call("POST", "/reset").status == 204
    assert [fault["kind"] for fault in lab.json("chaos", "ls")] == ["isolate"]
    assert cut() == before
    lab.run("heal")
    assert cut() == set()


def test_a_lab_works_where_only_published_ports_lead_to_containers(tmp_path: Path) -> None:
    """As with Docker Desktop and rootless Docker."""
    with labctl_at(tmp_path / "home") as labctl:
        labctl.env["LABCTL_DOCKER_REACH"] = "published"
        labctl.run("up", "cluster", "--runtime", "docker", "--engine", ENGINE)
        assert {node["admin"][0] for node in labctl.plan("cluster")["nodes"]} == {"127.0.0.1"}
        answers_ordinary_clients(labctl.json("env"))
        fault = labctl.json("chaos", "isolate", "redis-1", "--for", "2s")
        assert "probed and silent" in fault["evidence"]
        slow = labctl.json("chaos", "latency", "redis-2", "--set", "ms=20", "--for", "1s")
        assert "links asked answer after" in slow["evidence"]
        until(lambda: not (s := labctl.json("status"))["faults"] and not s["unhealthy"], "health")
        labctl.run("down")
        assert residue(labctl) == []


def test_down_all_touches_nothing_of_others(labctl: Labctl, tmp_path: Path) -> None:
    api = engine().api
    stranger = api.create_container(TOXIPROXY, labels={"labctl.lab": "sentinel"})["Id"]
    volume = api.create_volume(f"stranger-{os.getpid()}")["Name"]
    try:
        with labctl_at(tmp_path / "other") as other:
            other.run("up", "standalone", "--runtime", "docker", "--engine", ENGINE)
            labctl.run("up", "standalone", "--runtime", "docker", "--engine", ENGINE)
            labctl.run("down", "--all")
            assert residue(labctl) == []
            assert len(residue(other)) == 5
            other.well()
            other.run("down", "--all")
        assert api.inspect_container(stranger)
        assert api.inspect_volume(volume)
    finally:
        api.remove_container(stranger)
        api.remove_volume(volume)


def test_down_all_finds_what_has_no_folder_any_more(labctl: Labctl) -> None:
    names = Names("lost", f"{Random().getrandbits(128):032x}")
    api = engine().api
    api.create_volume(names.volume("redis-1"), labels={**names.labels(Part.DATA), "labctl.home": _home(labctl)})
    assert len(residue(labctl)) == 1
    labctl.run("down", "--all")
    assert residue(labctl) == []


async def _gateway_on(port: int) -> None:
    names = Names("taken", f"{Random().getrandbits(128):032x}")
    try:
        reach = await make_network(engine(), names)
        with pytest.raises(PortTakenError, match="is taken"):
            await start_gateway(engine(), names, Containers(links_image=TOXIPROXY), [port], reach)
        assert engine().api.containers(all=True, filters={"label": f"labctl.id={names.lab_id}"}) == []
    finally:
        remove_lab(engine(), names.lab_id)


def test_a_port_that_somebody_takes_meanwhile_costs_another_try() -> None:
    import asyncio  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as taken:
        asyncio.run(_gateway_on(taken.getsockname()[1]))


def test_ports_in_use_are_passed_over(labctl: Labctl) -> None:
    labctl.run("up", "standalone", "--name", "one", "--runtime", "docker", "--engine", ENGINE)
    labctl.run("up", "standalone", "--name", "two", "--runtime", "docker", "--engine", ENGINE)
    ports = [{node["port"] for node in labctl.plan(name)["nodes"]} for name in ("one", "two")]
    assert not ports[0] & ports[1]
    labctl.run("down", "--all")


MISTAKES: list[tuple[tuple[str, ...], dict[str, str], str, str]] = [
    ((), {"DOCKER_HOST": NOWHERE}, "no Docker engine at unix:///nowhere", "Install it"),
    ((), {"DOCKER_HOST": "tcp://127.0.0.1:1"}, "no Docker engine at tcp://127.0.0.1:1", "DOCKER_HOST"),
    (("--engine", "labctl.invalid/nothing:1"), {}, "is not here and cannot be pulled", "labctl images build"),
    (("--engine", TOXIPROXY), {}, "has no redis-server and no valkey-server", "--engine names another"),
    (("--engine", "/usr/bin/redis-server"), {}, "is a path", "labctl images build"),
    (("--engine", "Not An Image;rm"), {}, "is no image", "Write it as"),
    ((), {"LABCTL_TOXIPROXY_IMAGE": "labctl.invalid/nothing:1"}, "is not here and cannot be pulled", "docker load"),
]


@pytest.mark.parametrize(("args", "env", "what", "hint"), MISTAKES)
def test_a_mistake_is_a_sentence_and_a_hint(
    labctl: Labctl, args: tuple[str, ...], env: dict[str, str], what: str, hint: str
) -> None:
    labctl.env.update(env)
    done = labctl.run("up", "standalone", "--runtime", "docker", *args, code=2)
    assert what in done.err
    assert hint in done.err
    assert labctl.files() == []
    assert residue(labctl) == []


def test_links_from_an_image_that_is_no_toxiproxy(labctl: Labctl) -> None:
    labctl.env["LABCTL_TOXIPROXY_IMAGE"] = server_images()[ENGINE]
    done = labctl.run("up", "standalone", "--runtime", "docker", "--engine", ENGINE, code=4)
    assert "has no /toxiproxy" in done.err
    assert "LABCTL_TOXIPROXY_IMAGE" in done.err
    assert residue(labctl) == []


AS_NOBODY = """
import os, docker, docker.context
from labctl.runtime.docker.engine import connect
os.seteuid(65534)
connect()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="run as root: it becomes somebody without permission")
def test_no_permission_on_the_socket(tmp_path: Path) -> None:
    socket_path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()
        socket_path.chmod(0o600)
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(0o711)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY],
            cwd=REPOSITORY,
            env={**os.environ, "DOCKER_HOST": f"unix://{socket_path}"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert "CapabilityError: No permission to use the Docker engine" in done.stderr, done.stderr


def test_images_are_packed_for_an_air_gap(labctl: Labctl, tmp_path: Path) -> None:
    archive = tmp_path / "images.tar"
    data = labctl.json("images", "build", "--engine", ENGINE, "--file", str(archive))
    assert data["images"] == [server_images()[ENGINE], TOXIPROXY, BUILT_LABCTL]
    with archive.open("rb") as file:
        loaded = [str(line) for line in engine().api.load_image(file)]
    assert any(server_images()[ENGINE] in line for line in loaded)
    assert server_images()[ENGINE] in labctl.run("images", "ls").out


@pytest.mark.parametrize("topology", ["cluster", "sentinel-tls-acl"])
def test_an_exported_lab_goes_on_without_labctl(labctl: Labctl, tmp_path: Path, topology: str) -> None:
    folder = tmp_path / topology
    project = f"labctl-test-{os.getpid()}-{topology}"
    try:
        # ports among which no lab looks for its own meanwhile
        apart = replace(labctl, env={**labctl.env, "LABCTL_FIRST_PORT": "13601"})
        ports = apart.json("export", "compose", topology, "--engine", ENGINE, "--out", str(folder))["ports"]
        _compose(folder, project, "up", "-d")
        services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
        published = [port for service in services.values() for port in service.get("ports", ())]
        assert all(int(port.split(":")[1]) >= 13601 for port in published), "APIs of the links move along"
        servers = [name for name, service in services.items() if "healthcheck" in service]
        until(lambda: _healthy(project) == len(servers), f"{len(servers)} healthy services")
        until(lambda: _serves(folder, ports, topology), "an ordinary client served")
    finally:
        _compose(folder, project, "down", "-v")
    assert labctl.run("export", "compose", topology, "--out", str(folder), code=2).err.count("is not empty") == 1


def _compose(folder: Path, project: str, *args: str) -> None:
    command = _compose_command()
    done = subprocess.run(
        [*command, "-f", "compose.yaml", "-p", project, *args], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _compose_command() -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        try:
            if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            continue
    pytest.skip("no compose tool: install Debian package docker-compose")


def _healthy(project: str) -> int:
    filters = {"label": f"com.docker.compose.project={project}", "health": "healthy"}
    return len(engine().api.containers(filters=filters))


def _serves(folder: Path, ports: dict[str, int], topology: str) -> bool:
    env: dict[str, Any] = {}
    if topology == "cluster":
        env["REDIS_CLUSTER_NODES"] = ",".join(f"127.0.0.1:{port}" for port in ports.values())
    else:
        env |= dict(line.split("=", 1) for line in (folder / "users.env").read_text().split())
        env["REDIS_CA_FILE"] = str(folder / "nodes" / "redis-1" / "ca.crt")
        env["REDIS_SENTINELS"] = ",".join(f"127.0.0.1:{p}" for name, p in ports.items() if name.startswith("sentinel"))
        env["REDIS_SENTINEL_MASTER"] = "lab"
    try:
        answers_ordinary_clients(env)
    except Exception:  # noqa: BLE001 - whatever it is, it is looked at again
        return False
    return True


def _home(labctl: Labctl) -> str:
    return f"{socket.gethostname()}:{labctl.home}"
