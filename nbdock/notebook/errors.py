"""How nbdock's errors look under a cell: the fact, the place in the cell, what to do next.

A traceback through nbdock's own code helps nobody who misspelled an argument. IPython asks an
exception for `_render_traceback_`; nbdock's errors get it when the extension is loaded, and lose it
when it is unloaded, so that the errors themselves know nothing of notebooks. Name and value of the
exception stay in the notebook as they are. After ``%xmode Verbose`` the whole traceback is shown.

    UnknownArgumentError: %%buildLayeredImage has no argument 'maxLayer'. (line 3, column 1)

      maxLayer = 3;
      ^

    Did you mean maxLayers?
"""

from __future__ import annotations

import linecache
import re
import sys
import traceback
from typing import Any

from IPython.core.getipython import get_ipython

from nbdock.calling import cell_name
from nbdock.errors import (
    CellError,
    CellEvaluationError,
    CommandError,
    MissingArgumentError,
    NbdockError,
    UnknownArgumentError,
    nearest,
)
from nbdock.jobs import JobCancelledError
from nbdock.nixlang import CellArguments
from nbdock.notebook.blamed import blamed, indices

__all__ = [
    "in_cell", "in_script", "install", "name_magic", "quietly", "remove", "without_groups",
]  # fmt: skip

# No red: on the dark red that JupyterLab's dark theme puts behind errors it cannot be read.
_BOLD, _DIM, _END = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_WIDEST = 120
_EXAMPLE = '"hello"'
_EXAMPLES = {"fromImage": "redis", "drv": "pkgs.hello", "imageName": '"redis"'}
"""Values for arguments that a cell has to give."""
_NO_MAGIC = re.compile(r"agic(?: function)? `(%{1,2})(\w+)` not found")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def _render(error: NbdockError) -> list[str]:
    """The lines under the cell, with the colours that Jupyter understands."""
    if _is_verbose():
        return traceback.format_exception(error)
    lines = [f"{_BOLD}{_public_name(error)}{_END}: {error.message}"]
    place = error if isinstance(error, CellError) else error.place
    if place is not None and place.source_line.strip():
        # What a program said may follow the fact itself, on lines of its own.
        fact, newline, said = lines[0].partition("\n")
        if isinstance(error, CommandError):  # it says the place in words of its own
            fact = fact.replace(f" at line {error.line} of the script ({error.source_line})", "")
        colon = ":" if said and fact.endswith(":") else ""
        fact = fact.removesuffix(colon)
        where = f" {_DIM}(line {place.line}, column {place.column}){_END}"
        lines[0] = f"{fact}{where}{colon}{newline}{said}"
        lines += ["", *_pointed_at(place.source_line, place.column)]
    elif called := _callers_line(error):
        lines += ["", f"  {_DIM}{called}{_END}"]
    if error.hint:
        lines += ["", error.hint]
    return lines if _is_coloured() else [_COLOURS.sub("", line) for line in lines]


def _render_stopped(error: JobCancelledError) -> list[str]:
    return [f"{_BOLD}{type(error).__name__}{_END}: {error} Nothing was left half-done."]


def _is_verbose() -> bool:
    shell = get_ipython()
    return shell is not None and getattr(shell.InteractiveTB, "mode", "") == "Verbose"


def _is_coloured() -> bool:
    return str(getattr(get_ipython(), "colors", "")).lower() != "nocolor"


def _public_name(error: BaseException) -> str:
    """The name of its class, or of the nearest one that people can import."""
    return next(k.__name__ for k in type(error).__mro__ if not k.__name__.startswith("_"))


