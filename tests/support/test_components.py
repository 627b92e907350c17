"""A test that misses a component is skipped, whatever way it finds out; no other failure is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SUITE = """
import subprocess
import pytest
from nbdock.errors import UnavailableError
from support.components import require

@pytest.fixture
def registry(): require("docker-registry")

def test_asks(): require("docker-registry", "git")
def test_has_a_fixture(registry): pass
def test_starts(): subprocess.run(["skopeo"])
def test_expects_another_error():
    with pytest.raises(OSError, match="else"):
        try: subprocess.run(["skopeo"])
        finally: raise ValueError
def test_is_told(): raise UnavailableError("No.", hint="As root: apt-get install skopeo.")
def test_of_no_component(): subprocess.run(["a-program-that-nobody-has"])
def test_of_a_component_that_is_there(): raise FileNotFoundError(2, "", "git")
def test_of_something_else(): raise ValueError("skopeo")
"""
CONFTEST = """
from support import components
components._is_missing = lambda program: program in ("skopeo", "docker-registry")
import os; os.environ["PATH"] = os.path.dirname(__file__)
def pytest_configure(config): config.pluginmanager.register(components.SkipsWhatIsMissing())
"""


def test_what_is_missing_is_skipped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    tests = str(Path(__file__).parent.parent)
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rsf", "-c", "/dev/null",
         "--tb=no", "-o", f"pythonpath={tests}", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=240,
    ).stdout  # fmt: skip
    summary = [line for line in said.splitlines() if line.startswith(("SKIPPED", "FAILED"))]
    assert [(line.split()[1], line.rsplit(": ", 1)[1]) for line in summary if line[0] == "S"] == [
        ("[2]", "docker-registry"),
        ("[3]", "skopeo"),
    ], said
    assert [line.split()[1].partition("::")[2] for line in summary if line[0] == "F"] == [
        "test_of_no_component", "test_of_a_component_that_is_there", "test_of_something_else",
    ], said  # fmt: skip
