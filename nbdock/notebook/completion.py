"""Tab in a build cell: flags, arguments, fields of the configuration, packages, names.

    %%buildLayeredImage --d<Tab>      ->  --dry-run
    %prefetchImage mysql:8 --ar<Tab>  ->  --arch
    %%runAsRoot re<Tab>               ->  redis, if that is an image of the notebook
    %layers re<Tab>                   ->  redis, redis.tar
    maxL<Tab>                         ->  maxLayers =
    config.Work<Tab>                  ->  config.WorkingDir
    contents = [ apt.redis-<Tab>      ->  apt.redis-server, apt.redis-tools, ...
    pkgs.python3Packages.req<Tab>     ->  pkgs.python3Packages.requests, ...
    with pkgs; [ hel<Tab>             ->  hello
    layering = "<Tab>                 ->  auto, popularity, ...

What is offered follows from the text before the cursor alone, however unfinished it is. An index
that is not on this machine yet is waited for only shortly: it goes on loading, and the next Tab has
it. Inside texts nothing else is offered, so that IPython's completion of file names works there.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any
from weakref import WeakKeyDictionary

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from nbdock.concurrency import in_worker, start
from nbdock.errors import NbdockError
from nbdock.images import argument_names
from nbdock.layering import planners
from nbdock.notebook.flags import TABLE_MAGICS, flag_names
from nbdock.notebook.names import BUILDERS, CellNames, DockerTools, image_names
from nbdock.notebook.position import position_in_cell
from nbdock.notebook.tablemagics import table_names
from nbdock.oci import ContainerConfig
from nbdock.packages import PackageSet

__all__ = ["install", "remove"]

_MAGIC = re.compile(r"%%(\w+)(?=\s)")
_PREFETCH = re.compile(r"\s*(?:[\w.]+\s*=\s*)?%prefetchImage\s(?:.*\s)?(\S*)\Z")
_TABLE = re.compile(rf"\s*(?:[\w.]+\s*=\s*)?%({'|'.join(TABLE_MAGICS)})\s(?:.*\s)?(\S*)\Z")
_CHOICES = {
    "--by": ("layer", "package", "file"),
    "--measure": ("shared", "missing"),
    "--platform": ("linux/amd64", "linux/arm64"),
    "-o": (),
    "--output": (),
}
_PLAIN = re.compile(r"[\w.,:+=@%-]+")
"""Names of files that need no quotes."""
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_MEMBER = re.compile(r"([A-Za-z_]\w*)\.([\w+.-]*)\Z")
_WORD = re.compile(r"[\w-]*\Z")
_PLANNER = re.compile(r"(?<![\w.])layering\s*=\s*\"(\w*)\Z")
_PUT_IN = re.compile(r"\$\{\s*([A-Za-z_][\w.-]*)?\Z")
_WITH = re.compile(r"(?<![\w.])with\s+([A-Za-z_]\w*)\s*;")
_NAME = re.compile(r"[A-Za-z_][\w'-]*\Z")
_MOST = 200
_PATIENCE_S = 2.0

_loading: WeakKeyDictionary[PackageSet, Future[None]] = WeakKeyDictionary()


def _package_names(packages: PackageSet, begun: str) -> list[str]:
    """The names in a set that begin so, as a cell writes them.

    Raises
    ------
    TimeoutError
        Its index is not here yet.
    """
    load = _loading.get(packages)
    if load is None or load.done():
        load = _loading[packages] = start(packages.load())
    load.result(_PATIENCE_S)
    known = packages if isinstance(packages, Iterable) else dir(packages)
    found = _beginning(known, "", begun)
    before, dot, word = begun.rpartition(".")
    if found or not dot:
        return found
    if before == "dockerTools":
        return _beginning(DockerTools(), f"{before}.", word)
    inside = start(in_worker(_names_inside, packages, before)).result(_PATIENCE_S)
    return _beginning(inside, f"{before}.", word)


def _beginning(names: Iterable[str], before: str, word: str) -> list[str]:
    """The names that begin with a word, quoted where a cell needs it, all behind `before`."""
    found = sorted(name for name in names if name.startswith(word))[:_MOST]
    return [before + (name if _NAME.match(name) else f'"{name}"') for name in found]


def _names_inside(packages: PackageSet, name: str) -> list[str]:
    """The names in a set of packages that is in a set. Blocking: may have to be evaluated."""
    inner: Any = packages
    for part in name.split("."):
        # Not by item: a set that is no package has no name of its own in a channel's list.
        inner = getattr(inner, part)
    complete: Any = getattr(type(inner), "_ipython_key_completions_", None)
    return list(complete(inner)) if complete else []


def _complete(namespace: dict[str, object], text: str, magic: str) -> tuple[str, list[str]]:
    """What is being written at the end of a cell's text, and what it may become."""
    line, newline, body = text.partition("\n")
    if not newline:
        flag = re.search(r"\S*\Z", line)
        return flag[0] if flag else "", flag_names(magic)
    if planner := _PLANNER.search(body):
        return planner[1], list(planners())
    position = position_in_cell(body)
    if position is None:
        put_in = _PUT_IN.search(body)
        return _value(CellNames(namespace), body) if put_in else ("", [])
    member, word = _MEMBER.search(body), _WORD.search(body)
    fragment = member[0] if member else word[0] if word else ""
    fields = ContainerConfig.field_names()
    if position.is_name:
        if position.inside == ("config",):
            return fragment, [f"{field} = " for field in fields if field not in position.given]
        known = argument_names(BUILDERS[magic])
        if member and member[1] == "config" and "config" in known and not position.inside:
            return fragment, [f"config.{field} = " for field in fields]
        if position.inside or member:
            return "", []
        return fragment, [f"{name} = " for name in known if name not in position.given]
    return _value(CellNames(namespace), body)


