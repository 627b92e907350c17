"""One page for each public name of nbdock, in the order of ``nbdock.__all__``, and their list.

The pages are written into ``reference/api/`` before Sphinx reads; their text is the docstrings'.
"""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path
from typing import Any

from nbdock_pages import write_pages_to
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import nbdock

ELSEWHERE = {"errors": "../errors", "settings": "../settings"}
"""Modules whose content has a page of its own."""


def _kind(value: object) -> str:
    if inspect.ismodule(value):
        return "module"
    if inspect.isclass(value):
        return "class"
    return "function" if isinstance(value, types.FunctionType) else "value"


def _is_awaited(value: object) -> bool:
    return callable(value) and inspect.iscoroutinefunction(inspect.unwrap(value))


def _value_text(name: str, value: object) -> str:
    """What stands below the assignment of a value, else what its class says."""
    for module in [m for m in sys.modules if m.startswith("nbdock.packages.environment.")]:
        if vars(sys.modules[module]).get(name) is value:
            found = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name))
            if found:
                return "\n".join(found)
    return inspect.getdoc(type(value)) or ""


def _summary(name: str) -> str:
    value = getattr(nbdock, name)
    text = _value_text(name, value) if _kind(value) == "value" else inspect.getdoc(value)
    return " ".join((text or "").strip().split("\n\n")[0].split())


def _page(name: str) -> str:
    value = getattr(nbdock, name)
    title = f"nbdock.{name}"
    lines = [name, "=" * len(name), "", ".. py:currentmodule:: nbdock", ""]
    kind = _kind(value)
    if kind == "value":
        text = _value_text(name, value).splitlines()
        lines += [f".. py:data:: {name}", "", *(f"   {line}" for line in text)]
    else:
        if _is_awaited(value):
            lines += [f"Awaited: ``await nbdock.{name}(...)``.", ""]
        lines.append(f".. auto{kind}:: {title}")
        if kind == "class" or (kind == "module" and name not in ELSEWHERE):
            lines.append("   :members:")
    if name in ELSEWHERE:
        lines += ["", f":doc:`All {name} <{ELSEWHERE[name]}>`"]
    return "\n".join(lines) + "\n"


def write_pages(app: Sphinx) -> None:
    """Write the pages that are not there as they should be."""
    target = Path(app.srcdir, "reference", "api")
    target.mkdir(exist_ok=True)
    rows = []
    for name in nbdock.__all__:
        awaited = "*await* " if _is_awaited(getattr(nbdock, name)) else ""
        rows.append(f"   * - {awaited}:doc:`nbdock.{name} <{name}>`")
        rows.append(f"     - {_summary(name)}")
    index = [
        "Python", "======", "",
        "All public names. Those marked *await* are coroutines, as are ``save``, ``load`` and",
        "``push`` of an `Image`: in a notebook ``await`` them; elsewhere ``asyncio.run`` runs one.",
        "Arguments after the first are given by name.", "",
        ".. py:currentmodule:: nbdock", "",
        ".. list-table::", "   :widths: 30 70", "", *rows, "",
        ".. toctree::", "   :hidden:", "", *(f"   {name}" for name in nbdock.__all__),
    ]  # fmt: skip
    pages = {f"{name}.rst": _page(name) for name in nbdock.__all__}
    pages["index.rst"] = "\n".join(index) + "\n"
    write_pages_to(target, ".rst", pages)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
