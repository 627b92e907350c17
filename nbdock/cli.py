"""``nbdock``: what can be done with images and registries without a notebook.

    nbdock prefetch --image-name mysql --image-tag 8 --arch x86_64 --os linux
    nbdock pull redis:7 --save redis.tar.gz
    nbdock push redis.tar.gz localhost:5000/team/redis:7
    nbdock doctor

``prefetch`` takes what ``nix-prefetch-docker`` takes, and prints what that prints. Results go to
standard output, everything else to standard error. The exit code is 0, 1 for what failed, 2 for
what was asked wrongly, 130 for what was interrupted.

Only this module is imported for ``--help``; what a command needs, it imports itself.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

import nbdock
from nbdock.errors import ArgumentError, InvalidValueError, NbdockError

if TYPE_CHECKING:
    from nbdock.packages import Progress

__all__ = ["main"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_INTERRUPTED = 130


class _Failure(click.ClickException):
    """An error as three lines: what happened, where, and what to do next."""

    def __init__(self, error: NbdockError) -> None:
        super().__init__(error.message)
        self._lines = [error.message, _where(error), *(error.hint or "").splitlines()]

    def show(self, file: Any = None) -> None:
        what, *more = (click.unstyle(line) for line in self._lines if line)
        click.echo("\n  ".join([f"nbdock: {what}", *more]), file=file, err=True)


class _WrongRequest(_Failure):
    exit_code = 2


def _where(error: NbdockError) -> str:
    """The URL, file or option that an error is about, unless its message says so."""
    places = [str(getattr(error, name, "") or "") for name in ("url", "path", "socket")]
    if error.argument in _OPTIONS:
        places.append(f"--{error.argument.replace('_', '-')}")
    return next((place for place in places if place and place not in error.message), "")


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NbdockError as error:
            is_wrong = isinstance(error, ArgumentError | InvalidValueError)
            raise (_WrongRequest if is_wrong else _Failure)(error) from error
        except KeyboardInterrupt:
            click.echo("nbdock: stopped.", err=True)
            ctx.exit(_INTERRUPTED)


def _examples(*lines: str) -> str:
    # A backspace keeps click from making one paragraph of them.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(nbdock.__version__, prog_name="nbdock")
def main() -> None:
    """Container images without Docker, Nix or root."""


_IMAGE = (
    click.argument("image", required=False),
    click.argument("tag_or_digest", required=False),
    click.option("--image-name", metavar="NAME", help="The same as IMAGE."),
    click.option("--image-tag", metavar="TAG", help="The same as TAG; default: latest."),
    click.option("--image-digest", metavar="DIGEST", help="The same as DIGEST."),
    click.option("--os", default="linux", show_default=True, help="Operating system."),
    click.option("--arch", help="Architecture, such as x86_64; default: this machine's."),
    click.option("--variant", help="Variant of the architecture, such as v7."),
    click.option("--final-image-name", metavar="NAME", help="What the image is called here."),
    click.option("--final-image-tag", metavar="TAG", help="Its tag here."),
)
_COMMON = (
    click.option(
        "--tls-verify", type=bool, default=True, metavar="BOOL",
        help="false: any certificate will do, or none.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="Only print the result."),
)  # fmt: skip
_OPTIONS = {
    "image_name", "image_tag", "image_digest", "os", "arch", "variant", "final_image_name",
    "final_image_tag", "tls_verify", "sha256", "hash", "compression",
}  # fmt: skip


def _with(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@main.command(
    short_help="Find out what to write for pullImage.",
    epilog=_examples(
        "nbdock prefetch mysql 8",
        "nbdock prefetch --image-name mysql --image-tag 8 --arch x86_64 --os linux",
    ),
)
@_with(*_IMAGE, click.option("--json", "as_json", is_flag=True, help="Print JSON."), *_COMMON)
def prefetch(*, as_json: bool, quiet: bool, **options: Any) -> None:
    """Print the arguments of pullImage that always give the image of today."""
    given = _image_arguments(options)

    found = _run(
        lambda report: nbdock.prefetch_image(**given, progress=report),
        lambda found: f"Prefetched {found.final_image_name}:{found.final_image_tag}",
        quiet=quiet,
    )
    click.echo(found.to_json() if as_json else found.nix)


@main.command(
    short_help="Fetch an image from a registry.",
    epilog=_examples(
        "nbdock pull redis:7 --save redis.tar.gz",
        "nbdock pull quay.io/team/app 1 --arch arm64 --load",
    ),
)
@_with(
    *_IMAGE,
    click.option("--sha256", help="The checksum that it must have, as prefetch says it."),
    click.option("--hash", help='The same as "sha256-...".'),
    click.option("--save", metavar="PATH", help="Write it to a file or an OCI layout."),
    click.option("--load", is_flag=True, help="Load it into a running Docker or Podman engine."),
    *_COMMON,
)
def pull(*, save: str | None, load: bool, quiet: bool, **options: Any) -> None:
    """Fetch an image into nbdock's store, and print its digest."""
    given = _image_arguments(options)

    async def work(report: Progress | None) -> tuple[nbdock.Image, list[str]]:
        image = await nbdock.pull_image(**given, progress=report)
        done = [f"Pulled {image}"]
        if save:
            done.append(f"saved as {await image.save(save, progress=report)}")
        if load:
            done.append(f"loaded as {await image.load(progress=report)}")
        return image, done

    image, _ = _run(work, lambda made: ", ".join(made[1]), quiet=quiet)
    click.echo(image.digest)


