"""``nbdock build`` and ``export``: images from the text of a cell, and flat tars from images.

    nbdock build redis.nix --save redis.tar.gz

where ``redis.nix`` is what the dockerTools manual shows: a call of its function, or a whole cell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TextIO

import click

import nbdock
from nbdock.cli.completion import ImageName
from nbdock.cli.running import examples, run_command
from nbdock.cli.sources import open_source

if TYPE_CHECKING:
    from nbdock.notebook.building import Outcome
    from nbdock.packages import Progress

__all__ = ["build", "export"]

_MAGIC = re.compile(r"\s*%%(\w+)[ \t]*(.*)(?:\n|\Z)")


@click.command(
    short_help="Build what a file says.",
    epilog=examples(
        "nbdock build redis.nix --save redis.tar.gz",
        "nbdock build - --push localhost:5000/team/redis:7 < redis.nix",
        "nbdock build redis.nix --dry-run",
    ),
)
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option(
    "--save", metavar="PATH", type=click.Path(), help="Write it to a file or an OCI layout."
)
@click.option("--load", is_flag=True, help="Load it into a running Docker or Podman engine.")
@click.option("--push", metavar="REFERENCE", help="Put it into a registry.")
@click.option("--dry-run", is_flag=True, help="Only print the layers that there would be.")
@click.option("--quiet", "-q", is_flag=True, help="Only print the result.")
def build(file: TextIO, *, quiet: bool, **flags: Any) -> None:
    """Build an image into nbdock's store, and print its digest.

    FILE holds a call such as buildLayeredImage { name = "redis"; \u2026 }, or a whole cell with its
    first line %%buildLayeredImage, of whose flags those given here take precedence; - is standard
    input.
    """
    from IPython.core.error import UsageError

    from nbdock.images import Image
    from nbdock.layering import LayerPlan
    from nbdock.nixlang import parse
    from nbdock.notebook.building import build_cell
    from nbdock.notebook.flags import BuildFlags, parse_flags
    from nbdock.notebook.names import BUILDERS, CellNames

    text, magic = file.read(), None
    chosen = {name: value for name, value in flags.items() if value}
    if found := _MAGIC.match(text):
        magic, line = found[1], found[2].strip()
        if magic not in BUILDERS:
            raise click.UsageError(f"%%{magic} builds nothing; there are: {', '.join(BUILDERS)}.")
        try:
            written = parse_flags(magic, line)
        except UsageError as error:
            raise click.UsageError(str(error)) from error
        chosen = {"save": written.save, "load": written.load, "push": written.push,
                  "dry_run": written.dry_run, **chosen}  # fmt: skip
        # The first line stays, empty, so that errors count the lines of the file.
        text = "\n" * text[: found.end()].count("\n") + text[found.end() :]
    expression = parse(text)

    async def work(report: Progress | None) -> Outcome:
        return await build_cell(
            expression, CellNames({}), magic=magic, flags=BuildFlags(**chosen),
            progress=report, on_log=None if quiet else _say,
        )  # fmt: skip

    def done(outcome: Outcome) -> str:
        first, *more = outcome.summary.split(", ", 1)
        named = isinstance(outcome.result, Image) and outcome.result.reference
        return ", ".join([f"{first} {named}" if named else first, *more])

    outcome = run_command(work, done, quiet=quiet)
    made = outcome.result
    if isinstance(made, LayerPlan):
        click.echo("".join(f"{row.position:3}  {_names(row)}\n" for row in made.rows()), nl=False)
    else:
        click.echo(made.digest if isinstance(made, Image) else repr(made))


def _names(row: Any) -> str:
    from nbdock.units import bytes_text

    return f"{bytes_text(row.size_bytes):>9}  {' '.join(row.names)}"


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command(
    short_help="Flatten an image into one tar.",
    epilog=examples("nbdock export redis:7 redis-root.tar"),
)
@click.argument("image", type=ImageName())
@click.argument("path", type=click.Path())
@click.option("--in-vm", is_flag=True, help="Let a virtual machine overlay the layers.")
@click.option("--quiet", "-q", is_flag=True, help="Only print the result.")
def export(image: str, path: str, *, in_vm: bool, quiet: bool) -> None:
    """Write the files of an image as a container sees them into one tar, for docker import.

    IMAGE is the path of an archive or an OCI layout, the name of an image that was built or pulled
    here, docker:// and a name in a registry, or the name of an image in a running engine.
    """

    async def work(report: Progress | None) -> object:
        opened = await open_source(image, progress=report)
        flat = await nbdock.export_image(opened, in_vm=in_vm, progress=report)
        return await flat.save(path, progress=report)

    click.echo(run_command(work, lambda saved: f"Exported {saved}", quiet=quiet))
