"""With CI set, a skip is a failure; without, it is a skip."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest
def test_skips(): pytest.skip("no such component")
@pytest.mark.skip(reason="marked")
def test_marked(): pass
@pytest.mark.xfail(strict=True)
def test_known(): assert 0
def test_passes(): pass
"""
MODULE = "import pytest\npytest.skip('whole module', allow_module_level=True)\n"
CONFTEST = """
from support import no_skips
def pytest_configure(config):
    if no_skips.in_ci():
        config.pluginmanager.register(no_skips.NoSkips())
"""


@pytest.mark.parametrize(
    ("ci", "expected"),
    [
        ("true", {"failed": 1, "error": 2, "passed": 1, "xfailed": 1}),
        ("", {"skipped": 3, "passed": 1, "xfailed": 1}),
    ],
)
def test_skips_fail_in_ci(tmp_path: Path, ci: str, expected: dict[str, int]) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "test_module.py").write_text(MODULE)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    support = Path(__file__).parent.parent
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(support)}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", "-c", "/dev/null",
         "--continue-on-collection-errors", "--rootdir", str(tmp_path), str(tmp_path)],
        env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    closing = done.stdout.strip().splitlines()[-1]
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) ([a-z]+?)s?\b", closing)}
    assert counts == expected, done.stdout
