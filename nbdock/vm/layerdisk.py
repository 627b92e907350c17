"""A layer as a read-only disk for guests, made once and kept.

The layer's entries are put into the form that the kernel's overlay file system has for what OCI
says by names: a whiteout is a character device 0:0, an opaque directory has an attribute. As a tar
they go through ``sqfstar`` or ``tar2sqfs``, which make a squashfs without unpacking anything and
without root. Where neither is installed, or a layer has access control lists, which no squashfs
holds, the tar itself is the disk, and the guest unpacks it.

    disk = await layer_disk(diff_id, "/path/to/layer.tar")
    disk.path                   # '<home>/vm/layers/sha256-<hex>.2.squashfs'
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import hashlib
import os
import select
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Final

from nbdock.concurrency import in_stoppable_worker
from nbdock.content import TemporaryFile
from nbdock.errors import LayerDiskError, StorageFullError
from nbdock.filetree import (
    Entry,
    EntryKind,
    Sink,
    TarPolicy,
    WhiteoutKind,
    overlay,
    parse_whiteout,
    read_tar,
    write_tar,
)
from nbdock.oci import Digest
from nbdock.vm.places import arriving, vm_path

__all__ = ["DiskFormat", "LayerDisk", "layer_disk", "overlay_entries"]

_VERSION: Final = 2
"""Raised whenever the same layer would give another disk than before."""

_OWN: Final = "trusted.overlay."
_OPAQUE: Final = "trusted.overlay.opaque"
_IN_SQUASHFS: Final = ("user.", "trusted.", "security.")
_LAST_S: Final = (1 << 32) - 1
_BY_NUMBER: Final = TarPolicy(uname="", gname="")
"""sqfstar gives a file to whom this machine has under the owner's name, and not to the number."""
_LOOK_AGAIN_S: Final = 0.05
_OUTPUT_BYTES: Final = 2000


class DiskFormat(enum.Enum):
    """What is on the disk."""

    SQUASHFS = "squashfs"
    """A file system, to be mounted."""
    TAR = "tar"
    """An archive, to be unpacked by a tar that keeps extended attributes."""


@dataclasses.dataclass(frozen=True)
class LayerDisk:
    """A layer as a disk image.

    Attributes
    ----------
    path, format, size_bytes
        Where, what is on it, and how large it is.
    hides_all
        Whether nothing of lower layers is to be seen, as the layer's root is opaque: the kernel
        asks that of directories only, so whoever mounts it leaves the lower layers out.
    """

    path: str
    format: DiskFormat
    size_bytes: int
    hides_all: bool = False


async def layer_disk(
    diff_id: Digest,
    tar_path: str | os.PathLike[str],
    *,
    below: Callable[[], Mapping[bytes, Entry]] | None = None,
) -> LayerDisk:
    """The disk of a layer, made if it is not there yet.

    Parameters
    ----------
    diff_id
        The digest of the layer's tar: disks are kept by it.
    tar_path
        The tar, uncompressed and verified to have that digest.
    below
        Gives the tree of the layers under this one. It is called, in a worker thread, if the layer
        does not name all directories that lead to its files: engines leave such a directory as it
        is, but the kernel shows that of the upper layer.

    Raises
    ------
    ArchiveError
        The layer is not a tar that one may trust.
    LayerDiskError
        The program that makes file systems failed; `output` is what it said.
    StorageFullError, ContentError
        The disk cannot be kept.
    """
    stop = threading.Event()
    return await in_stoppable_worker(stop, _kept, diff_id, os.fspath(tar_path), below, stop)


def _kept(
    diff_id: Digest,
    tar_path: str,
    below: Callable[[], Mapping[bytes, Entry]] | None,
    stop: threading.Event,
) -> LayerDisk:
    name = f"{diff_id.algorithm}-{diff_id.hex}.{_VERSION}"
    if disk := _known(name):
        return disk
    entries, implied = _overlaid(read_tar(tar_path))
    if implied:
        # Over other layers it may be another disk.
        entries, lower = _as_below(entries, implied, below)
        name += f".{lower}"
        if disk := _known(name):
            return disk
    root = entries[0]
    hides_all = _OPAQUE in root.xattrs
    command = _converter(root) if all(map(_squashfs_holds, entries)) else None
    form = DiskFormat.TAR if command is None else DiskFormat.SQUASHFS
    path = _path(name, form, hides_all=hides_all)
    with arriving(path) as file:
        if command is None:
            write_tar(entries, _into_file(file, stop))
        else:
            _convert([*command, file.path], map(_in_squashfs_time, entries), path, stop)
    return LayerDisk(path, form, os.path.getsize(path), hides_all)


