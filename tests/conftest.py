"""Skips name what is missing; where everything is meant to be there, a skip is a failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# No clock decides whether a test passes, nor whether its data are made fast enough.
settings.register_profile("labctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("labctl")

NO_SKIP = os.environ.get("LABCTL_TEST_NO_SKIP") == "1"


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as it is for what a shell runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # commands inherit it, and tests interrupt them


def _fail_if_skipped(report: pytest.CollectReport | pytest.TestReport) -> None:
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"LABCTL_TEST_NO_SKIP=1 and this was skipped. {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report
