"""How nbdock's values look under a cell: plain text, and HTML without scripts.

The values know nothing of this: `install` tells IPython's formatters, by the names of the classes,
so that nothing is imported before it is shown. The HTML is tables with inline styles that follow
JupyterLab's theme through its own variables; GitHub and nbviewer, which drop styles, still show
plain tables.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nbdock.images import Image
from nbdock.layering import LayerPlan
from nbdock.notebook.jobs import Job, JobState
from nbdock.notebook.units import bytes_text, seconds_text
from nbdock.packages import Closure

__all__ = ["install", "remove"]

_MUTED = "color:var(--jp-ui-font-color2,#616161)"
_CELL = "text-align:left;padding:2px 12px 2px 0;vertical-align:top"
_NUMBER = "text-align:right;padding:2px 12px 2px 0;vertical-align:top;white-space:nowrap"
_ROWS_SHOWN = 40
_NAMES_SHOWN = 6


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: frozenset[int] = frozenset()
) -> str:
    """A plain table; every text is escaped here."""

    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="{_NUMBER if i in numbers else _CELL}">{html.escape(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in rows)
    return f"<table><thead><tr>{row('th', heads)}</tr></thead><tbody>{body}</tbody></table>"


def _text_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: frozenset[int] = frozenset()
) -> str:
    widths = [max(len(r[i]) for r in (heads, *rows)) for i in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if i in numbers else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(aligned).rstrip()

    return "\n".join(line(cells) for cells in (heads, *rows))


def _names(names: Sequence[str]) -> str:
    if len(names) <= _NAMES_SHOWN:
        return ", ".join(names)
    shown = ", ".join(names[: _NAMES_SHOWN - 1])
    return f"{shown} and {len(names) - _NAMES_SHOWN + 1} more"


def _few(rows: list[tuple[str, ...]], what: str, how_all: str) -> tuple[list[tuple[str, ...]], str]:
    """The first rows of a long table, and a note that says how to get the rest."""
    if len(rows) <= _ROWS_SHOWN:
        return rows, ""
    return rows[:_ROWS_SHOWN], f"{_ROWS_SHOWN} of {len(rows)} {what}; all: {how_all}"


_LAYER_HEADS = ("layer", "size", "digest", "contents")
_LAYER_NUMBERS = frozenset({0, 1})


def _layer_rows(image: Image) -> list[tuple[str, ...]]:
    return [
        (
            str(layer.position),
            bytes_text(layer.descriptor.size_bytes),
            layer.descriptor.digest.hex[:12],
            _names(layer.contents) or layer.comment or layer.created_by or "",
        )
        for layer in image.layers
    ]


def _image_facts(image: Image) -> list[tuple[str, str]]:
    platform = image.config.platform
    return [
        ("name", image.name or "(none)"),
        ("tag", image.tag or "(none)"),
        ("digest", str(image.digest)),
        ("platform", str(platform)),
        ("size", f"{bytes_text(image.size_bytes)} in {len(image.layers)} layers"),
    ]


def _image_text(image: Image) -> str:
    rows, note = _few(_layer_rows(image), "layers", "nbdock.layer_table(image)")
    facts = "\n".join(f"{name:<9} {value}" for name, value in _image_facts(image))
    table = _text_table(_LAYER_HEADS, rows, _LAYER_NUMBERS)
    return "\n\n".join(part for part in (facts, table, note) if part)


def _image_html(image: Image) -> str:
    rows, note = _few(_layer_rows(image), "layers", "nbdock.layer_table(image)")
    facts = "".join(
        f'<tr><th style="{_CELL};{_MUTED};font-weight:normal">{name}</th>'
        f'<td style="{_CELL}">{html.escape(value)}</td></tr>'
        for name, value in _image_facts(image)
    )
    table = _table(_LAYER_HEADS, rows, _LAYER_NUMBERS)
    return f"<div><table><tbody>{facts}</tbody></table>{table}{_note(note)}</div>"


def _note(text: str) -> str:
    return f'<p style="{_MUTED}">{html.escape(text)}</p>' if text else ""


_PLAN_HEADS = ("layer", "size", "packages", "contents")
_PLAN_NUMBERS = frozenset({0, 1, 2})


def _plan_rows(plan: LayerPlan) -> list[tuple[str, ...]]:
    return [
        (str(row.position), bytes_text(row.size_bytes), str(row.packages), _names(row.names))
        for row in plan.rows()
    ]


def _plan_text(plan: LayerPlan) -> str:
    rows, note = _few(_plan_rows(plan), "layers", "plan.table()")
    text = f"{_plan_title(plan)}\n\n{_text_table(_PLAN_HEADS, rows, _PLAN_NUMBERS)}"
    return f"{text}\n\n{note}" if note else text


def _plan_html(plan: LayerPlan) -> str:
    rows, note = _few(_plan_rows(plan), "layers", "plan.table()")
    title = f'<p style="{_MUTED}">{html.escape(_plan_title(plan))}</p>'
    return f"<div>{title}{_table(_PLAN_HEADS, rows, _PLAN_NUMBERS)}{_note(note)}</div>"


def _plan_title(plan: LayerPlan) -> str:
    packages = sum(row.packages for row in plan.rows())
    size = bytes_text(sum(row.size_bytes for row in plan.rows()))
    return f"Plan by {plan.planner}: {packages} packages, {size}, in {len(plan)} layers"


_PACKAGE_HEADS = ("package", "version", "size", "needs")
_PACKAGE_NUMBERS = frozenset({2})


def _closure_rows(closure: Closure) -> list[tuple[str, ...]]:
    return [
        (
            package.name,
            package.version,
            bytes_text(package.size_bytes),
            _names([closure[key].name for key in closure.references.get(package.key, ())]),
        )
        for package in closure.packages
    ]


def _closure_title(closure: Closure) -> str:
    return f"{len(closure)} packages, {bytes_text(closure.size_bytes)}"


def _closure_text(closure: Closure) -> str:
    rows, note = _few(_closure_rows(closure), "packages", "nbdock.package_table(closure)")
    text = f"{_closure_title(closure)}\n\n{_text_table(_PACKAGE_HEADS, rows, _PACKAGE_NUMBERS)}"
    return f"{text}\n\n{note}" if note else text


def _closure_html(closure: Closure) -> str:
    rows, note = _few(_closure_rows(closure), "packages", "nbdock.package_table(closure)")
    title = f'<p style="{_MUTED}">{html.escape(_closure_title(closure))}</p>'
    return f"<div>{title}{_table(_PACKAGE_HEADS, rows, _PACKAGE_NUMBERS)}{_note(note)}</div>"


def _job_text(job: Job[Any]) -> str:
    if job.state is JobState.RUNNING:
        return f"{job.name}: {job.progress()}\nStop it with .cancel(), wait for it with await."
    text = f"{job.name}: {job.state.value} after {seconds_text(job.elapsed_s)}"
    return f"{text}\n{job.error}" if job.error else text


def _job_html(job: Job[Any]) -> str:
    lines = "<br>".join(html.escape(line) for line in _job_text(job).splitlines())
    return f'<div style="font-family:var(--jp-code-font-family,monospace)">{lines}</div>'


_SHOWN: tuple[tuple[type, Callable[[Any], str], Callable[[Any], str]], ...] = (
    (Image, _image_text, _image_html),
    (LayerPlan, _plan_text, _plan_html),
    (Closure, _closure_text, _closure_html),
    (Job, _job_text, _job_html),
)


def install(shell: Any) -> None:
    """Tell a shell's formatters how nbdock's values are shown."""
    formatters = shell.display_formatter.formatters
    for kind, text, rich in _SHOWN:
        formatters["text/html"].for_type(kind, rich)
        formatters["text/plain"].for_type(kind, _pretty(text))


def _pretty(text: Callable[[Any], str]) -> Callable[[Any, Any, bool], None]:
    def show(value: Any, printer: Any, cycle: bool) -> None:  # noqa: ARG001 - IPython's signature
        # Inside a list or a dictionary the cheap line stands; alone, the table.
        printer.text(text(value) if len(printer.stack) <= 1 else repr(value))

    return show


def remove(shell: Any) -> None:
    """Undo `install`."""
    formatters = shell.display_formatter.formatters
    for kind, _, _ in _SHOWN:
        formatters["text/html"].pop(kind, None)
        formatters["text/plain"].pop(kind, None)
