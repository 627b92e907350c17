"""The notebooks of ``notebooks/`` become the pages of ``tutorials/``, in the order of their names.

Links between notebooks hold as they are; what leads from a notebook into ``docs/`` is made to lead
to the page.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from nbdock_pages import write_pages_to
from sphinx.application import Sphinx


def copy_notebooks(app: Sphinx) -> None:
    """Copy what is new, and remove what is gone; what did not change Sphinx need not read again."""
    target = Path(app.srcdir, "tutorials")
    source = Path(app.srcdir, "../notebooks")
    found = [*source.glob("[0-9][0-9]-*.ipynb"), source / "dockertools-manual.ipynb"]
    pages = {}
    for path in found:
        text = path.read_text(encoding="utf-8").replace("](../docs/", "](../")
        # Jupyter's places are called as their headings are, Sphinx' in small letters.
        notebook = json.loads(re.sub(r"\]\(#[^)]*\)", lambda link: link[0].lower(), text))
        notebook["metadata"]["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
        pages[path.name] = json.dumps(notebook, indent=1)
    write_pages_to(target, ".ipynb", pages)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", copy_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
