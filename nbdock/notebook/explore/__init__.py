"""What is explored with the mouse and the keyboard: `explore`, and its kin.

Each is a class with a view in the browser and a static twin (see `frontend`), and says in Python
what it shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.later import names_of

if TYPE_CHECKING:
    from nbdock.notebook.explore.closure import ClosureExplorer, explore_closure
    from nbdock.notebook.explore.closurepicture import Mermaid, closure_mermaid
    from nbdock.notebook.explore.image import ImageExplorer, explore
    from nbdock.notebook.explore.plan import PlanExplorer, explore_plan
    from nbdock.notebook.explore.sharing import SharingExplorer, explore_sharing

__all__ = [  # noqa: RUF022, in order of importance
    "explore",
    "explore_plan",
    "explore_sharing",
    "explore_closure",
    "closure_mermaid",
    "ImageExplorer",
    "PlanExplorer",
    "SharingExplorer",
    "ClosureExplorer",
    "Mermaid",
]

__getattr__, __dir__ = names_of(
    __name__,
    {
        "image": "explore ImageExplorer",
        "plan": "explore_plan PlanExplorer",
        "sharing": "explore_sharing SharingExplorer",
        "closure": "explore_closure ClosureExplorer",
        "closurepicture": "closure_mermaid Mermaid",
    },
)
