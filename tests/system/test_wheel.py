"""The installed wheel, from another folder: it brings its own topologies and scenarios."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.support.command import REPOSITORY, Labctl, labctl_at

pytestmark = pytest.mark.system
ASSETS = REPOSITORY / "labctl" / "report" / "assets"


def run(*command: str) -> None:
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with what is installed, without the network."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("the wheel cannot be built: pip install hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    (built,) = folder.glob("labctl-*.whl")
    return built


def test_the_wheel_carries_data_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for section in ("topologies", "scenarios", "dashboards"):
        files = (path for path in (REPOSITORY / section).rglob("*") if path.is_file())
        shipped = {f"labctl/data/{path.relative_to(REPOSITORY)}" for path in files}
        assert shipped == {name for name in names if name.startswith(f"labctl/data/{section}/")}
    assets = {f"labctl/{path.relative_to(REPOSITORY / 'labctl')}" for path in ASSETS.rglob("*") if path.is_file()}
    assert "labctl/report/assets/uplot/LICENSE" in assets <= names
    assert not any(name.startswith("tests") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    (points,) = (name for name in names if name.endswith("/entry_points.txt"))
    assert "[pytest11]\nlabctl = labctl.testing.plugin" in zipfile.ZipFile(wheel).read(points).decode()


def test_it_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    python = venv / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-index",
        "--no-deps",
        "--quiet",
        str(wheel),
    )
    (site_packages,) = venv.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    away = tmp_path / "away"
    away.mkdir()
    with labctl_at(tmp_path / "home") as state:
        installed = Labctl(state.home, (str(venv / "bin" / "labctl"),), away, {"PYTHONPATH": ""})
        where = installed.run("exec", "--help").out
        assert "labctl exec" in where
        assert {t["name"] for t in installed.json("topologies")} == {
            p.stem for p in (REPOSITORY / "topologies").iterdir()
        }
        assert {s["name"] for s in installed.json("scenarios")} == {
            p.stem for p in (REPOSITORY / "scenarios").rglob("*.yaml")
        }
        installed.json("up", "standalone")
        agents = [process.cmdline() for process in installed.agents()]
        assert all(line[0] == str(python) for line in agents), "the wheel's own agent, not the checkout's"
        assert installed.run("cli", "redis-1", "ping").out.strip() == "PONG"
        installed.well()
        installed.run("down")
