"""Pages that are made when the site is built: in a folder of their own, and not in git."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["write_pages_to"]


def write_pages_to(folder: Path, suffix: str, pages: Mapping[str, str]) -> None:
    """Have a folder hold these pages and no others of their kind.

    A page that is as it was keeps its time, so that Sphinx does not read it again.
    """
    for path in folder.glob(f"*{suffix}"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
