"""``nbdock``: what can be done with images and registries without a notebook.

    nbdock prefetch --image-name mysql --image-tag 8 --arch x86_64 --os linux
    nbdock pull redis:7 --save redis.tar.gz
    nbdock push redis.tar.gz localhost:5000/team/redis:7
    nbdock doctor

``prefetch`` takes what ``nix-prefetch-docker`` takes, and prints what that prints. Results go to
standard output, everything else to standard error. The exit code is 0, 1 for what failed, 2 for
what was asked wrongly, 3 for a difference that was asked for, 130 for what was interrupted.

Only this module is imported for ``--help``; what a command needs, it imports itself.
"""

from __future__ import annotations

import click

import nbdock
from nbdock.cli.building import build, export
from nbdock.cli.completion import completion
from nbdock.cli.machine import doctor, prune, usage
from nbdock.cli.registries import prefetch, pull, push
from nbdock.cli.running import Commands
from nbdock.cli.tables import compare, files, layers, packages, sharing, waste

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(nbdock.__version__, prog_name="nbdock")
def main() -> None:
    """Container images without Docker, Nix or root."""


for command in (
    build, pull, push, prefetch, export, layers, files, packages, waste, sharing, compare,
    usage, prune, doctor, completion,
):  # fmt: skip
    main.add_command(command)
