"""The picture in the README: a build cell with its result and the image taken apart, in JupyterLab.

    make picture

It is of a real JupyterLab in a headless Chromium, as the tests have them, at twice the size of
a page's pixels, with a palette: below 250 kB.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from playwright.sync_api import expect  # noqa: E402
from support.browser import Notebook, Web, lab_server  # noqa: E402

PICTURE = HERE / "nbdock.png"
LIMIT_BYTES = 250_000
SIZE = (1000, 2300)
MARGIN = 6
BUILD = """%%buildLayeredImage -o redis
name = "redis"; tag = "7";
contents = [ apt.redis-server ];
config = { Cmd = [ "/usr/bin/redis-server" ]; Volumes = { "/data" = {}; }; };
maxLayers = 8;"""
EXPLORE = "nbdock.explore(redis)"
STYLE = """
  .jp-Toolbar, .jp-cell-toolbar, .jp-CellFooter, .jp-Notebook-footer { display: none !important }
  #jp-bottom-panel, #jp-main-statusbar { display: none !important }
  .jp-Collapser, .jp-Notebook .jp-Cell.jp-mod-active .jp-Collapser { visibility: hidden }
"""


def main() -> None:
    """Take it."""
    with tempfile.TemporaryDirectory() as scratch:
        with lab_server(Path(scratch, "lab")) as server, Web(server, size=SIZE, scale=2) as web:
            with web.notebook("redis", Path(scratch)) as lab:
                taken = web.call(take, lab)
    picture = Image.open(io.BytesIO(taken)).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    picture.save(PICTURE, optimize=True)
    size_bytes = PICTURE.stat().st_size
    print(f"{PICTURE}: {picture.width} x {picture.height} pixels, {size_bytes:,} bytes")
    if size_bytes > LIMIT_BYTES:
        sys.exit(f"That is more than {LIMIT_BYTES:,}.")


def take(lab: Notebook) -> bytes:
    """Run the cells, and picture the two that are to be seen."""
    lab.run("%load_ext nbdock")
    lab.run(BUILD)  # so that the next has nothing to wait for
    lab.page.add_style_tag(content=STYLE)
    lab.run(BUILD)
    view = lab.run(EXPLORE).locator(".nbdock-image")
    expect(view.get_by_text("usr/", exact=True).first).to_be_visible()
    lab.page.keyboard.press("Escape")
    build, explore = lab.cell(2), lab.cell(3)
    build.scroll_into_view_if_needed()
    top, bottom = build.bounding_box(), explore.bounding_box()
    assert top, "the build cell is not in sight"
    assert bottom, "the explorer is not in sight"
    left, up = top["x"] - MARGIN, top["y"] - MARGIN
    right, down = top["x"] + top["width"], bottom["y"] + bottom["height"] + MARGIN
    clip = {"x": left, "y": up, "width": right - left, "height": down - up}
    return lab.page.screenshot(clip=clip, animations="disabled")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
