"""dpkg's database for packages that are in place: what ``dpkg --unpack`` would have left.

Images hold the trees of packages and a record of each under ``status.d``, which is all that most
need. Where commands run as root they may configure the packages for real, ``dpkg --configure -a``:
then dpkg finds every package of the closure "install ok unpacked" in ``/var/lib/dpkg/status``, and
its maintainer scripts, triggers and lists of files in ``/var/lib/dpkg/info``. Two things are not in
a database: what ``preinst`` scripts do, and that no services are to be started. So dpkg is given a
hook that runs those scripts before it first configures, and ``policy-rc.d`` refuses services.

    entries = dpkg_database(closure.packages, closure.references, base_tree)
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from nbdock.errors import ArchiveError
from nbdock.filetree import BytesContent, Entry, EntryKind, Tree, read_tar, whiteout_entry
from nbdock.packages.debian.control import Control, control_field, read_control
from nbdock.packages.debian.debmembers import deb_members, member_content
from nbdock.packages.debian.package_set import AptPackage

if TYPE_CHECKING:
    from nbdock.packages.package import Package

__all__ = ["DPKG_HELPERS", "dpkg_database"]

_ADMIN = b"var/lib/dpkg"
_RECORDS = _ADMIN + b"/status.d"
_HOOK = _ADMIN + b"/nbdock-before-configure"
_HOOK_OPTION = b"etc/dpkg/dpkg.cfg.d/nbdock"
_SERVICES = b"usr/sbin/policy-rc.d"

DPKG_HELPERS = frozenset({_HOOK, _HOOK_OPTION, _SERVICES})
"""Files that are there only while commands run; the image does not get them."""


@dataclasses.dataclass(frozen=True)
class _Unpacked:
    """A package as ``dpkg --unpack`` records it."""

    package: AptPackage
    control: Control
    listed: Sequence[bytes]
    md5sums: Mapping[bytes, bytes]
    """Sums in hexadecimal of all files, by their paths."""

    @property
    def identity(self) -> tuple[bytes, bytes]:
        return _identity(self.control.stanza)

    @property
    def called(self) -> bytes:
        return _called(self.control.stanza)

    @property
    def conffiles(self) -> list[bytes]:
        """Lines of the field Conffiles. Their files are in place, so their sums are known."""
        control = self.control.files.get(b"conffiles")
        lines = []
        for line in control.data.split(b"\n") if control else ():
            flag, _, path = line.strip().rpartition(b" ")
            if path:
                known = self.md5sums.get(path.lstrip(b"/"), b"newconffile")
                lines.append(b" " + path + b" " + known + (b" " + flag if flag else b""))
        return lines


def dpkg_database(
    packages: Iterable[Package],
    references: Mapping[str, Sequence[str]],
    base: Tree | None = None,
) -> list[Entry]:
    """The database, for packages whose .debs are fetched. Blocking: reads them.

    Parameters
    ----------
    packages, references
        A closure's; those that are not Debian's do not matter.
    base
        What is below: packages that its database or records name stay as they are there. One that
        comes in another version is to be configured anew.

    Returns
    -------
    list of Entry
        Sorted by path, with whiteouts for ``status.d``, which it stands in place of, and for what
        other versions left in ``info``; none if there is nothing to configure.

    Raises
    ------
    ArchiveError
        A .deb is damaged.
    """
    installed = _Installed.of(base)
    ordered = _needed_first([p for p in packages if isinstance(p, AptPackage)], references)
    new = [_read(package) for package in ordered if not installed.has(package)]
    if not new:
        return []
    files: dict[bytes, tuple[bytes, int]] = {
        b"status": (installed.status_with(new), 0o644),
        b"available": (installed.read(b"available"), 0o644),
        b"info/format": (b"1\n", 0o644),
    }
    # A package is recorded once; scanners would count it twice.
    entries = [whiteout_entry(_RECORDS)]
    for name, listed in installed.recorded_lists():
        files[b"info/" + name + b".list"] = (listed, 0o644)
    for unpacked in new:
        own = _info(unpacked)
        files.update({b"info/" + unpacked.called + suffix: file for suffix, file in own.items()})
        stale = installed.info_of(unpacked.called) - set(own)
        entries += [
            whiteout_entry(_ADMIN + b"/info/" + unpacked.called + suffix) for suffix in stale
        ]
    files.update({k: (v, 0o644) for k, v in installed.triggers_with(new).items()})
    placed = {_ADMIN + b"/" + name: file for name, file in files.items()}
    placed[_HOOK] = (_hook(new, installed), 0o755)
    placed[_HOOK_OPTION] = (b"pre-invoke=/" + _HOOK + b"\n", 0o644)
    if base is None or _SERVICES not in base:
        placed[_SERVICES] = (b"#!/bin/sh\nexit 101\n", 0o755)
    directories = {
        path[:end] for path in placed for end, byte in enumerate(path) if byte == 0x2F
    } | {_ADMIN + b"/updates", _ADMIN + b"/triggers"}
    entries += [
        Entry(path, EntryKind.DIRECTORY, 0o755, mtime=1, uname="root", gname="root")
        for path in directories
        if base is None or path not in base
    ]
    entries += [_file(path, data, mode) for path, (data, mode) in placed.items()]
    return sorted(entries, key=lambda entry: entry.path)


def _file(path: bytes, data: bytes, mode: int) -> Entry:
    return Entry(
        path, EntryKind.FILE, mode, mtime=1, uname="root", gname="root",
        size_bytes=len(data), content=BytesContent(data),
    )  # fmt: skip


def _read(package: AptPackage) -> _Unpacked:
    from nbdock.packages.debian.fetching import deb_path

    path = deb_path(package.record)
    try:
        with open(path, "rb", buffering=0) as file:
            control_member, data_member = deb_members(file)
            control = read_control(file, control_member)
            listed: list[bytes] = []
            sums: dict[bytes, bytes] = {}
            conffiles = control.files.get(b"conffiles")
            wanted = {
                line.strip().rpartition(b" ")[2].lstrip(b"/")
                for line in (conffiles.data.split(b"\n") if conffiles else ())
            }
            sum_all = b"md5sums" not in control.files
            for entry in read_tar(member_content(file, data_member)):
                listed.append(b"/" + (entry.path or b"."))
                if entry.kind is EntryKind.HARDLINK and entry.linkname in sums:
                    sums[entry.path] = sums[entry.linkname]
                elif entry.content is not None and (sum_all or entry.path in wanted):
                    md5 = hashlib.md5(usedforsecurity=False)
                    for piece in entry.content.chunks():
                        md5.update(piece)
                    sums[entry.path] = md5.hexdigest().encode()
    except OSError as error:
        raise ArchiveError(
            f"The package {os.path.basename(path)!r} cannot be read: {error.strerror}.",
            hint="Fetch it again.",
        ) from error
    return _Unpacked(package, control, listed, sums)


def _info(unpacked: _Unpacked) -> dict[bytes, tuple[bytes, int]]:
    """The files of a package in ``info``: content and permission bits by suffix."""
    files = {
        b"." + name: (file.data, file.mode & 0o777) for name, file in unpacked.control.files.items()
    }
    files[b".list"] = (b"".join(path + b"\n" for path in unpacked.listed), 0o644)
    if b".md5sums" not in files:
        lines = (md5 + b"  " + path + b"\n" for path, md5 in unpacked.md5sums.items())
        files[b".md5sums"] = (b"".join(lines), 0o644)
    return files


def _needed_first(
    packages: Sequence[AptPackage], references: Mapping[str, Sequence[str]]
) -> list[AptPackage]:
    """The packages, each after what it needs as far as no circle is in the way."""
    by_key = {package.key: package for package in packages}
    done: dict[str, AptPackage] = {}
    begun: set[str] = set()
    waiting: list[tuple[str, bool]] = [(package.key, False) for package in reversed(packages)]
    while waiting:
        key, is_second = waiting.pop()
        if is_second:
            done[key] = by_key[key]
        elif key in by_key and key not in begun:
            begun.add(key)
            waiting.append((key, True))
            waiting += [(other, False) for other in reversed(references.get(key, ()))]
    return list(done.values())


def _hook(new: Sequence[_Unpacked], installed: _Installed) -> bytes:
    """A script that runs every preinst as dpkg does when it unpacks a package."""
    lines = [
        "#!/bin/sh",
        "set -e",
        f"rm -f /{_HOOK_OPTION.decode()} /{_HOOK.decode()}",
        "export DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_MAINTSCRIPT_NAME=preinst",
        "export DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1",
    ]
    # As debootstrap does: all others may want to know users by their names.
    for unpacked in sorted(new, key=lambda unpacked: unpacked.package.name != "base-passwd"):
        if b"preinst" in unpacked.control.files:
            name, architecture = (part.decode() for part in unpacked.identity)
            before = installed.version_of(unpacked.identity)
            version = control_field(unpacked.control.stanza, b"Version")
            how = ["upgrade", before.decode(), version.decode()] if before else ["install"]
            lines.append(
                f"DPKG_MAINTSCRIPT_PACKAGE={shlex.quote(name)} "
                f"DPKG_MAINTSCRIPT_ARCH={shlex.quote(architecture)} "
                f"DEBCONF_PACKAGE={shlex.quote(name)} "
                f"/{_ADMIN.decode()}/info/{unpacked.called.decode()}.preinst {shlex.join(how)}"
            )
    return ("\n".join(lines) + "\n").encode()


@dataclasses.dataclass(frozen=True)
class _Installed:
    """What the base says is installed.

    Attributes
    ----------
    stanzas
        Of its ``status``, by package and architecture.
    records
        Those of ``status.d`` that no stanza of ``status`` speaks of: packages nobody configured.
    """

    tree: Tree | None
    stanzas: Mapping[tuple[bytes, bytes], bytes]
    records: Mapping[tuple[bytes, bytes], bytes]

    @classmethod
    def of(cls, tree: Tree | None) -> _Installed:
        status = cls(tree, {}, {}).read(b"status")
        stanzas = {_identity(block): block for block in _blocks(status)}
        names = tree.names(_RECORDS) if tree is not None else ()
        texts = [
            cls(tree, {}, {}).read(b"status.d/" + n) for n in names if not n.endswith(b".md5sums")
        ]
        records = {_identity(block): block for text in texts for block in _blocks(text)}
        return cls(tree, stanzas, {k: v for k, v in records.items() if k not in stanzas})

    def read(self, name: bytes) -> bytes:
        """A file of the base's database; empty if there is none."""
        entry = self.tree.get(_ADMIN + b"/" + name) if self.tree is not None else None
        if entry is None or (entry.target or entry).kind is not EntryKind.FILE:
            return b""
        return (entry.target or entry).read()

    def has(self, package: AptPackage) -> bool:
        """Whether this version is configured in the base."""
        record = package.record
        there = self.stanzas.get((record.name.encode(), record.architecture.encode()), b"")
        return _state(there) == b"installed" and (
            control_field(there, b"Version") == record.version.encode()
        )

    def version_of(self, identity: tuple[bytes, bytes]) -> bytes:
        """The version that was configured last; empty if none was."""
        there = self.stanzas.get(identity, b"")
        return control_field(there, b"Config-Version") or (
            control_field(there, b"Version") if _state(there) == b"installed" else b""
        )

    def status_with(self, new: Sequence[_Unpacked]) -> bytes:
        """``status`` with packages unpacked; those that have a record only count as configured."""
        blocks = dict(self.stanzas)
        for key, stanza in self.records.items():
            blocks[key] = _with_status(stanza, b"installed", [])
        for unpacked in new:
            more = []
            if before := self.version_of(unpacked.identity):
                more.append(b"Config-Version: " + before)
            if lines := unpacked.conffiles:
                more += [b"Conffiles:", *lines]
            blocks[unpacked.identity] = _with_status(unpacked.control.stanza, b"unpacked", more)
        return b"\n".join(blocks[key] for key in sorted(blocks))

    def recorded_lists(self) -> Iterator[tuple[bytes, bytes]]:
        """The files of packages that have a record only, as far as it tells."""
        for (name, _), stanza in self.records.items():
            sums = self.read(b"status.d/" + name + b".md5sums")
            yield _called(stanza), b"".join(b"/" + line[34:] + b"\n" for line in sums.splitlines())

    def info_of(self, called: bytes) -> set[bytes]:
        """The suffixes of the files that the base has in ``info`` for a package."""
        names = self.tree.names(_ADMIN + b"/info") if self.tree is not None else ()
        found = (name.rpartition(b".") for name in names)
        return {b"." + suffix for package, _, suffix in found if package == called}

    def triggers_with(self, new: Sequence[_Unpacked]) -> dict[bytes, bytes]:
        """Who waits for which trigger, as dpkg keeps it."""
        ours = {unpacked.called for unpacked in new}
        found: dict[bytes, list[bytes]] = {b"triggers/File": []}
        for line in self.read(b"triggers/File").splitlines():
            if line.rpartition(b" ")[2].partition(b"/")[0] not in ours:
                found[b"triggers/File"].append(line)
        for unpacked in new:
            triggers = unpacked.control.files.get(b"triggers")
            for line in triggers.data.splitlines() if triggers else ():
                kind, _, name = line.partition(b"#")[0].strip().partition(b" ")
                name = name.strip()
                if not kind.startswith(b"interest") or not re.fullmatch(rb"[!-~]+", name):
                    continue
                who = unpacked.called + b"/noawait" * kind.endswith(b"-noawait")
                if name.startswith(b"/"):
                    found[b"triggers/File"].append(name + b" " + who)
                elif b"/" not in name:
                    place = b"triggers/" + name
                    known = self.read(place).splitlines()
                    lines = found.setdefault(
                        place, [line for line in known if line.partition(b"/")[0] not in ours]
                    )
                    lines.append(who)
        return {place: b"".join(line + b"\n" for line in lines) for place, lines in found.items()}


def _identity(stanza: bytes) -> tuple[bytes, bytes]:
    return control_field(stanza, b"Package"), control_field(stanza, b"Architecture")


def _called(stanza: bytes) -> bytes:
    """The name in files of the database: with the architecture if several may be there."""
    name, architecture = _identity(stanza)
    is_same = control_field(stanza, b"Multi-Arch") == b"same"
    return name + b":" + architecture if is_same else name


def _blocks(text: bytes) -> list[bytes]:
    return [block.strip(b"\n") + b"\n" for block in text.split(b"\n\n") if block.strip()]


def _state(stanza: bytes) -> bytes:
    return control_field(stanza, b"Status").rpartition(b" ")[2]


def _with_status(stanza: bytes, state: bytes, more: Sequence[bytes]) -> bytes:
    lines = [b"Status: install ok " + state, *more]
    return stanza + b"".join(line + b"\n" for line in lines)
