"""What a script changed, as a layer: the kernel's own overlay file system says what is right."""

from __future__ import annotations

import random
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.entries import file
from support.overlays import EVERYTHING, base_entries, facts, kernel_overlay, lower_directory

from nbdock import settings
from nbdock.errors import ArchiveError, TruncatedArchiveError, UnsafePathError, VmError
from nbdock.filetree import (
    Entry,
    EntryKind,
    opaque_entry,
    overlay,
    parse_whiteout,
    read_tar,
    squash,
    tar_bytes,
    whiteout_entry,
)
from nbdock.vm import read_changes


def layer_of(tar: Path, place: Path, **arguments: object) -> Path:
    """The tar of the layer that an upper directory is."""
    place.write_bytes(tar_bytes(read_changes(tar, created=7, **arguments)))  # type: ignore[arg-type]
    return place


def test_everything_a_script_can_do(tmp_path: Path) -> None:
    """What it saw is what the layer on the base gives, by our own rules and by the kernel's."""
    base = base_entries()
    lower = lower_directory(base, tmp_path / "base")
    script = EVERYTHING + "setfattr -n user.empty attr/f; setfacl -d -m u:7:rx attr"
    tars = kernel_overlay([lower], tmp_path / "first", script)
    layer = layer_of(tars.changes, tmp_path / "layer.tar")
    seen = facts(overlay([read_tar(tars.tree)]))
    assert len(seen) > 70
    assert facts(overlay([base, read_tar(layer)])) == seen
    assert facts(overlay([base, read_changes(tars.changes, created=7)])) == seen

    upper = lower_directory(read_tar(layer), tmp_path / "upper")
    again = kernel_overlay([lower, upper], tmp_path / "second", "chmod 711 .; chown 1:2 .")
    assert facts(overlay([read_tar(again.tree)])) == seen

    # Squashed, it hides nothing that is not there, and has the same effect.
    short = list(squash([read_tar(layer)], base=overlay([base])))
    assert facts(overlay([base, short])) == seen
    assert [e.path for e in short if parse_whiteout(e.path)] == [
        b".wh.moved", b"etc/.wh.motd", b"etc/conf.d/.wh.b", b"etc/old/.wh..wh..opq",
        b"opt/keep/.wh.1",
    ]  # fmt: skip

    # The same again gives the same bytes, whenever and wherever.
    once_more = kernel_overlay([lower], tmp_path / "third", script)
    assert layer_of(once_more.changes, tmp_path / "same").read_bytes() == layer.read_bytes()
    entries = list(read_tar(layer))
    assert {e.mtime for e in entries} == {7}
    assert {e.uname + e.gname for e in entries} == {""}
    assert not any(name.startswith("trusted.overlay") for e in entries for name in e.xattrs)


def random_script(seed: int) -> str:
    """Commands that mostly work, on a few names, so that they meet again and again."""
    chance = random.Random(seed)

    def path() -> str:
        return "/".join(chance.choice("abc") for _ in range(chance.randint(1, 3)))

    forms = (
        "rm -rf {}", "rm -f {}", "mkdir -p {}", "mkdir -m 711 {}", "echo $RANDOM > {}",
        "chmod 700 {}",
        "ln {} {}", "ln -sfn x {}", "mv -Tf {} {}", "mv {} {}", "cp -a {} {}", "chown 3:4 {}",
        "rmdir {}", "mknod {} c 1 3", "setfattr -n user.x -v 1 {}", "mv --exchange {} {}",
    )  # fmt: skip
    commands = [chance.choice(forms).format(path(), path()) for _ in range(60)]
    return "RANDOM=1\n" + "".join(f"{command} 2>/dev/null || true\n" for command in commands)


@pytest.mark.parametrize("seed", range(12))
def test_random_scripts_one_after_the_other(seed: int, tmp_path: Path) -> None:
    """Each on what the last one left, as a lower layer of it: the tree is what the kernel shows."""
    layers: list[list[Entry]] = []
    lowers = [tmp_path / "empty"]
    lowers[0].mkdir()
    for number in range(3):
        tars = kernel_overlay(lowers, tmp_path / f"run{number}", random_script(3 * seed + number))
        layers.append(list(read_changes(tars.changes, created=7)))
        lowers.append(lower_directory(layers[-1], tmp_path / f"layer{number}"))
        seen = facts(overlay([read_tar(tars.tree)]))
        assert facts(overlay(layers)) == seen
    assert facts(overlay([squash(layers, base=overlay([]))])) == seen
    upper = squash(layers[1:], base=overlay(layers[:1]))
    assert facts(overlay([layers[0], upper])) == seen


