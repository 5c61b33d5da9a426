"""The pytest plugin: `redis_lab` and its wider-scoped siblings, options, a mark, and what a failed test shows of its labs.

pytest imports this at every start, in projects that never use a lab too. So it imports nothing but pytest; labctl itself
is imported when a test asks for its first lab.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from labctl.testing.factory import LabFactory, Labs

_LABS: pytest.StashKey[Labs] = pytest.StashKey()
_KEPT: pytest.StashKey[list[str]] = pytest.StashKey()
_MARK = "redis_lab(topology, *, changes, engine, runtime, disk_faults): what redis_lab() brings up for this test"
_RUNTIMES = ("process", "docker")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini values. The command line goes before the ini file, and a mark before both."""
    group = parser.getgroup("labctl", "real Redis labs")
    group.addoption(
        "--labctl-engine", metavar="ENGINE", help="Server of every lab: redis-8, redis-7, valkey-9, a path."
    )
    group.addoption("--labctl-runtime", choices=_RUNTIMES, help="Where labs run: process or docker.")
    group.addoption("--labctl-keep", action="store_true", help="Leave labs up in the end; labctl ls lists them.")
    parser.addini("labctl_engine", "Server of every lab.", default="")
    parser.addini("labctl_runtime", "Where labs run: process or docker.", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", _MARK)
    config.stash[_KEPT] = []


def _factory(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    """A factory whose labs go down with the scope of `request`."""
    from labctl.testing.factory import LabFactory, Labs  # noqa: PLC0415 - only where a test wants a lab

    config = request.config
    labs = config.stash.setdefault(_LABS, Labs())
    mark = request.node.get_closest_marker("redis_lab")
    factory = LabFactory(
        labs,
        engine=config.getoption("--labctl-engine") or config.getini("labctl_engine") or None,
        runtime=config.getoption("--labctl-runtime") or config.getini("labctl_runtime") or "process",
        keep=config.getoption("--labctl-keep"),
        mark=(mark.args, mark.kwargs) if mark is not None else ((), {}),
        fixture=str(request.fixturename),
    )
    try:
        yield factory
    finally:
        config.stash[_KEPT] += factory.kept
        factory.close()


@pytest.fixture
def redis_lab(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    """`redis_lab("sentinel")` brings up a lab that goes down after the test."""
    yield from _factory(request)


@pytest.fixture(scope="class")
def class_redis_lab(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    """`redis_lab` whose labs go down after the class."""
    yield from _factory(request)


@pytest.fixture(scope="module")
def module_redis_lab(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    """`redis_lab` whose labs go down after the module."""
    yield from _factory(request)


@pytest.fixture(scope="session")
def session_redis_lab(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    """`redis_lab` whose labs go down after all tests; each worker of pytest-xdist has its own."""
    yield from _factory(request)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note where each lab that is up stands, so that a failure shows what happened since."""
    if (labs := item.config.stash.get(_LABS, None)) is not None:
        labs.test_begins()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """A fault that a test leaves in force ends with the test, also where its lab stays up for others.

    One that cannot be ended is an error of the test, once its fixtures have had their turn.
    """
    labs = item.config.stash.get(_LABS, None)
    error = labs.heal() if labs is not None else None
    yield
    if error is not None:
        raise error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows its labs: what they are now, faults, events, and what the servers logged meanwhile."""
    report = yield
    labs = item.config.stash.get(_LABS, None)
    if report.failed and call.when != "teardown" and labs is not None:
        report.sections += labs.sections(getattr(item, "fixturenames", ()))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells the controller which labs it kept."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["labctl_kept"] = session.config.stash[_KEPT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The controller's end of it."""
    node.config.stash[_KEPT] += (getattr(node, "workeroutput", None) or {}).get("labctl_kept", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the labs that were kept."""
    if kept := terminalreporter.config.stash[_KEPT]:
        terminalreporter.section("labs kept by --labctl-keep")
        terminalreporter.line(f"labctl status --lab NAME looks at one, labctl down NAME ends it: {', '.join(kept)}")
