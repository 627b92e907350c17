"""Tab in a build cell: flags, arguments at the start of a line, packages after ``apt.``.

%%buildLayeredImage
maxL<Tab>                     ->  maxLayers =
contents = [ apt.redis-<Tab>  ->  apt.redis-server, apt.redis-tools, ...
"""

from __future__ import annotations

import re
from typing import Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from nbdock.images import argument_names
from nbdock.notebook.flags import flag_names
from nbdock.notebook.names import BUILDERS, CellNames
from nbdock.oci import ContainerConfig
from nbdock.packages import PackageSet

__all__ = ["install", "remove"]

_MAGIC = re.compile(r"%%(\w+)")
_MEMBER = re.compile(r"([A-Za-z_]\w*)\.([\w+.-]*)$")
_WORD = re.compile(r"[\w-]*$")
_MOST = 200


def _complete(namespace: dict[str, object], text: str, magic: str) -> list[str] | None:
    """What may stand at the end of a cell's text; None if nothing is known."""
    *above, line = text.split("\n")
    if not above:
        return flag_names(magic)
    if match := _MEMBER.search(line):
        owner = CellNames(namespace).get(match[1]) if match[1] != "config" else None
        if isinstance(owner, PackageSet):
            return [f"{match[1]}.{name}" for name in dir(owner) if name.startswith(match[2])]
        if match[1] == "config":
            return [f"config.{name}" for name in ContainerConfig.field_names()]
        return None
    if re.fullmatch(r"\s*\w*", line):
        return [f"{name} = " for name in argument_names(BUILDERS[magic])]
    return [name for name in CellNames(namespace) if re.fullmatch(r"[A-Za-z_]\w*", name)]


def _matcher(shell: Any) -> Any:
    @context_matcher(identifier="nbdock")
    def match(context: CompletionContext) -> SimpleMatcherResult:
        lines = context.full_text.split("\n")[: context.cursor_line + 1]
        lines[-1] = lines[-1][: context.cursor_position]
        text = "\n".join(lines)
        magic = _MAGIC.match(text)
        if magic is None or magic[1] not in BUILDERS:
            return SimpleMatcherResult(completions=[], suppress=False)
        begun = _MEMBER.search(text) or _WORD.search(text)
        fragment = begun[0] if begun else ""
        known = _complete(shell.user_ns, text, magic[1]) or []
        found = sorted(name for name in known if name.startswith(fragment))[:_MOST]
        return SimpleMatcherResult(
            completions=[SimpleCompletion(text=name, type="nbdock") for name in found],
            matched_fragment=fragment,
            suppress=True,
        )

    return match


def install(shell: Any) -> None:
    """Complete build cells in a shell."""
    remove(shell)
    shell.Completer.custom_matchers.append(_matcher(shell))


def remove(shell: Any) -> None:
    """Undo `install`."""
    shell.Completer.custom_matchers[:] = [
        m for m in shell.Completer.custom_matchers
        if getattr(m, "matcher_identifier", "") != "nbdock"
    ]  # fmt: skip
