"""A line of advice below an image whose layers nobody chose."""

from __future__ import annotations

from playwright.sync_api import expect

CELL = """\
%%buildLayeredImage -o redis
name = "redis";
contents = [ apt.redis-server ];
maxLayers = 10;
"""


def test_layers_that_nobody_chose(nbdock_lab) -> None:
    output = nbdock_lab.run(CELL)
    advice = output.locator(".jp-OutputArea-child", has_text="layers chosen by history pull")
    # It comes by itself, when the cell has long ended, below its result.
    expect(advice).to_contain_text('To have them: layering = "history";')
    expect(output.locator(".jp-OutputArea-child").last).to_contain_text("chosen by history")
    nbdock_lab.screenshot("advice")
    nbdock_lab.theme("dark")
    nbdock_lab.screenshot("advice-dark")
