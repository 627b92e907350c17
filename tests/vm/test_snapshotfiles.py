"""What is found under a key is what was written under it, or nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machines import small_disk

from nbdock.errors import StorageFullError
from nbdock.vm.snapshotfiles import forget_oldest, open_snapshot, seal, snapshot_path, writing

KEY, OTHER = "1f" * 32, "0a" * 32
STREAM = os.urandom(300_000)

pytestmark = pytest.mark.usefixtures("nbdock_home")


def write(key: str, stream: bytes = STREAM) -> Path:
    with writing(key) as file:
        # As QEMU does: through the descriptor, from where it stands.
        os.write(file.fd, stream)
        seal(file, key)
    return Path(snapshot_path(key))


def test_what_was_written_is_found() -> None:
    path = write(KEY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with open_snapshot(KEY) as snapshot:
        assert snapshot.verify()
        assert os.read(snapshot.fd, 400_000) == STREAM
        assert snapshot.verify()
        snapshot.discard()
        assert snapshot.verify(), "what is open can be read to its end"
    assert open_snapshot(KEY) is None


def test_there_is_none(nbdock_home: Path) -> None:
    assert open_snapshot(KEY) is None
    assert not (nbdock_home / "vm").exists()


@pytest.mark.parametrize("length", [0, 1, 59, 60, 61, 60 + 299_999])
def test_one_that_is_cut_off_is_removed(length: int) -> None:
    path = write(KEY)
    path.chmod(0o600)
    os.truncate(path, length)
    assert open_snapshot(KEY) is None
    assert not path.exists()


def test_one_that_is_longer_or_another_file_is_removed() -> None:
    path = write(KEY)
    with path.open("ab") as file:
        file.write(b"x")
    assert open_snapshot(KEY) is None
    path.write_bytes(b"something else" * 100)
    assert open_snapshot(KEY) is None
    assert not path.exists()


def test_one_of_another_key_is_removed() -> None:
    path = write(OTHER)
    path.rename(snapshot_path(KEY))
    assert open_snapshot(KEY) is None
    assert not Path(snapshot_path(KEY)).exists()


@pytest.mark.parametrize("position", [60, 150_000, 60 + 299_999])
def test_a_single_byte_that_is_another_is_noticed(position: int) -> None:
    path = write(KEY)
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 1]))
    with open_snapshot(KEY) as snapshot:
        assert not snapshot.verify()
    assert path.exists(), "only who has noticed removes it"


def test_one_that_was_not_sealed_is_none() -> None:
    with writing(KEY) as file:
        os.write(file.fd, STREAM)
    assert open_snapshot(KEY) is None
    assert not Path(snapshot_path(KEY)).exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    path = write(KEY)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert open_snapshot(KEY) is None


def test_an_error_while_writing_leaves_nothing(nbdock_home: Path) -> None:
    with pytest.raises(KeyError), writing(KEY) as file:
        os.write(file.fd, b"half")
        raise KeyError
    assert open_snapshot(KEY) is None
    assert list((nbdock_home / "vm" / "tmp").iterdir()) == []


def test_a_writer_that_is_killed_leaves_nothing(nbdock_home: Path) -> None:
    code = """
import os, signal
from nbdock.vm.snapshotfiles import writing
with writing("1f" * 32) as file:
    os.write(file.fd, b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(list((nbdock_home / "vm" / "tmp").iterdir())) == 1
    assert open_snapshot(KEY) is None
    # The next to write anything there tidies up.
    write(OTHER)
    assert list((nbdock_home / "vm" / "tmp").iterdir()) == []


@pytest.fixture
def small_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "1m") as home:
        monkeypatch.setenv("NBDOCK_HOME", str(home))
        yield home


def test_a_disk_that_is_full_is_an_error_and_leaves_nothing(small_home: Path) -> None:
    with pytest.raises(StorageFullError), writing(KEY) as file:
        file.write(bytes(2 << 20))
    assert open_snapshot(KEY) is None
    assert [p for p in small_home.rglob("*") if p.is_file()] == []


def test_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{n:064x}" for n in range(5)]
    for when, key in enumerate(keys):
        os.utime(write(key, bytes(1000)), (when, when))
    stranger = Path(snapshot_path(KEY)).with_name("notes.txt")
    stranger.write_bytes(bytes(10_000))
    # Of a process that was killed.
    lock = Path(f"{snapshot_path(OTHER)}.lock")
    lock.touch()
    monkeypatch.setenv("NBDOCK_VM_SNAPSHOTS_LIMIT_BYTES", "4000")
    # The first was used a moment ago.
    with open_snapshot(keys[0]):
        forget_oldest(keep=keys[2])
    assert [Path(snapshot_path(key)).exists() for key in keys] == [
        True, False, True, False, True
    ]  # fmt: skip
    monkeypatch.setenv("NBDOCK_VM_SNAPSHOTS_LIMIT_BYTES", "1")
    forget_oldest(keep=keys[2])
    assert [Path(snapshot_path(key)).exists() for key in keys] == [False, False, True, False, False]
    assert stranger.exists()
    assert not lock.exists()
