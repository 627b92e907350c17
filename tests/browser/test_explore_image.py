"""`explore(image)` in a browser: open, search, select, preview, enter; both themes; no kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from support import layers

from nbdock import concurrency

HOSTILE = '<img src=x onerror="window.hacked=1">'
BASE = layers.tar([
    layers.directory("etc"), layers.file("etc/motd", b"hello\n" * 100, mtime=1_700_000_000),
    layers.symlink("etc/link", "../etc/motd"),
    layers.file("usr/lib/libx.so", b"\x7fELF\0" + b"x" * 90_000),
    layers.file("usr/bin/tool", b"#!/bin/sh\necho '<script>window.hacked=1</script>'\n" * 300),
    layers.file(f"usr/share/{HOSTILE}", b"x" * 10_000), layers.file("var/cache/a", b"y" * 50_000),
    *(layers.file(f"srv/many/entry-{i:04}", b"%d" % i) for i in range(3000)),
])  # fmt: skip
TOP = layers.tar([
    layers.file("etc/motd", b"bye"), layers.whiteout("var/cache"),
    layers.file("usr/lib/copy.so", b"\x7fELF\0" + b"x" * 90_000),
])  # fmt: skip


@pytest.fixture
def archive(nbdock_home: Path, tmp_path: Path) -> Path:
    image = layers.make_image([BASE, TOP])
    return concurrency.run(image.save(tmp_path / "two.tar"))


@pytest.fixture
def view(archive: Path, nbdock_lab) -> Locator:
    """The view of an explorer that the notebook calls so."""

    def show() -> Locator:
        nbdock_lab.run(f"image = await nbdock.load_image({str(archive)!r})")
        view = nbdock_lab.run("%explore image -o explorer").locator(".nbdock-image")
        expect(line(view, "usr/")).to_be_visible()
        return view

    return nbdock_lab.web.call(show)


def line(view: Locator, name: str) -> Locator:
    text = view.page.get_by_text(name, exact=True)
    return view.locator(".nbdock-line[data-index]").filter(has=text)


def same(lab, view: Locator, path: str) -> None:
    """The Python that is shown gives what is selected, which is or ends with a path."""
    shown = view.locator(".nbdock-code code")
    expect(shown).to_contain_text(json.dumps(path))  # then Python has heard of it
    told = lab.run("print(explorer.python)").inner_text()
    expect(shown).to_have_text(told.strip())
    code = shown.inner_text()
    lab.run(f"{code.replace(chr(10) + 'files', chr(10) + 'found = files')}\n"
            "assert found.equals(explorer.selection), (found, explorer.selection)\n"
            "assert len(found)")  # fmt: skip


def test_open_select_and_preview(nbdock_lab, view) -> None:
    line(view, "usr/").locator(".nbdock-twisty").click()
    line(view, "bin/").locator(".nbdock-twisty").click()
    line(view, "tool").click()
    expect(line(view, "tool")).to_have_attribute("aria-selected", "true")
    details = view.locator(".nbdock-details")
    expect(details.locator(".nbdock-path")).to_have_text("/usr/bin/tool")
    expect(details.locator("pre")).to_contain_text("<script>window.hacked=1</script>")
    expect(view.locator(".nbdock-chosen-count")).to_contain_text("1 row selected")
    same(nbdock_lab, view, "/usr/bin/tool")
    # A directory is all that is in it, and is what the treemap shows.
    line(view, "usr/").click()
    expect(view.locator(".nbdock-chosen-count")).to_contain_text("rows selected")
    expect(view.locator(".nbdock-crumb[aria-current]")).to_have_text("usr")
    same(nbdock_lab, view, "/usr/")
    nbdock_lab.screenshot("explore-image")
    line(view, "share/").locator(".nbdock-twisty").click()
    expect(line(view, HOSTILE)).to_be_visible()
    line(view, "lib/").locator(".nbdock-twisty").click()
    line(view, "libx.so").click()
    expect(details.locator("pre")).to_contain_text("7f 45 4c 46 00")
    assert nbdock_lab.page.evaluate("window.hacked") is None


def test_search_filter_and_layers(nbdock_lab, view) -> None:
    view.get_by_label("Search paths").fill("*.so")
    expect(view.locator(".nbdock-status")).to_contain_text("2 matches, 180 kB")
    nbdock_lab.screenshot("explore-image-search")
    view.get_by_label("Search paths").fill("no such thing")
    expect(view.get_by_text("Nothing matches no such thing.")).to_be_visible()
    view.get_by_label("Search paths").press("Escape")
    view.get_by_label("Changes").select_option("wasted")
    expect(view.locator(".nbdock-status")).to_contain_text("3 files")
    for name in ("usr/", "lib/"):
        line(view, name).locator(".nbdock-twisty").click()
    line(view, "copy.so").click()
    expect(view.locator(".nbdock-why")).to_have_text(
        "Wasted. /usr/lib/libx.so in layer 0 has the same content."
    )
    same(nbdock_lab, view, "/usr/lib/copy.so")
    expect(view.locator(".nbdock-tile", has_text="copy.so")).to_be_visible()
    nbdock_lab.theme("dark")
    nbdock_lab.screenshot("explore-image-dark")
    ground = view.evaluate("node => getComputedStyle(node).backgroundColor")
    assert sum(map(int, ground[4:-1].split(","))) < 3 * 80, ground
    nbdock_lab.theme("light")
    view.get_by_label("Changes").select_option("")
    view.locator(".nbdock-layer").nth(2).click()
    view.get_by_text("only it").click()
    expect(view.locator(".nbdock-status")).to_contain_text("3 files")
    line(view, "var/").locator(".nbdock-twisty").click()
    line(view, "cache").click()
    expect(view.locator(".nbdock-details")).to_contain_text("whiteout")
    same(nbdock_lab, view, "/var/cache")


def test_keys_and_many_lines(nbdock_lab, view) -> None:
    tree = view.locator(".nbdock-lines")
    current = view.locator('.nbdock-line[aria-selected="true"]')
    line(view, "etc/").click()
    tree.press("s")
    expect(current).to_contain_text("srv/")
    tree.press("ArrowRight")
    tree.press("ArrowRight")
    expect(current).to_contain_text("many/")
    tree.press("ArrowRight")
    expect(line(view, "entry-0000")).to_be_visible()
    assert tree.locator(".nbdock-line").count() < 100
    tree.press("End")
    expect(current).to_contain_text("var/" if line(view, "var/").count() else "usr/")
    tree.press("Home")
    expect(current).to_contain_text("etc/")
    tree.press("Shift+ArrowDown")
    expect(current).to_have_count(2)
    same(nbdock_lab, view, "/srv/")
    tree.evaluate("node => { node.scrollTop = 24 * 1500 }")
    expect(tree.get_by_text("entry-1500", exact=True)).to_be_visible()


def test_treemap(nbdock_lab, view) -> None:
    view.locator(".nbdock-tile", has_text="usr/").first.locator("text").first.click(force=True)
    crumbs = view.locator(".nbdock-crumb")
    expect(crumbs.last).to_have_text("usr")
    view.locator(".nbdock-tile", has_text="copy.so").locator("rect").click()
    expect(view.locator(".nbdock-path")).to_have_text("/usr/lib/copy.so")
    expect(line(view, "copy.so")).to_have_attribute("aria-selected", "true")
    crumbs.first.click()
    expect(crumbs).to_have_count(1)
    view.get_by_label("Colours").select_option("package")
    expect(view.locator(".nbdock-legend-item")).to_have_count(0)


def test_a_kernel_that_is_gone(nbdock_lab, view) -> None:
    nbdock_lab.page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"""
    )
    gone = view.get_by_text("The kernel that answered is gone.")
    expect(gone).to_be_visible()
    expect(view.locator("svg[role=img]")).to_be_visible()
    expect(view.get_by_text("Largest directories")).to_be_visible()
    assert view.locator("script").count() == 0
    nbdock_lab.run("1")
