"""``nbdock layers``, ``files``, ``packages``, ``waste``, ``sharing`` and ``compare``.

nbdock layers redis.tar
nbdock files redis.tar --format csv | head
nbdock sharing redis:7.2 redis:7.4 --by package --format json
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from nbdock.cli.completion import ImageName
from nbdock.cli.running import COMMON, examples, with_options
from nbdock.cli.sources import from_store

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FORMAT",
    "compare",
    "files",
    "layers",
    "packages",
    "print_table",
    "sharing",
    "waste",
]

_IMAGE = (
    "An image is the path of an archive or an OCI layout, the name of one that was built or pulled "
    "here, a name in a registry (redis:7; docker://redis:7 is only that), or docker-daemon:NAME in "
    "a running engine."
)

FORMAT = click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv"]), default="text",
    show_default=True, help="json and csv have sizes in bytes and digests whole.",
)  # fmt: skip

_TABLE = (
    click.option("--platform", metavar="OS/ARCH", help="Of an image for several; default: here."),
    FORMAT,
    *COMMON,
)  # fmt: skip


def _several(function: Callable[..., None]) -> Callable[..., None]:
    return click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=ImageName())(
        function
    )


def _one(function: Callable[..., None]) -> Callable[..., None]:
    return click.argument("image", type=ImageName())(function)


@click.command(
    short_help="Show the layers of images.",
    epilog=examples("nbdock layers redis.tar", "nbdock layers redis:7.2 redis:7.4"),
)
@with_options(
    _several, click.option("--details", is_flag=True, help="Read them: files, packages, waste."),
    *_TABLE,
)  # fmt: skip
def layers(images: Sequence[str], **options: Any) -> None:
    """Show the layers of images. Of those in registries no layer is fetched, but for --details."""
    _show("layer_table", [images[0] if len(images) == 1 else list(images)], options)


@click.command(
    short_help="Show every file in the layers of an image.",
    epilog=examples("nbdock files redis.tar", "nbdock files redis:7 --format csv > files.csv"),
)
@with_options(
    _one, click.option("--hashes/--no-hashes", default=True, help="Whether to read contents."),
    *_TABLE,
)  # fmt: skip
def files(image: str, **options: Any) -> None:
    """Show every entry of every layer of an image."""
    _show("file_table", [image], options)


@click.command(
    short_help="Show the packages in an image.", epilog=examples("nbdock packages redis:7")
)
@with_options(_one, *_TABLE)
def packages(image: str, **options: Any) -> None:
    """Show the packages that are installed in an image: dpkg's, apk's, rpm's, Nix's, Python's."""
    _show("package_table", [image], options)


@click.command(
    short_help="Show what is in an image for nothing.",
    epilog=examples("nbdock waste redis:7", "nbdock waste redis.tar --dive"),
)
@with_options(
    _one, click.option("--dive", is_flag=True, help="Give the score as dive counts it."), *_TABLE
)
def waste(image: str, *, dive: bool, **options: Any) -> None:
    """Show the files in an image's layers that are of no use, and how much of it is."""
    from nbdock import tables
    from nbdock.units import bytes_text

    def facts(opened: object) -> list[str]:
        score = tables.efficiency(opened, method="dive" if dive else "nbdock")  # type: ignore[arg-type]
        return [
            f"{'dive ' if dive else ''}efficiency {100 * score.score:.1f} %",
            f"{bytes_text(score.wasted_bytes)} of {bytes_text(score.total_bytes)} wasted",
        ]

    _show("waste_table", [image], options, facts=facts)


@click.command(
    short_help="Show what images share.",
    epilog=examples(
        "nbdock sharing redis:7.2 redis:7.4", "nbdock sharing a.tar b.tar --measure missing"
    ),
)
@with_options(
    _several,
    click.option(
        "--by", type=click.Choice(["layer", "package", "file"]), default="layer", show_default=True
    ),
    click.option(
        "--measure", type=click.Choice(["shared", "missing"]),
        help="A matrix: what a host that has one shares of another, or must pull.",
    ),
    *_TABLE,
)  # fmt: skip
def sharing(images: Sequence[str], *, measure: str | None, **options: Any) -> None:
    """Show which layers, packages or contents of files images share."""
    given = {**options, "measure": measure} if measure else options
    _show("sharing_matrix" if measure else "sharing_table", [list(images)], given)


@click.command(
    short_help="Show what differs between two images.",
    epilog=examples(
        "nbdock compare redis:7.2 redis:7.4", "nbdock compare old.tar new.tar --exit-code"
    ),
)
@with_options(
    click.argument("a", type=ImageName()), click.argument("b", type=ImageName()),
    click.option("--exit-code", is_flag=True, help="End with 3 if anything differs."),
    *_TABLE,
)  # fmt: skip
def compare(a: str, b: str, *, exit_code: bool, **options: Any) -> None:
    """Show what differs between two images: files, packages, configuration."""
    differences = _show("compare_table", [a, b], options)
    click.get_current_context().exit(3 if exit_code and differences else 0)


for _command in (layers, files, packages, waste, sharing, compare):
    _command.help = f"{_command.help}\n\n{_IMAGE}"


def _show(
    function: str,
    images: Sequence[Any],
    options: dict[str, Any],
    *,
    facts: Callable[[Any], list[str]] | None = None,
) -> int:
    """Make a table and print it; how many rows it has. `facts` are of the image, for the text."""
    from nbdock import tables
    from nbdock.showing import TerminalOutput, show_calls

    form, quiet = options.pop("form"), options.pop("quiet")
    if options.get("platform") is None:
        images = [
            [from_store(name) for name in each] if isinstance(each, list) else from_store(each)
            for each in images
        ]
    show_calls(None if quiet else TerminalOutput)
    try:
        make: Callable[..., pd.DataFrame] = getattr(tables, function)
        said: list[str] = []
        if facts is not None and form == "text":
            # Opened once for both.
            where = {name: options.pop(name) for name in ("platform", "tls_verify")}
            images = [tables.open_image(images[0], **where)]
            said = facts(images[0])
        table = make(*images, **options)
    finally:
        show_calls(None)
    print_table(table, form, said)
    return len(table)


def print_table(table: pd.DataFrame, form: str, facts: Sequence[str] = ()) -> None:
    """Print a table of nbdock's as text, JSON or CSV; the text has facts above it."""
    click.echo(_FORMS[form](table, facts), nl=False)


def _as_text(table: pd.DataFrame, facts: Sequence[str]) -> str:
    from nbdock.notebook.tableviews import describe, table_view

    view = table_view(describe(table, code="", facts=facts), rows=len(table))
    return f"{view.text()}\n" if view else table.to_string()


def _as_csv(table: pd.DataFrame, _: Sequence[str]) -> str:
    text: str = _with_index(table).to_csv(
        index=False, lineterminator="\n", date_format="%Y-%m-%dT%H:%M:%S.%fZ"
    )
    return text


def _as_json(table: pd.DataFrame, _: Sequence[str]) -> str:
    whole = _with_index(table)
    columns = [
        [_plain(value) for value in whole.iloc[:, i].tolist()] for i in range(whole.shape[1])
    ]
    rows = [dict(zip(whole.columns, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


_FORMS = {"text": _as_text, "csv": _as_csv, "json": _as_json}


def _with_index(table: pd.DataFrame) -> pd.DataFrame:
    """The table with named indices as columns."""
    return table.reset_index() if None not in table.index.names else table


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    import pandas as pd

    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if pd.isna(value):
        return None
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value if isinstance(value, bool | int | float | str) else str(value)
