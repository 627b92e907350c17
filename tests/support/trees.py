"""Trees of files as values: random ones on disk, and their NARs spelled out naively."""

from __future__ import annotations

import dataclasses
import os
import random
import string
from collections.abc import Iterator
from pathlib import Path

NAMES = [
    b"a", b"A", b"B", b"b", b"ab", b"a.b", b"a-b", b"a b", b".hidden", b"..double", b"...", b"-",
    b"caf\xc3\xa9", b"\xff\xfe", b"\x80", b"new\nline", b"tab\t", b"quote\"'", b"a~nix~case~hack~1",
    b"\xe6\x97\xa5\xe6\x9c\xac", b"*", b"?", b"$(x)", b"\\", b"x" * 255, b"~", b"#", b"%41",
    b"=", b"a\x01",
]  # fmt: skip
TARGETS = [
    b"a", b"..", b"/", b"/etc/passwd", b"../../..", b"/nix/store/no-such", b"\xff", b"a b\n",
    b"t" * 4095, b".",
]  # fmt: skip
MODES = [0o644, 0o755, 0o010, 0o001, 0o100, 0o654, 0o444, 0o4755, 0o2711, 0o700, 0o111, 0o000]
SIZES = [0, 1, 7, 8, 9, 100, 4095, 4096, 4097, 70_000]


@dataclasses.dataclass(frozen=True)
class File:
    data: bytes
    executable: bool = False


@dataclasses.dataclass(frozen=True)
class Link:
    target: bytes


Tree = File | Link | dict[bytes, "Tree"]


def text(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data + b"\0" * (-len(data) % 8)


def node(tree: Tree) -> bytes:
    """What stands for a tree in a NAR, written down as the thesis on Nix has it."""
    if isinstance(tree, File):
        mark = text(b"executable") + text(b"") if tree.executable else b""
        inner = text(b"regular") + mark + text(b"contents") + text(tree.data)
    elif isinstance(tree, Link):
        inner = text(b"symlink") + text(b"target") + text(tree.target)
    else:
        inner = text(b"directory") + b"".join(
            text(b"entry") + text(b"(") + text(b"name") + text(name)
            + text(b"node") + node(tree[name]) + text(b")")
            for name in sorted(tree)
        )  # fmt: skip
    return text(b"(") + text(b"type") + inner + text(b")")


def nar(tree: Tree) -> bytes:
    return text(b"nix-archive-1") + node(tree)


def paths(tree: Tree, prefix: bytes = b"") -> Iterator[tuple[bytes, Tree]]:
    """Every path with what is there, in the order of a NAR."""
    yield prefix, tree
    if isinstance(tree, dict):
        for name in sorted(tree):
            yield from paths(tree[name], prefix + b"/" + name if prefix else name)


def write_random(place: Path, seed: int) -> None:
    """Write a random tree to `place`: most often a directory, sometimes a file or a symlink."""
    rng = random.Random(seed)
    kind = rng.choices(["directory", "file", "link"], [8, 1, 1])[0]
    _write(os.fsencode(place), rng, kind, 0)


def _write(place: bytes, rng: random.Random, kind: str, depth: int) -> None:
    if kind == "link":
        os.symlink(rng.choice(TARGETS), place)
    elif kind == "file":
        with open(place, "wb") as file:
            file.write(rng.randbytes(rng.choice(SIZES)))
        # Whoever is not root must be able to read it, Nix too.
        os.chmod(place, rng.choice(MODES) | (0 if os.getuid() == 0 else 0o400))
    else:
        os.mkdir(place)
        for name in rng.sample(NAMES, rng.choice([0, 1, 3, 8])):
            inner = rng.choices(["directory", "file", "link"], [3 if depth < 4 else 0, 5, 2])[0]
            _write(place + b"/" + name, rng, inner, depth + 1)
        os.chmod(place, rng.choice([0o755, 0o700, 0o555, 0o1777, 0o2755]))


def random_name(rng: random.Random) -> str:
    """A name that a store path may have."""
    characters = string.ascii_letters + string.digits + "+-._?="
    return "n" + "".join(rng.choices(characters, k=rng.choice([0, 1, 5, 30, 210])))
