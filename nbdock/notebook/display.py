"""How nbdock's values look under a cell: plain text, and HTML without scripts.

The values know nothing of this: `install` tells IPython's formatters. A function here makes a
`View` of a value; what is long is shortened, and says how to get all of it.
"""

from __future__ import annotations

import keyword
import logging
import re
from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any

from nbdock.filetree import EntryKind
from nbdock.images import (
    CompletedCommand,
    Image,
    ImageLayer,
    ImageStream,
    MergedImages,
    MultiPlatformImage,
    PrefetchedImage,
    RootFilesystem,
)
from nbdock.jobs import Job, when_awaited
from nbdock.layering import LayerPlan, Planners
from nbdock.notebook.doctor import doctor_view
from nbdock.notebook.jobdisplay import not_awaited, show_awaited, show_job
from nbdock.notebook.joblook import plain_line
from nbdock.notebook.packageviews import package_set_view, package_view, planners_view
from nbdock.notebook.tablemagics import efficiency_view
from nbdock.notebook.tableviews import table_view
from nbdock.notebook.views import Cell, Column, View, plural, share, shortened
from nbdock.packages import AptSearchResult, Closure, Package, PackageSet
from nbdock.units import bytes_text

__all__ = ["content_name", "install", "layer_step", "remove"]

_log = logging.getLogger(__name__)

_NAMES_SHOWN = 6
_OUTPUT_LINES = 200
_NOT_RUN = "/bin/sh -c #(nop) "
_SHELL = re.compile(r"\A(?:RUN )?/bin/sh -c ")
_BUILDKIT = re.compile(r"\s+# buildkit\Z")
_STORE_PATH = re.compile(r".*/[0-9a-z]{32}-")
_SIZE = (Column("size", number=True), Column("share"))


def _names(names: Sequence[str]) -> Cell:
    """The first names of many; the mouse shows the rest, as far as that is reasonable."""
    if len(names) <= _NAMES_SHOWN:
        return Cell(", ".join(names))
    shown = ", ".join(names[: _NAMES_SHOWN - 1])
    title = ", ".join(names[:100]) + (", \u2026" if len(names) > 100 else "")
    return Cell(f"{shown} and {len(names) - _NAMES_SHOWN + 1} more", title=title)


def content_name(content: str) -> str:
    """``libc6=2.36-9`` or a store path, without what only machines read."""
    name, separator, version = content.partition("=")
    return f"{name} {version}" if separator else _STORE_PATH.sub("", content)


def layer_step(layer: ImageLayer) -> str:
    """What made a layer: nbdock's remark, or a Dockerfile's command, without its wrapping."""
    if layer.remark:
        return layer.remark
    step = _BUILDKIT.sub("", layer.created_by)
    if step.startswith(_NOT_RUN):
        return step.removeprefix(_NOT_RUN).strip()
    return _SHELL.sub("RUN ", step)


def _image_view(image: Image) -> View:
    layers = image.layers
    sizes = [layer.descriptor.size_bytes for layer in layers]
    total = sum(sizes)
    rows = []
    for layer, size in zip(layers, sizes, strict=True):
        contents = _names([content_name(name) for name in layer.contents])
        if not contents.text:
            told = layer_step(layer)
            contents = Cell(_clipped(told, 100), title=told if len(told) > 100 else "", muted=True)
        digest = layer.descriptor.digest
        rows.append((
            str(layer.position), bytes_text(size), share(size, total),
            Cell(digest.hex[:12], title=str(digest)), contents,
        ))  # fmt: skip

    def rest(shown: int) -> Sequence[str | Cell]:
        size = sum(sizes[shown:])
        advice = f"{plural(len(layers) - shown, 'more layer')}: nbdock.layer_table(image)"
        return ("\u2026", bytes_text(size), share(size, total), "", Cell(advice, muted=True))

    note = ""
    if isinstance(image, MultiPlatformImage):
        note = f"image.images has one for each of {', '.join(map(str, image.platforms))}"
    return View(
        image.name or "unnamed image",
        f":{image.tag}" if image.name and image.tag else "",
        facts=(str(image.config.platform), bytes_text(total), plural(len(layers), "layer")),
        code=str(image.digest),
        columns=(
            Column("layer", number=True), *_SIZE, Column("digest", code=True), Column("contents"),
        ),
        rows=shortened(rows, rest),
        note=note,
    )  # fmt: skip


def _prefetched_view(found: PrefetchedImage) -> View:
    image = found.image
    facts: tuple[str, ...] = ()
    if image is not None:
        size, layers = bytes_text(image.size_bytes), plural(len(image.layers), "layer")
        facts = (str(image.config.platform), size, layers)
    arguments = [line.strip() for line in found.nix.splitlines()[1:-1]]
    cell = [f"%%pullImage -o {_python_name(found.final_image_name)}", *arguments]
    return View(
        found.final_image_name, f":{found.final_image_tag}", facts=facts, block="\n".join(cell)
    )


def _python_name(image_name: str) -> str:
    """A name for Python to bind an image to: the last part of its own."""
    name = re.sub(r"\W+", "_", image_name.rpartition("/")[2], flags=re.ASCII).strip("_")
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"image_{name}"