def _known(name: str) -> LayerDisk | None:
    # What was made by a program that is gone now is as good as ever.
    for form in DiskFormat:
        for hides_all in (False, True):
            path = _path(name, form, hides_all=hides_all)
            if os.path.exists(path):
                with contextlib.suppress(OSError):
                    os.utime(path)  # what has not been used for long is pruned
                return LayerDisk(path, form, os.path.getsize(path), hides_all)
    return None


def _path(name: str, form: DiskFormat, *, hides_all: bool) -> str:
    return vm_path("layers", f"{name}{'.hides-all' * hides_all}.{form.value}")


def overlay_entries(
    layer: Iterable[Entry], *, below: Callable[[], Mapping[bytes, Entry]] | None = None
) -> list[Entry]:
    """A layer's entries as the kernel's overlay file system wants them: sorted, each path once.

    The root comes first.

    Of several entries for one path the last counts, as when a tar is unpacked. What a layer says in
    that file system's own attributes is not taken over: it could lead to other files. Directories
    that the layer only implies are as `below` has them, the tree of all layers under this one.
    """
    entries, implied = _overlaid(layer)
    return _as_below(entries, implied, below)[0]


def _overlaid(layer: Iterable[Entry]) -> tuple[list[Entry], set[bytes]]:
    """The entries, and which directories are as lower layers have them, if they do."""
    own: list[Entry] = []
    hidden: list[Entry] = []
    opaque: set[bytes] = set()
    for entry in layer:
        whiteout = parse_whiteout(entry.path)
        if whiteout is None:
            own.append(entry)
        elif whiteout.kind is WhiteoutKind.OPAQUE:
            opaque.add(whiteout.path)
            hidden.append(Entry(whiteout.path, EntryKind.DIRECTORY, 0o755))
        elif whiteout.kind is WhiteoutKind.NAME:
            hidden.append(Entry(whiteout.path, EntryKind.CHARACTER_DEVICE, 0))
    gone = {e.path for e in hidden if e.kind is EntryKind.CHARACTER_DEVICE}
    # A directory in the place of what was hidden shows nothing of lower layers either.
    opaque |= gone
    named = {b"", *gone, *(entry.path for entry in own)}
    entries: list[Entry] = []
    implied: set[bytes] = set()
    # Where nothing is left to hide, the kernel would list the name of what hides it.
    hidden = [entry for entry in hidden if not _is_below(entry.path, opaque)]
    for entry in overlay([hidden, own]).entries():
        path = entry.path
        if path not in named and not _is_below(path, opaque):
            implied.add(path)
        xattrs = {k: v for k, v in entry.xattrs.items() if not k.startswith(_OWN)}
        if entry.kind is EntryKind.DIRECTORY and path in opaque:
            xattrs[_OPAQUE] = b"y"
        changed = xattrs != entry.xattrs
        entries.append(dataclasses.replace(entry, xattrs=xattrs) if changed else entry)
    return entries, implied


def _is_below(path: bytes, directories: set[bytes]) -> bool:
    while path:
        path = path.rpartition(b"/")[0]
        if path in directories:
            return True
    return False