@main.command(
    short_help="Put an image into a registry.",
    epilog=_examples(
        "nbdock push redis.tar.gz localhost:5000/team/redis:7",
        "nbdock push docker://redis:7 localhost:5000/team/redis:7",
    ),
)
@click.argument("source")
@click.argument("reference")
@click.option("--compression", metavar="KIND", help="gz, zstd or none; default: as they are.")
@_with(*_COMMON)
def push(
    source: str, reference: str, *, compression: str | None, tls_verify: bool, quiet: bool
) -> None:
    """Put an image into a registry, and print its name with its digest.

    SOURCE is the path of an archive or an OCI layout, docker:// and a name in a registry, or the
    name of an image in a running engine. If an archive or a layout has the image for several
    platforms, all of them are pushed.
    """
    from nbdock.images import MultiPlatformImage

    async def work(report: Progress | None) -> object:
        # From a registry it is the image for this machine: the others need not be fetched.
        platform = None if source.startswith("docker://") else "all"
        image = await nbdock.load_image(source, platform=platform, progress=report)
        how: dict[str, Any] = {"tls_verify": tls_verify, "progress": report}
        if compression is not None and isinstance(image, MultiPlatformImage):
            return await nbdock.push_index(image.images, reference, compression=compression, **how)
        return await image.push(reference, compression=compression, **how)

    click.echo(_run(work, lambda pushed: f"Pushed {pushed}", quiet=quiet))


@main.command(short_help="Say what this machine has, and what adds the rest.")
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Say what this machine has of what nbdock can use, what for, and what adds the rest.

    "optional" is what only some things need, "slower" what they can do without. The exit code is
    1 if something is missing that everything needs.
    """
    from nbdock.tables import check_parts

    parts = check_parts()
    width = max(len(part.part) for part in parts)
    for part in parts:
        click.echo(f"{part.status:8}  {part.part:{width}}  {part.found}")
        if part.status != "ok":
            click.echo(f"{'':8}  {'':{width}}  for {part.needed_for}")
        if part.fix:
            click.echo(f"{'':8}  {'':{width}}  $ {part.fix}")
    ctx.exit(int(any(part.status == "missing" for part in parts)))


def _image_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `pull_image` in a command's options; the image may stand alone, too."""
    image, second = options.pop("image"), options.pop("tag_or_digest")
    kind = "image_digest" if second and ":" in second else "image_tag"
    for name, value in (("image_name", image), (kind, second)):
        if value is None:
            continue
        if options[name] is not None:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{value} and {option} {options[name]}: give one of them.")
        options[name] = value
    if options["image_name"] is None:
        raise click.UsageError("Which image? Give its name, such as mysql:8.")
    return {name: value for name, value in options.items() if value is not None}


def _run(
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