def _pointed_at(line: str, column: int) -> list[str]:
    """A line and a caret below its character; of a very long line, the part around it."""
    start = max(0, column - 1 - _WIDEST // 2) if len(line) > _WIDEST else 0
    before, shown = line[start : column - 1], line[start : start + _WIDEST]
    lead = "\u2026" if start else ""
    tail = "\u2026" if start + _WIDEST < len(line) else ""
    # Tabs stay tabs below the line, so that the caret stands under its character.
    pad = " " * len(lead) + "".join("\t" if c == "\t" else " " * _columns(c) for c in before)
    return [f"  {lead}{shown}{tail}", f"  {pad}{_BOLD}^{_END}"]


def _columns(character: str) -> int:
    """How many columns of a fixed-width font a character takes."""
    import unicodedata

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _callers_line(error: BaseException) -> str:
    """The last line of the notebook's own code on the way to the error."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_code.co_filename
        if "ipykernel_" in name or name.startswith("<ipython-input"):
            text = linecache.getline(name, line).strip()
            return "" if "run_cell_magic" in text or "run_line_magic" in text else text
    return ""


def install() -> None:
    """Let IPython show nbdock's errors in this way."""
    shown: Any = NbdockError
    shown._render_traceback_ = _render
    stopped: Any = JobCancelledError
    stopped._render_traceback_ = _render_stopped


def name_magic(result: Any) -> None:
    """After a cell whose magic there is not: name the one that was probably meant."""
    missed = _NO_MAGIC.search(str(result.error_in_exec or ""))
    shell = get_ipython()
    if missed is None or shell is None:
        return
    marks, name = missed.groups()
    known = shell.magics_manager.magics["cell" if marks == "%%" else "line"]
    if name not in known and (close := nearest(name, known, count=1)):
        sys.stderr.write(f"Did you mean {marks}{close[0]}?\n")


def remove() -> None:
    """Undo `install`."""
    for kind in (NbdockError, JobCancelledError):
        if "_render_traceback_" in vars(kind):
            shown: Any = kind
            del shown._render_traceback_


def in_cell(error: NbdockError, cell: CellArguments | None, *, where: str) -> NbdockError:
    """An error of a build in a cell's own words, with the place in the cell that it is about.

    The type stays what the public function raises: whoever catches it need not know where it
    came from.

    Parameters
    ----------
    error
        What was raised; its `argument`, if it has one, may be dotted (``config.Cmd``).
    cell
        What the arguments were read from; None if reading them failed.
    where
        What the function is called there: ``%%buildImage``.
    """
    cause = error.__cause__
    if isinstance(error, CellError):
        if (
            isinstance(cause, NbdockError)
            and not isinstance(cause, CellError)
            and cause.message == error.message
        ):
            # Evaluation only said where; what happened is the cause.
            cause.place = error
            return cause
        return error
    argument = getattr(error, "argument", "")
    if isinstance(error, MissingArgumentError) and argument:
        name = cell_name(argument)
        return MissingArgumentError(
            f"{where} needs the argument {name}.",
            argument=argument,
            hint=f"Add it, for example: {name} = {_EXAMPLES.get(name, _EXAMPLE)};",
        )
    if cell is None:
        return error
    first, *rest = argument.split(".")
    for name in dict.fromkeys((first, cell_name(first))):
        if name in cell.arguments:
            place: CellError = cell.error(
                error.message, (name, *rest, *indices(first, error.message)),
                name=isinstance(error, UnknownArgumentError),
            )  # fmt: skip
            if isinstance(error, CommandError) and error.line:
                script = cell.arguments[name]
                place = _line_of_script(error, place, script if isinstance(script, str) else "")
            error.place = place
            return error
    if (path := blamed(cell.arguments, error)) is not None:
        error.place = cell.error(error.message, path)
    return error


def in_script(error: CommandError, script: str) -> CommandError:
    """An error of a script that is a cell of its own, with the line where it stopped."""
    if error.line:
        whole = CellEvaluationError(error.message, source=script, line=1, column=1)
        error.place = _line_of_script(error, whole, script)
    return error


def _line_of_script(error: CommandError, place: CellError, script: str) -> CellError:
    """Where the line at which a script stopped stands in a cell.

    What was put into a text of the cell may be more lines than stand there, so it is the line that
    says the same, as often as the script had said that by then.
    """
    wanted = error.source_line.strip()
    told = [line.strip() for line in script.splitlines()[: error.line]]
    lines = place.source.splitlines()
    found = [n for n, line in enumerate(lines, 1) if n >= place.line and line.strip() == wanted]
    if not wanted or not found:
        return place
    line = found[min(max(told.count(wanted), 1), len(found)) - 1]
    text = lines[line - 1]
    column = len(text) - len(text.lstrip()) + 1
    return CellEvaluationError(error.message, source=place.source, line=line, column=column)


def without_groups(error: BaseException) -> BaseException:
    """The error with no ExceptionGroup behind it: IPython shows no error well that has one.

    In place of a group stands the first error in it.
    """
    seen: set[int] = set()
    queue = [error]
    while queue:
        link = queue.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        for side in ("__cause__", "__context__"):
            behind = getattr(link, side)
            if behind is None:
                continue
            suppressed = link.__suppress_context__
            while isinstance(behind, BaseExceptionGroup):
                behind = behind.exceptions[0]
            setattr(link, side, behind)
            link.__suppress_context__ = suppressed
            queue.append(behind)
    return error


def quietly(interrupt: BaseException, what: str) -> None:
    """Let an interrupt say what it stopped, rather than where in nbdock's code it came."""
    shown: Any = interrupt
    # A cell that awaits is cancelled; to its reader that is an interrupt like any other.
    shown._render_traceback_ = lambda: [f"{_BOLD}KeyboardInterrupt{_END}: {what}"]