def _as_below(
    entries: list[Entry],
    implied: set[bytes],
    below: Callable[[], Mapping[bytes, Entry]] | None,
) -> tuple[list[Entry], str]:
    """The entries, the implied ones as lower layers have them, and a text that tells how."""
    lower = below() if below is not None and implied else {}
    result: list[Entry] = []
    facts: list[object] = []
    for entry in entries:
        known = lower.get(entry.path) if entry.path in implied else None
        if known is not None and known.kind is EntryKind.DIRECTORY:
            own = {k: v for k, v in entry.xattrs.items() if k.startswith(_OWN)}
            theirs = {k: v for k, v in known.xattrs.items() if not k.startswith(_OWN)}
            entry = dataclasses.replace(known, xattrs=theirs | own)
            facts.append(
                (known.path, known.mode, known.uid, known.gid, known.mtime, sorted(theirs.items()))
            )
        result.append(entry)
    return result, hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def converter_path() -> str | None:
    """The program that makes a tar a squashfs; None if this machine has none."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return shutil.which("sqfstar", path=path) or shutil.which("tar2sqfs", path=path)


def _squashfs_holds(entry: Entry) -> bool:
    """Whether nothing would be lost but parts of a second: it has no place for access lists."""
    return not entry.xattrs or all(name.startswith(_IN_SQUASHFS) for name in entry.xattrs)


def _in_squashfs_time(entry: Entry) -> Entry:
    """An entry with a time that a squashfs can hold; sqfstar takes others for damage."""
    mtime = min(max(int(entry.mtime), 0), _LAST_S)
    return entry if mtime == entry.mtime else dataclasses.replace(entry, mtime=mtime)


def _converter(root: Entry) -> list[str] | None:
    """The command that turns a tar on its input into the squashfs whose path comes last."""
    program = converter_path()
    if program is None:
        return None
    # Small blocks of a quick codec: scripts read a few files of a layer, here and there.
    if program.endswith("sqfstar"):
        # It does not take the root from the archive, and 4.5 forgets the root's owner and time,
        # which is no harm: what a guest sees as the root is the directory its overlay writes to.
        return [program, "-comp", "lz4", "-b", "32K", "-mkfs-time", "0", "-exit-on-error", "-force",
                "-quiet", "-no-progress", "-root-mode", f"{root.mode:o}"]  # fmt: skip
    # Not lz4: with it, 1.2 writes tables of owners that unsquashfs takes for damaged.
    return [program, "--compressor", "zstd", "--comp-extra", "level=1", "--block-size", "32768",
            "--no-skip", "--force", "--quiet"]  # fmt: skip


def _convert(
    command: Sequence[str], entries: Iterable[Entry], target: str, stop: threading.Event
) -> None:
    with tempfile.TemporaryFile() as said, _running(command, said) as process:
        assert process.stdin is not None
        try:
            write_tar(entries, _into_pipe(process.stdin.fileno(), stop), policy=_BY_NUMBER)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended; its exit code and words say why
        while True:
            try:
                code = process.wait(timeout=_LOOK_AGAIN_S)
                break
            except subprocess.TimeoutExpired:
                _check(stop)
        if not code:
            return
        said.seek(max(0, said.seek(0, os.SEEK_END) - _OUTPUT_BYTES))
        output = said.read().decode("utf-8", "replace").strip()
    if "No space left on device" in output:
        raise StorageFullError(
            f"No room to make the disk {target}: the disk that holds it is full.",
            path=target,
            hint="Nothing half-written was left. Free some space there.",
        )
    name = os.path.basename(command[0])
    raise LayerDiskError(
        f"{name} could not make a layer into a disk (exit code {code}).",
        output=output,
        hint=f"It said: {output[-300:]}" if output else None,
    )


@contextlib.contextmanager
def _running(command: Sequence[str], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone when the block ends, however it ends."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, bufsize=0
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


class _StoppedError(Exception):
    """Whoever asked for the disk was cancelled, and does not wait for an answer."""


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise _StoppedError


def _into_file(file: TemporaryFile, stop: threading.Event) -> Sink:
    def sink(piece: bytes | memoryview) -> None:
        _check(stop)
        file.write(piece)

    return sink


def _into_pipe(fd: int, stop: threading.Event) -> Sink:
    """Write to a program that may stop reading, without being stuck with it."""
    os.set_blocking(fd, False)
    room = select.poll()
    room.register(fd, select.POLLOUT)

    def sink(piece: bytes | memoryview) -> None:
        rest = memoryview(piece)
        while rest:
            _check(stop)
            if room.poll(_LOOK_AGAIN_S * 1000):
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(fd, rest) :]

    return sink
