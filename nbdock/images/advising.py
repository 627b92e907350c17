"""Advice on the layers of an image that was built, for who did not ask for any.

Nothing is fetched for it, and no worker is taken from those who work. Who asks calls
`nbdock.advise(image)`.
"""

from __future__ import annotations

from nbdock.concurrency import in_thread
from nbdock.images.image import Image
from nbdock.layering import LayerAdvice, advise_on
from nbdock.packages import AptPackage, changelog_history

__all__ = ["advice_at_hand"]


async def advice_at_hand(image: Image, *, least: float) -> LayerAdvice | None:
    """What layers by history would have saved, by the changelogs that are here.

    Parameters
    ----------
    image
        Built by this process, by the planner ``"popularity"``.
    least
        The smallest saving worth a word: a share of the bytes pulled, from 0 to 1.
    """
    plan, closure = image.plan, image.closure
    if plan is None or closure is None or all(len(layer) == 1 for layer in plan.layers):
        return None
    if not any(isinstance(package, AptPackage) for package in closure.packages):
        return None
    history = await changelog_history(closure.packages, fetch=False)
    advice = await in_thread(advise_on, plan, closure, history, least=least)
    return advice if advice is not None and advice.saved >= least else None
