"""Merged /usr: what every path means stays, told by walking both trees as a kernel does."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.entries import file, folder, symlink

from nbdock.errors import ArchiveError
from nbdock.filetree import Entry, EntryKind
from nbdock.packages.debian.mergedusr import merge_usr, merged_usr_links

ALIASES = ("bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32")


def hardlink(path: str, target: Entry) -> Entry:
    return Entry(path.encode(), EntryKind.HARDLINK, linkname=target.path, target=target)


def walk(tree: dict[str, str | None], path: str, links: int = 40) -> str | None:
    """Where a path leads from the root, following links as a kernel does; None if nowhere."""
    here: list[str] = []
    parts = path.split("/")
    while parts:
        part = parts.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            here = here[:-1]
            continue
        there = "/".join([*here, part])
        if there not in tree:
            return None
        target = tree[there]
        if target is None:
            here = [*here, part]
            continue
        links -= 1
        if links < 0:
            return None
        if target.startswith("/"):
            here = []
        parts = [*target.split("/"), *parts]
    return "/".join(here)


def tree_of(entries: list[Entry]) -> dict[str, str | None]:
    """Paths, each with what a link says or None; parents are there as directories."""
    tree: dict[str, str | None] = {}
    for entry in entries:
        path = entry.path.decode()
        parts = path.split("/")
        for count in range(1, len(parts)):
            tree.setdefault("/".join(parts[:count]), None)
        is_link = entry.kind is EntryKind.SYMLINK
        tree[path] = entry.linkname.decode() if is_link else None
    return tree


def place(path: str) -> str:
    return f"usr/{path}" if path.split("/")[0] in ALIASES else path


FOLDERS = [
    "etc",
    "usr",
    "usr/lib",
    "usr/share/x",
    "lib",
    "lib/a",
    "lib/a/b",
    "bin",
    "sbin",
    "lib64",
]
TARGETS = st.lists(
    st.sampled_from(["..", ".", "usr", "lib", "bin", "etc", "a", "b", "f", "share", "x"]),
    min_size=1, max_size=7,
).map("/".join)  # fmt: skip


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(FOLDERS), st.sampled_from("lmn")).map("/".join),
        st.tuples(st.sampled_from(["", "/", "//"]), TARGETS).map("".join),
        max_size=4,
    )
)
def test_links_mean_the_same(links: dict[str, str]) -> None:
    assume(len({place(path) for path in links}) == len(links))  # deb_entries refuses the others
    before = [file(f"{name}/f") for name in FOLDERS] + [symlink(p, t) for p, t in links.items()]
    after = list(merge_usr(before))
    old, new = tree_of(before), tree_of([*merged_usr_links("unknown"), *after])
    assert not [path for path in new if path.split("/")[0] in ALIASES and "/" in path]
    for path in [e.path.decode() for e in before]:
        meant = walk(old, path)
        # What is in /usr/lib as well as in /lib is one place now, and both lead to it.
        if meant is not None and meant != path:
            assert walk(new, place(path)) == place(meant), (path, links.get(path))


@pytest.mark.parametrize(
    ("path", "target", "moved", "says"),
    [
        ("lib/x86/libz.so.1", "libz.so.1.2", "usr/lib/x86/libz.so.1", "libz.so.1.2"),
        ("lib64/ld.so.2", "../lib/x86/ld.so.2", "usr/lib64/ld.so.2", "../lib/x86/ld.so.2"),
        ("lib64/ld.so.2", "/lib/x86/ld.so.2", "usr/lib64/ld.so.2", "/lib/x86/ld.so.2"),
        ("sbin/e", "../usr/bin/e", "usr/sbin/e", "../bin/e"),
        ("lib/a/b/e", "../../../etc/e", "usr/lib/a/b/e", "../../../../etc/e"),
        ("bin/e", "../../../../etc/e", "usr/bin/e", "../../../../etc/e"),
        ("usr/lib/a/e", "../../../lib/a/e2", "usr/lib/a/e", "../../../lib/a/e2"),
        ("bin/sh", "dash", "usr/bin/sh", "dash"),
        ("library/e", "../lib/e", "library/e", "../lib/e"),
    ],
)
def test_known_links(path: str, target: str, moved: str, says: str) -> None:
    (entry,) = merge_usr([symlink(path, target)])
    assert (entry.path.decode(), entry.linkname.decode()) == (moved, says)


def test_links_that_only_joined_the_two_places_are_gone() -> None:
    entries = [
        symlink("bin/touch", "/usr/bin/touch"),
        file("usr/bin/touch"),
        file("bin/which"),
        symlink("usr/bin/which", "../../bin/which"),
        symlink("usr/bin/loop", "loop"),
    ]
    assert [e.path for e in merge_usr(entries)] == [
        b"usr/bin/touch", b"usr/bin/which", b"usr/bin/loop",
    ]  # fmt: skip


def test_hard_links_follow_their_files() -> None:
    perl = file("bin/perl", b"the program")
    kept = file("usr/bin/kept")
    entries = [
        perl, hardlink("bin/perl5", perl), hardlink("usr/bin/perl6", perl), kept,
        hardlink("usr/bin/other", kept), hardlink("sbin/other", kept),
        hardlink("usr/bin/perl", perl),
    ]  # fmt: skip
    found = list(merge_usr(entries))
    assert [(e.path, e.linkname) for e in found] == [
        (b"usr/bin/perl", b""),
        (b"usr/bin/perl5", b"usr/bin/perl"),
        (b"usr/bin/perl6", b"usr/bin/perl"),
        (b"usr/bin/kept", b""),
        (b"usr/bin/other", b"usr/bin/kept"),
        (b"usr/sbin/other", b"usr/bin/kept"),
    ]
    assert found[1].target is found[0]
    assert found[2].target is found[0]
    assert found[4] is entries[4]
    assert found[5].target is kept


def test_directories_move_and_other_entries_are_untouched() -> None:
    entries = [folder("bin"), folder("lib"), folder("etc"), file("etc/bin"), file("binary")]
    found = list(merge_usr(entries))
    assert [e.path for e in found] == [b"usr/bin", b"usr/lib", b"etc", b"etc/bin", b"binary"]
    assert found[2:] == entries[2:]


def test_the_links_themselves_stay_and_anything_else_in_their_place_is_refused() -> None:
    stays = [symlink("bin", "usr/bin"), symlink("lib", "/usr/lib"), symlink("sbin", "./usr/sbin")]
    assert list(merge_usr(stays)) == stays
    for entry in (
        symlink("lib64", "lib"),
        symlink("bin", "bin"),
        file("bin"),
        hardlink("lib", file("x")),
    ):
        with pytest.raises(ArchiveError, match=entry.path.decode()) as caught:
            list(merge_usr([entry]))
        assert "merged_usr" in str(caught.value)


def test_links_of_an_architecture() -> None:
    def names(architecture: str) -> list[str]:
        return [e.path.decode() for e in merged_usr_links(architecture)]

    assert names("all") == names("arm64") == ["bin", "lib", "sbin"]
    assert names("amd64") == ["bin", "lib", "lib32", "lib64", "libx32", "sbin"]
    assert names("no-such") == sorted(ALIASES)
    for entry in merged_usr_links("amd64"):
        assert (entry.kind, entry.mode, entry.uid) == (EntryKind.SYMLINK, 0o777, 0)
        assert entry.linkname == b"usr/" + entry.path
