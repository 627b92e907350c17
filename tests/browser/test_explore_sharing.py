"""`explore_sharing` in JupyterLab: cells to click on, what is counted, keys, both themes."""

from __future__ import annotations

from playwright.sync_api import expect

IMAGES = """
async def build(name, sizes):
    texts = [nbdock.text_file(f"etc/{n}", n[0] * s) for n, s in sizes.items()]
    return await nbdock.build_layered_image(f"example.com/team/{name}", tag="1", contents=texts)
images = [
    await build("one", {"base": 50_000, "first": 7_000}),
    await build("two", {"other": 9_000}),
    await build("three", {"base": 50_000, "third": 3_000}),
]
"""


def opened(lab):
    lab.run(IMAGES)
    lab.run("e = nbdock.explore_sharing(images)\ne")
    root = lab.page.locator(".nbdock-sharing")
    expect(root.locator("[data-a]")).to_have_count(9)
    # What it is stands at the whole, and not again at a part.
    expect(lab.page.get_by_label("What 3 images share")).to_have_count(1)
    return root


def test_a_cell_shows_what_is_to_be_pulled(nbdock_lab) -> None:
    root = opened(nbdock_lab)
    side = root.locator(".nbdock-sharing-side")
    expect(side).to_contain_text("3 images")
    root.locator("[data-a='0'][data-b='2']").click()
    expect(side).to_contain_text("on a host that has example.com/team/one:1")
    expect(side).to_contain_text("To pull")
    expect(side).to_contain_text("base")
    expect(root.locator("code")).to_have_text(
        'nbdock.explore_sharing(images, by="layer")'
        '.select("example.com/team/one:1", "example.com/team/three:1")'
    )
    expect(
        nbdock_lab.run("eval(e.python).equals(e.selection) and len(e.selection) > 2")
    ).to_contain_text("True")
    side.get_by_role("button", name="all images").click()
    expect(side).to_contain_text("3 images")
    expect(root.locator("code")).not_to_contain_text(".select(")
    expect(nbdock_lab.run("len(e.selection)")).to_contain_text("0")


def test_what_is_counted_and_how_it_is_ordered(nbdock_lab) -> None:
    root = opened(nbdock_lab)
    picture = root.locator(".nbdock-sharing-picture")
    expect(picture).to_have_attribute("data-drawn", "layer missing true")
    # Alike together: one beside three.
    rows = root.locator("[data-row]")
    order = [rows.nth(i).get_attribute("data-row") for i in range(3)]
    assert abs(order.index("0") - order.index("2")) == 1
    root.get_by_role("radio", name="files").click()
    root.get_by_role("radio", name="shared").click()
    root.get_by_role("radio", name="as given").click()
    expect(picture).to_have_attribute("data-drawn", "file shared false")
    assert [rows.nth(i).get_attribute("data-row") for i in range(3)] == ["0", "1", "2"]
    expect(picture).to_contain_text("50 kB")
    expect(nbdock_lab.run("e.by")).to_contain_text("file")
    nbdock_lab.screenshot("explore-sharing-light", root)
    nbdock_lab.theme("dark")
    nbdock_lab.screenshot("explore-sharing-dark", root)


def test_the_keyboard_moves_from_cell_to_cell(nbdock_lab) -> None:
    root = opened(nbdock_lab)
    picture = root.locator(".nbdock-sharing-picture")
    picture.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"):
        picture.press(key)
    active = picture.get_attribute("aria-activedescendant")
    label = root.locator(f"[id='{active}']").get_attribute("aria-label")
    assert label
    assert "to pull" in label
    picture.press("Enter")
    expect(root.locator("[aria-selected='true']")).to_have_count(1)
    expect(root.locator("code")).to_contain_text(".select(")
    picture.press("Escape")
    expect(root.locator("[aria-selected='true']")).to_have_count(0)


def test_fifty_images_have_labels_and_cells(nbdock_lab) -> None:
    nbdock_lab.run(IMAGES)
    nbdock_lab.run(
        "files = [nbdock.text_file(f'etc/f{i}', 'x' * (i * 997 % 5001 + 1)) for i in range(60)]\n"
        "many = [await nbdock.build_image(f'team-{k % 5}/service-{k}', tag='1',"
        " contents=files[k % 5 * 12: k % 5 * 12 + k // 5 + 1]) for k in range(50)]\n"
        "e = nbdock.explore_sharing(many, by='file')\ne"
    )
    root = nbdock_lab.page.locator(".nbdock-sharing")
    expect(root.locator("[data-a]")).to_have_count(2500)
    cell = root.locator("[data-a='7'][data-b='12']")
    # It is drawn once more, as wide as the page.
    expect(root.locator(".is-wide")).to_be_visible()
    cell.hover()
    box = cell.bounding_box()
    assert box["width"] >= 10
    assert box["height"] >= 10
    expect(root.locator(".nbdock-tip")).to_contain_text("wants team-2/service-12:1")
    nbdock_lab.screenshot("explore-sharing-fifty", root)
