"""What stands around the code is true: links, map of the house, citation, Binder's files."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import nbdock

HERE = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchor(heading: str) -> str:
    """What a heading is linked to by."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_is_linked_is_there(name: str) -> None:
    for target, fragment in LINK.findall((HERE / name).read_text()):
        if "://" in target:
            continue
        path = HERE / (unquote(target) or name)
        assert path.exists(), target
        if fragment and path.suffix == ".md":
            text = path.read_text()
            anchors = {anchor(heading) for heading in HEADING.findall(text)}
            assert fragment in anchors or f"({fragment})=" in text, f"{target}#{fragment}"


def test_every_lesson_is_linked() -> None:
    readme = (HERE / "README.md").read_text()
    lessons = sorted((HERE / "notebooks").glob("*.ipynb"))
    assert len(lessons) > 10
    assert [f.name for f in lessons if f"(notebooks/{f.name})" not in readme] == []


def test_the_map_names_every_room() -> None:
    told = set(re.findall(r"`(\w+/|\w+\.py)`", (HERE / "CONTRIBUTING.md").read_text()))
    rooms = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (HERE / "nbdock").iterdir()
        if path.name not in ("__init__.py", "__pycache__", "py.typed")
    }
    assert rooms <= told, rooms - told


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((HERE / "CITATION.cff").read_text())
    assert PROJECT["project"]["version"] == nbdock.__version__ == citation["version"]


def test_the_citation_is_one() -> None:
    """The keys that version 1.2.0 of the format asks for, and none that it does not know."""
    citation = yaml.safe_load((HERE / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    known = {"cff-version", "message", "title", "authors", "abstract", "type", "version", "license",
             "keywords", "date-released", "url", "repository-code"}  # fmt: skip
    assert set(citation) <= known
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["project"]["license"]


def test_the_picture_is_small() -> None:
    picture = HERE / "docs" / "nbdock.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture.stat().st_size < 250_000


class TestBinder:
    """The four files as repo2docker takes them; that they work is tried by building it."""

    BINDER = HERE / "binder"

    def test_there_is_nothing_else(self) -> None:
        assert {path.name for path in self.BINDER.iterdir()} == {
            "apt.txt", "postBuild", "requirements.txt", "runtime.txt", "start",
        }  # fmt: skip

    def test_packages(self) -> None:
        for line in (self.BINDER / "apt.txt").read_text().splitlines():
            assert re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", line)

    def test_requirements_are_this_project_with_extras_it_has(self) -> None:
        (line,) = (self.BINDER / "requirements.txt").read_text().splitlines()
        extras = re.fullmatch(r"\.\[(.*)\]", line)
        assert extras
        assert set(extras[1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])

    def test_a_python_that_is_new_enough(self) -> None:
        runtime = (self.BINDER / "runtime.txt").read_text().strip()
        least = PROJECT["project"]["requires-python"].removeprefix(">=")
        minor = re.fullmatch(r"python-3\.(\d+)", runtime)
        assert minor
        assert int(minor[1]) >= int(least.partition(".")[2])

    @pytest.mark.parametrize("name", ["postBuild", "start"])
    def test_scripts_stop_at_what_fails(self, name: str) -> None:
        path = self.BINDER / name
        first, *lines = path.read_text().splitlines()
        assert first == "#!/usr/bin/env bash"
        assert "set -euo pipefail" in lines
        assert path.stat().st_mode & stat.S_IXUSR
        subprocess.run(["bash", "-n", path], check=True)

    def test_start_becomes_what_it_is_given(self) -> None:
        command = [self.BINDER / "start", "sh", "-c", 'echo "$NBDOCK_WORKERS" "$@" $$', "-", "a b"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        out, _ = process.communicate()
        assert out == f"2 a b {process.pid}\n"

    def test_lessons_that_are_run_there_are_there(self) -> None:
        named = re.findall(r"notebooks/[\w-]+\.\w+", (self.BINDER / "postBuild").read_text())
        assert named
        assert all((HERE / name).exists() for name in named)
