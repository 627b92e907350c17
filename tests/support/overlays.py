"""The kernel's own overlay file system on this machine: what layers are to it, and what it keeps.

tars = kernel_overlay([base, layer], scratch, script="rm etc/motd")
tars.tree, tars.changes             # what a container sees, and the upper directory
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from support import entries
from support.components import require

from nbdock.filetree import Entry, EntryKind, FileContent, Tree, overlay, write_tar
from nbdock.vm.layerdisk import overlay_entries

__all__ = ["EVERYTHING", "Tars", "base_entries", "facts", "kernel_overlay", "lower_directory"]

# As guests send it.
TAR = "tar --xattrs --xattrs-include='*' --numeric-owner --format=posix --sort=name --sparse"
DEADLINE_S = 240
MOUNT = "mount -t overlay overlay -o redirect_dir=off,index=off,metacopy=off"


@dataclasses.dataclass(frozen=True)
class Tars:
    """The tars of a merged tree and of what was written to it."""

    tree: Path
    changes: Path


@functools.cache
def _works() -> bool:
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
             f"mkdir l u w m; {MOUNT},lowerdir=l,upperdir=u,workdir=w m"],
            cwd=directory, capture_output=True, check=False,
        )  # fmt: skip
    return done.returncode == 0


def lower_directory(layer: Iterable[Entry], place: Path, *, below: Tree | None = None) -> Path:
    """A layer unpacked as the overlay file system wants it."""
    place.mkdir()
    with (place.parent / f"{place.name}.tar").open("w+b") as file:
        write_tar(overlay_entries(layer, below=below and (lambda: below)), file.write)
        file.seek(0)
        subprocess.run(
            ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", place,
             "-xpf", "-"], stdin=file, check=True,
        )  # fmt: skip
    return place


def kernel_overlay(lowers: Sequence[Path], scratch: Path, script: str = "") -> Tars:
    """Lay directories over each other, the lowest first, run a script in it, and tar both.

    In a mount namespace of its own: nothing is mounted any more afterwards.
    """
    require("setfattr", "setfacl", root=True)
    if not _works():
        pytest.skip("needs overlays in mount namespaces")
    for name in ("upper", "work", "merged"):
        (scratch / name).mkdir(parents=True)
    (scratch / "script").write_text(script, "utf-8", "surrogateescape")
    lower = ":".join(map(str, reversed(lowers)))
    do = (
        f"{MOUNT},lowerdir={lower},upperdir=upper,workdir=work merged; "
        "(cd merged && exec bash -e ../script); "
        f"{TAR} -C upper -cf changes.tar .; "
        # The kernel lists whiteouts that hide nothing, and then they are not there: that is 1.
        f"{TAR} -C merged -cf tree.tar . || [ $? = 1 ]"
    )
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-ec", do],
        cwd=scratch, check=True, timeout=DEADLINE_S, stdin=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )  # fmt: skip
    return Tars(scratch / "tree.tar", scratch / "changes.tar")


def facts(tree: Tree, *, times: bool = False) -> dict[bytes, tuple[object, ...]]:
    """All that a path shows, and with which other paths it is one file."""
    names: dict[int, list[bytes]] = {}
    for path in tree:
        names.setdefault(id(tree.resolved(path)), []).append(path)
    return {
        path: (
            held.kind, 0 if held.kind is EntryKind.SYMLINK else held.mode, held.uid, held.gid,
            held.linkname, held.device_major, held.device_minor, dict(held.xattrs),
            held.content and held.read(), held.mtime if times else 0, names[id(held)],
        )
        for path in tree
        for held in [tree.resolved(path)]
    }  # fmt: skip


def base_entries() -> list[Entry]:
    """A base with something of each kind for `EVERYTHING` to change, and to leave alone."""

    file = functools.partial(entries.file, mtime=1_000_000)
    folder = functools.partial(entries.folder, mtime=1_000_000)

    def link(path: str, target: Entry) -> Entry:
        return Entry(os.fsencode(path), EntryKind.HARDLINK, linkname=target.path, target=target)

    tool, shared = (
        file("usr/bin/tool", b"tool", 0o4755, uid=3, uname="daemon", gname="nogroup"),
        file("srv/one", b"shared", uname="nobody", gname="no such group"),
    )
    base = [
        # Names of owners that are other numbers here and in guests: the numbers count.
        folder("etc", 0o750, uid=5, gid=6, uname="root", gname="root"),
        file("etc/motd", b"hello"), file("etc/passwd", b"root"),
        file("etc/shadow", b"x", 0o640, gid=42), folder("etc/old", 0o711), file("etc/old/a", b"a"),
        folder("etc/old/deep"), file("etc/old/deep/b", b"b"), folder("etc/conf.d"),
        file("etc/conf.d/a", b"a"), file("etc/conf.d/b", b"b"), folder("usr"), folder("usr/bin"),
        tool, link("usr/bin/tool2", tool), folder("usr/lib"), file("usr/lib/x", b"x"),
        Entry(b"lib", EntryKind.SYMLINK, 0o777, linkname=b"usr/lib"), folder("replaced-folder"),
        file("replaced-folder/f"), file("replaced-file", b"f"), folder("opt"), folder("opt/keep"),
        file("opt/keep/1", b"1"), file("opt/keep/2", b"2"), folder("moved", 0o2775, gid=9),
        file("moved/x", b"x"), folder("srv"), shared, link("srv/two", shared),
        folder("attr", xattrs={"user.of": b"folder"}), file("attr/f", xattrs={"user.was": b"1"}),
        folder("tmp", 0o1777), folder("untouched", 0o700, uid=8, uname="root", gname="daemon"),
        file("untouched/f", b"f", uid=70000, gid=80000, uname="root", gname="root"),
    ]  # fmt: skip
    # Of a file with several names, every header says the same of it.
    return list(overlay([base]).entries())


EVERYTHING = r"""
rm etc/motd; rm -r etc/old; mkdir -m 751 etc/old; echo new > etc/old/new
echo user >> etc/passwd; chmod 600 etc/shadow; chown 12:34 etc/conf.d/a; rm etc/conf.d/b
ln usr/bin/tool usr/bin/tool3; chmod 6711 srv/one
rm -r replaced-folder; echo f > replaced-folder
rm replaced-file; mkdir -p replaced-file/sub; echo s > replaced-file/sub/s
rm lib; mkdir lib; echo l > lib/l
mkdir kinds; cd kinds
mknod -m 640 character c 1 3; mknod -m 660 block b 8 17; mkfifo -m 622 pipe
ln -s 'a target, ünï' symlink; ln -P symlink symlink-again; ln -s "$(printf '%0300d' 0)" long-link
echo data > z-file; ln z-file b-name; ln z-file ../opt/a-name; chown -h 70000:80000 symlink
touch mode-0 owners; chmod 0 mode-0; chown 4294967294:70000 owners
mkdir -m 3777 sticky; mkdir -m 1000 closed; truncate -s 3M holes
echo end >> holes; truncate -s 5M holes
cd ..
mkdir names; cd names
touch 'a
newline' $'bad-\xff\xfe' "$(printf '%0255d' 0)" -- -dash ' space '
touch 'back\slash' 'a=b' 'ünï' '.hidden' 'wh.x'
touch .why '*' '"quoted"' $'\001'
deep="$(printf '%0200d' 1)/$(printf '%0200d' 2)"; mkdir -p "$deep"; touch "$deep/file"
cd ..
setfattr -n user.note -v 0x00ff0a3d attr/f; setfattr -x user.was attr/f
setfattr -n trusted.mine -v value attr
touch attr/ping
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 attr/ping
touch attr/acl; setfacl -m u:70000:r,g:9:rwx attr/acl
mkdir attr/folder; setfacl -d -m u:7:rx attr/folder
mv opt/keep/1 opt/keep/renamed; mv moved moved-away
touch tmp/x; rm tmp/x
chmod 711 .; chown 1:2 .
"""
"""A script (bash) that does to `base_entries` everything a script can, and every tool can take.

dockerd loses an extended attribute that is empty, and what it puts below a directory with a default
access control list inherits that list.
"""


@functools.cache
def tools_layer() -> tuple[Entry, ...]:
    """What `EVERYTHING` needs below ``/tools``, from this machine; to be the lowest layer."""
    programs = [
        "bash", "chmod", "chown", "echo", "ln", "mkdir", "mkfifo", "mknod", "mv", "printf", "rm",
        "setfacl", "setfattr", "touch", "truncate",
    ]  # fmt: skip
    files: dict[str, str] = {}
    for program in programs:
        found = shutil.which(program)
        assert found, program
        files[f"tools/bin/{program}"] = os.path.realpath(found)
        said = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        for word in said.split():
            if word.startswith("/"):
                # The loader is where programs say that it is; the rest is found by a variable.
                name = os.path.basename(word)
                where = word.strip("/") if name.startswith("ld-linux") else f"tools/lib/{name}"
                files[where] = os.path.realpath(word)
    return tuple(
        Entry(
            place.encode(), EntryKind.FILE, 0o755, size_bytes=os.path.getsize(path),
            content=FileContent(path.encode(), os.path.getsize(path)),
        )
        for place, path in sorted(files.items())
    )  # fmt: skip
