"""The pictures of `explore_plan`: layers to scale, and bytes pulled against the number of layers.

plan_svg(model, plan, shared)
curve_svg(curve)                # a DataFrame: one column per planner, indexed by budget
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from nbdock.layering import LayerPlan
from nbdock.notebook.explore.planmodel import PlanModel
from nbdock.notebook.explore.svg import PALETTE, escaped, fitted, width_of
from nbdock.notebook.views import plural
from nbdock.units import bytes_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WIDTH", "curve_svg", "knee", "letter", "plan_svg"]

WIDTH: Final = 960
_LEFT, _RIGHT, _TOP = 92, 12, 5
_MARK, _MARKS = 15, 8
_NAMES = 6
_TALLEST, _LEAST, _MOST = 560, 4, 22
_FROM = 11
"""Height of a layer from which on there is room for letters. Pixels."""
_UNKNOWN_RATE: Final = ' fill-opacity="0.45"'
# The same names are in every plan.
_width_of = functools.lru_cache(maxsize=1 << 14)(width_of)
_DASHES: Final = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 4")


def letter(number: int) -> str:
    """What an other is called in the picture: A, B, ... AA."""
    return (letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def plan_svg(
    model: PlanModel,
    plan: LayerPlan,
    shared: Sequence[Sequence[int]],
    *,
    width: int = WIDTH,
    titles: bool = True,
) -> str:
    """The layers of a plan, the bottom one first, as wide as they have bytes.

    Parameters
    ----------
    shared
        For each layer the numbers of the others that would have the same.
    width
        Of the picture. Pixels.
    titles
        Whether packages are named under the mouse; a live view says it itself.
    """
    rows = plan.rows()
    number = {p.key: i for i, p in enumerate(model.closure.packages)}
    step = min(_MOST, max(_LEAST, _TALLEST / max(len(rows), 1)))
    bar = step - (2 if step >= _FROM else 1 if step >= 6 else 0.5)
    base = bar / 2 + 3.8
    marks = _MARK * min(max(map(len, shared), default=0), _MARKS)
    largest = max((row.size_bytes for row in rows), default=0)
    scale = (width - _LEFT - _RIGHT - marks) / largest if largest else 0.0
    every = 1 if step >= _FROM else math.ceil(_FROM / step)
    height = step * len(rows) + 2 * _TOP
    label = f"Plan by {plan.planner}: {len(rows)} layers, the largest {bytes_text(largest)}"
    parts = [_head(width, height, label)]
    for row, layer, by in zip(rows, plan.layers, shared, strict=True):
        y = row.position * step + _TOP
        parts.append(f'<g data-layer="{row.position}" transform="translate(0 {y:.1f})">')
        if row.position % every == 0:
            parts += [
                _text(_LEFT - 62, base, str(row.position), "end", muted=True),
                _text(_LEFT - 6, base, bytes_text(row.size_bytes), "end"),
            ]
        x = float(_LEFT)
        letters = []
        # What all bars have in common is said once: a thousand are sent for every move of a slider.
        parts.append(f'<g fill="{PALETTE[0]}"{"" if model.rates else _UNKNOWN_RATE}>')
        ordered = sorted(layer, key=lambda p: (-p.size_bytes, p.sort_key))
        for package in ordered:
            wide = package.size_bytes * scale
            title = (
                f"<title>{escaped(package.name)} {escaped(package.version)}: "
                f"{bytes_text(package.size_bytes)}, layer {row.position}</title>"
                if titles
                else ""
            )
            shape = (
                f'<rect data-p="{number[package.key]}" x="{x:.1f}" '
                f'width="{max(wide - (0.8 if wide > 3 else 0.0), 0):.2f}" height="{bar:.1f}"'
            )
            if model.rates:
                shape += f' fill-opacity="{_opacity(model.rates.get(package.name, 0.0)):.2f}"'
            parts.append(f"{shape}>{title}</rect>" if title else f"{shape}/>")
            if bar >= _FROM - 2 and _width_of(package.name, 11) < wide - 7:
                letters.append(_text(x + 4, base, package.name))
            x += wide
        parts.append("</g>")
        if by:
            parts.append(
                f'<rect x="{_LEFT}" width="{max(x - _LEFT, 2):.1f}" height="{bar:.1f}" fill="none" '
                'pointer-events="none" stroke="currentColor" stroke-width="1.4"/>'
            )
            parts += _marks(model, by, x + 3, bar)
        # What has no room in the bar stands beside it, the largest first.
        right = x + 8 + _MARK * min(len(by), _MARKS)
        if step >= _FROM and not letters:
            told = ", ".join(p.name for p in ordered[:_NAMES])
            told += " \u2026" if len(ordered) > _NAMES else ""
            letters.append(_text(right, base, fitted(told, width - right, 11), muted=True))
        parts += [*letters, "</g>"]
    return "".join([*parts, "</svg>"])


def _head(width: float, height: float, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escaped(label)}" '
        f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="sans-serif" font-size="11" style="max-width:100%;height:auto">'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", *, muted: bool = False) -> str:
    look = f' text-anchor="{anchor}"' if anchor != "start" else ""
    look += ' fill-opacity=".65"' if muted else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="currentColor" pointer-events="none"{look}>'
        f"{escaped(text)}</text>"
    )


def _opacity(rate: float) -> float:
    """How dark a package is: by how likely it changes in a week."""
    return 0.12 + 0.78 * min(1.0, math.sqrt(rate / 0.25))


def _marks(model: PlanModel, by: Sequence[int], x: float, bar: float) -> list[str]:
    """The letters of those that have a layer too, right of it."""
    parts = []
    size = min(11.0, bar + 1)
    for place, number in enumerate(by):
        if place == _MARKS - 1 and len(by) > _MARKS:
            parts.append(
                f'<text x="{x + place * _MARK:.1f}" y="{bar / 2 + 3.8:.1f}" fill="currentColor">'
                f"+{len(by) - _MARKS + 1}</text>"
            )
            break
        parts.append(
            f'<text x="{x + place * _MARK + 6:.1f}" y="{bar / 2 + size * 0.35:.1f}" '
            f'font-size="{size:.1f}" font-weight="bold" text-anchor="middle" '
            f'fill="currentColor">{letter(number)}<title>the same layer in '
            f"{escaped(model.others[number].name)}</title></text>"
        )
    return parts


def knee(budgets: Sequence[float], pulled: Sequence[float]) -> int:
    """The place where a falling curve bends most: the farthest from the line between its ends.

    Both axes as they are drawn, in logarithms.

    >>> knee([1, 2, 4, 8, 16], [1600, 800, 110, 100, 95])
    2
    """
    xs = [math.log(max(b, 1)) for b in budgets]
    ys = [math.log(max(p, 1)) for p in pulled]
    if len(xs) < 3 or xs[0] == xs[-1] or ys[0] <= ys[-1]:
        return 0
    drop = [
        (ys[0] - y) / (ys[0] - ys[-1]) - (x - xs[0]) / (xs[-1] - xs[0])
        for x, y in zip(xs, ys, strict=True)
    ]
    return max(range(len(drop)), key=lambda i: drop[i])


def curve_svg(curve: pd.DataFrame, *, ideal: str = "ideal") -> str:
    """Bytes pulled over a replayed time, against the layers that packages may take.

    Parameters
    ----------
    curve
        Bytes, one column per planner, indexed by budget (ascending); both axes are logarithmic.
    ideal
        The column that is no planner but a bound.
    """
    height, left, right, top, bottom = 250, 70, 120, 14, 34
    budgets = [int(b) for b in curve.index]
    columns = {str(name): [float(v) for v in curve[name]] for name in curve.columns}
    values = [v for column in columns.values() for v in column if v > 0] or [1.0]
    low, high = math.log10(min(values)) - 0.05, math.log10(max(values)) + 0.05
    first, last = math.log(max(budgets[0], 1)), math.log(max(budgets[-1], 2))

    def at_x(budget: float) -> float:
        part = (math.log(max(budget, 1)) - first) / ((last - first) or 1)
        return left + part * (WIDTH - left - right)

    def at_y(value: float) -> float:
        part = (math.log10(max(value, 1.0)) - low) / ((high - low) or 1)
        return top + (1 - part) * (height - top - bottom)

    parts = [_head(WIDTH, height, f"Bytes pulled by number of layers: {', '.join(columns)}")]
    for value in _ticks(10**low, 10**high):
        y = at_y(value)
        parts += [
            _path(f"M{left} {y:.1f}H{WIDTH - right}", "currentColor", 'stroke-opacity=".15"'),
            _text(left - 6, y + 4, bytes_text(round(value)), "end", muted=True),
        ]
    parts += [
        _text(at_x(budget), height - bottom + 16, str(budget), "middle", muted=True)
        for budget in budgets
    ]
    axis = "layers for packages; bytes pulled over the time that was replayed"
    parts.append(_text((left + WIDTH - right) / 2, height - 4, axis, "middle", muted=True))
    ends = _apart([at_y(column[-1]) for column in columns.values()], 13, height - bottom)
    number = 0
    knees: dict[int, float] = {}  # the highest ring at each budget
    for (name, column), end in zip(columns.items(), ends, strict=True):
        points = [(at_x(b), at_y(v)) for b, v in zip(budgets, column, strict=True)]
        is_bound = name == ideal
        ink = "currentColor" if is_bound else PALETTE[number % len(PALETTE)]
        dash = "1 4" if is_bound else _DASHES[number % len(_DASHES)]
        line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        x, y = points[-1]
        parts += [
            _path(line, ink, f'stroke-width="2" stroke-dasharray="{dash}"'),
            _path(f"M{x + 4:.1f} {y:.1f}L{WIDTH - right + 16} {end:.1f}", ink),
            _text(WIDTH - right + 20, end + 4, fitted(name, right - 24, 11)),
        ]
        if is_bound:
            continue
        number += 1
        bend = knee(budgets, column)
        for i, ((x, y), value) in enumerate(zip(points, column, strict=True)):
            told = f"{name}, {plural(budgets[i], 'layer')}: {bytes_text(round(value))}"
            ring = ""
            if i == bend:
                told += ", the knee"
                ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="none" stroke="{ink}"/>'
            parts.append(
                f'<g data-budget="{budgets[i]}" data-planner="{escaped(name)}">'
                f"<title>{escaped(told)}</title>"
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{ink}"/>{ring}</g>'
            )
            if ring:
                knees[budgets[i]] = min(y, knees.get(budgets[i], y))
    # Above what falls to the right; planners that bend at the same place are told once.
    parts += [_text(at_x(at) + 8, y - 9, f"knee {at}") for at, y in knees.items()]
    return "".join([*parts, "</svg>"])


def _path(d: str, ink: str, look: str = 'stroke-opacity=".6"') -> str:
    return f'<path d="{d}" fill="none" stroke="{ink}" {look}/>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two: 1, 2 and 5 times the powers of ten."""
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        found += [step * 10.0**power for step in (1, 2, 5) if low <= step * 10.0**power <= high]
    return found


def _apart(wanted: Sequence[float], gap: float, bottom: float) -> list[float]:
    """Places near to the wanted ones, at least a gap apart, the lowest not below the bottom."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i], reverse=True)
    found = [0.0] * len(wanted)
    last = bottom + gap
    for i in order:
        last = found[i] = min(wanted[i], last - gap)
    return found
