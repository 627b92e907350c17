"""``nbdock usage``, ``prune`` and ``doctor``: the disk, and what this machine has.

nbdock usage
nbdock prune --older-than 30d --dry-run
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from nbdock.cli.running import examples, run_command
from nbdock.cli.tables import FORMAT, print_table

if TYPE_CHECKING:
    from nbdock.images import PruneReport
    from nbdock.packages import Progress

__all__ = ["doctor", "prune", "usage"]

_UNITS_S = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """A time such as ``30d``, in seconds."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h|d|w|)", str(value))
        if found is None:
            self.fail(f"{value!r} is no time; write for example 45min, 12h, 30d or 4w.", param, ctx)
        return float(found[1]) * _UNITS_S[found[2]]


@click.command(short_help="Say what nbdock keeps on the disk.", epilog=examples("nbdock usage"))
@FORMAT
def usage(*, form: str) -> None:
    """Say what nbdock keeps on the disk, of what how much, and what of it prune would free."""
    from nbdock import settings
    from nbdock.tables import usage_table
    from nbdock.units import bytes_text

    table = usage_table()
    total = bytes_text(int(table["size_bytes"].sum()))
    print_table(table, form, [f"{total} in {settings.current().home}"])


@click.command(
    short_help="Remove what nobody has used for a time.",
    epilog=examples("nbdock prune --dry-run", "nbdock prune --older-than 30d"),
)
@click.option(
    "--older-than", type=_Duration(), metavar="TIME",
    help="For how long: 45min, 12h, 30d, 4w. Default, and least: the setting prune_grace_s, a day.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@FORMAT
@click.option("--quiet", "-q", is_flag=True, help="Only print the result.")
def prune(*, older_than: float | None, dry_run: bool, form: str, quiet: bool) -> None:
    """Remove what no image refers to and nobody has used for a time: all of it can be made again.

    An image that has a name stays. The text says how much of what; json and csv name every file.
    """
    import nbdock
    from nbdock.units import bytes_text

    async def work(_: Progress | None) -> PruneReport:
        return await nbdock.prune(older_than=older_than, dry_run=dry_run)

    verb = "Looked" if dry_run else "Pruned"
    report = run_command(work, lambda _: verb, quiet=quiet)
    if form != "text":
        print_table(report.table(), form)
        return
    for kind in dict.fromkeys(file.kind for file in report.files):
        sizes = [file.size_bytes for file in report.files if file.kind == kind]
        click.echo(f"{bytes_text(sum(sizes)):>9}  {len(sizes):>6,}  {kind}")
    click.echo(f"{bytes_text(report.size_bytes):>9}  {len(report.files):>6,}  in all")


@click.command(short_help="Say what this machine has, and what adds the rest.")
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
