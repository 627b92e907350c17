"""Store packages where commands look for them, on machines whose ``/nix/store`` lacks them.

``extraCommands = "cp -r ${pkgs.busybox}/bin ."`` needs the package at its path while it runs. What
is not there is laid out in a temporary directory, and the commands run where that directory is the
store: in a mount namespace of their own, in which all else of the machine is as it is. This needs
no root where Linux lets users have namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence

from nbdock.calling import argument_name
from nbdock.concurrency import in_worker
from nbdock.content import storage_error
from nbdock.errors import CommandError, UnavailableError
from nbdock.filetree import Entry, EntryKind
from nbdock.images.commands import remove_tree, run_commands
from nbdock.images.layer import MADE_AT, fetch_packages, place_of
from nbdock.images.request import BuildRequest
from nbdock.packages import Package, Progress

__all__ = ["after_commands", "store_for_commands"]

# Everything of the machine but /nix, in a new root; then the command, where it was.
_ENTER = """
set -e
new=$1 laid=$2
shift 2
for name in /* /.[!.]*; do
  if [ "$name" = /nix ]; then continue
  elif [ -L "$name" ]; then cp -P "$name" "$new$name"
  elif [ -d "$name" ]; then mkdir "$new$name"; mount --rbind "$name" "$new$name"
  elif [ -e "$name" ]; then : >"$new$name"; mount --bind "$name" "$new$name"
  fi
done
mkdir "$new/nix"
mount --rbind "$laid/nix" "$new/nix"
: >"$laid/ready"
exec chroot "$new" env -C "$PWD" "$@"
"""


@contextlib.asynccontextmanager
async def after_commands(
    request: BuildRequest,
    entries: Iterable[Entry],
    commands: str,
    used: Sequence[Package],
    *,
    uid: int = 0,
    gid: int = 0,
) -> AsyncIterator[Iterable[Entry]]:
    """What ``extraCommands`` leave of entries.

    They find the packages that they use in the store; what they make belongs to `uid` and `gid`.
    """
    if not commands:
        yield entries
        return
    async with store_for_commands(used, progress=request.progress) as before:
        request.progress(f"Running {argument_name('extra_commands')}")
        async with run_commands(
            entries, commands, mtime=MADE_AT, uid=uid, gid=gid, before=before, on_log=request.log
        ) as changed:
            yield changed


@contextlib.asynccontextmanager
async def store_for_commands(
    packages: Sequence[Package], *, progress: Progress | None = None
) -> AsyncIterator[tuple[str, ...]]:
    """Have commands find packages at their places: ``async with ... as before:``.

    Parameters
    ----------
    packages
        Store packages with all they need. They are fetched.

    Yields
    ------
    tuple of str
        What stands before the command on its command line; nothing if all packages are there.

    Raises
    ------
    UnavailableError
        This machine does not let its user have namespaces.
    """
    await fetch_packages(packages, progress=progress)
    if all(os.path.lexists(package.root) for package in packages):
        yield ()
        return
    unshare = shutil.which("unshare")
    if unshare is None:
        raise _unavailable("there is no program `unshare` on this machine")
    directory = await in_worker(tempfile.mkdtemp, prefix="nbdock-store-")
    new, laid = f"{directory}/root", f"{directory}/laid"
    try:
        os.mkdir(new)
        try:
            await in_worker(_lay_out, packages, laid)
        except OSError as error:
            advice = "Set TMPDIR to a directory with more room."
            raise storage_error(error, "lay out packages", directory, elsewhere=advice) from error
        namespaces = () if os.getuid() == 0 else ("--user", "--map-root-user")
        try:
            yield (unshare, *namespaces, "--mount", "/bin/sh", "-c", _ENTER, "sh", new, laid)
        except CommandError as error:
            if os.path.exists(f"{laid}/ready"):
                raise
            raise _unavailable(error.output.strip() or "it has no namespaces") from error
    finally:
        await in_worker(remove_tree, directory)


def _unavailable(reason: str) -> UnavailableError:
    return UnavailableError(
        f"{argument_name('extra_commands')} use store packages, which cannot be "
        f"shown to them here: {reason}.",
        argument="extra_commands",
        hint="Put the packages into contents, or build where they are in /nix/store.",
    )


def _lay_out(packages: Sequence[Package], directory: str) -> None:
    """Write packages below a directory, as a store has them."""
    closed: list[tuple[bytes, int]] = []
    for package in packages:
        top = os.fsencode(directory) + b"/" + place_of(package)
        os.makedirs(os.path.dirname(top), exist_ok=True)
        for entry in package.entries():
            place = top + b"/" * bool(entry.path) + entry.path
            if entry.kind is EntryKind.DIRECTORY:
                os.mkdir(place)
                closed.append((place, entry.mode & 0o777))
            elif entry.kind is EntryKind.SYMLINK:
                os.symlink(entry.linkname, place)
            else:
                with open(place, "xb") as file:
                    file.writelines(entry.content.chunks() if entry.content else ())
                    os.fchmod(file.fileno(), entry.mode & 0o777)
    for place, mode in reversed(closed):
        os.chmod(place, mode)
