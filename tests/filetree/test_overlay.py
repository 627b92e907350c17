"""Layers over each other: against `umoci unpack`, and the cases it cannot tell."""

import hashlib
import io
import json
import os
import random
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from support.components import require
from support.entries import file, folder

from nbdock.errors import ArchiveError, UnsafePathError
from nbdock.filetree import (
    Entry,
    EntryKind,
    Tree,
    list_directory,
    opaque_entry,
    overlay,
    read_tar,
    tar_bytes,
    whiteout_entry,
)


def link(path: bytes, target: bytes) -> Entry:
    return Entry(path, EntryKind.HARDLINK, linkname=target)


def symlink(path: bytes, target: bytes) -> Entry:
    return Entry(path, EntryKind.SYMLINK, 0o777, linkname=target)


def laid(*layers: list[Entry]) -> Tree:
    """The tree of layers that went through an archive each, so that hardlinks are bound.

    For the structure only: the contents have passed by.
    """
    return overlay([list(read_tar([tar_bytes(layer)])) for layer in layers])


def bound(layer: list[Entry], tmp_path: Path) -> list[Entry]:
    """The entries of a layer as `read_tar` gives them, from a file of its own."""
    data = tar_bytes(layer)
    place = tmp_path / hashlib.sha256(data).hexdigest()
    place.write_bytes(data)
    return list(read_tar(place))


def shown(tree: Tree) -> dict[bytes, tuple[object, ...]]:
    """What a path shows to who lives in the tree."""
    result: dict[bytes, tuple[object, ...]] = {}
    for path in tree:
        held = tree.resolved(path)
        data = held.read() if held.kind is EntryKind.FILE else b""
        link = held.linkname if held.kind is EntryKind.SYMLINK else b""
        # Implied directories have no metadata that tools agree about.
        mode = 0 if held.kind in (EntryKind.SYMLINK, EntryKind.DIRECTORY) else held.mode
        result[path] = (held.kind, mode, data, link)
    return result


def shown_on_host(root: Path) -> dict[bytes, tuple[object, ...]]:
    return shown(overlay([list_directory(str(root)).entries()]))


def groups(tree: Tree) -> set[frozenset[bytes]]:
    """Which paths are one file."""
    found: dict[int, set[bytes]] = {}
    for path in tree:
        held = tree.resolved(path)
        if held.kind is EntryKind.FILE:
            found.setdefault(id(held), set()).add(path)
    return {frozenset(paths) for paths in found.values()}


def groups_on_host(root: Path) -> set[frozenset[bytes]]:
    found: dict[int, set[bytes]] = {}
    for place, _, names in os.walk(bytes(root)):
        for name in names:
            status = os.lstat(os.path.join(place, name))
            if stat.S_ISREG(status.st_mode):
                path = os.path.relpath(os.path.join(place, name), bytes(root))
                found.setdefault(status.st_ino, set()).add(path)
    return {frozenset(paths) for paths in found.values()}


