"""The pytest plugin in a pytest of its own, on real servers; and every example of docs/testing-your-application.md."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import FIRST_PORT, REPOSITORY, Labctl, until

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.system
PAGE = REPOSITORY / "docs" / "testing-your-application.md"
EXAMPLES: dict[str, str] = dict(
    re.findall(r"^```\w+ file=(\S+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
)


@pytest.fixture
def inner(pytester: pytest.Pytester, labctl: Labctl, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.Pytester]:
    """A project with a state folder of its own, whose pytest has the plugin as an installed labctl would bring it."""
    monkeypatch.setenv("LABCTL_HOME", str(labctl.home))
    monkeypatch.setenv("LABCTL_FIRST_PORT", str(FIRST_PORT))
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{pytester.path}")
    monkeypatch.setenv("PYTEST_PLUGINS", "labctl.testing.plugin")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    yield pytester
    until(lambda: not labctl.processes(), "the end of everything")


def run(inner: pytest.Pytester, *options: str) -> pytest.RunResult:
    return inner.runpytest_subprocess("-p", "no:cacheprovider", *options, timeout=150)


def test_labs_of_every_scope_go_down_in_time(inner: pytest.Pytester, labctl: Labctl) -> None:
    """Each test looks at what its predecessors left: labs of wider scopes, with no fault in force."""
    inner.makepyfile(
        test_one="""
        import pytest
        from labctl.store.folders import lab_names

        made = {}

        @pytest.fixture(scope="module")
        def shared(module_redis_lab):
            return module_redis_lab("standalone")

        def test_first(redis_lab, class_redis_lab, shared, session_redis_lab):
            made["session"] = session_redis_lab("standalone")
            made["test"], made["class"] = redis_lab("standalone"), class_redis_lab("standalone")
            assert len(lab_names()) == 4
            shared.latency("primary", ms=1)
            made["test"].pause("primary")

        def test_second(shared):
            assert sorted(lab_names()) == sorted([shared.name, made["session"].name])
            assert shared.faults == []
            with shared.redis() as client:
                assert client.ping()

        class TestClass:
            def test_third(self, class_redis_lab):
                made["class"] = class_redis_lab("standalone")

            def test_fourth(self):
                assert made["class"].name in lab_names()
        """,
        test_two="""
        from labctl.store.folders import lab_names

        def test_fifth():
            assert [name.startswith("standalone-") for name in lab_names()] == [True]
        """,
    )
    run(inner).assert_outcomes(passed=5)


def test_a_failure_shows_its_labs(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def lab(module_redis_lab):
            return module_redis_lab("replica")

        def test_before(lab):
            with lab.pause("redis-2"):
                pass

        def test_broken(lab):
            lab.kill("redis-3")
            with lab.admin("redis-1") as server:
                server.config_set("maxmemory", "100mb")
            raise ZeroDivisionError

        def test_of_another_lab(redis_lab):
            redis_lab("standalone")
            assert not "another"

        def test_without_a_lab():
            assert not "without"
        """
    )
    result = run(inner)
    result.assert_outcomes(passed=1, failed=3)
    text = result.stdout.str()
    _, _, rest = text.partition("_ test_broken _")
    broken, _, rest = rest.partition("_ test_of_another_lab _")
    another, _, without = rest.partition("_ test_without_a_lab _")
    for words in (
        "lab replica-",
        "redis-1: primary, offset",
        "redis-2: replica of redis-1, link up",
        "redis-3: does not answer",
        "not healthy: redis-3 does not answer",
        "faults in force: kill redis-3",
        "fault 2 began: kill redis-3: redis-3 gone",
        "the log of redis-1 since then, its end:",
    ):
        assert words in broken, words
    assert "fault 1" not in broken, "that was before"
    assert "lab standalone-" in another
    assert "lab replica-" not in another, "it does not use that one"
    assert "faults in force: none" in another
    assert "faults in force" not in without


