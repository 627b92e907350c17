"""A lock file lets one in at a time: tasks, threads' loops and processes alike."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nbdock.content import only_one
from nbdock.content.lockfile import remove_unheld
from nbdock.errors import ContentError

HOLDER = """
import asyncio, sys
from nbdock.content import only_one

async def hold():
    async with only_one(sys.argv[1], "test"):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(hold())
"""


async def test_one_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    path = str(tmp_path / "made" / "x.lock")
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        async with only_one(path, "test"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(20)))
    assert most == 1
    assert list((tmp_path / "made").iterdir()) == []


async def test_a_process_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        await asyncio.to_thread(holder.stdout.readline)
        with pytest.raises(BlockingIOError):
            remove_unheld(str(path))

        async def wait() -> None:
            async with only_one(str(path), "test"):
                assert holder.wait(240) == -signal.SIGKILL

        waiting = asyncio.create_task(wait())
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        holder.kill()
        await asyncio.to_thread(holder.wait)
        await waiting
    assert not path.exists()


async def test_whoever_is_cancelled_while_waiting_leaves_the_lock_to_its_owner(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "x.lock")
    async with only_one(path, "test"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), only_one(path, "test"):
                raise AssertionError
        with pytest.raises(BlockingIOError):
            remove_unheld(path)


async def test_what_cannot_be_made_is_an_error_that_says_for_what(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ContentError, match="Cannot make a snapshot"):
        async with only_one(str(tmp_path / "file" / "x.lock"), "make a snapshot"):
            raise AssertionError
