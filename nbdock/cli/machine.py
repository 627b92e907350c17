"""``nbdock doctor``: what this machine has."""

from __future__ import annotations

import click

__all__ = ["doctor"]


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