def _stream_view(stream: ImageStream) -> View:
    return View(
        stream.name,
        f":{stream.tag}" if stream.tag else "",
        facts=("a stream", "built when it is asked for"),
        note="async for piece in stream; await stream.save(path); await stream.load(); "
        "await stream.push(reference)",
    )


def _merged_view(merged: MergedImages) -> View:
    total = merged.size_bytes
    rows = []
    seen: set[object] = set()
    for image in merged:
        blobs = {blob.digest: blob.size_bytes for blob in image.manifest.layers}
        new = sum(size for digest, size in blobs.items() if digest not in seen)
        seen.update(blobs)
        rows.append((
            Cell(image.reference or "unnamed image"), bytes_text(image.size_bytes),
            bytes_text(new), share(new, total), str(len(image.layers)),
            Cell(image.id.hex[:12], title=str(image.id)),
        ))  # fmt: skip

    def rest(shown: int) -> Sequence[str | Cell]:
        advice = f"{plural(len(rows) - shown, 'more image')}: merged.images"
        return (Cell(advice, muted=True), "", "", "", "", "")

    return View(
        "Merged images",
        facts=(plural(len(merged), "image"), bytes_text(total)),
        columns=(
            Column("image"), Column("size", number=True), Column("adds", number=True),
            Column("share"), Column("layers", number=True), Column("ID", code=True),
        ),
        rows=shortened(rows, rest),
        note="await merged.save(path); await merged.load()",
    )  # fmt: skip


def _rootfs_view(rootfs: RootFilesystem) -> View:
    tree = rootfs.tree
    count: dict[bytes, int] = {}
    size: dict[bytes, int] = {}
    for entry in tree.entries():
        if entry.path:
            top = entry.path.partition(b"/")[0]
            count[top] = count.get(top, 0) + 1
            size[top] = size.get(top, 0) + entry.size_bytes
    total = rootfs.size_bytes
    rows = []
    for name in tree.names(b""):
        text = name.decode("utf-8", "backslashreplace")
        if tree[name].kind is EntryKind.DIRECTORY:
            text += "/"
        elif tree[name].kind is EntryKind.SYMLINK:
            text += " \u2192 " + tree[name].linkname.decode("utf-8", "backslashreplace")
        rows.append(
            (text, bytes_text(size[name]), share(size[name], total), f"{count[name]:,}")
        )  # fmt: skip

    def rest(shown: int) -> Sequence[str | Cell]:
        advice = f"{plural(len(rows) - shown, 'more name')}: rootfs.tree"
        return (Cell(advice, muted=True), "", "", "")

    return View(
        rootfs.name,
        " root file system",
        facts=(f"{len(tree) - 1:,} {'entry' if len(tree) == 2 else 'entries'}", bytes_text(total)),
        columns=(Column("name", code=True), *_SIZE, Column("entries", number=True)),
        rows=shortened(rows, rest),
        note=f"await rootfs.save() writes {rootfs.name}.tar, which docker import takes",
    )


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "\u2026"


def _plan_view(plan: LayerPlan) -> View:
    layers = plan.rows()
    total = sum(row.size_bytes for row in layers)
    rows = [
        (
            str(row.position), bytes_text(row.size_bytes), share(row.size_bytes, total),
            str(row.packages), _names(row.names),
        )
        for row in layers
    ]  # fmt: skip

    def rest(shown: int) -> Sequence[str | Cell]:
        hidden = layers[shown:]
        size = sum(row.size_bytes for row in hidden)
        packages = str(sum(row.packages for row in hidden))
        advice = Cell(f"{plural(len(hidden), 'more layer')}: plan.table()", muted=True)
        return ("\u2026", bytes_text(size), share(size, total), packages, advice)

    packages = sum(row.packages for row in layers)
    # An image of a single layer has no other; a layered one gets one more when it is built.
    single = plan.planner == "single"
    return View(
        "Plan",
        "" if single else f" by {plan.planner}",
        facts=(plural(packages, "package"), bytes_text(total), plural(len(plan), "layer")),
        columns=(
            Column("layer", number=True), *_SIZE, Column("packages", number=True),
            Column("contents"),
        ),
        rows=shortened(rows, rest),
        note="" if single else "The build adds a layer on top: links at / and extraCommands.",
    )  # fmt: skip


def _closure_view(closure: Closure) -> View:
    total = closure.size_bytes
    rows = [
        (
            p.name, p.version, bytes_text(p.size_bytes), share(p.size_bytes, total),
            _names([closure[key].name for key in closure.references.get(p.key, ())]),
        )
        for p in closure.packages
    ]  # fmt: skip

    def rest(shown: int) -> Sequence[str | Cell]:
        hidden = closure.packages[shown:]
        size = sum(p.size_bytes for p in hidden)
        advice = f"{plural(len(hidden), 'more package')}: nbdock.package_table(closure)"
        cell = Cell(advice, muted=True)
        return ("\u2026", "", bytes_text(size), share(size, total), cell)

    return View(
        "Closure",
        facts=(plural(len(closure), "package"), bytes_text(total)),
        columns=(
            Column("package", whole=True),
            Column("version", whole=True),
            *_SIZE,
            Column("needs"),
        ),
        rows=shortened(rows, rest),
    )


