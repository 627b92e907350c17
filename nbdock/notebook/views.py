"""A view: a heading, facts and a table, as plain text and as HTML that say the same.

The HTML has neither scripts nor style sheets. Inline styles follow JupyterLab's theme through its
own variables; GitHub and nbviewer, which drop styles, still show a plain table. Every text is
escaped here, wherever it comes from. Bars are characters, so they are there in plain text and on
GitHub too, and the number beside each says the same.

    View("motd", rows=[("0", "10 kB")], columns=(Column("layer"), Column("size", number=True)))
"""

from __future__ import annotations

import dataclasses
import html
import unicodedata
from collections.abc import Callable, Sequence

__all__ = ["ROWS_SHOWN", "Cell", "Column", "View", "plural", "share", "shortened"]

ROWS_SHOWN = 40

_MUTED = "color:var(--jp-ui-font-color2,#616161)"
_CODE = "font-family:var(--jp-code-font-family,monospace)"
_BAR = "color:var(--jp-brand-color1,#1976d2)"
_EIGHTHS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588"
_BAR_WIDTH = 10


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: its head, and how its cells stand; `whole` ones are not broken into lines."""

    head: str
    number: bool = False
    code: bool = False
    whole: bool = False


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell that is more than a text: `title` is shown by the mouse, `bar` drawn from 0 to 1."""

    text: str
    title: str = ""
    muted: bool = False
    bar: float | None = None


@dataclasses.dataclass(frozen=True)
class View:
    """What a value looks like.

    Attributes
    ----------
    heading, subheading
        What it is called; the second part stands back.
    facts
        Short texts about it, joined on one line.
    code
        A long identifier, whole, on a line of its own.
    columns, rows
        The table.
    block
        Lines to be copied, as they stand.
    note
        The last line: what is not shown and how to get it.
    """

    heading: str
    subheading: str = ""
    facts: Sequence[str] = ()
    code: str = ""
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[str | Cell]] = ()
    block: str = ""
    note: str = ""

    def text(self) -> str:
        """The view as plain text, for terminals, diffs and screen readers."""
        head = [self.heading + self.subheading, ", ".join(self.facts), self.code]
        table = self._text_table() if self.rows else ""
        block = "\n".join(map(_plain, self.block.splitlines()))
        parts = ("\n".join(_plain(line) for line in head if line), table, block, _plain(self.note))
        return "\n\n".join(part for part in parts if part)

    def html(self) -> str:
        """The view as HTML."""
        heading = f"<strong>{_escaped(self.heading)}</strong>"
        if self.subheading:
            heading += f'<span style="{_MUTED}">{_escaped(self.subheading)}</span>'
        parts = [f'<div style="font-size:1.1em">{heading}</div>']
        if self.facts:
            facts = " \u00b7 ".join(_escaped(fact) for fact in self.facts)
            parts.append(f"<div>{facts}</div>")
        if self.code:
            parts.append(f'<div style="{_MUTED};{_CODE}">{_escaped(self.code)}</div>')
        if self.rows:
            parts.append(self._html_table())
        if self.block:
            lines = "\n".join(map(_escaped, self.block.splitlines()))
            # One click selects all of it.
            parts.append(f'<pre style="margin:8px 0;user-select:all;{_CODE}">{lines}</pre>')
        if self.note:
            parts.append(f'<div style="{_MUTED}">{_escaped(self.note)}</div>')
        return f'<div style="overflow-x:auto">{"".join(parts)}</div>'

    def _html_table(self) -> str:
        heads = "".join(
            f'<th style="{_style(column)}">{_escaped(column.head)}</th>' for column in self.columns
        )
        body = "".join(
            "<tr>"
            + "".join(_html_cell(c, cell) for c, cell in zip(self.columns, row, strict=True))
            + "</tr>"
            for row in self.rows
        )
        return (
            '<table style="margin:8px 0 4px 0"><thead>'
            f"<tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _text_table(self) -> str:
        lines = [[_plain(c.head) for c in self.columns]]
        lines += [[_text_cell(cell) for cell in row] for row in self.rows]
        widths = [max(_width(line[i]) for line in lines) for i in range(len(self.columns))]

        def aligned(line: list[str]) -> str:
            cells = []
            for column, cell, width in zip(self.columns, line, widths, strict=True):
                pad = " " * (width - _width(cell))
                cells.append(pad + cell if column.number else cell + pad)
            return "  ".join(cells).rstrip()

        return "\n".join(aligned(line) for line in lines)


def _style(column: Column, *, code: bool = False) -> str:
    parts = ["vertical-align:top", "padding:2px 16px 2px 0"]
    if column.number:
        parts += ["text-align:right", "white-space:nowrap", "font-variant-numeric:tabular-nums"]
    else:
        parts.append("text-align:left")
    if column.whole:
        parts.append("white-space:nowrap")
    return ";".join([*parts, _CODE] if code else parts)


def _html_cell(column: Column, cell: str | Cell) -> str:
    if isinstance(cell, str):
        cell = Cell(cell)
    style = _style(column, code=column.code)
    text = _escaped(cell.text)
    if cell.bar is not None:
        bar = f'<span style="{_BAR}" aria-hidden="true">{_bar(cell.bar)}</span>'
        text = f"{text} {bar}"
        style += f";{_CODE};white-space:pre"
    if cell.muted:
        style += f";{_MUTED}"
    title = f' title="{_escaped(cell.title)}"' if cell.title else ""
    return f'<td style="{style}"{title}>{text}</td>'


def _text_cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _plain(cell)
    return _plain(cell.text) if cell.bar is None else f"{cell.text} {_bar(cell.bar)}"


def _plain(text: str) -> str:
    """A text on one line, without characters that would move the cursor of a terminal."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def _escaped(text: str) -> str:
    return html.escape(_plain(text))


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _bar(part: float) -> str:
    """A bar of fixed width; what is not nothing shows at least a sliver."""
    eighths = round(max(0.0, min(1.0, part)) * _BAR_WIDTH * 8)
    if part > 0:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return (_EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")).ljust(_BAR_WIDTH)


def share(size: int, total: int) -> Cell:
    """The share of a size in a total, in per cent and as a bar."""
    part = size / total if total > 0 else 0.0
    text = "<1 %" if 0 < part < 0.0095 else f"{100 * part:.0f} %"
    return Cell(text.rjust(5), bar=part)


def plural(count: int, noun: str) -> str:
    """``1 layer``, ``2 layers``; thousands apart.

    >>> plural(1, "layer"), plural(1200, "package")
    ('1 layer', '1,200 packages')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shortened(
    rows: Sequence[Sequence[str | Cell]], rest: Callable[[int], Sequence[str | Cell]]
) -> list[Sequence[str | Cell]]:
    """The first rows of a long table, and one that stands for all that are left."""
    if len(rows) <= ROWS_SHOWN:
        return list(rows)
    return [*rows[:ROWS_SHOWN], rest(ROWS_SHOWN)]
