"""What an explorer says of one entry of an image, or of a directory: name by name.

details_of_entry(tree, row)["facts"]        # [["size", "12 kB (12,081)"], ["mode", ...], ...]
"""

from __future__ import annotations

import dataclasses
from typing import Any

from nbdock.tables import FileFacts, FileFilter, FileTree, facts_of
from nbdock.units import bytes_text

__all__ = ["details_of_directory", "details_of_entry"]


def details_of_entry(tree: FileTree, row: int) -> dict[str, Any]:
    """What there is to say of an entry that is no directory, and whether it has a content."""
    of = facts_of(tree, row)
    facts: list[list[str]] = []
    has_content = of.kind in ("file", "hardlink")
    if has_content:
        facts.append(["size", _size(of.size_bytes)])
    return {
        "path": of.path,
        "facts": [*facts, *_facts(of)],
        "waste": _why(of.waste, of.by_path, of.by_layer) if of.waste else "",
        "content": has_content,
    }


def details_of_directory(tree: FileTree, filter: FileFilter, node: int) -> dict[str, Any]:  # noqa: A002
    """What there is to say of a directory: of what a filter lets through, and of itself."""
    facts = [
        ["size", _size(tree.size(filter, node))],
        ["files", f"{tree.count(filter, node):,}"],
    ]
    own = tree.rows_at(node)
    own = own[tree.mask(dataclasses.replace(filter, search=""))[own]]
    if len(own):
        facts += _facts(facts_of(tree, int(own[-1])))
    path = "/" + tree.path(node).decode("utf-8", "backslashreplace")
    return {"path": path, "facts": facts, "waste": "", "content": False}


def _facts(of: FileFacts) -> list[list[str]]:
    owner, group = of.uname or str(of.uid), of.gname or str(of.gid)
    found = [["link to", of.link_target]] if of.link_target else []
    found += [
        ["kind", of.kind],
        ["mode", f"{of.mode:04o} {_permissions(of.mode)}"],
        ["owner", f"{owner}:{group} ({of.uid}:{of.gid})"],
    ]
    if of.mtime is not None:
        found.append(["time (UTC)", f"{of.mtime:%Y-%m-%d %H:%M:%S}"])
    if of.devices:
        found.append(["device", "{}, {}".format(*of.devices)])
    if of.xattrs:
        found.append(["xattrs", of.xattrs])
    if of.digest:
        found.append(["digest", of.digest])
    found.append(["layer", f"{of.layer}" + (f", {of.change} there" if of.change else "")])
    return found


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 1000 else f"{bytes_text(count)} ({count:,})"


def _permissions(mode: int) -> str:
    """As ``ls`` writes them: ``rwxr-sr-x``."""
    letters = ["rwxrwxrwx"[i] if mode >> (8 - i) & 1 else "-" for i in range(9)]
    for bit, place, letter in ((0o4000, 2, "s"), (0o2000, 5, "s"), (0o1000, 8, "t")):
        if mode & bit:
            letters[place] = letter if letters[place] == "x" else letter.upper()
    return "".join(letters)


_WHY = {
    "overwritten": "Layer {layer} has another file at this path.",
    "metadata only": "Layer {layer} has the same content there again: only mode, owner or time "
    "changed.",
    "deleted": "Layer {layer} deletes it.",
    "directory deleted": "Layer {layer} deletes the directory {path}.",
    "directory emptied": "Layer {layer} empties the directory {path}.",
    "replaced": "Layer {layer} has something else in its place: {path}.",
    "duplicate": "{path} in layer {layer} has the same content.",
}


def _why(reason: str, path: str, layer: int) -> str:
    """Why a file is of no use, in a sentence."""
    return _WHY[reason].format(path=path, layer=layer)
