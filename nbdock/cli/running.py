"""What commands have in common: how they run, what they print when it fails, shared options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nbdock.errors import ArgumentError, CellError, InvalidValueError, NbdockError

if TYPE_CHECKING:
    from nbdock.packages import Progress

__all__ = ["COMMON", "Commands", "examples", "run_command", "with_options"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_INTERRUPTED = 130


class _Failure(click.ClickException):
    """An error as a few lines: what happened, where, and what to do next."""

    def __init__(self, error: NbdockError, options: Collection[str]) -> None:
        super().__init__(error.message)
        self._lines = [error.message, *_where(error, options), *(error.hint or "").splitlines()]

    def show(self, file: Any = None) -> None:
        what, *more = (click.unstyle(line) for lines in self._lines for line in lines.split("\n"))
        click.echo("\n  ".join([f"nbdock: {what}", *more]).rstrip(), file=file, err=True)


class _WrongRequest(_Failure):
    exit_code = 2


def _where(error: NbdockError, options: Collection[str]) -> list[str]:
    """The line, URL, file or option that an error is about, unless its message says so."""
    place = error if isinstance(error, CellError) else error.place
    if place is not None and place.source_line.strip():
        return [f"line {place.line}, column {place.column}:", place.pointed_at]
    places = [str(getattr(error, name, "") or "") for name in ("url", "path", "socket")]
    option = f"--{error.argument.replace('_', '-')}"
    places += [option] if option in options else []
    return next(([place] for place in places if place and place not in error.message), [])


class Commands(click.Group):
    """The commands; what fails, they say as people read it."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Their names, in the order in which they are told of."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what it warns of is said beside its result."""
        from nbdock.showing import show_warnings

        show_warnings()
        try:
            return super().invoke(ctx)
        except NbdockError as error:
            is_wrong = isinstance(error, ArgumentError | InvalidValueError | CellError)
            kind = _WrongRequest if is_wrong else _Failure
            parameters = self.commands[ctx.invoked_subcommand or ""].params
            options = [option for parameter in parameters for option in parameter.opts]
            raise kind(error, options) from error
        except KeyboardInterrupt:
            click.echo("nbdock: stopped.", err=True)
            ctx.exit(_INTERRUPTED)


def examples(*lines: str) -> str:
    """The end of a command's help."""
    # A backspace keeps click from making one paragraph of them.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


COMMON = (
    click.option(
        "--tls-verify", type=bool, default=True, metavar="BOOL",
        help="false: any certificate will do, or none.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="Only print the result."),
)  # fmt: skip


def with_options(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Give a command arguments and options, in this order."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def run_command(
    work: Callable[[Progress | None], Coroutine[Any, Any, T]],
    done: Callable[[T], str],
    *,
    quiet: bool,
) -> T:
    """Run a command's work; how it goes is shown on a terminal, how it went anywhere."""
    from nbdock.concurrency import run
    from nbdock.showing import TerminalOutput, run_shown

    if quiet:
        return run(work(None))
    return run_shown(work, done=done, output=TerminalOutput(), always=True)