def _value(names: CellNames, body: str) -> tuple[str, list[str]]:
    """The same where a value is to come."""
    member, word = _MEMBER.search(body), _WORD.search(body)
    fragment = member[0] if member else word[0] if word else ""
    if not member:
        found = [name for name in names if _NAME.match(name)]
        sets = [names.get(name) for name in _WITH.findall(body)] if fragment else []
        for packages in sets:
            if isinstance(packages, PackageSet):
                found += _known_names(packages, fragment)
        return fragment, found
    owner = names.get(member[1])
    if isinstance(owner, DockerTools):
        return fragment, [f"{member[1]}.{name}" for name in owner]
    if not isinstance(owner, PackageSet):
        return "", []
    found = [f"{member[1]}.{name}" for name in _known_names(owner, member[2])]
    # Never nothing: IPython would ask the set itself then, and wait as long as loading takes.
    return fragment, found or [fragment]


def _known_names(packages: PackageSet, begun: str) -> list[str]:
    """What can be offered of a set now."""
    try:
        return _package_names(packages, begun)
    except (NbdockError, AttributeError, TimeoutError):
        return []


def _table_words(namespace: dict[str, object], magic: str, line: str, word: str) -> list[str]:
    """What may stand in the line of a magic that gives a table."""
    before = line.removesuffix(word).split()[-1]
    if before in _CHOICES:
        return list(_CHOICES[before])
    if word.startswith("-"):
        return flag_names(magic)
    return [*table_names(namespace), *_archives(word), *([] if word else flag_names(magic))]


def _archives(begun: str) -> list[str]:
    """The paths of archives and of directories that begin so."""
    above, slash, name = begun.rpartition("/")
    lead = above + slash
    found = []
    with contextlib.suppress(OSError), os.scandir(os.path.expanduser(lead) or ".") as entries:
        for entry in entries:
            is_hidden = entry.name.startswith(".") and not name
            if entry.name.startswith(name) and not is_hidden and _PLAIN.fullmatch(entry.name):
                if entry.name.endswith(_ARCHIVES):
                    found.append(lead + entry.name)
                elif entry.is_dir():
                    found.append(f"{lead}{entry.name}/")
    return found


def _matches(shell: Any, context: CompletionContext) -> SimpleMatcherResult:
    lines = context.full_text.split("\n")[: context.cursor_line + 1]
    lines[-1] = lines[-1][: context.cursor_position]
    text = "\n".join(lines)
    magic = _MAGIC.match(text)
    if prefetch := _PREFETCH.match(lines[-1]):
        fragment, known = prefetch[1], flag_names("prefetchImage")
    elif table := _TABLE.match(lines[-1]):
        fragment = table[2]
        known = _table_words(shell.user_ns, table[1], lines[-1], fragment)
    elif magic is not None and magic[1] == "runAsRoot" and len(lines) == 1:
        fragment = text.rpartition(" ")[2]
        known = [*image_names(shell.user_ns), *flag_names("runAsRoot")]
    elif magic is None or magic[1] not in BUILDERS:
        return SimpleMatcherResult(completions=[], suppress=False)
    else:
        fragment, known = _complete(shell.user_ns, text, magic[1])
    # A quoted name matches by what is in its quotes.
    found = sorted(name for name in known if name.replace('"', "").startswith(fragment))[:_MOST]
    return SimpleMatcherResult(
        completions=[SimpleCompletion(text=name, type=_kind(name)) for name in found],
        matched_fragment=fragment,
        suppress=bool(found),
    )


def _kind(name: str) -> str:
    """What a front end writes beside an offer."""
    if name.startswith("-"):
        return "flag"
    return "argument" if name.endswith(" = ") else "name"


def _matcher(shell: Any) -> Any:
    @context_matcher(identifier="nbdock")
    def match(context: CompletionContext) -> SimpleMatcherResult:
        try:
            return _matches(shell, context)
        except Exception:
            # Completion has no place to show an error; the cell itself shows it when it runs.
            return SimpleMatcherResult(completions=[], suppress=False)

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
