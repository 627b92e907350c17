"""The heat map of `explore_sharing`: images by images, in bytes.

A cell is as dark as the part of the image that is shared (or missing), and says the same by the
size of its square or bar, and by its number where that has room.

    sharing_svg(names, shared, measure="missing", width=780)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from nbdock.notebook.explore.svg import PALETTE, escaped, fitted, width_of
from nbdock.notebook.views import plural
from nbdock.units import bytes_text

__all__ = ["MEASURES", "sharing_svg", "without_prefix"]

MEASURES: Final = ("missing", "shared")
_TOLD: Final = {"missing": "pulls", "shared": "shares"}
_INK: Final = {"shared": PALETTE[0], "missing": PALETTE[1]}
_WIDEST, _LEAST = 92.0, 11.0
_LABELS = 230.0
_SLANTED = 100.0
_BYTES_FROM, _PERCENT_FROM = 46.0, 25.0
"""How wide a cell is that has room for bytes, for a whole number of per cent. Pixels."""


def sharing_svg(
    names: Sequence[str],
    shared: npt.NDArray[np.int64],
    *,
    order: Sequence[int] | None = None,
    measure: str = "missing",
    width: float = 960,
    titles: bool = True,
    is_live: bool = False,
) -> str:
    """What a host that has one image (row) shares of another (column), or must pull.

    Parameters
    ----------
    names, shared
        The images, and bytes that each two share; their own sizes on the diagonal.
    order
        In which order they stand, by number.
    measure
        ``"missing"`` or ``"shared"``.
    titles
        Whether cells say what they are under the mouse; a live view says it itself.
    is_live
        Whether cells carry their numbers, ``data-a`` and ``data-b``, for a script.
    """
    order = list(range(len(names))) if order is None else list(order)
    full = names
    names, prefix = without_prefix(names)
    count = max(len(order), 1)
    labels = min(_LABELS, max((width_of(n, 11) for n in names), default=0.0) + 10)
    cell = min(_WIDEST, max(_LEAST, (width - labels - 2) / count))
    tall = cell if cell < 30 else max(28.0, cell * 0.42)
    longest = max((width_of(n, 11) for n in names), default=0.0)
    is_level = longest < cell - 6
    head = 20.0 if is_level else min(longest + 8, _SLANTED + 40)
    told = f"row: what a host has; column: what it {_TOLD[measure]}, the fuller the more"
    if cell >= _BYTES_FROM:
        told += "; diagonal: sizes"
    elif cell >= _PERCENT_FROM:
        told += ", in per cent of the column's image"
    if prefix:
        told += f"; \u2026 is {prefix}"
    # Few images make a small map, but what it shows is said in full, if the page has room.
    full_width = max(labels + cell * count + 2, min(width, width_of(told, 10)))
    height = head + tall * count + 22
    verb = "must pull" if measure == "missing" else "shares"
    label = f"What a host that has one of {plural(len(order), 'image')} {verb} for another"
    ink = _INK[measure]
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escaped(label)}" '
        f'width="{full_width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {full_width:.0f} {height:.0f}" font-family="sans-serif" font-size="11" '
        'style="max-width:none">'
    )
    parts = [opening]
    for place, i in enumerate(order):
        x = labels + cell * (place + 0.5)
        text = escaped(fitted(names[i], (cell - 6) if is_level else head - 8, 11))
        where = (
            f'x="{x:.1f}" y="{head - 7:.0f}" text-anchor="middle"'
            if is_level
            else f'transform="translate({x + 4:.1f} {head - 5:.0f})rotate(-90)"'
        )
        parts.append(f'<text {where} fill="currentColor">{text}{_title(full[i], text)}</text>')
    for down, i in enumerate(order):
        y = head + tall * down
        text = escaped(fitted(names[i], labels - 10, 11))
        parts.append(
            f'<g data-row="{i}"><text x="{labels - 6:.1f}" y="{y + tall / 2 + 4:.1f}" '
            f'text-anchor="end" fill="currentColor">{text}{_title(full[i], text)}</text>'
        )
        for across, j in enumerate(order):
            size, both = int(shared[j, j]), int(shared[i, j])
            value = size if i == j else both if measure == "shared" else size - both
            part = value / size if size else 0.0
            title = (
                f"<title>has {escaped(full[i])}, wants {escaped(full[j])}: "
                f"{bytes_text(size - both)} of {bytes_text(size)} to pull</title>"
                if titles
                else ""
            )
            parts.append(
                _cell(
                    labels + cell * across, y, cell, tall, ink, part, value, i == j,
                    f' data-a="{i}" data-b="{j}"' if is_live else "", title,
                )
            )  # fmt: skip
        parts.append("</g>")
    parts.append(
        f'<text x="0" y="{height - 5:.0f}" fill="currentColor" fill-opacity=".65" '
        f'font-size="10">{escaped(fitted(told, full_width, 10))}</text></svg>'
    )
    return "".join(parts)


def without_prefix(names: Sequence[str]) -> tuple[list[str], str]:
    """Names without the directories that all of them begin with, and those.

    >>> without_prefix(["example.com/team/a:1", "example.com/team/b:1"])
    (['\u2026a:1', '\u2026b:1'], 'example.com/team/')
    """
    first, last = (min(names), max(names)) if len(names) > 1 else ("", "")
    same = [a == b for a, b in zip(first, last, strict=False)]
    common = first[: same.index(False)] if False in same else ""
    prefix = common[: common.rfind("/") + 1]
    if len(prefix) < 3:
        return list(names), ""
    return ["\u2026" + name[len(prefix) :] for name in names], prefix


def _cell(
    x: float, y: float, width: float, height: float, ink: str, part: float, value: int,
    is_own: bool, data: str, title: str,
) -> str:  # fmt: skip
    gap = 1.0 if width >= 20 else 0.6
    text = ""
    if width >= _PERCENT_FROM:
        told = bytes_text(value) if width >= _BYTES_FROM else f"{100 * part:.0f}"
        if is_own and width < _BYTES_FROM:
            told = ""
        weight = ' font-weight="bold"' if is_own else ""
        text = (
            f'<text x="{x + width / 2:.1f}" y="{y + height / 2 + 3:.1f}" text-anchor="middle" '
            f'font-size="10.5" fill="currentColor" pointer-events="none"{weight}>{told}</text>'
        )
    if width < _PERCENT_FROM:
        # A square, of the same part of the cell; what the mouse hits is all of it.
        side = (width - 2 * gap) * (1.0 if is_own else part**0.5)
        look = f'fill="{ink}" fill-opacity="{0.35 + 0.5 * part:.2f}"'
        if is_own:
            look = 'fill="currentColor" fill-opacity=".18"'
        body = (
            f'<rect x="{x + (width - side) / 2:.1f}" y="{y + (height - side) / 2:.1f}" '
            f'width="{side:.1f}" height="{side:.1f}" {look}'
        )
        if not data:
            return f"{body}>{title}</rect>" if title else f"{body}/>"
        ground = (
            f'<rect{data} x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="currentColor" fill-opacity=".04">{title}</rect>'
        )
        return f'{ground}{body} pointer-events="none"/>'
    w, h = width - gap, height - gap
    look = (
        f'fill="{ink}" fill-opacity="{0.06 + 0.44 * part:.2f}"'
        if not is_own
        else 'fill="currentColor" fill-opacity=".1"'
    )
    ground = f'<rect{data} x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" {look}'
    bar = (
        ""
        if is_own
        else f'<rect x="{x:.1f}" y="{y + h - 4:.1f}" width="{w * part:.1f}" height="4" '
        f'fill="{ink}" pointer-events="none"/>'
    )
    return (f"{ground}>{title}</rect>" if title else f"{ground}/>") + bar + text


def _title(name: str, shown: str) -> str:
    return f"<title>{escaped(name)}</title>" if shown != escaped(name) else ""
