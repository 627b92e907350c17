"""Packages of one file: what stands where, what is refused, what the key depends on."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import ArgumentTypeError
from nbdock.filetree import EntryKind, write_tar
from nbdock.packages import Package, script, text_file


def as_tar(package: Package) -> tarfile.TarFile:
    pieces: list[bytes] = []
    write_tar(package.entries(), lambda piece: pieces.append(bytes(piece)))
    return tarfile.open(fileobj=io.BytesIO(b"".join(pieces)))


def test_a_text_file_stands_at_its_path_and_belongs_to_root() -> None:
    package = text_file("/etc/app/motd", "grüezi\n")
    assert (package.name, package.version, package.root, str(package)) == ("motd", "", "/", "")
    assert package.size_bytes == 8
    with as_tar(package) as tar:
        assert [(m.name, m.type, m.mode) for m in tar] == [
            ("etc", tarfile.DIRTYPE, 0o755),
            ("etc/app", tarfile.DIRTYPE, 0o755),
            ("etc/app/motd", tarfile.REGTYPE, 0o644),
        ]
        assert all((m.uid, m.gid, m.uname, m.gname, m.mtime) == (0, 0, "root", "root", 1)
                   for m in tar.getmembers())  # fmt: skip
        assert tar.extractfile("etc/app/motd").read().decode() == "grüezi\n"  # type: ignore[union-attr]


def test_a_script_is_a_program_with_an_interpreter() -> None:
    *_, program = script("hello", "echo hello\n", interpreter="/bin/bash -e").entries()
    assert (program.path, program.mode, program.kind) == (b"bin/hello", 0o755, EntryKind.FILE)
    assert program.read() == b"#!/bin/bash -e\necho hello\n"
    own = script("tool", "#!/usr/bin/env python3\nprint(1)\n", interpreter="/bin/sh")
    *_, program = own.entries()
    assert program.read() == b"#!/usr/bin/env python3\nprint(1)\n"


def test_bytes_and_modes_are_taken_as_they_are() -> None:
    *_, entry = text_file("bin/tool", b"\x7fELF\xff", mode=0o4755, name="own").entries()
    assert (entry.read(), entry.mode) == (b"\x7fELF\xff", 0o4755)
    assert text_file("a/b", "", name="own").name == "own"


@given(st.lists(st.sampled_from("ab0/'\"\\é"), max_size=8).map("".join), st.text(max_size=8))
def test_every_path_is_taken_or_refused_and_never_leaves_the_tree(path: str, text: str) -> None:
    try:
        *parents, file = text_file(path, text).entries()
    except ArgumentTypeError:
        assert not path.strip("/") or path.endswith("/") or "//" in path
        return
    assert file.path.decode() == path.removeprefix("/")
    assert [p.path for p in parents] == [
        file.path[:i] for i, c in enumerate(file.path) if c == ord("/")
    ]
    assert file.read().decode() == text


@pytest.mark.parametrize(
    "path",
    ["", "/", "etc/", "..", "../x", "etc/../x", "./x", "etc/./x", "a//b", "//a", "a\0b", "a\nb"],
)
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(ArgumentTypeError, match="path"):
        text_file(path, "")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0", "a\n", None, 3])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ArgumentTypeError):
        script(name, "")


@pytest.mark.parametrize("mode", [-1, 0o10000, True, "644", 1.5])
def test_modes_that_are_refused(mode: int) -> None:
    with pytest.raises(ArgumentTypeError, match="mode"):
        text_file("a", "", mode=mode)


def test_other_wrong_types_are_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="text"):
        text_file("a", 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="path"):
        text_file(b"a", "")  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="text"):
        script("a", b"")  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="Unicode"):
        text_file("a", "\udc80")
    for interpreter in ("sh", "", "/bin/sh\nrm"):
        with pytest.raises(ArgumentTypeError, match="interpreter"):
            script("a", "", interpreter=interpreter)


def test_the_key_is_the_content() -> None:
    base = text_file("etc/a", "text")
    assert base.key == text_file("/etc/a", b"text").key
    assert base == text_file("etc/a", "text")
    others = [
        text_file("etc/b", "text"),
        text_file("etc/a", "text "),
        text_file("etc/a", "text", mode=0o600),
        text_file("etc/a", "text", name="b"),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5
