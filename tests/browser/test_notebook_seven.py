"""Jupyter Notebook 7, which is not JupyterLab: a build, its result, and an explorer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect
from support.browser import LabServer, Web

CELLS = (
    "%load_ext nbdock",
    '%%buildImage -o small\nname = "small"; contents = textFile "greeting" "hello";',
    "%explore small -o explorer",
)


@pytest.fixture
def page(web: Web, server: LabServer, pictures: Path) -> Iterator[Page]:
    """Notebook 7 with a notebook of three cells, none of them run. Not for this thread."""
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    content.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(content, server.root / "seven.ipynb")

    def opened() -> Page:
        page = web.page.context.new_page()
        page.goto(f"{server.url}notebooks/seven.ipynb?token={server.token}")
        return page

    page = web.call(opened)
    try:
        yield page
    finally:
        web.call(page.close)


def run_all(page: Page) -> None:
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


def test_a_build_and_an_explorer(web: Web, page: Page, pictures: Path) -> None:
    errors: list[str] = []

    def look() -> None:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: m.type == "error" and errors.append(m.text))
        expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(len(CELLS))
        expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")).to_be_visible()
        # Extensions of JupyterLab are at work here too: Nix in colours.
        expect(page.locator(".jp-Cell").nth(1).locator(".cm-line span").first).to_be_visible()
        view = page.locator(".nbdock-image")
        line = view.locator(".nbdock-line[data-index]").filter(has_text="greeting")
        try:
            run_all(page)
            expect(line).to_be_visible(timeout=60_000)
        except AssertionError:
            # Seen once on a busy machine, and not understood: nothing came of the first time.
            page.screenshot(path=pictures / "notebook-seven-first.png")
            run_all(page)
        line.click()
        expect(line).to_have_attribute("aria-selected", "true")
        page.screenshot(path=pictures / "notebook-seven.png", animations="disabled")

    web.call(look)
    # Notebook's own, where its settings come later than its toolbar.
    assert [each for each in errors if "reading 'schema'" not in each] == []
