"""`explore_plan` in JupyterLab: the slider, the planners, layers to click on, both themes."""

from __future__ import annotations

import re

from playwright.sync_api import expect

CONTENTS = """
from nbdock.packages import Closure
def contents_of(count, name="package"):
    texts = [nbdock.text_file(f"etc/{name}-{i}", "x" * (i * i * 31 % 99991)) for i in range(count)]
    keys = [p.key for p in texts]
    return Closure(
        tuple(sorted(texts, key=lambda p: p.sort_key)),
        {k: tuple(sorted({keys[i // 2], keys[i * 7 % 13]} - {k})) for i, k in enumerate(keys)},
        (keys[-1], keys[-2]),
    )
"""

# Moves the slider and waits until the picture is there and painted. Milliseconds of each move.
MOVE = """async (root, limits) => {
  const slider = root.querySelector(".nbdock-plan-slider");
  const picture = root.querySelector(".nbdock-plan-picture");
  const times = [];
  for (const limit of limits) {
    await new Promise((done) => setTimeout(done, 120));
    const planner = picture.dataset.drawn.split(" ")[0];
    const begin = performance.now();
    await new Promise((done) => {
      const seen = new MutationObserver(() => {
        if (picture.dataset.drawn !== `${planner} ${limit}`) return;
        seen.disconnect();
        requestAnimationFrame(() => setTimeout(done));
      });
      seen.observe(picture, { attributes: true });
      slider.value = limit;
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    });
    times.push(performance.now() - begin);
  }
  return times;
}"""


def test_the_slider_draws_another_plan(nbdock_lab) -> None:
    nbdock_lab.run(CONTENTS)
    nbdock_lab.run(
        "contents = contents_of(60)\n"
        "e = nbdock.explore_plan(contents, max_layers=8, compare={'other': contents_of(40)})\ne"
    )
    root = nbdock_lab.page.locator(".nbdock-plan")
    layers = root.locator("[data-layer]")
    expect(layers).to_have_count(7)
    expect(root.locator("[data-p]")).to_have_count(60)
    expect(root).to_contain_text("A: 6 layers shared with other")
    root.locator(".nbdock-plan-slider").fill("20")
    expect(layers).to_have_count(19)
    expect(root.locator("code")).to_have_text(
        'await nbdock.plan_layers(contents, max_layers=20, strategy="popularity")'
    )
    root.get_by_role("radio", name="auto").click()
    expect(root.locator(".nbdock-plan-picture")).to_have_attribute("data-drawn", "auto 20")
    expect(nbdock_lab.run("e.plan.planner, e.max_layers")).to_contain_text("('auto', 20)")
    root.get_by_role("button", name="As a cell").click()
    expect(root.locator("code")).to_contain_text('layering = "auto";')


def test_layers_are_selected_with_the_mouse_and_the_keyboard(nbdock_lab) -> None:
    nbdock_lab.run(CONTENTS)
    nbdock_lab.run("contents = contents_of(30)\ne = nbdock.explore_plan(contents, max_layers=6)\ne")
    root = nbdock_lab.page.locator(".nbdock-plan")
    expect(root.locator("[data-layer]")).to_have_count(5)
    root.locator("[data-layer='4'] [data-p]").first.click()
    expect(root.locator(".nbdock-plan-side")).to_contain_text("Layer 4:")
    expect(root.locator("code")).to_contain_text('.table.query("layer in [4]")')
    expect(nbdock_lab.run("sorted(set(e.selection.layer)), len(e.selection)")).to_contain_text(
        "([4], 26)"
    )
    expect(nbdock_lab.run("eval(e.python).equals(e.selection)")).to_contain_text("True")
    picture = root.locator(".nbdock-plan-picture")
    picture.focus()
    picture.press("Home")
    picture.press("ArrowDown")
    picture.press("Control+Enter")
    expect(root.locator("code")).to_contain_text("layer in [1, 4]")
    picture.press("Escape")
    expect(root.locator(".nbdock-plan-side")).to_be_hidden()
    expect(root.locator("code")).not_to_contain_text("query")
    expect(nbdock_lab.run("len(e.selection)")).to_contain_text("0")


