"""The real components that tests use, and what becomes of a test that misses one: it is skipped.

`components.txt` says which Debian package brings which program; `tests/install_components.sh`
installs what it lists. A test needs to say nothing: when it fails because a program of the list is
not there, it is skipped, and the reason names the package. Where the absence shows as something
else (in another process, in a text), the test or its fixture asks first:

    require("docker-registry")
    require("dockerd", "runc", root=True)

In CI nothing is skipped (`support.no_skips`): there such a test fails as it is.
"""

from __future__ import annotations

import doctest
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from shutil import which  # the real one: tests put their own into shutil

import pytest

from nbdock.errors import GuestPartError, UnavailableError

__all__ = ["PACKAGES", "SkipsWhatIsMissing", "require"]

_LIST = Path(__file__).with_name("components.txt")
_REASON = "needs what is not installed: "

PACKAGES: dict[str, str] = dict(
    line.split() for line in _LIST.read_text().splitlines() if line and not line.startswith("#")
) | {"kernel": "linux-image-cloud-amd64"}
"""The Debian package of each program, and of the kernel of guests."""

# Debian keeps some programs where users have no PATH; and tests change PATH.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def _is_missing(program: str) -> bool:
    if program == "kernel":
        return not any(os.access(image, os.R_OK) for image in Path("/boot").glob("vmlinuz-*"))
    return which(program, path=_PATH) is None


def require(*programs: str, root: bool = False) -> None:
    """Skip the test when a program is missing, or when it needs a `root` that we are not."""
    missing = sorted({PACKAGES[program] for program in programs if _is_missing(program)})
    if missing:
        pytest.skip(f"{_REASON}{', '.join(missing)}")
    if root and os.geteuid():
        pytest.skip("needs root")


class SkipsWhatIsMissing:
    """The plugin; `tests/conftest.py` registers it for every test, but not in CI."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        if call.excinfo is not None:
            try:
                require(*_named(call.excinfo.value))
            except pytest.skip.Exception as skipped:
                call.excinfo = pytest.ExceptionInfo.from_exception(skipped)
        report = yield
        if isinstance(report.longrepr, tuple) and _REASON in report.longrepr[2]:
            # One place for all: then pytest's summary has a line for each, with how many tests.
            report.longrepr = (str(_LIST), None, report.longrepr[2])
        return report


def _named(error: BaseException | None) -> Iterator[str]:
    """The programs that an error, or one it comes from, says are not there."""
    if error is None:
        return
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        words = {os.path.basename(os.fsdecode(error.filename))}
    elif isinstance(error, UnavailableError | GuestPartError):
        words = set(re.findall(r"[\w-]+", f"{error.message} {error.hint or ''}".lower()))
    else:
        words = set()
    yield from (program for program, package in PACKAGES.items() if words & {program, package})
    yield from _named(error.__cause__ or error.__context__)
    for each in (*getattr(error, "exceptions", ()), *getattr(error, "failures", ())):
        yield from _named(each)
    if isinstance(error, doctest.UnexpectedException):
        yield from _named(error.exc_info[1])
