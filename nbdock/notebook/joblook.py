"""How a job looks when nothing can change it: plain text, and HTML without scripts.

That is what a notebook keeps, so it is bounded: the last lines of the log, folded away unless
something went wrong, and what the job made or what stopped it.

    ✓ redis: Built in 12.3 s.
    ▸ Log, 48 lines
"""

from __future__ import annotations

import html
import re
import traceback
from collections.abc import Mapping
from typing import Any

from nbdock.jobs import Job, JobState, Log
from nbdock.notebook.views import plural
from nbdock.units import seconds_text

__all__ = ["heading", "job_bundle", "line_bundle", "log_lines", "plain_line", "with_log"]

_MARKS = {
    JobState.RUNNING: "\u25b6", JobState.DONE: "\u2713",
    JobState.FAILED: "\u2717", JobState.CANCELLED: "\u25a0",
}  # fmt: skip
_LINES_KEPT, _LINES_IN_TEXT = 100, 20
_LINE_WIDTH = 1000
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)"
    r"|\x9b[0-?]*[@-~]?"
)
_OVERWRITTEN = re.compile(r"[^\b]\x08")
_BARS = re.compile("[\u2588\u2591]+")
_BAR = "color:var(--jp-brand-color1,#1976d2)"
_COLOURS = re.compile(r"(\x1b\[[0-9;]*m)")
_MUTED = "color:var(--jp-ui-font-color2,#616161)"
_SPANS = {"\x1b[1m": "<strong>", "\x1b[2m": f'<span style="{_MUTED}">'}
_CODE = (
    "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px);"
    "white-space:pre-wrap;overflow-wrap:anywhere"
)


def plain_line(line: str) -> str:
    r"""A line of a log as a terminal would leave it, without what only terminals understand.

    >>> plain_line("\x1b[32mok\x1b[0m"), plain_line("10 %\r90 %\r"), plain_line("a\x00b")
    ('ok', '90 %', 'a\ufffdb')
    """
    if not (line.isascii() and line.isprintable()):
        line = _ESCAPES.sub("", line)
        line = next((part for part in reversed(line.split("\r")) if part), "")
        while (shorter := _OVERWRITTEN.sub("", line, count=1000)) != line:
            line = shorter
        line = "".join(
            c if c.isprintable() else " " if c.isspace() else "\ufffd"
            for c in line[: 4 * _LINE_WIDTH].expandtabs()
        )
    return line if len(line) <= _LINE_WIDTH else line[:_LINE_WIDTH] + "\u2026"


def line_bundle(text: str) -> dict[str, str]:
    """Lines of text, such as those of a `ProgressLine`, as a notebook shows them."""
    bars = rf'<span style="{_BAR}" aria-hidden="true">\g<0></span>'
    shown = _BARS.sub(bars, html.escape(text))
    return {"text/plain": text, "text/html": f'<span style="{_CODE}">{shown}</span>'}


def with_log(bundle: dict[str, str], log: Log, *, is_open: bool) -> dict[str, str]:
    """A bundle with the end of a log, folded away or open; as text only if it is open."""
    before, lines = log_lines(log, _LINES_KEPT)
    if not lines:
        return bundle
    text, shown = bundle["text/plain"], bundle["text/html"]
    return {
        "text/plain": "\n\n".join([text, "\n".join(lines[-_LINES_IN_TEXT:])]) if is_open else text,
        "text/html": f"<div>{shown}</div>{_log_html(before, lines, is_open=is_open)}",
    }


def log_lines(log: Log, count: int) -> tuple[int, list[str]]:
    """The last lines of a log, at most `count`, and how many there were before."""
    before, lines = log.tail(count)
    return before, [plain_line(line) for line in lines]


def heading(job: Job[Any], *, named: bool = True) -> str:
    """The first line, and while it runs a line for each part of the work that has one."""
    state = job.state
    name = f"{_MARKS[state]} {job.name}: " if named else ""
    if state is JobState.RUNNING:
        return name + job.progress()
    took = seconds_text(job.elapsed_s)
    if state is JobState.DONE:
        return f"{name}{job.summary} in {took}."
    verb = state.value if named else state.value.capitalize()
    return f"{name}{verb} after {took}."


def job_bundle(
    job: Job[Any], *, named: bool = True, result: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What a notebook keeps of a job, as text and as HTML.

    Parameters
    ----------
    job
        The job.
    named
        Whether its name and, when it failed, its error are shown: not below the cell that waits
        for it, which shows them itself.
    result
        How what it made is shown, by MIME type.
    """
    state = job.state
    # What failed may say the last lines itself.
    is_told = getattr(job.error, "output", "")
    is_open = state is JobState.RUNNING or (state is JobState.FAILED and not is_told)
    shown = with_log(line_bundle(heading(job, named=named)), job.log, is_open=is_open)
    texts, parts = [shown["text/plain"]], [f"<div>{shown['text/html']}</div>"]
    if named and state is JobState.RUNNING:
        texts.append("Stop it with .cancel(), wait for it with await.")
    if named and (error := job.error):
        told = "\n".join(_error_lines(error)).rstrip()
        texts.append(_COLOURS.sub("", told))
        parts.append(f'<div style="{_CODE};margin-top:8px">{_coloured(told)}</div>')
    if result:
        texts.append(result.get("text/plain", ""))
        plain = f"<pre>{html.escape(result.get('text/plain', ''))}</pre>"
        parts.append(f'<div style="margin-top:8px">{result.get("text/html", plain)}</div>')
    return {"text/plain": "\n\n".join(texts), "text/html": f"<div>{''.join(parts)}</div>"}


def _log_html(before: int, lines: list[str], *, is_open: bool) -> str:
    count = before + len(lines)
    which = f"the last {len(lines)} of " if before else ""
    head = f"Log: {which}{plural(count, 'line')}"
    text = html.escape("\n".join(lines))
    # Upside down, so that its end is seen without a script.
    box = (
        "max-height:16em;overflow-y:auto;display:flex;flex-direction:column-reverse;"
        "background:var(--jp-cell-editor-background,#f5f5f5);margin-top:4px;padding:4px 8px"
    )
    return (
        f"<details{' open' if is_open else ''}>"
        f'<summary style="cursor:pointer;{_MUTED}">{head}</summary>'
        f'<div style="{box}" tabindex="0" role="log" aria-label="Log">'
        f'<pre style="margin:0;flex:none;background:none;{_CODE}">{text}</pre></div></details>'
    )


def _error_lines(error: BaseException) -> list[str]:
    """What the house shows of an error under a cell."""
    render = getattr(error, "_render_traceback_", None)
    return list(render()) if render else traceback.format_exception_only(error)


def _coloured(text: str) -> str:
    """A text with the few colours that errors have, as HTML."""
    parts, ends = [], ""
    for part in _COLOURS.split(text):
        if not _COLOURS.fullmatch(part):
            parts.append(html.escape(part))
        elif span := _SPANS.get(part):
            parts.append(span)
            ends = ("</strong>" if span == "<strong>" else "</span>") + ends
        else:
            parts.append(ends)
            ends = ""
    return "".join(parts) + ends
