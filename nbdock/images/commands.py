"""``extraCommands``: shell commands in the directory of a layer that is being made.

A layer is never unpacked to make an image, but commands need files. So the entries are laid out in
a private temporary directory, the commands run there, and what they changed is read back. What they
did not touch keeps its entry: its owner, extended attributes and device numbers need no root.

Symlinks are laid out last and names never lead through one, so nothing is written outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from nbdock.calling import argument_name
from nbdock.concurrency import in_worker
from nbdock.content import storage_error
from nbdock.errors import CommandError, UnsafePathError
from nbdock.filetree import Entry, EntryKind, FileContent, scan_directory
from nbdock.lines import Lines

__all__ = ["remove_tree", "run_commands"]

_OUTPUT_LINES = 40
_LINE_BYTES = 16 << 10
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
}


@contextlib.asynccontextmanager
async def run_commands(
    entries: Iterable[Entry],
    script: str,
    *,
    mtime: int = 1,
    uid: int = 0,
    gid: int = 0,
    before: Sequence[str] = (),
    on_log: Callable[[str], object] = lambda _line: None,
) -> AsyncIterator[list[Entry]]:
    """Run a script over entries: ``async with run_commands(...) as changed:``.

    Parameters
    ----------
    entries
        What stands in the directory before the script runs.
    script
        Run by bash (else sh) with ``set -e``, a blank environment (but for PATH) and umask 022.
    mtime, uid, gid
        The time (seconds since the epoch) and the owner of everything that the script makes.
    before
        The beginning of the command line that runs the shell, such as another program to run it.
    on_log
        Called with each line that the script writes.

    Yields
    ------
    list of Entry
        What stands there afterwards, parents first. Contents are read from the directory, so they
        are used inside the ``async with``, which removes it.

    Raises
    ------
    CommandError
        The script failed; its last lines are in the message.
    """
    directory = os.fsencode(await in_worker(tempfile.mkdtemp, prefix="nbdock-commands-"))
    try:
        root = directory + b"/layer"
        try:
            laid_out = await in_worker(_lay_out, root, entries)
        except OSError as error:
            place = os.fsdecode(directory)
            advice = "Set TMPDIR to a directory with more room."
            raise storage_error(error, "lay out the layer", place, elsewhere=advice) from error
        await _run(root, script, before, on_log)
        yield await in_worker(_read_back, root, laid_out, mtime, uid, gid)
    finally:
        await in_worker(remove_tree, directory)


@dataclasses.dataclass(frozen=True, slots=True)
class _LaidOut:
    """An entry whose content now stands in the directory, and what tells it from a changed one."""

    entry: Entry
    identity: tuple[int, ...]


def _identity(path: bytes) -> tuple[int, ...]:
    facts = os.lstat(path)
    return (
        facts.st_ino, facts.st_mode, facts.st_size, facts.st_mtime_ns, facts.st_uid, facts.st_gid
    )  # fmt: skip


def _laid_out_mode(entry: Entry) -> int:
    """A mode with which the script can write to the file, or enter the directory."""
    return entry.mode & 0o777 | (0o700 if entry.kind is EntryKind.DIRECTORY else 0o200)


def _lay_out(root: bytes, entries: Iterable[Entry]) -> dict[bytes, _LaidOut]:
    os.mkdir(root, 0o755)
    kept: dict[bytes, Entry] = {b"": Entry(b"", EntryKind.DIRECTORY, mode=0o755)}
    # Names are judged against each other, never against the host: a path through something that
    # is not a directory has no place.
    for entry in entries:
        parent = os.path.dirname(entry.path)
        missing = []
        while parent not in kept:
            missing.append(parent)
            parent = os.path.dirname(parent)
        if kept[parent].kind is not EntryKind.DIRECTORY or entry.path in kept:
            raise UnsafePathError(
                f"{os.fsdecode(entry.path)!r} cannot be laid out for the commands: "
                f"{os.fsdecode(parent)!r} is a {kept[parent].kind.value}.",
                path=entry.path,
            )
        for directory in reversed(missing):
            os.mkdir(root + b"/" + directory, 0o755)
            kept[directory] = Entry(directory, EntryKind.DIRECTORY, mode=0o755)
        kept[entry.path] = _lay_out_one(root + b"/" + entry.path, entry)
    for path, entry in kept.items():
        if entry.kind is EntryKind.SYMLINK:
            os.symlink(entry.linkname, root + b"/" + path)
        elif entry.kind is EntryKind.HARDLINK:
            os.link(root + b"/" + entry.linkname, root + b"/" + path)
    return {
        path: _LaidOut(entry, _identity(root + b"/" + path)) for path, entry in kept.items() if path
    }


def _lay_out_one(place: bytes, entry: Entry) -> Entry:
    """Make one file or directory (links come last); the entry, its content now read from there."""
    if entry.kind is EntryKind.DIRECTORY:
        os.mkdir(place)
        os.chmod(place, _laid_out_mode(entry))
    elif entry.kind not in (EntryKind.SYMLINK, EntryKind.HARDLINK):
        # Devices and FIFOs need no place on the host: an empty file stands for them.
        with open(place, "xb") as file:
            file.writelines(entry.content.chunks() if entry.content else ())
            os.fchmod(file.fileno(), _laid_out_mode(entry))
        if entry.kind is EntryKind.FILE:
            return dataclasses.replace(entry, content=FileContent(place, entry.size_bytes))
    return entry


async def _run(
    directory: bytes, script: str, before: Sequence[str], on_log: Callable[[str], object]
) -> None:
    process = await asyncio.create_subprocess_exec(
        # Scripts written for dockerTools expect bash (`mkdir -p srv/{a,b}`).
        *before, shutil.which("bash") or "/bin/sh", "-e", "-c", script, "extraCommands",
        cwd=directory, env=_ENVIRONMENT, umask=0o022, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    tail: deque[bytes] = deque(maxlen=64)
    lines = Lines(_LINE_BYTES)
    try:
        while chunk := await process.stdout.read(4096):
            tail.append(chunk)
            for line in lines.feed(chunk):
                on_log(line.decode(errors="replace"))
        if rest := lines.rest():
            on_log(rest.decode(errors="replace"))
        exit_code = await process.wait()
    finally:
        # Whatever the script left running goes with it, after a failure or an interrupt too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if exit_code:
        last = b"".join(tail).decode(errors="replace").splitlines()[-_OUTPUT_LINES:]
        output = "\n".join(last)
        shown = "\n".join(f"  {line}" for line in last) or "  (no output)"
        raise CommandError(
            f"{argument_name('extra_commands')} failed with exit code {exit_code}:\n{shown}",
            exit_code=exit_code,
            output=output,
            hint="It runs with set -e in the directory of the layer; paths are relative to it.",
        )


def _read_back(
    root: bytes, before: dict[bytes, _LaidOut], mtime: int, uid: int, gid: int
) -> list[Entry]:
    uname, gname = ("" if uid else "root"), ("" if gid else "root")

    def as_left(entry: Entry) -> Entry:
        old = before.get(entry.path)
        if old is not None and entry.kind is EntryKind.DIRECTORY is old.entry.kind:
            kept = entry.mode == _laid_out_mode(old.entry)
            return old.entry if kept else dataclasses.replace(old.entry, mode=entry.mode)
        if old is not None and old.identity == _identity(root + b"/" + entry.path):
            if old.entry.kind is not EntryKind.HARDLINK:
                return old.entry
            target = before[old.entry.linkname]
            if _exists_unchanged(root + b"/" + old.entry.linkname, target):
                return old.entry
            return dataclasses.replace(target.entry, path=entry.path, content=entry.content)
        return dataclasses.replace(entry, uid=uid, gid=gid, mtime=mtime, uname=uname, gname=gname)

    left = [as_left(entry) for entry in scan_directory(root) if entry.path]
    # A hardlink stands after what it links to.
    return sorted(left, key=lambda entry: entry.kind is EntryKind.HARDLINK)


def _exists_unchanged(place: bytes, laid_out: _LaidOut) -> bool:
    try:
        return _identity(place) == laid_out.identity
    except OSError:
        return False


def remove_tree(directory: bytes | str) -> None:
    """Remove a directory, whatever modes a script has left in it."""
    for parent, names, _ in os.walk(os.fsencode(directory)):
        for name in names:
            place = os.path.join(parent, name)
            if not os.path.islink(place):
                os.chmod(place, 0o700)
    shutil.rmtree(directory)
