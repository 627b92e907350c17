"""The documentation as a site: built once, with warnings as errors, and read page by page."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import nbdock
from nbdock import errors, notebook, settings, tables
from nbdock.cli import main

ROOT = Path(__file__).parents[2]
LIMIT_S = 240


class Page(HTMLParser):
    """What a page links to, what it loads, the places in it, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "img", "iframe", "source") and "src" in given:
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loads.append(given.get("href", ""))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; the checkout stays as it is."""
    place = tmp_path_factory.mktemp("site")
    kept = shutil.ignore_patterns("_build", "*.ipynb", "api", "__pycache__")
    shutil.copytree(ROOT / "docs", place / "docs", ignore=kept)
    (place / "notebooks").symlink_to(ROOT / "notebooks")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "--jobs", "2", "--fail-on-warning", "--keep-going",
         "--quiet", "docs", "html"],
        cwd=place, env={**os.environ, "NBDOCK_HOME": str(place / "home")},
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return place / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_links_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc or link == "#":
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            place = unquote(url.fragment)
            known = pages[target].places if target in pages else set()
            if not target.exists() or (place and target in pages and place not in known):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken


def test_nothing_comes_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    assert [load for page in pages.values() for load in page.loads if urlsplit(load).netloc] == []
    styles = [path.read_text(encoding="utf-8") for path in site.rglob("*.css")]
    assert not [
        url for style in styles for url in re.findall(r"url\(\s*[\"']?(https?:[^)]*)", style)
    ]
    imported = [line for style in styles for line in re.findall(r"@import[^;]*", style)]
    assert not [line for line in imported if "//" in line]


def test_every_notebook_is_a_page(site: Path) -> None:
    for notebook_path in (ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"):
        assert (site / "tutorials" / f"{notebook_path.stem}.html").exists()


def test_public_names(site: Path) -> None:
    index = (site / "reference/api/index.html").read_text(encoding="utf-8")
    places = [index.index(f"nbdock.{name}</span>") for name in nbdock.__all__]
    assert places == sorted(places)
    for name in nbdock.__all__:
        page = Page(site / f"reference/api/{name}.html")
        value = getattr(nbdock, name)
        shown = f"module-nbdock.{name}" if inspect.ismodule(value) else f"nbdock.{name}"
        assert shown in page.places, name


def test_settings(site: Path) -> None:
    page = Page(site / "reference/settings.html")
    for field in dataclasses.fields(settings.Settings):
        assert f"NBDOCK_{field.name.upper()}" in page.words, field.name


def test_magics_and_their_flags(site: Path) -> None:
    page = Page(site / "reference/magics.html")
    for group in notebook._MAGICS:
        for kind, sign in (("cell", "%%"), ("line", "%")):
            for name in group.magics[kind]:
                assert sign + name in page.words
    flags = [row for row in rows(site / "reference/magics.html") if len(row) == 2]
    assert [row for row in flags if not row[1]] == []
    for flag in ("--dry-run", "--push REFERENCE", "--measure WHAT", "--image-digest DIGEST"):
        assert flag in [row[0] for row in flags]


def rows(path: Path) -> Iterator[list[str]]:
    """The cells of every row of every table of a page."""
    for row in re.findall(r"<tr.*?</tr>", path.read_text(encoding="utf-8"), re.DOTALL):
        yield [
            re.sub(r"<[^>]*>", "", each).strip()
            for each in re.findall(r"<td.*?</td>", row, re.DOTALL)
        ]


def test_columns_of_tables(site: Path) -> None:
    shown = [row for row in rows(site / "reference/tables.html") if len(row) == 4]
    assert [row for row in shown if not row[3]] == []
    sizes = [row for row in shown if row[0].endswith("_bytes")]
    assert len(sizes) > 15
    assert {row[2] for row in sizes} == {"bytes"}
    text = (site / "reference/tables.html").read_text(encoding="utf-8")
    for name in tables.__all__:
        if name.endswith(("_table", "_matrix")):
            assert name in text


def test_errors(site: Path) -> None:
    page = Page(site / "reference/errors.html")
    for name in errors.__all__:
        if inspect.isclass(getattr(errors, name)):
            # In the tree, and once more with what it means.
            assert page.text.count(name) >= 2, name


def test_commands(site: Path) -> None:
    page = Page(site / "reference/cli.html")
    for name, command in main.commands.items():
        assert f"nbdock {name}" in page.text
        for option in command.params:
            if option.opts[0].startswith("--"):
                assert option.opts[0] in page.text


def test_files_that_documents_name_are_there() -> None:
    documents = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    broken = [
        f"{document.name}: {link}"
        for document in [*documents, *(ROOT / "notebooks").glob("[0-9]*.ipynb")]
        for link in re.findall(r"\]\(([^)\s#]+)", document.read_text(encoding="utf-8"))
        if not urlsplit(link).scheme and not (document.parent / unquote(link)).exists()
    ]
    assert not broken
