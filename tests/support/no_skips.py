"""With ``CI=true`` nothing may be skipped: a skipped test is a failed one.

Outside CI a missing component skips its tests and says which package brings it.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


def in_ci() -> bool:
    """Whether ``CI`` is set to anything but a no."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    longrepr = report.longrepr
    return longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)


class NoSkips:
    """The plugin; `tests/conftest.py` registers it for every test, doctests too."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.skipped and not hasattr(report, "wasxfail"):
            report.longrepr = f"Nothing is skipped in CI. {_reason(report)}"
            report.outcome = "failed"
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        if report.outcome == "skipped":
            report.longrepr = f"Nothing is skipped in CI. {_reason(report)}"
            report.outcome = "failed"
        return report
