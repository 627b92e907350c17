"""dpkg's database for packages in place, compared with what dpkg itself leaves after unpacking."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.apt_archive import Archive, Signer

from nbdock.filetree import Entry, EntryKind, Tree, overlay, write_tar
from nbdock.packages import AptPackageSet, Closure, apt, dpkg_database, resolve_closure
from nbdock.packages.debian import DPKG_HELPERS
from nbdock.packages.package import Package

SCRIPT = b"#!/bin/sh\nexit 0\n"


def write_archive(path: Path, version: str = "1.0-1") -> None:
    with Signer() as signer:
        archive = Archive(path, signer)
        archive.add("base", "1", essential="yes", files={"usr/share/base": b"x"})
        archive.add("lib-one", version, multi_arch="same", files={
            "usr/lib/x/libone.so.1": b"elf", "etc/libone.conf": b"a = 1\n",
            "DEBIAN/conffiles": b"/etc/libone.conf\n",
            "DEBIAN/triggers": b"# comment\nactivate-noawait ldconfig\ninterest-noawait named\n"
            b"interest /usr/share/plugins\n",
            "DEBIAN/postinst": SCRIPT, "DEBIAN/shlibs": b"libone 1 lib-one\n",
        })  # fmt: skip
        archive.add("app", version, depends="lib-one (>= 1)", files={
            "usr/bin/app": b"#!/bin/sh\n", "etc/app/app.conf": b"b\n", "etc/app/old.conf": b"",
            "DEBIAN/conffiles": b"/etc/app/app.conf\n/etc/app/old.conf\n",
            "DEBIAN/md5sums": b"0123456789abcdef0123456789abcdef  usr/bin/app\n",
            "DEBIAN/triggers": b"interest-await app-rebuild\n", "DEBIAN/prerm": SCRIPT,
            "DEBIAN/templates": b"Template: app/x\nType: boolean\nDescription: x\n",
            **({"DEBIAN/preinst": SCRIPT} if version != "1.0-1" else {}),
        })  # fmt: skip
        archive.publish("stable")
        signer.export(path / "key.gpg")


def packages_of(path: Path) -> AptPackageSet:
    key = path / "key.gpg"
    return apt(f"file:{path}", suite="stable", architecture="amd64", keyring=key)


async def closure_of(packages: AptPackageSet, *names: str) -> Closure:
    found = await asyncio.to_thread(lambda: [packages[name] for name in names])
    closure = await resolve_closure(found)
    await packages.fetch(closure.packages)
    return closure


def tree_of(packages: Sequence[Package], *more: list[Entry]) -> Tree:
    def kept(entries: list[Entry]) -> list[Entry]:
        for entry in entries:
            if entry.content is not None:
                object.__setattr__(entry, "content", _Read(entry.read()))
        return entries

    layers = [[*(kept_entry(entry) for entry in package.entries())] for package in packages]
    return overlay([*layers, *map(kept, more)])


class _Read:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def chunks(self) -> list[bytes]:
        return [self.data]


def kept_entry(entry: Entry) -> Entry:
    if entry.content is not None:
        object.__setattr__(entry, "content", _Read(entry.read()))
    return entry


def lay_out(tree: Tree, root: Path) -> None:
    root.mkdir()
    tar = subprocess.Popen(["tar", "-x", "--no-same-owner", "-C", root], stdin=subprocess.PIPE)
    assert tar.stdin is not None
    write_tar(tree.entries(), tar.stdin.write)
    tar.stdin.close()
    assert tar.wait() == 0


def dpkg(root: Path, *arguments: str | Path) -> str:
    return subprocess.run(
        ["dpkg", f"--root={root}", "--force-not-root", "--force-script-chrootless",
         "--force-bad-path", "--log=/dev/null", *arguments],
        check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"},
    ).stdout  # fmt: skip


def stanzas(status: Path) -> dict[str, dict[str, str]]:
    found = {}
    for block in status.read_text().split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith(" "):
                fields[name] += "\n" + line
            else:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            found[fields["Package"]] = fields
    return found


def info(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mode & 0o777)
        for path in (root / "var/lib/dpkg/info").iterdir()
    }


def triggers(root: Path) -> dict[str, set[str]]:
    return {
        path.name: set(path.read_text().splitlines())
        for path in (root / "var/lib/dpkg/triggers").iterdir()
        if path.name not in ("Lock", "Unincorp")
    }


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    root = tmp_path / "theirs"
    for name in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    return root


async def test_it_is_what_dpkg_leaves_and_dpkg_configures_it(
    tmp_path: Path, nbdock_home: Path, theirs: Path
) -> None:
    write_archive(tmp_path / "archive")
    packages = packages_of(tmp_path / "archive")
    closure = await closure_of(packages, "app", "base")
    assert [p.name for p in packages.essential] == ["base"]
    database = dpkg_database(closure.packages, closure.references)
    assert {e.path for e in database} >= DPKG_HELPERS
    assert [e.path for e in database] == sorted(e.path for e in database)
    ours = tmp_path / "ours"
    lay_out(tree_of(closure.packages, database), ours)
    assert not (ours / "var/lib/dpkg/status.d").exists()

    pool = tmp_path / "archive/pool/main"
    dpkg(theirs, "--unpack", *sorted(pool.iterdir()))
    assert info(ours) == info(theirs)
    assert triggers(ours) == triggers(theirs)

    here, there = stanzas(ours / "var/lib/dpkg/status"), stanzas(theirs / "var/lib/dpkg/status")
    assert {name: fields["Status"] for name, fields in here.items()} == dict.fromkeys(
        ("app", "base", "lib-one"), "install ok unpacked"
    )
    # Sums of files that are in place are known at once; dpkg has yet to move them there.
    for name in ("app", "lib-one"):
        assert "newconffile" in there[name].pop("Conffiles")
        assert "newconffile" not in here[name].pop("Conffiles")
    assert here == there

    for root in (ours, theirs):
        dpkg(root, "--configure", "-a")
        assert dpkg(root, "--audit") == dpkg(root, "--verify", "base", "lib-one") == ""
    assert (ours / "var/lib/dpkg/status").read_text() == (
        theirs / "var/lib/dpkg/status"
    ).read_text()
    assert info(ours) == info(theirs)


async def test_on_a_base_with_a_database_only_what_is_new_is_configured(
    tmp_path: Path, nbdock_home: Path, theirs: Path
) -> None:
    write_archive(tmp_path / "old")
    dpkg(theirs, "--install", *sorted((tmp_path / "old/pool/main").iterdir()))
    below = []
    for folder, _, names in os.walk(theirs / "var/lib/dpkg"):
        for name in names:
            data = Path(folder, name).read_bytes()
            path = os.fsencode(os.path.relpath(f"{folder}/{name}", theirs))
            below.append(Entry(path, EntryKind.FILE, size_bytes=len(data), content=_Read(data)))
    base = overlay([below])

    closure = await closure_of(packages_of(tmp_path / "old"), "app", "base")
    assert dpkg_database(closure.packages, closure.references, base) == []

    write_archive(tmp_path / "new", "2.0")
    closure = await closure_of(packages_of(tmp_path / "new"), "app", "base")
    database = dpkg_database(closure.packages, closure.references, base)
    tree = overlay([below, database])
    ours = tmp_path / "ours"
    lay_out(tree, ours)
    there = stanzas(theirs / "var/lib/dpkg/status")
    here = stanzas(ours / "var/lib/dpkg/status")
    assert here["base"] == there["base"]
    assert here["app"]["Status"] == "install ok unpacked"
    assert (here["app"]["Version"], here["app"]["Config-Version"]) == ("2.0", "1.0-1")
    hook = next(e for e in database if e.path.endswith(b"nbdock-before-configure"))
    assert b"info/app.preinst upgrade 1.0-1 2.0\n" in hook.read()
    dpkg(theirs, "--unpack", *sorted((tmp_path / "new/pool/main").iterdir()))
    assert triggers(ours) == triggers(theirs)
    assert info(ours) == info(theirs)


async def test_records_without_a_database_count_as_configured(
    tmp_path: Path, nbdock_home: Path
) -> None:
    write_archive(tmp_path / "archive")
    packages = packages_of(tmp_path / "archive")
    below = await closure_of(packages, "lib-one")
    base = tree_of(below.packages)
    closure = await closure_of(packages, "base")
    ours = tmp_path / "ours"
    lay_out(overlay([base.entries(), dpkg_database(closure.packages, {}, base)]), ours)
    here = stanzas(ours / "var/lib/dpkg/status")
    assert (here["lib-one"]["Status"], here["base"]["Status"]) == (
        "install ok installed", "install ok unpacked"
    )  # fmt: skip
    assert "/usr/lib/x/libone.so.1" in dpkg(ours, "--listfiles", "lib-one")
    assert dpkg_database([], {}, base) == []