def test_what_is_stated_where(inner: pytest.Pytester, labctl: Labctl) -> None:
    """A call goes before a mark, a mark before the command line, the command line before the ini file."""
    inner.makeini("[pytest]\nlabctl_engine = /no/such/server\nlabctl_runtime = docker\n")
    inner.makepyfile(
        """
        import pytest
        import labctl

        @pytest.mark.redis_lab("replica", engine="redis-8", changes={"replicas": 1})
        def test_marked(redis_lab):
            lab = redis_lab()
            assert "redis 8." in lab.engine
            assert sorted(lab.nodes) == ["redis-1", "redis-2"]

        @pytest.mark.redis_lab("replica", engine="redis-8", changes={"replicas": 1})
        def test_stated(redis_lab):
            lab = redis_lab("standalone", engine="valkey-9", name="mine")
            assert "valkey 9." in lab.engine
            assert lab.name == "mine"

        def test_from_the_command_line(redis_lab):
            assert "valkey 9." in redis_lab("standalone").engine
        """
    )
    run(inner, "--labctl-engine", "valkey-9", "--labctl-runtime", "process", "--strict-markers").assert_outcomes(
        passed=3
    )
    result = run(inner, "--labctl-runtime", "process", "-k", "command_line")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*UsageError*/no/such/server*"])


def test_kept_labs_are_named(inner: pytest.Pytester, labctl: Labctl) -> None:
    inner.makepyfile(
        """
        def test_kept(redis_lab):
            redis_lab("standalone", name="kept-one").pause("primary")
        """
    )
    result = run(inner, "--labctl-keep")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*labs kept by --labctl-keep*", "*labctl down NAME ends it: kept-one"])
    (row,) = labctl.json("ls")
    assert (row["lab"], row["faults"]) == ("kept-one", 0), "healed, and up"
    labctl.run("down")


def test_several_workers_never_meet(inner: pytest.Pytester, labctl: Labctl) -> None:
    """Each worker has a session's lab and a test's lab of its own, and one of them is killed."""
    inner.makepyfile(
        """
        import os
        import pytest

        @pytest.fixture(scope="session")
        def lab(session_redis_lab):
            return session_redis_lab("standalone")

        @pytest.mark.parametrize("number", range(6))
        def test_one_of_many(number, lab, redis_lab):
            other = redis_lab("standalone")
            with lab.redis() as mine, other.redis() as another:
                mine.incr("count")
                another.incr("count")
                assert another.get("count") == "1"
            if number == 3:
                os._exit(1)
        """
    )
    result = run(inner, "-p", "xdist", "-n", "2")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*worker*crashed while running*"])
    until(lambda: not labctl.processes(), "the end of everything")


def test_a_fault_that_cannot_be_reverted_is_an_error(inner: pytest.Pytester) -> None:
    """The server's folder is gone, so it cannot be started again."""
    inner.makepyfile(
        """
        import shutil

        def test_lost(redis_lab):
            lab = redis_lab("standalone")
            lab.kill("primary")
            shutil.rmtree(lab.log("redis-1").parent)
        """
    )
    result = run(inner)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*RevertError*"])


def test_help_and_marks_are_documented(inner: pytest.Pytester) -> None:
    shown = run(inner, "--help").stdout.str()
    assert all(option in shown for option in ("--labctl-engine", "--labctl-runtime", "--labctl-keep", "labctl_runtime"))
    assert "redis_lab(topology" in run(inner, "--markers").stdout.str()


# Every example of the page is run.


def test_the_page_has_its_examples() -> None:
    assert set(EXAMPLES) == {
        *("cart.py", "test_cart.py", "test_marks.py", "failover.py", "split.py"),
        ".github/workflows/failover.yml",
    }


def test_its_pytest_examples(inner: pytest.Pytester) -> None:
    for name in ("cart.py", "test_cart.py", "test_marks.py"):
        Path(inner.path, name).write_text(EXAMPLES[name])
    run(inner, "--strict-markers").assert_outcomes(passed=6)


@pytest.mark.parametrize(("name", "words"), [("failover.py", "took over"), ("split.py", "acknowledged writes judged")])
def test_its_scripts(labctl: Labctl, inner: pytest.Pytester, name: str, words: str) -> None:
    Path(inner.path, name).write_text(EXAMPLES[name])
    done = subprocess.run(
        [sys.executable, name], cwd=inner.path, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    until(lambda: not labctl.processes(), "the end of everything")