def _search_view(found: AptSearchResult) -> View:
    rows = [
        (
            str(record["name"]), str(record["version"]), bytes_text(int(record["size_bytes"])),
            str(record["description"]),
        )
        for record in found.to_records()
    ]  # fmt: skip

    def rest(shown: int) -> Sequence[str | Cell]:
        advice = f"{plural(len(rows) - shown, 'more package')}: list them with .to_records()"
        return ("\u2026", "", "", Cell(advice, muted=True))

    return View(
        plural(len(found), "package"),
        f" for {found.pattern!r}",
        columns=(
            Column("package", whole=True), Column("version", whole=True),
            Column("size", number=True), Column("description"),
        ),
        rows=shortened(rows, rest),
    )  # fmt: skip


def _completed_view(completed: CompletedCommand) -> View:
    lines = [plain_line(line) for line in completed.output.splitlines()]
    shown = lines[-_OUTPUT_LINES:]
    note = f"{plural(len(lines) - len(shown), 'line')} before: print(result.output)"
    return View(
        f"Exit code {completed.exit_code}",
        "" if completed.exit_code == 0 else " \u2717",
        block="\n".join(shown),
        note=note if len(lines) > len(shown) else "",
    )


_DOCTOR_TABLE = ("nbdock.tables.doctortable", "DoctorTable")
_EFFICIENCY = ("nbdock.tables.waste", "Efficiency")
_FRAMES = (("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame"))
"""Where pandas 3 and pandas 2 say that it is."""

_VIEWS: tuple[tuple[type, Callable[[Any], View]], ...] = (
    (Image, _image_view),
    (PrefetchedImage, _prefetched_view),
    (ImageStream, _stream_view),
    (MergedImages, _merged_view),
    (RootFilesystem, _rootfs_view),
    (LayerPlan, _plan_view),
    (CompletedCommand, _completed_view),
    (Closure, _closure_view),
    (AptSearchResult, _search_view),
    (Package, package_view),
    (PackageSet, package_set_view),
    (Planners, planners_view),
)


def install(shell: Any) -> None:
    """Tell a shell's formatters how nbdock's values are shown."""
    formatters = shell.display_formatter.formatters
    for kind, view in _VIEWS:
        formatters["text/html"].for_type(kind, _html(view))
        formatters["text/plain"].for_type(kind, _pretty(view))
    # By their names, as their modules import pandas and numpy.
    formatters["text/html"].for_type_by_name(*_DOCTOR_TABLE, _html(doctor_view))
    formatters["text/html"].for_type_by_name(*_EFFICIENCY, _html(efficiency_view))
    formatters["text/plain"].for_type_by_name(*_EFFICIENCY, _pretty(efficiency_view))
    for place in _FRAMES:
        formatters["text/html"].for_type_by_name(*place, _frame_html)
        formatters["text/plain"].for_type_by_name(*place, _frame_text)
    formatters["text/plain"].for_type(CoroutineType, not_awaited)
    shell.display_formatter.ipython_display_formatter.for_type(Job, show_job)
    when_awaited(show_awaited)


def _html(view: Callable[[Any], View]) -> Callable[[Any], str]:
    return lambda value: view(value).html()


def _pretty(view: Callable[[Any], View]) -> Callable[[Any, Any, bool], None]:
    def show(value: Any, printer: Any, cycle: bool) -> None:  # noqa: ARG001 - IPython's signature
        # Inside a list or a dictionary the cheap line stands; alone, the table.
        printer.text(view(value).text() if len(printer.stack) <= 1 else repr(value))

    return show


def _frame_html(frame: Any) -> str | None:
    """A table of nbdock's, or a DataFrame as it would have itself shown."""
    view = _frame_view(frame)
    shown: str | None = view.html() if view else frame._repr_html_()
    return shown


def _frame_text(frame: Any, printer: Any, cycle: bool) -> None:  # noqa: ARG001 - IPython's signature
    view = _frame_view(frame) if len(printer.stack) <= 1 else None
    printer.text(view.text() if view else repr(frame))


def _frame_view(frame: Any) -> View | None:
    try:
        return table_view(frame)
    except Exception:
        # What people make of a table may be anything, and pandas shows all of it.
        _log.debug("A table is shown by pandas", exc_info=True)
        return None


def remove(shell: Any) -> None:
    """Undo `install`."""
    formatters = shell.display_formatter.formatters
    for kind, _ in _VIEWS:
        formatters["text/html"].pop(kind, None)
        formatters["text/plain"].pop(kind, None)
    for place in (_DOCTOR_TABLE, _EFFICIENCY, *_FRAMES):
        for format_ in ("text/html", "text/plain"):
            formatters[format_].pop(".".join(place), None)
    formatters["text/plain"].pop(CoroutineType, None)
    shell.display_formatter.ipython_display_formatter.pop(Job, None)
    when_awaited(None)
