"""What is kept of a disk is all that was written to it, and little else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nbdock.errors import VmError
from nbdock.vm.scratch import format_disk, keep_written, new_disk, put_back

pytestmark = pytest.mark.usefixtures("nbdock_home")

SIZE = 300 << 20


def test_a_disk_is_put_back_as_it_was(tmp_path: Path) -> None:
    with new_disk(SIZE) as disk, new_disk(SIZE) as again, (tmp_path / "kept").open("w+b") as file:
        format_disk(disk.fileno())
        os.pwrite(disk.fileno(), b"at the end", SIZE - 10)
        os.write(file.fileno(), b"what stands before")
        keep_written(disk.fileno(), file.fileno())
        os.write(file.fileno(), b"what stands behind")
        assert os.fstat(file.fileno()).st_size < 8 << 20
        os.lseek(file.fileno(), 18, os.SEEK_SET)
        put_back(file.fileno(), again.fileno())
        assert os.read(file.fileno(), 100) == b"what stands behind"
        names = [f"/proc/{os.getpid()}/fd/{each.fileno()}" for each in (disk, again)]
        subprocess.run(["cmp", *names], check=True)
        # (The tool of ext4 itself; a name is all that it takes.)
        os.pwrite(again.fileno(), bytes(10), SIZE - 10)
        subprocess.run(["e2fsck", "-f", "-n", names[1]], check=True, stdout=subprocess.DEVNULL)


def test_an_empty_one(tmp_path: Path) -> None:
    with new_disk(SIZE) as disk, (tmp_path / "kept").open("w+b") as file:
        keep_written(disk.fileno(), file.fileno())
        file.seek(0)
        put_back(file.fileno(), disk.fileno())
        assert os.fstat(disk.fileno()).st_blocks == 0


@pytest.mark.parametrize("kept", [b"", b"\0\0\0\2", b"\0\0\0\1" + b"\xff" * 12])
def test_what_was_not_kept_of_a_disk_is_refused(kept: bytes, tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(kept)
    with (
        new_disk(1 << 20) as disk,
        (tmp_path / "kept").open("rb", buffering=0) as file,
        pytest.raises(VmError),
    ):
        put_back(file.fileno(), disk.fileno())
