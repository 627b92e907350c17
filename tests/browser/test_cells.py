"""Cells and what they show: the quickstart, progress, tables, errors; in both themes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "00-quickstart.ipynb"
SMALL = '%%buildImage -o small\nname = "small"; tag = "1"; contents = [ (textFile "a" "b") ];'


def test_the_quickstart(lab) -> None:
    notebook = nbformat.read(QUICKSTART, as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    built, explored, table = [lab.run(source) for source in cells[:4]][1:]
    expect(built.get_by_text(re.compile(r"^linux/\w+ · .* layers$"))).to_be_visible()
    expect(built).to_contain_text(re.compile(r"Built in [\d.]+ (s|min)"))
    expect(explored.locator(".nbdock-image")).to_be_visible()
    expect(table.locator("tbody tr")).to_have_count(5)
    lab.screenshot("quickstart")
    lab.theme("dark")
    lab.screenshot("quickstart-dark")


def test_progress_comes_and_goes(nbdock_lab, tmp_path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    output = nbdock_lab.start(
        f'%%buildImage\nname = "slow"; contents = [ (textFile "a" "b") ];\n'
        f'extraCommands = "cat {gate}";'
    )
    expect(output).to_contain_text("Running extraCommands")
    nbdock_lab.screenshot("progress")
    gate.write_text("open\n")
    nbdock_lab.wait()
    expect(output).to_contain_text(re.compile(r"Built in [\d.]+ s\."))
    expect(output).not_to_contain_text("Running")
    expect(output.locator("table")).to_be_visible()
    nbdock_lab.screenshot("progress-gone")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_tables_and_errors(nbdock_lab, theme) -> None:
    nbdock_lab.theme(theme)
    nbdock_lab.run(SMALL)
    files = nbdock_lab.run("%files small")
    expect(files.locator("tbody tr")).to_have_count(1)
    shared = nbdock_lab.run("%sharing small small")
    expect(shared.locator("table")).to_be_visible()
    error = nbdock_lab.run('%%buildLayeredImage\nname = "x";\n  maxLayer = 3;', fails=True)
    said = error.inner_text()
    assert "maxLayers" in said
    [line, caret] = re.findall(r"^(.*maxLayer = 3;)\n(.*\^+)", said, re.MULTILINE)[0]
    assert line.index("maxLayer") == caret.index("^")
    nbdock_lab.screenshot(f"tables-{theme}")
