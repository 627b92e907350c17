"""`build_nix_shell_image`: an image in which one stands as in a ``nix-shell`` of a derivation.

    %%buildNixShellImage --load
    drv = pkgs.hello;
    tag = "latest";

The image holds what the derivation is built with, its environment variables, a shell that begins
as nix-shell's does, and the command ``buildDerivation``, which builds it there. Making it needs Nix
on this machine: only Nix knows the derivation of an expression.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nbdock.calling import argument_name, checked
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError
from nbdock.images.arguments import (
    EPOCH,
    Unreferenced,
    expect,
    expect_id,
)
from nbdock.images.build import build_layered_image
from nbdock.images.image import Image
from nbdock.images.streaming import ImageStream, stream_layered_image
from nbdock.packages import Package, Progress
from nbdock.showing import watched

__all__ = ["build_nix_shell_image", "nix_shell_arguments", "stream_nix_shell_image"]


@checked
@watched("Built")
async def build_nix_shell_image(
    drv: Package | str | os.PathLike[str],
    *,
    name: str | None = None,
    tag: str | None = None,
    uid: int = 1000,
    gid: int = 1000,
    home_directory: str = "/build",
    shell: Package | str | None = None,
    command: str | None = None,
    run: str | None = None,
    max_layers: int | None = None,
    created: str | datetime = EPOCH,
    compressor: str | None = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> Image:
    """Build an image with the environment of a derivation, as ``nix-shell`` sets it up.

    Its inputs are built or fetched by Nix; the derivation itself is not. In a container
    ``buildDerivation`` builds it, and its outputs get the places that they have everywhere.

    Parameters
    ----------
    drv
        The derivation: a package of a nixpkgs that Nix evaluates (``pkgs.hello``), a file of Nix's
        language or a directory with one (``"shell.nix"``), or the path of a ``.drv`` file.
    name, tag
        What the image is called; by default the derivation's name with ``-env``, and a hash of all
        that went in.
    uid, gid
        The user that containers run as, who may write to ``/build`` and add to the store.
    home_directory
        The user's. Another one than ``/build`` is named, but not made.
    shell
        The bash to use, its path or the package that has it; by default nixpkgs' bashInteractive.
    command
        Commands to run in the environment, in an interactive shell, which then ends.
    run
        The same in a shell that is not interactive. One of the two.
    max_layers
        How many layers at most: 100 by default, 125 at most.
    created
        Date of the image: ISO 8601, or ``"now"`` (then it is not reproducible).
    compressor
        ``"gz"``, ``"none"`` or ``"zstd"``: what `Image.save` uses for a path that does not say.
    store
        Where blobs are kept; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.

    Returns
    -------
    Image
        In the store, and named there.

    Raises
    ------
    ArgumentError
        An argument that is unknown, missing, of the wrong type or out of range; a derivation with
        structured attributes, or one that is unknown.
    NixError
        Nix cannot evaluate the derivation, or build what it is built with.
    UnavailableError
        There is no Nix on this machine.
    """
    arguments = await nix_shell_arguments(
        drv, name=name, uid=uid, gid=gid, home_directory=home_directory, shell=shell,
        command=command, run=run, progress=progress,
        tag=tag, max_layers=max_layers, created=created, compressor=compressor, store=store,
    )  # fmt: skip
    return await build_layered_image(**arguments, progress=progress)


@checked
async def stream_nix_shell_image(
    drv: Package | str | os.PathLike[str],
    *,
    name: str | None = None,
    tag: str | None = None,
    uid: int = 1000,
    gid: int = 1000,
    home_directory: str = "/build",
    shell: Package | str | None = None,
    command: str | None = None,
    run: str | None = None,
    max_layers: int | None = None,
    created: str | datetime = EPOCH,
    repo_tag: str | None = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> ImageStream:
    """The same image as a stream: its archive is made while it is read.

    The derivation is evaluated and its inputs are built at once, the image's layers as they are
    needed. Arguments and errors are those of `build_nix_shell_image`; `repo_tag` is that of
    `stream_layered_image`.
    """
    arguments = await nix_shell_arguments(
        drv, name=name, uid=uid, gid=gid, home_directory=home_directory, shell=shell,
        command=command, run=run, progress=progress,
        tag=tag, max_layers=max_layers, created=created, store=store,
    )  # fmt: skip
    return stream_layered_image(**arguments, repo_tag=repo_tag)


async def nix_shell_arguments(
    drv: Package | str | os.PathLike[str],
    *,
    name: str | None = None,
    uid: int = 1000,
    gid: int = 1000,
    home_directory: str = "/build",
    shell: Package | str | None = None,
    command: str | None = None,
    run: str | None = None,
    progress: Progress | None = None,
    **others: object,
) -> dict[str, Any]:
    """The arguments of `build_layered_image` for the shell of a derivation, and the `others`."""
    from nbdock.packages import nix_shell

    for argument, number in (("uid", uid), ("gid", gid)):
        expect_id(argument, number)
    for argument, text in (("command", command), ("run", run), ("name", name)):
        expect(argument, text, str, type(None), what="a string or null")
    expect("home_directory", home_directory, str, what="a path")
    if not home_directory.startswith("/") or any(c in home_directory for c in ":\n"):
        raise ArgumentTypeError(
            f"{argument_name('home_directory')} must be an absolute path without colons, "
            f"not {home_directory!r}.",
            argument="home_directory",
        )
    found = await nix_shell(
        drv, uid=uid, gid=gid, home_directory=home_directory, shell=shell, command=command,
        run=run, progress=progress,
    )  # fmt: skip
    processor, _, system = found.system.rpartition("-")
    if system != "linux":
        raise ArgumentTypeError(
            f"{found.name} is built on {found.system}, and containers run Linux.", argument="drv"
        )
    # What is needed of these paths is among the packages; the outputs are to be built.
    env = [Unreferenced(f"{k}={v}") for k, v in sorted(found.environment.items())]
    config: Mapping[str, object] = {
        "User": f"{uid}:{gid}",
        "Cmd": list(found.command),
        "WorkingDir": found.directory,
        "Env": env,
    }
    return {
        "name": f"{found.name}-env" if name is None else name,
        "contents": found.packages,
        "config": config,
        "architecture": processor,
        **others,
    }
