"""What is shipped for the browser: JupyterLab finds it, and it is good wherever notebooks are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nbdock
from nbdock.notebook.names import BUILDERS

ROOM = Path(nbdock.__file__).parent / "notebook"
SOURCES = ROOM / "labextension"
INSTALLED = Path(sys.prefix, "share", "jupyter", "labextensions", "nbdock")
SCRIPTS = sorted(ROOM.rglob("*.js"))
STYLES = sorted(ROOM.rglob("*.css"))
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}


def of_each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_what_is_installed_is_what_stands_in_the_sources() -> None:
    assert files(INSTALLED) == files(SOURCES), "Install nbdock anew: make venv"


def test_jupyterlab_finds_it_and_takes_it() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "jupyterlab.labextensions", "list"],
        capture_output=True, text=True, check=True, timeout=240,
    )  # fmt: skip
    [line] = [line for line in listed.stderr.splitlines() if " nbdock " in line]
    assert "enabled" in line
    assert "OK" in line
    assert f"v{nbdock.__version__} " in line


def test_what_it_names_is_there() -> None:
    build = json.loads((SOURCES / "package.json").read_text())["jupyterlab"]["_build"]
    assert (SOURCES / build["load"]).is_file()
    for script in (SOURCES / "static").glob("*.js"):
        text = script.read_text()
        for name in re.findall(r'(?:from|import\(new URL\()\s*"(.*?)"', text):
            assert (script.parent / name).is_file()


def test_it_knows_the_magics_that_there_are() -> None:
    text = (SOURCES / "static" / "extension.js").read_text()
    [block] = re.findall(r"BUILD_MAGICS = \[(.*?)\]", text, re.DOTALL)
    assert re.findall(r'"(\w+)"', block) == list(BUILDERS)


@of_each(SCRIPTS + STYLES)
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"\w+://[^\s\"'`)]*", text)) <= NAMESPACES
    assert not re.search(r"\brequire(js)?\s*\(|@import|url\(|\beval\(|new Function", text)


@of_each(STYLES)
def test_styles_are_of_nbdocks_own_elements_alone(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
    # A rule about the medium is about what is in it.
    text = re.sub(r"@(?:media|container|supports)[^{]*\{", "", text)
    names = re.findall(r"@keyframes\s+([\w-]+)", text)
    assert all(name.startswith("nbdock") for name in names)
    text = re.sub(r"@keyframes[^{]*\{(?:[^{}]*\{[^{}]*\})*\s*\}", "", text)
    selectors = [
        selector.strip()
        for rule in re.findall(r"([^{}]+)\{[^{}]*\}", text)
        for selector in re.split(r",(?![^(]*\))", rule)
    ]
    assert selectors
    # In a theme, or not: in the end it is one of ours.
    themed = re.compile(r"body(?:\[data-(?:jp|vscode)-theme[^\]]*\]|\.vscode-[\w-]+)\s+")
    assert [s for s in selectors if not themed.sub("", s).startswith(".nbdock-")] == []