@pytest.mark.parametrize("seed", range(12))
def test_layers_that_name_no_directories(seed: int, tmp_path: Path) -> None:
    """Other tools leave out the directories that lead to a file: they are what they were."""
    chance = random.Random(seed)
    layers: list[list[Entry]] = []
    lowers: list[Path] = []
    for number in range(4):
        layer: dict[bytes, Entry] = {}
        below = overlay(layers)
        for _ in range(7):
            path = b"/".join(chance.choice([b"a", b"b"]) for _ in range(chance.randint(1, 3)))
            parents = {path[:end] for end in range(len(path)) if path[end : end + 1] == b"/"}
            kinds = [layer[p].kind for p in parents if p in layer]
            if any(kind is not EntryKind.DIRECTORY for kind in kinds):
                continue
            forms = [
                file(path, b"%d" % number), Entry(path, EntryKind.DIRECTORY, 0o711, uid=number),
                whiteout_entry(path), opaque_entry(path),
            ]  # fmt: skip
            entry = chance.choice(forms[: 4 if path in below else 2])
            # A directory that is only said to be opaque is one here, but not in our trees.
            if entry.path.endswith(b".opq"):
                layer.setdefault(path, Entry(path, EntryKind.DIRECTORY, 0o701, uid=number))
            if not any(other.startswith(entry.path + b"/") for other in layer):
                layer[entry.path] = entry
        layers.append(list(layer.values()))
        lowers.append(lower_directory(layers[-1], tmp_path / f"layer{number}", below=below))
    seen = facts(overlay([read_tar(kernel_overlay(lowers, tmp_path / "seen").tree)]))
    expected = facts(overlay(layers))
    assert {p: seen[p] for p in seen if p} == {p: expected[p] for p in expected if p}


def folder(path: bytes, mode: int = 0o755, **xattrs: bytes) -> Entry:
    return Entry(
        path, EntryKind.DIRECTORY, mode,
        xattrs={f"trusted.overlay.{name}": value for name, value in xattrs.items()},
    )  # fmt: skip


def link(path: bytes, target: bytes) -> Entry:
    return Entry(path, EntryKind.HARDLINK, linkname=target)


def device(path: bytes, major: int, minor: int) -> Entry:
    return Entry(path, EntryKind.CHARACTER_DEVICE, device_major=major, device_minor=minor)


def changes(tmp_path: Path, entries: Iterable[Entry], **arguments: object) -> list[Entry]:
    """What is read of an upper directory that has these."""
    (tmp_path / "upper.tar").write_bytes(tar_bytes(entries, prefix=b"./"))
    return list(read_changes(tmp_path / "upper.tar", created=7, **arguments))  # type: ignore[arg-type]


def test_what_is_a_whiteout(tmp_path: Path) -> None:
    block = Entry(b"b", EntryKind.BLOCK_DEVICE)
    found = changes(tmp_path, [
        folder(b"d", opaque=b"y", origin=b"", impure=b"y"), device(b"d/c", 0, 0),
        device(b"z", 0, 1), device(b"null", 1, 0), block, device(b"gone", 0, 0),
    ])  # fmt: skip
    assert [(e.path, e.kind.value) for e in found] == [
        (b".wh.gone", "file"), (b"b", "block device"), (b"d", "directory"),
        (b"d/.wh..wh..opq", "file"), (b"d/.wh.c", "file"), (b"null", "character device"),
        (b"z", "character device"),
    ]  # fmt: skip
    assert not any(e.xattrs for e in found)
    assert {e.mtime for e in found} == {7}


def test_what_is_not_of_the_image(tmp_path: Path) -> None:
    """Mount points and tools are not there; of a file with a name elsewhere, that one has it."""
    upper = [
        folder(b""), folder(b"bin"), folder(b"dev", opaque=b"y"), folder(b"nix"),
        folder(b"nix/store"), folder(b"nix/store/tool"), file(b"nix/store/tool/f", b"data"),
        device(b"nix/store/tool/gone", 0, 0), link(b"opt", b"nix/store/tool/f"), folder(b"proc"),
        file(b"proc-not"), folder(b"run"), folder(b"run/secrets"), file(b"run/secrets/key"),
        folder(b"var", opaque=b"y"), folder(b"var/tmp"), link(b"z", b"nix/store/tool/f"),
    ]  # fmt: skip
    found = changes(
        tmp_path, upper, without=[b"dev", b"proc", b"/nix/store/tool", b"run/secrets/", b"var/tmp"]
    )
    assert [e.path for e in found] == [
        b"bin",
        b"opt",
        b"proc-not",
        b"var",
        b"var/.wh..wh..opq",
        b"z",
    ]
    assert (found[1].kind, found[1].read()) == (EntryKind.FILE, b"data")
    assert (found[-1].kind, found[-1].linkname) == (EntryKind.HARDLINK, b"opt")


