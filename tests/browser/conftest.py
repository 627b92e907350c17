"""Real JupyterLab in headless Chromium: what a person sees and does.

Fixtures
--------
lab
    A new notebook with a kernel of its own (`support.browser.Notebook`): ``lab.run(source)`` runs a
    cell and gives its output area (a Playwright locator), ``lab.page`` is Playwright's page,
    ``lab.screenshot("name")`` keeps a picture, ``lab.theme("dark")`` changes the theme. At the end
    nothing may stand in the browser's console as an error.
nbdock_lab
    The same, with nbdock loaded.

There is one server and one browser for each worker that meets such a test; pytest-xdist gives the
tests that are collected first, which these are, to its first worker. Pictures are kept in the
directory that NBDOCK_TEST_ARTEFACTS names, else in the run's temporary one; a test that fails
always leaves one.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.browser import PATIENCE_S, LabServer, Notebook, Web, lab_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            item.add_marker(pytest.mark.timeout(2 * PATIENCE_S))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Have a test that has a page run in the thread in which the page lives."""
    lab = pyfuncitem.funcargs.get("lab")
    if isinstance(lab, Notebook):
        test = _or_picture(pyfuncitem.obj, lab, f"failed-{_plain(pyfuncitem.name)}")
        pyfuncitem.obj = functools.partial(lab.web.call, test)


def _or_picture(test: Callable[..., None], lab: Notebook, name: str) -> Callable[..., None]:
    def run(**arguments: object) -> None:
        try:
            test(**arguments)
        except Exception as error:
            error.add_note(f"The page then: {lab.screenshot(name)}")
            raise

    return run


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = os.environ.get("NBDOCK_TEST_ARTEFACTS")
    path = Path(chosen) if chosen else tmp_path_factory.mktemp("pictures")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, apt_files: Path) -> Iterator[LabServer]:
    private = tmp_path_factory.mktemp("lab")
    home = private / "home"
    home.mkdir()
    for part in apt_files.iterdir():
        (home / part.name).symlink_to(part)
    with lab_server(private) as server:
        yield server


@pytest.fixture(scope="session")
def web(server: LabServer) -> Iterator[Web]:
    with Web(server) as web:
        yield web


@pytest.fixture
def lab(web: Web, pictures: Path, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    with web.notebook(_plain(request.node.name), pictures) as notebook:
        yield notebook
    assert notebook.console_errors == []


@pytest.fixture
def nbdock_lab(lab: Notebook) -> Notebook:
    lab.web.call(lab.run, "%load_ext nbdock\nimport nbdock")
    return lab