def test_a_thousand_packages_follow_the_slider(nbdock_lab) -> None:
    nbdock_lab.run(CONTENTS)
    nbdock_lab.run("contents = contents_of(1000)\ne = nbdock.explore_plan(contents)\ne")
    root = nbdock_lab.page.locator(".nbdock-plan")
    expect(root.locator("[data-p]")).to_have_count(1000)
    times = root.evaluate(MOVE, [90, 12, 60, 30, 5, 77, 110, 20, 41, 8])
    print("From the slider to the picture:", [round(ms) for ms in times], "ms")
    # On a machine of one's own it is a third of a tenth of a second; here others work as well.
    assert sorted(times)[len(times) // 2] < 2_000
    expect(nbdock_lab.run("e.max_layers")).to_contain_text("8")


def test_the_newest_wins_and_there_are_not_too_many(nbdock_lab) -> None:
    nbdock_lab.run(CONTENTS)
    nbdock_lab.run("contents = contents_of(200)\ne = nbdock.explore_plan(contents)\ne")
    root = nbdock_lab.page.locator(".nbdock-plan")
    picture = root.locator(".nbdock-plan-picture")
    expect(picture).to_have_attribute("data-drawn", "popularity 100")
    nbdock_lab.run(
        "asked = []\nanswer = e.answer\n"
        "def told(question):\n    asked.append(question)\n    return answer(question)\n"
        "e.answer = told"
    )
    root.evaluate(
        """async (root) => {
          const slider = root.querySelector(".nbdock-plan-slider");
          for (let limit = 100; limit >= 2; limit--) {
            slider.value = limit;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            await new Promise((done) => setTimeout(done, 5));
          }
        }"""
    )
    expect(picture).to_have_attribute("data-drawn", "popularity 2")
    count = int(re.sub(r"\D", "", nbdock_lab.run("print(len(asked))").inner_text()))
    assert 2 <= count < 40
    expect(nbdock_lab.run("e.max_layers")).to_contain_text("2")


def test_a_history_draws_the_curve_and_its_points_are_plans(nbdock_lab) -> None:
    nbdock_lab.run(CONTENTS)
    nbdock_lab.run(
        "import datetime as dt\nfrom nbdock.packages import ChangeHistory\n"
        "contents = contents_of(50)\nstart = dt.date(2023, 1, 1)\n"
        "days = lambda i: range(i, 1000, 40 + 25 * i)\n"
        "changes = {p.name: tuple(start + dt.timedelta(days=d) for d in days(i))"
        " for i, p in enumerate(contents.packages)}\n"
        "history = ChangeHistory(changes, {}, start, dt.date(2026, 1, 1))\n"
        "e = nbdock.explore_plan(contents, history=history, max_layers=15)\ne"
    )
    root = nbdock_lab.page.locator(".nbdock-plan")
    expect(root.get_by_role("radio", name="history")).to_have_attribute("aria-checked", "true")
    curve = root.locator(".nbdock-plan-curve")
    expect(curve).to_contain_text("knee")
    curve.locator("[data-planner='size'][data-budget='28']").click()
    expect(root.locator(".nbdock-plan-picture")).to_have_attribute("data-drawn", "size 29")
    expect(root.locator(".nbdock-plan-slider")).to_have_value("29")
    expect(curve.locator("circle.nbdock-plan-here")).to_have_count(1)
    nbdock_lab.screenshot("explore-plan-light", root)
    nbdock_lab.theme("dark")
    nbdock_lab.screenshot("explore-plan-dark", root)


def test_a_tooltip_says_who_needs_a_package(nbdock_lab) -> None:
    nbdock_lab.run(CONTENTS)
    nbdock_lab.run("nbdock.explore_plan(contents_of(20), max_layers=4)")
    root = nbdock_lab.page.locator(".nbdock-plan")
    bar = root.locator("[data-layer='2'] [data-p]").first
    bar.hover()
    tip = root.locator(".nbdock-tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("layer 2")
    expect(tip).to_contain_text("needed by:")
