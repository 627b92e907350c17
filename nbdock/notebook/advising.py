"""A line of advice below an image that a cell built: what layers by history would have saved.

It comes after the result, which waits for nothing, and only where it is worth a line: for layers
that nobody chose, if much would have been saved, by changelogs that are here. Who asks has
`nbdock.advise(image)`.

    40 layers chosen by history pull 90% less than 99 by popularity, over 371 days. To have them:
    layering = "history"; maxLayers = 41;
"""

from __future__ import annotations

import contextvars
import html
import logging
from typing import TYPE_CHECKING

from IPython.display import DisplayHandle

from nbdock.concurrency import start
from nbdock.images import Image
from nbdock.notebook.progress import updates_displays

if TYPE_CHECKING:
    from nbdock.layering import LayerAdvice

__all__ = ["advise_later"]

_log = logging.getLogger(__name__)

_LEAST_SAVED = 0.2
"""What is worth a line. Share of the bytes pulled."""

_MUTED = "color:var(--jp-ui-font-color2,#616161)"


def advise_later(made: object) -> None:
    """Look for advice on what a cell made, and show it below the cell when there is any."""
    if not (isinstance(made, Image) and made.plan and made.plan.planner == "popularity"):
        return
    chosen = any(made.arguments.get(name) for name in ("layering", "layering_pipeline"))
    if chosen or not updates_displays():
        return
    # What is shown later, from another thread, still belongs to this cell.
    start(_advise(made, contextvars.copy_context()))


async def _advise(image: Image, cell: contextvars.Context) -> None:
    from nbdock.images import advice_at_hand  # which imports the planner that it asks

    try:
        advice = await advice_at_hand(image, least=_LEAST_SAVED)
        if advice is not None:
            cell.run(DisplayHandle().display, advice_bundle(image, advice), raw=True)
    except Exception:
        # Nobody asked for it.
        _log.debug("No advice on %s", image, exc_info=True)


def advice_bundle(image: Image, advice: LayerAdvice) -> dict[str, str]:
    """The sentence, and what to write into the cell."""
    assert image.plan is not None
    words = 'layering = "history";'
    if advice.layers < image.plan.limit:
        words += f" maxLayers = {len(image.layers) - len(image.plan) + advice.layers};"
    text, code = f"{advice} To have them:", html.escape(words)
    return {
        "text/plain": f"{text} {words}",
        "text/html": f'<div style="{_MUTED}">{html.escape(text)} <code>{code}</code></div>',
    }
