r"""Pictures that are part of a page: SVG without scripts and without style sheets.

What is drawn has only attributes of its own, so it is the same on GitHub, which drops styles.
Lines and letters take the colour of the text around them; areas are half transparent. So a picture
fits light and dark pages alike.

>>> picture = Drawing(100, 20, "One layer")
>>> picture.rect(0, 0, 100, 20, fill=colour(0), title="libc6 <2.36>")
>>> picture.text(4, 14, fitted("libc6 and more", 60))
>>> "libc6 &lt;2.36&gt;" in str(picture), fitted("libc6 and more", 60)
(True, 'libc6 a\u2026')
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "FILL_OPACITY",
    "OTHERS",
    "PALETTE",
    "Drawing",
    "colour",
    "escaped",
    "fitted",
    "width_of",
]

PALETTE = (
    "#4477aa", "#ee7733", "#228833", "#ccbb44", "#aa3377", "#66ccee", "#ee6677", "#999933",
    "#882255",
)  # fmt: skip
"""Colours that people with any sight of colour tell apart, after Paul Tol; as in ``base.css``."""

OTHERS = "#999999"
"""The colour of what is put together."""

FILL_OPACITY = 0.45
"""Of areas with letters on them: those stay legible on light pages and on dark ones."""

_FONT = "sans-serif"


def colour(number: int) -> str:
    """The colour of something by its number; they come again after nine. Below 0: `OTHERS`."""
    return PALETTE[number % len(PALETTE)] if number >= 0 else OTHERS


def escaped(text: str) -> str:
    """Text as it may stand in HTML and SVG, on one line, without characters that hide others."""
    return html.escape(
        "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
    )


def width_of(text: str, size_px: float = 12) -> float:
    """About how wide a text is drawn, in pixels.

    There is no font to ask, so it is as wide as in DejaVu Sans, which is wider than most.
    """
    return sum(map(_ems, text)) * size_px


def _ems(character: str) -> float:
    if character.isascii():
        if character in "iljtf.,:;'|!()[] /-":
            return 0.36
        if character in "mMW@%":
            return 0.98
        if character.isupper() or character == "w":
            return 0.78
        return 0.64 if character.isdigit() or character in "abdeghnopqu_" else 0.58
    if unicodedata.combining(character):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.62


def fitted(text: str, width_px: float, size_px: float = 12) -> str:
    """As much of a text as has room, with an ellipsis if that is not all; or nothing.

    >>> fitted("usr/share/doc", 400), fitted("usr/share/doc", 8)
    ('usr/share/doc', '')
    """
    if width_of(text, size_px) <= width_px:
        return text
    room = width_px / size_px - 1.0  # an ellipsis
    for place, character in enumerate(text):
        room -= _ems(character)
        if room < 0:
            return text[:place] + "\u2026" if place >= 2 else ""
    return text


class Drawing:
    """An SVG that is put together piece by piece; `str` gives it.

    Parameters
    ----------
    width, height
        In pixels; it shrinks with the page.
    label
        What it shows, for those who do not see it.
    """

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width = width
        self.height = height
        self._label = label
        self._parts: list[str] = []

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str,
        opacity: float = FILL_OPACITY,
        title: str = "",
        stroke: str = "",
    ) -> None:
        """An area; the mouse shows its title."""
        line = f' stroke="{escaped(stroke)}" stroke-width="0.5"' if stroke else ""
        place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
        shape = f'<rect {place} fill="{escaped(fill)}" fill-opacity="{_n(opacity)}"{line}'
        self._parts.append(
            f"{shape}><title>{escaped(title)}</title></rect>" if title else shape + "/>"
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12,
        anchor: str = "start",
        bold: bool = False,
        muted: bool = False,
    ) -> None:
        """A line of text, its baseline at `y`; `anchor` is start, middle or end."""
        if not text:
            return
        look = ' font-weight="600"' if bold else ""
        look += f' text-anchor="{anchor}"' if anchor != "start" else ""
        look += ' fill-opacity="0.65"' if muted else ""
        where = f'x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}"'
        self._parts.append(f'<text {where} fill="currentColor"{look}>{escaped(text)}</text>')

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        *,
        opacity: float = 0.4,
        width: float = 1,
    ) -> None:
        """A line in the colour of the text."""
        place = f'x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"'
        look = f'stroke="currentColor" stroke-opacity="{_n(opacity)}" stroke-width="{_n(width)}"'
        self._parts.append(f"<line {place} {look}/>")

    def path(self, d: str, *, opacity: float = 0.4, width: float = 1) -> None:
        """A path of numbers and letters, drawn as a line in the colour of the text."""
        look = f'stroke="currentColor" stroke-opacity="{_n(opacity)}" stroke-width="{_n(width)}"'
        self._parts.append(f'<path d="{escaped(d)}" fill="none" {look}/>')

    @contextmanager
    def group(self, title: str = "") -> Iterator[None]:
        """What is drawn meanwhile belongs together; the mouse shows the title."""
        self._parts.append(f"<g><title>{escaped(title)}</title>" if title else "<g>")
        yield
        self._parts.append("</g>")

    def __str__(self) -> str:
        size = f'width="{_n(self.width)}" height="{_n(self.height)}"'
        box = f'viewBox="0 0 {_n(self.width)} {_n(self.height)}"'
        label = escaped(self._label)
        # Not wider than the page; what drops styles scrolls.
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img" '
            f'aria-label="{label}" font-family="{_FONT}" style="max-width:100%;height:auto">'
            f"<title>{label}</title>{''.join(self._parts)}</svg>"
        )


def _n(number: float) -> str:
    """A number of an attribute: two digits are finer than a screen."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
