"""`explore_closure` in JupyterLab: search, the reason for a package, clicks, keys, both themes."""

from __future__ import annotations

from playwright.sync_api import expect

CLOSURE = """
from nbdock.packages import Closure
def closure_of(needs):
    texts = {n: nbdock.text_file(f"etc/{n}", n * (i * 997 % 4001 + 1)) for i, n in enumerate(needs)}
    return Closure(
        tuple(sorted(texts.values(), key=lambda p: p.sort_key)),
        {texts[a].key: tuple(sorted(texts[b].key for b in bs)) for a, bs in needs.items()},
        (texts[next(iter(needs))].key,),
    )
needs = {"app": ["web", "libz", "libc"], "web": ["libssl", "libz"], "libssl": ["libc"],
         "libz": ["libc"], "libc": ["libgcc"], "libgcc": ["libc"]}
x = closure_of(needs)
"""


def opened(lab):
    lab.run(CLOSURE)
    lab.run("e = nbdock.explore_closure(x)\ne")
    root = lab.page.locator(".nbdock-closure")
    expect(root.locator("[data-i]")).to_have_count(6)
    return root


def node(root, name: str):
    return root.locator("[data-i]").filter(has_text=name)


def test_a_click_says_why_a_package_is_there_and_selects_it(nbdock_lab) -> None:
    root = opened(nbdock_lab)
    node(root, "libssl").click()
    side = root.locator(".nbdock-closure-side")
    expect(side).to_contain_text("Why it is here")
    expect(side.locator(".nbdock-closure-names").first).to_contain_text(
        "app \u2192 web \u2192 libssl"
    )
    expect(root.locator("code")).to_have_text('nbdock.explore_closure(x).table.loc[["libssl"]]')
    expect(nbdock_lab.run("list(e.selection.index)")).to_contain_text("['libssl']")
    node(root, "libz").click(modifiers=["Control"])
    expect(root.locator("code")).to_contain_text('["libssl", "libz"]')
    expect(nbdock_lab.run("eval(e.python).equals(e.selection)")).to_contain_text("True")
    # The way there is drawn, and what belongs to other packages stands back.
    node(root, "libssl").click()
    expect(root.locator("path.nbdock-closure-why")).to_have_count(2)
    expect(node(root, "libz")).to_have_class("is-far")


def test_searching_finds_one_after_the_other(nbdock_lab) -> None:
    root = opened(nbdock_lab)
    search = root.get_by_role("searchbox")
    search.fill("LIB")
    expect(root.locator(".nbdock-closure-found")).to_have_text("4 of 6")
    expect(root.locator(".is-hit")).to_have_count(4)
    search.press("Enter")
    first = root.locator(".is-at").text_content()
    search.press("Enter")
    expect(root.locator(".is-at")).not_to_have_text(first)
    search.press("Escape")
    expect(root.locator(".is-hit")).to_have_count(0)
    # What is typed into the search runs no command of JupyterLab's.
    expect(nbdock_lab.cell(-1)).to_be_visible()


def test_the_keyboard_goes_along_dependencies(nbdock_lab) -> None:
    root = opened(nbdock_lab)
    port = root.locator(".nbdock-closure-port")
    port.focus()
    at = root.locator(".is-at")
    port.press("ArrowRight")
    expect(at).to_contain_text("app")
    port.press("ArrowRight")
    expect(at).not_to_contain_text("app")
    port.press("ArrowLeft")
    expect(at).to_contain_text("app")
    port.press("Enter")
    expect(at).to_have_attribute("aria-selected", "true")
    expect(root.locator("code")).to_contain_text('["app"]')
    expect(nbdock_lab.run("list(e.selection.index)")).to_contain_text("['app']")
    port.focus()
    port.press("Escape")
    expect(root.locator("[aria-selected='true']")).to_have_count(0)
    expect(root.locator("code")).not_to_contain_text(".loc[")
    expect(nbdock_lab.run("len(e.selection)")).to_contain_text("0")


def test_two_hundred_packages_are_moved_and_zoomed(nbdock_lab) -> None:
    nbdock_lab.run(CLOSURE)
    nbdock_lab.run(
        "many = {f'package-{i}': sorted({f'package-{j}' for j in (2*i+1, 2*i+2, i+9) if j < 200})"
        " for i in range(200)}\n"
        "e = nbdock.explore_closure(closure_of(many))\ne"
    )
    root = nbdock_lab.page.locator(".nbdock-closure")
    expect(root.locator("[data-i]")).to_have_count(200)
    svg = root.locator(".nbdock-closure-port > svg")
    before = svg.bounding_box()
    # Letters are large enough to be read.
    letters = root.locator("[data-i] text").first.bounding_box()
    assert letters["height"] >= 9
    port = root.locator(".nbdock-closure-port").bounding_box()
    page = nbdock_lab.page
    page.mouse.move(port["x"] + port["width"] - 8, port["y"] + 8)
    page.mouse.down()
    page.mouse.move(port["x"] + 60, port["y"] + 8, steps=4)
    page.mouse.up()
    assert svg.bounding_box()["x"] < before["x"] - 40
    root.get_by_role("button", name="Show all").click()
    whole = svg.bounding_box()
    assert whole["width"] <= port["width"] + 1
    assert whole["height"] <= port["height"] + 1
    node(root, "package-199").click(force=True)
    root.get_by_role("button", name="Readable").click()
    expect(root.locator(".is-at")).to_be_in_viewport()
    nbdock_lab.screenshot("explore-closure-light", root)
    nbdock_lab.theme("dark")
    nbdock_lab.screenshot("explore-closure-dark", root)


def test_mermaid_is_drawn_by_jupyterlab(nbdock_lab) -> None:
    nbdock_lab.run(CLOSURE)
    output = nbdock_lab.run("nbdock.closure_mermaid(x)")
    expect(output.locator(".jp-RenderedMermaid")).to_be_visible()
    picture = output.locator(".jp-RenderedMermaid img")
    expect(picture).to_be_visible()
    assert "libssl" in (picture.get_attribute("src") or "")
