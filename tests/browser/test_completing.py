"""Tab and Shift-Tab in build cells: what a person is offered, and what choosing it writes."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

# What is written, with a bar where the cursor is; what is chosen then; what stands there at last.
OFFERS = [
    ("%%buildLayeredImage\nmaxL|", "maxLayers", "%%buildLayeredImage\nmaxLayers = "),
    ("%%buildImage\nfromI|", "fromImageTag", "%%buildImage\nfromImageTag = "),
    ("%%buildImage\nconfig.W|", "config.WorkingDir", "%%buildImage\nconfig.WorkingDir = "),
    ("%%buildImage\nconfig = { E| };", "Entrypoint", "%%buildImage\nconfig = { Entrypoint =  };"),
    ("%%buildImage\ncontents = [ apt.redis-| x ];", "apt.redis-server",
     "%%buildImage\ncontents = [ apt.redis-server x ];"),
    ("%%buildImage\ncontents = with apt; [ redis-| ];", "redis-server",
     "%%buildImage\ncontents = with apt; [ redis-server ];"),
    ("%%buildImage\nfromImage = my_|;", "my_base", "%%buildImage\nfromImage = my_base;"),
    ("%%buildImage --d|", "--dry-run", "%%buildImage --dry-run"),
    ("%layers my_|", "my_base", "%layers my_base"),
]  # fmt: skip


def begin(lab, text: str) -> Locator:
    """Write a cell, and put the cursor where the bar is."""
    before, _, after = text.partition("|")
    cell = lab.write(before + after)
    cell.locator(".cm-content").click()
    lab.page.keyboard.press("Control+End")
    for _ in after:
        lab.page.keyboard.press("ArrowLeft")
    return cell


def test_what_tab_writes(nbdock_lab) -> None:
    lab = nbdock_lab
    lab.run("await apt.load()")
    lab.run('%%buildImage -o my_base\nname = "base"; contents = [ (textFile "a" "b") ];')
    for text, chosen, written in OFFERS:
        cell = begin(lab, text)
        lab.page.keyboard.press("Tab")
        offer = lab.page.locator(".jp-Completer-item").filter(has_text=chosen).first
        expect(offer).to_be_visible()
        if chosen.startswith("apt."):
            lab.screenshot("completion")
        offer.click()
        expect(cell.locator(".cm-line")).to_have_text(written.split("\n"))


def test_what_shift_tab_tells(nbdock_lab) -> None:
    lab = nbdock_lab
    for text, told in [
        ("%%buildImage|\nname", "contents at /, on a base if there is one"),
        ("%%buildImage\ncontents = apt|", "PackageSet"),
    ]:
        begin(lab, text)
        lab.page.keyboard.press("Shift+Tab")
        tooltip = lab.page.locator(".jp-Tooltip")
        expect(tooltip).to_contain_text(told)
        lab.screenshot("help-" + told.split()[0])
        lab.page.keyboard.press("Escape")
        expect(tooltip).to_have_count(0)
