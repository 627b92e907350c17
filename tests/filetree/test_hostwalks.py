"""Walking many directories, alone and with a second process."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from nbdock.filetree import hostwalks
from nbdock.filetree.hostwalks import Walk, walk_all


@pytest.fixture
def roots(tmp_path: Path) -> list[bytes]:
    for number in range(40):
        place = tmp_path / f"{number}"
        (place / "a" / "b").mkdir(parents=True)
        (place / "a" / f"f{number}").write_text("x" * number)
        (place / "a.b").touch()
        os.close(os.open(os.fsencode(place) + b"/\xff\n", os.O_CREAT | os.O_WRONLY))
        (place / "link").symlink_to("a")
    return [os.fsencode(tmp_path / f"{number}") for number in range(40)]


def records(walks: list[Walk | OSError]) -> list[bytes]:
    assert all(isinstance(one, Walk) for one in walks)
    return [one.record for one in walks if isinstance(one, Walk)]


def test_facts_are_those_of_lstat(roots: list[bytes]) -> None:
    facts = list(Walk.of(roots[3]).facts())
    assert [path for path, _ in facts] == [
        b"", b"a", b"a/b", b"a/f3", b"a.b", b"link", b"\xff\n",
    ]  # fmt: skip
    for path, fact in facts:
        status = os.lstat(os.path.join(roots[3], path))
        assert fact == (
            status.st_mode, status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns,
            status.st_ctime_ns, status.st_ino, status.st_dev, status.st_rdev,
        )  # fmt: skip


def test_a_second_process_finds_the_same(
    roots: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = records(walk_all(roots))
    helped: list[int] = []
    monkeypatch.setattr(hostwalks, "_ALONE_S", -1.0)
    monkeypatch.setattr(hostwalks.os, "cpu_count", lambda: 2)
    real = hostwalks._Helper.__exit__

    def count(self: hostwalks._Helper, *rest: object) -> None:
        real(self, *rest)
        helped.append(len(self.found))

    monkeypatch.setattr(hostwalks._Helper, "__exit__", count)
    many = roots * 200  # long enough for the process to start
    together = records(walk_all(many))
    assert together == alone * 200
    assert helped[0] > 0


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python", ""])
def test_without_a_working_helper_all_is_walked_here(
    program: str, roots: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostwalks, "_ALONE_S", -1.0)
    monkeypatch.setattr(sys, "executable", program)
    assert records(walk_all(roots)) == [Walk.of(root).record for root in roots]


def test_what_cannot_be_walked_is_an_error_of_its_own(
    roots: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostwalks, "_ALONE_S", -1.0)
    roots[-2] = b"/nowhere/at/all"
    found = walk_all(roots)
    assert isinstance(found[-2], FileNotFoundError)
    assert sum(isinstance(one, Walk) for one in found) == 39


def test_a_single_file_is_walked_too(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("abc")
    ((path, fact),) = Walk.of(os.fsencode(tmp_path / "f")).facts()
    assert path == b""
    assert stat.S_ISREG(fact.mode)
    assert fact.size_bytes == 3
