"""Cells and what they show: results, progress, tables, errors, in both themes."""

from __future__ import annotations

import threading

from playwright.sync_api import expect


def test_a_result_is_a_card(nbdock_lab) -> None:
    output = nbdock_lab.run(
        '%%buildImage -o x\nname = "x"; tag = "1"; contents = [ (textFile "a" "b") ];'
    )
    expect(output.locator("table")).to_be_visible()
    nbdock_lab.screenshot("result")


def test_the_browser_is_in_no_loops_way(nbdock_lab) -> None:
    assert threading.current_thread().name.startswith("browser")
