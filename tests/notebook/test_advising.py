"""When a cell's image gets a line of advice (how it looks: tests/browser/test_advice.py)."""

from __future__ import annotations

import pytest

import nbdock
from nbdock.images import advice_at_hand
from nbdock.layering import LayerAdvice
from nbdock.notebook import advising

BODY = """
name = "layers"; tag = "1"; maxLayers = 4;
contents = [ (textFile "etc/a" "a") (textFile "etc/b" "b") (textFile "etc/c" "c")
             (textFile "etc/d" "d") ];
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    found: list[object] = []

    def start(coroutine) -> None:
        coroutine.close()
        found.append(coroutine)

    monkeypatch.setattr(advising, "start", start)
    monkeypatch.setattr(advising, "updates_displays", lambda: True)
    return found


def test_only_layers_that_nobody_chose_are_looked_at(cells, started) -> None:
    cells.value(f"%%buildLayeredImage{BODY}")
    assert len(started) == 1
    for other in (
        f'%%buildLayeredImage{BODY} layering = "popularity";',
        f'%%buildLayeredImage{BODY} layering = "auto";',
        f"%%buildLayeredImage --dry-run{BODY}",
        f"%%streamLayeredImage{BODY}",
        '%%buildImage\nname = "x"; contents = [ (textFile "etc/a" "a") ];',
    ):
        cells.value(other)
    assert len(started) == 1


def test_a_terminal_that_has_moved_on_gets_none(cells, started, monkeypatch) -> None:
    monkeypatch.setattr(advising, "updates_displays", lambda: False)
    cells.value(f"%%buildLayeredImage{BODY}")
    assert not started


async def test_packages_without_changelogs_have_none(nbdock_home) -> None:
    files = [nbdock.text_file(f"etc/{n}", "x") for n in range(5)]
    image = await nbdock.build_layered_image("a", contents=files, max_layers=3)
    assert image.plan is not None
    assert len(image.plan) < len(files)
    assert await advice_at_hand(image, least=0.2) is None


async def test_what_to_write_into_the_cell(nbdock_home) -> None:
    base = await nbdock.build_image("base", contents=nbdock.text_file("etc/base", "x"))
    files = [nbdock.text_file(f"etc/{n}", "x") for n in range(5)]
    image = await nbdock.build_layered_image("a", from_image=base, contents=files, max_layers=5)
    assert image.plan is not None
    few = advising.advice_bundle(image, LayerAdvice(2, 3, 0.68, 371, True))
    assert few["text/plain"] == (
        "2 layers chosen by history pull 68% less than 3 by popularity, over 371 days. "
        'To have them: layering = "history"; maxLayers = 4;'
    )
    assert "<code>layering = &quot;history&quot;; maxLayers = 4;</code>" in few["text/html"]
    # And so it is: with the base's layer and the one on top, two are left.
    again = await nbdock.build_layered_image(
        "a", from_image=base, contents=files, max_layers=4, layering="history"
    )
    assert again.plan is not None
    assert again.plan.limit == 2
    all_ = advising.advice_bundle(image, LayerAdvice(3, 3, 0.68, 371, True))
    assert all_["text/plain"].endswith('layering = "history";')