def test_the_root(tmp_path: Path) -> None:
    assert changes(tmp_path, [folder(b"", impure=b"y", uuid=b"1")]) == []
    [root] = changes(tmp_path, [folder(b"", 0o700)])
    assert (root.path, root.mode, root.mtime) == (b"", 0o700, 7)
    [root] = changes(tmp_path, [Entry(b"", EntryKind.DIRECTORY, 0o755, xattrs={"user.x": b"y"})])
    assert root.xattrs == {"user.x": b"y"}


@pytest.mark.parametrize("path", [b".wh.x", b"a/.wh..wh..opq", b"a/.wh./b", b".wh.\xff\n"])
def test_names_that_only_whiteouts_have(path: bytes, tmp_path: Path) -> None:
    with pytest.raises(VmError, match=r"no layer can hold names that begin with '\.wh\.'"):
        changes(tmp_path, [file(path)])
    # The same where nobody looks is nobody's business.
    assert changes(tmp_path, [file(b"proc/" + path)], without=[b"proc"]) == []


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (folder(b"d", redirect=b"/x"), "trusted.overlay.redirect.*redirect_dir"),
        (file(b"f", xattrs={"trusted.overlay.metacopy": b""}), "trusted.overlay.metacopy"),
        (file(b"f", xattrs={"trusted.overlay.whiteout": b""}), "trusted.overlay.whiteout"),
        (folder(b"d", opaque=b"x"), "the unknown value b'x'"),
        (file(b"f", xattrs={"trusted.overlay.opaque": b"y"}), "the unknown value b'y'"),
        (link(b"f", b"none"), "hardlink to 'none'"),
    ],
)
def test_no_plain_upper_directory(entry: Entry, says: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=f"(?s){says}"):
        changes(tmp_path, [entry])


def test_holes_are_bytes_of_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a terabyte fits on the smallest disk."""
    with (tmp_path / "lastlog").open("wb") as sparse:
        sparse.truncate(10 << 30)
        sparse.seek(5 << 30)
        sparse.write(b"x")
    tar = tmp_path / "upper.tar"
    subprocess.run(
        ["tar", "--sparse", "--format=posix", "-C", tmp_path, "-cf", tar, "lastlog"], check=True
    )
    assert tar.stat().st_size < 1 << 20
    [entry] = read_changes(tar, created=7)
    assert entry.size_bytes == 10 << 30
    assert settings.current().vm_changes_limit_bytes > 10 << 30
    monkeypatch.setenv("NBDOCK_VM_CHANGES_LIMIT_BYTES", str(9 << 30))
    with pytest.raises(VmError, match=r"'lastlog', which has 10737418240(?s:.*)holes"):
        list(read_changes(tar, created=7))


@pytest.mark.parametrize("keep", [0, 100, 512, 1024, 1500, 2048])
def test_a_tar_that_was_cut(keep: int, tmp_path: Path) -> None:
    data = tar_bytes([folder(b""), file(b"f", bytes(1000))])[:keep]
    (tmp_path / "upper.tar").write_bytes(data)
    with pytest.raises(TruncatedArchiveError):
        list(read_changes(tmp_path / "upper.tar", created=7))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../etc/passwd"])
def test_names_that_lead_outside(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "upper.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(UnsafePathError):
        list(read_changes(tmp_path / "upper.tar", created=7))


def test_twice_the_same_name(tmp_path: Path) -> None:
    """No overlay file system sends that; the last one counts, as when a tar is unpacked."""
    found = changes(tmp_path, [file(b"a", b"1"), file(b"a", b"2"), folder(b"b"), file(b"b")])
    assert [(e.path, e.kind, e.read()) for e in found] == [
        (b"a", EntryKind.FILE, b"2"), (b"b", EntryKind.FILE, b""),
    ]  # fmt: skip
