"""``%layers``, ``%files``, ``%packages``, ``%waste``, ``%sharing``, ``%compare``: tables of images.

    %layers redis
    table = %files redis.tar
    %sharing redis nginx:1 --by package

A magic runs the public function of its table, and says which call that was. Images are names in
the notebook first, then paths, then names in a registry.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from nbdock import tables
from nbdock.images import Image, ImageStream, MergedImages
from nbdock.jobs import Job
from nbdock.notebook.flags import TableFlags, parse_table
from nbdock.notebook.progress import run_with_progress
from nbdock.notebook.tableviews import describe
from nbdock.notebook.views import View
from nbdock.oci import Reference
from nbdock.packages import Closure
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import pandas as pd

    from nbdock.tables.waste import Efficiency

__all__ = ["TableMagics", "efficiency_view", "image_values", "table_names"]

_ONE: Final = (Image, ImageStream, Closure, Reference, str, os.PathLike)
_SEVERAL: Final = (list, tuple, MergedImages)
_CLOSE = 0.75
"""How near a word must be to a name of the notebook to be taken for a slip, from 0 to 1."""


def efficiency_view(score: Efficiency) -> View:
    """The score of an image, and the bytes behind it."""
    what = "dive efficiency" if score.method == "dive" else "Efficiency"
    return View(
        f"{what} {100 * score.score:.1f} %",
        facts=[
            f"{bytes_text(score.wasted_bytes)} of {bytes_text(score.total_bytes)} wasted",
            f"{score.user_wasted_percent:.1f} % of the layers above the lowest",
        ],
    )


@magics_class
class TableMagics(Magics):
    """Line magics that give DataFrames."""

    @line_magic
    def layers(self, line: str) -> pd.DataFrame:
        """Show the layers of an image, or of several.

            %layers redis
            %layers redis.tar --details
            table = %layers redis:7 redis:8

        An image is a name in the notebook, the path of an archive, a name in a registry
        (docker://redis if the notebook has such a name, too), or docker-daemon:NAME.

        Flags: --details (files, packages, waste and uses of each), --platform PLATFORM,
        --no-tls-verify, -o NAME (bind the table).
        """
        return self._table("layers", "layer_table", line)

    @line_magic
    def files(self, line: str) -> pd.DataFrame:
        """Show every entry of every layer of an image.

            %files redis
            table = %files redis.tar
            table[table.visible].nlargest(10, "size_bytes")

        Flags: --no-hashes (read no contents), --platform PLATFORM, --no-tls-verify, -o NAME (bind
        the table).
        """
        return self._table("files", "file_table", line, count=1)

    @line_magic
    def packages(self, line: str) -> pd.DataFrame:
        """Show the packages that are installed in an image, or are in a closure.

            %packages redis
            table = %packages docker-daemon:redis:7

        Flags: --platform PLATFORM, --no-tls-verify, -o NAME (bind the table).
        """
        return self._table("packages", "package_table", line, count=1)

    @line_magic
    def waste(self, line: str) -> pd.DataFrame:
        """Show the files in an image's layers that are of no use, and how much of it is.

            %waste redis
            %waste redis.tar --dive

        Flags: --dive (the score as dive counts it), --platform PLATFORM, --no-tls-verify, -o NAME
        (bind the table).
        """
        flags = parse_table("waste", line)
        [named] = self._images("waste", flags.images, count=1)
        given: dict[str, Any] = dict(flags.arguments)
        options: dict[str, Any] = {"method": "dive"} if given.pop("dive", False) else {}
        # Opened once for both.
        image = tables.open_image(named.value, **given)
        score = tables.efficiency(image, **options)
        view = efficiency_view(score)
        facts = [view.heading[:1].lower() + view.heading[1:], *view.facts[:1]]
        code = "; ".join([
            _call("waste_table", named.code, given),
            _call("efficiency", named.code, {**options, **given}),
        ])  # fmt: skip
        return self._bound(flags, describe(tables.waste_table(image), code=code, facts=facts))

    @line_magic
    def sharing(self, line: str) -> pd.DataFrame:
        """Show which layers, packages or contents of files images share.

            %sharing redis nginx
            %sharing redis:7 redis:8 --by file
            %sharing images --measure missing

        Images may be given as a list of the notebook, too.

        Flags: --by layer|package|file, --measure shared|missing (a matrix: what a host that has one
        image shares of another, or must pull), --platform PLATFORM, --no-tls-verify, -o NAME (bind
        the table).
        """
        flags = parse_table("sharing", line)
        function = "sharing_matrix" if "measure" in flags.arguments else "sharing_table"
        named = self._images("sharing", flags.images)
        is_list = len(named) == 1 and named[0].is_several
        return self._made(function, flags, [named[0] if is_list else _together(named)])

    @line_magic
    def compare(self, line: str) -> pd.DataFrame:
        """Show what differs between two images: files, packages and configuration.

            %compare redis:7.2 redis:7.4
            table = %compare before after
            table[table.part == "package"]

        Flags: --platform PLATFORM, --no-tls-verify, -o NAME (bind the table).
        """
        flags = parse_table("compare", line)
        return self._made("compare_table", flags, self._images("compare", flags.images, count=2))

    def _table(self, magic: str, function: str, line: str, count: int = 0) -> pd.DataFrame:
        flags = parse_table(magic, line)
        named = self._images(magic, flags.images, count=count)
        return self._made(function, flags, named if len(named) == 1 else [_together(named)])

    def _images(self, magic: str, words: Sequence[str], count: int = 0) -> list[_Named]:
        return _images(magic, words, self.shell.user_ns, count)

    def _made(self, function: str, flags: TableFlags, images: Sequence[_Named]) -> pd.DataFrame:
        make: Callable[..., pd.DataFrame] = getattr(tables, function)
        table = make(*(image.value for image in images), **flags.arguments)
        code = _call(function, ", ".join(image.code for image in images), flags.arguments)
        return self._bound(flags, describe(table, code=code))

    def _bound(self, flags: TableFlags, table: pd.DataFrame) -> pd.DataFrame:
        if flags.output:
            self.shell.user_ns[flags.output] = table
        return table


@dataclasses.dataclass(frozen=True)
class _Named:
    """An image, or several, and how Python says it."""

    value: Any
    code: str

    @property
    def is_several(self) -> bool:
        return isinstance(self.value, _SEVERAL)


def _named(word: str, namespace: Mapping[str, object]) -> _Named:
    """What a word means: a name in the notebook first; then the function says."""
    if word in namespace:
        value = namespace[word]
        if isinstance(value, Job):
            raise UsageError(f"{word} is still being built; wait for it with await {word}.")
        if isinstance(value, _SEVERAL):
            return _Named(list(value), word if isinstance(value, list) else f"list({word})")
        if not isinstance(value, _ONE):
            raise UsageError(
                f"{word} is no image: its type is {type(value).__name__}. "
                f"For the image of that name in a registry, write docker://{word}"
            )
        return _Named(value, word)
    # A reference of one bare word may as well be a slip: better asked than pulled.
    if word.isidentifier() and not os.path.exists(word):
        close = difflib.get_close_matches(word, table_names(namespace), n=1, cutoff=_CLOSE)
        if close:
            raise UsageError(
                f"There is no image {word!r} in this notebook. Did you mean {close[0]}? "
                f"For the image of that name in a registry, write docker://{word}"
            )
    return _Named(word, json.dumps(word, ensure_ascii=False))


def image_values(magic: str, words: Sequence[str], shell: Any, count: int = 0) -> list[Any]:
    """The images that words of a magic mean; `count` of them, or any number for 0."""
    found = _images(magic, words, shell.user_ns, count)
    return list(_together(found).value)


def _images(
    magic: str, words: Sequence[str], namespace: Mapping[str, object], count: int
) -> list[_Named]:
    named = [_named(word, namespace) for word in words]
    if count == 2 and len(named) == 1 and named[0].is_several and len(named[0].value) == 2:
        code = named[0].code
        named = [_Named(v, f"{code}[{i}]") for i, v in enumerate(named[0].value)]
    if count and (len(named) != count or any(each.is_several for each in named)):
        wanted = "one image" if count == 1 else "two images"
        raise UsageError(f"%{magic} takes {wanted}, not {' '.join(words)}.")
    return [_built(each) for each in named]


def table_names(namespace: Mapping[str, object]) -> list[str]:
    """The names of a notebook that stand for images, or lists of them."""
    return [
        name for name, value in namespace.items()
        if not name.startswith("_") and (
            isinstance(value, Image | ImageStream | MergedImages | Closure)
            or (isinstance(value, list | tuple) and bool(value)
                and all(isinstance(each, Image | ImageStream) for each in value))
        )
    ]  # fmt: skip


def _built(named: _Named) -> _Named:
    """The same with streams built, as tables are of images."""
    value = named.value
    if isinstance(value, ImageStream):
        image = run_with_progress(
            lambda report: value.build(progress=report), done=lambda _: "Built"
        )
        return _Named(image, f"await {named.code}.build()")
    if named.is_several and any(isinstance(each, ImageStream) for each in value):
        inner = [_built(_Named(each, f"{named.code}[{i}]")) for i, each in enumerate(value)]
        return _together(inner)
    return named


def _together(named: Sequence[_Named]) -> _Named:
    values: list[object] = []
    for each in named:
        values += each.value if each.is_several else [each.value]
    code = ", ".join(f"*{each.code}" if each.is_several else each.code for each in named)
    return _Named(values, f"[{code}]")


def _call(function: str, images: str, arguments: Mapping[str, str | bool]) -> str:
    """The Python that does what a magic does."""
    given = [
        f"{name}={json.dumps(value) if isinstance(value, str) else value}"
        for name, value in arguments.items()
    ]
    return f"nbdock.{function}({', '.join([images, *given])})"