def oci_layout(place: Path, layers: list[bytes]) -> None:
    """An OCI layout with one image, `image`, written by hand."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def add(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def encoded(value: object) -> bytes:
        return json.dumps(value).encode()

    oci = "application/vnd.oci.image"
    described = [add(layer, f"{oci}.layer.v1.tar") for layer in layers]
    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in described]},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": f"{oci}.manifest.v1+json",
        "config": add(encoded(config), f"{oci}.config.v1+json"), "layers": described,
    }  # fmt: skip
    named = add(encoded(manifest), f"{oci}.manifest.v1+json")
    named["annotations"] = {"org.opencontainers.image.ref.name": "image"}
    (place / "index.json").write_bytes(encoded({"schemaVersion": 2, "manifests": [named]}))
    (place / "oci-layout").write_bytes(encoded({"imageLayoutVersion": "1.0.0"}))


def umoci_unpack(place: Path, layers: list[bytes]) -> Path:
    """The tree that umoci makes of layers."""
    require("umoci", root=True)
    oci_layout(place / "layout", layers)
    bundle = place / "bundle"
    subprocess.run(
        ["umoci", "unpack", "--image", f"{place / 'layout'}:image", str(bundle)],
        check=True, capture_output=True,
    )  # fmt: skip
    return bundle / "rootfs"


def tarred(layer: list[Entry]) -> bytes:
    """A layer as tarfile writes it, so that the oracle does not read our own archives."""
    output = io.BytesIO()
    kinds = {
        EntryKind.FILE: tarfile.REGTYPE, EntryKind.DIRECTORY: tarfile.DIRTYPE,
        EntryKind.SYMLINK: tarfile.SYMTYPE, EntryKind.HARDLINK: tarfile.LNKTYPE,
        EntryKind.FIFO: tarfile.FIFOTYPE,
    }  # fmt: skip
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in layer:
            info = tarfile.TarInfo(os.fsdecode(entry.path) or ".")
            info.type, info.mode, info.size = kinds[entry.kind], entry.mode, entry.size_bytes
            info.linkname = os.fsdecode(entry.linkname)
            tar.addfile(info, io.BytesIO(entry.read()) if entry.content else None)
    return output.getvalue()


def random_layers(seed: int) -> list[list[Entry]]:
    """Layers that stay clear of what tools disagree about: nothing stands below a symlink."""
    chance = random.Random(seed)
    layers: list[list[Entry]] = []
    below: dict[bytes, EntryKind] = {b"": EntryKind.DIRECTORY}
    for number in range(chance.randint(2, 4)):
        layer: dict[bytes, Entry] = {}
        hidden: list[Entry] = []

        for _ in range(chance.randint(1, 14)):
            directories = [p for p, k in below.items() if k is EntryKind.DIRECTORY]
            directories += [p for p, e in layer.items() if e.kind is EntryKind.DIRECTORY]
            parent = chance.choice(directories)
            above = [parent[:at] for at in range(len(parent)) if parent[at : at + 1] == b"/"]
            kinds = [layer[p].kind if p in layer else below.get(p) for p in (parent, *above)]
            if any(kind is not EntryKind.DIRECTORY for kind in kinds):
                continue
            path = (parent + b"/" if parent else b"") + chance.choice([b"a", b"b", b"c", b"d"])
            choice = chance.random()
            if path in layer or any(p.startswith(path + b"/") for p in layer):
                continue
            if number and choice < 0.2:
                hidden.append(whiteout_entry(path))
            elif number and choice < 0.27 and parent:
                hidden.append(opaque_entry(parent))
            elif choice < 0.5:
                layer[path] = folder(path, chance.choice([0o755, 0o700]))
            elif choice < 0.6:
                layer[path] = symlink(path, b"nowhere")
            elif choice < 0.75:
                files = [p for p, e in layer.items() if e.kind is EntryKind.FILE]
                if files:
                    layer[path] = link(path, chance.choice(files))
            else:
                mode = chance.choice([0o644, 0o755, 0o4711])
                layer[path] = file(path, b"%d/%d" % (number, chance.randrange(1000)), mode)
        entries = list(layer.values())
        # Whiteouts may stand anywhere in their layer, before or after what their layer adds.
        for entry in hidden:
            entries.insert(chance.randint(0, len(entries)), entry)
        layers.append(entries)
        tree = laid(*layers)
        below = {path: tree[path].kind for path in tree}
    return layers


@pytest.mark.parametrize("seed", range(40))
def test_random_layers_like_umoci(tmp_path: Path, seed: int) -> None:
    layers = random_layers(seed)
    root = umoci_unpack(tmp_path, [tarred(layer) for layer in layers])
    tree = overlay([bound(layer, tmp_path) for layer in layers])
    assert shown(tree) == shown_on_host(root)
    assert groups(tree) == groups_on_host(root)
    # And flattened into one layer, it is still the same tree.
    (tmp_path / "flat").mkdir()
    flat = umoci_unpack(tmp_path / "flat", [tar_bytes(tree.entries())])
    assert shown_on_host(flat) == shown_on_host(root)
    assert groups_on_host(flat) == groups_on_host(root)


CASES: dict[str, list[list[Entry]]] = {
    "a file replaces a directory": [
        [folder(b"a"), folder(b"a/b"), file(b"a/b/c")], [file(b"a", b"1")],
    ],
    "a directory replaces a file": [[file(b"a", b"1")], [folder(b"a"), file(b"a/b")]],
    "a directory over a directory keeps what is in it": [
        [folder(b"a", 0o700), file(b"a/x")], [folder(b"a", 0o711), file(b"a/y")],
    ],
    "a symlink replaces a directory": [
        [folder(b"a"), file(b"a/x")], [symlink(b"a", b"b")], [folder(b"a")],
    ],
    "a whiteout hides a tree": [[folder(b"a"), folder(b"a/b"), file(b"a/b/c")], [
        whiteout_entry(b"a"),
    ]],
    "a whiteout and the same name again": [
        [folder(b"a"), file(b"a/x")], [folder(b"a"), file(b"a/y"), whiteout_entry(b"a")],
    ],
    "a whiteout after the name": [[file(b"a", b"1")], [file(b"a", b"2"), whiteout_entry(b"a")]],
    "a whiteout before the name": [[file(b"a", b"1")], [whiteout_entry(b"a"), file(b"a", b"2")]],
    "an opaque directory": [
        [folder(b"a"), file(b"a/x"), folder(b"a/d"), file(b"a/d/y")],
        [folder(b"a"), file(b"a/z"), opaque_entry(b"a")],
    ],
    "an opaque root": [[file(b"x"), folder(b"d")], [opaque_entry(b""), file(b"y")]],
    "a whiteout in an opaque directory": [
        [folder(b"a"), file(b"a/x"), file(b"a/y")],
        [folder(b"a"), opaque_entry(b"a"), whiteout_entry(b"a/x"), file(b"a/z")],
    ],
    "whiteouts twice, and of nothing": [
        [folder(b"d"), file(b"a")], [whiteout_entry(b"a"), whiteout_entry(b"a"), folder(b"d"),
        whiteout_entry(b"d/none"), opaque_entry(b"d"), opaque_entry(b"d")],
    ],
    "a hardlink survives its target": [
        [file(b"a", b"1"), link(b"b", b"a"), link(b"c", b"b")], [whiteout_entry(b"a")],
    ],
    "a hardlink keeps what its target was": [
        [file(b"a", b"1"), link(b"b", b"a")], [file(b"a", b"22")],
    ],
    "a hardlink to a lower layer": [[file(b"a", b"1", 0o4711)], [link(b"b", b"a")]],
    "a hardlink to a lower hardlink": [
        [file(b"z", b"1"), link(b"a", b"z")], [whiteout_entry(b"z")], [link(b"b", b"a")],
    ],
    "a hardlink to a symlink": [[symlink(b"s", b"x"), link(b"h", b"s")]],
    "an entry twice": [[file(b"a", b"1"), link(b"b", b"a"), file(b"a", b"2"), link(b"c", b"a")]],
    "a deleted name comes back later": [
        [folder(b"a"), file(b"a/x")], [whiteout_entry(b"a")], [folder(b"a"), file(b"a/y")],
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_cases_like_umoci(tmp_path: Path, case: str) -> None:
    layers = CASES[case]
    root = umoci_unpack(tmp_path, [tarred(layer) for layer in layers])
    tree = overlay([bound(layer, tmp_path) for layer in layers])
    assert shown(tree) == shown_on_host(root)
    assert groups(tree) == groups_on_host(root)


def test_order_and_parents() -> None:
    tree = laid([file(b"b/c/d", b"1"), file(b"a-"), file(b"a/x")])
    assert list(tree) == [b"", b"a", b"a/x", b"a-", b"b", b"b/c", b"b/c/d"]
    assert len(tree) == 7
    assert (tree[b"b/c"].kind, tree[b"b/c"].mode) == (EntryKind.DIRECTORY, 0o755)
    assert tree.names(b"") == (b"a", b"a-", b"b")
    assert tree.names(b"a-") == tree.names(b"none") == ()
    assert b"a" in tree
    assert b"none" not in tree
    assert tree.size_bytes == 1
    assert repr(tree) == "<Tree: 7 entries, 1 bytes>"


def test_flattened_hardlinks_begin_with_a_file(tmp_path: Path) -> None:
    layer = [file(b"m", b"data", 0o4755), link(b"z", b"m"), link(b"a", b"m")]
    tree = overlay([bound(layer, tmp_path), [whiteout_entry(b"m")]])
    entries = {e.path: e for e in tree.entries()}
    assert (entries[b"a"].kind, entries[b"a"].mode) == (EntryKind.FILE, 0o4755)
    assert entries[b"a"].read() == b"data"
    assert (entries[b"z"].kind, entries[b"z"].linkname) == (EntryKind.HARDLINK, b"a")
    assert tree.size_bytes == 4
    again = overlay([list(read_tar([tar_bytes(tree.entries())]))])
    assert groups(again) == {frozenset({b"a", b"z"})}


def test_below_a_lower_symlink_stands_a_directory() -> None:
    """By names: the symlink is hidden, as an overlay file system hides it."""
    tree = laid([folder(b"usr/lib"), symlink(b"lib", b"usr/lib")], [file(b"lib/x")])
    assert tree[b"lib"].kind is EntryKind.DIRECTORY
    assert b"usr/lib/x" not in tree


def test_aufs_leftovers_mean_nothing() -> None:
    tree = laid(
        [file(b".wh..wh.aufs"), folder(b".wh..wh.plnk"), file(b".wh..wh.plnk/1.2"), file(b"a")],
        [link(b".wh.a", b".wh..wh.aufs")],
    )
    assert list(tree) == [b""]


@pytest.mark.parametrize("path", [b".wh.", b"a/.wh..", b".wh...", b".wh.a/b"])
def test_bad_whiteouts(path: bytes) -> None:
    with pytest.raises(UnsafePathError):
        overlay([[file(path)]])


@pytest.mark.parametrize(
    "layers",
    [
        [[link(b"a", b"none")]],
        [[link(b"a", b"b"), file(b"b")]],
        [[file(b"b")], [whiteout_entry(b"b"), link(b"a", b"b")]],
        [[folder(b"b")], [link(b"a", b"b")]],
        [[file(b"b"), link(b"", b"b")]],
    ],
)
def test_hardlinks_to_nothing(layers: list[list[Entry]]) -> None:
    with pytest.raises(ArchiveError):
        overlay(layers)
