"""The QMP connection to one QEMU: commands, descriptors and events.

A thin layer over `qemu.qmp`, which has no deadlines (whoever waits sets them) and as many kinds of
errors as a connection can end in: here a command that QEMU refuses is a `VmError`, and a connection
that is gone a `ConnectionError`, for why it is gone is to be asked of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from nbdock.errors import UnavailableError, VmError

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

__all__ = ["Disk", "Monitor"]

_CLOSE_TIMEOUT_S: Final = 2.0


@dataclasses.dataclass(frozen=True)
class Disk:
    """What a machine gets as a disk: an open file, which stays the caller's, and its number.

    `slot` is the slot that it is put into, of those that the machine has (`nbdock.vm.qemu.SLOTS`);
    one without is plugged in.
    """

    fd: int
    number: int
    read_only: bool = True
    slot: int | None = None


class Monitor:
    """One connection, used once; `on_event` is called with each event's name and data.

    Raises
    ------
    UnavailableError
        The package `qemu.qmp` is not installed.
    """

    def __init__(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        try:
            # Not at the top: it is an extra, and takes a tenth of a second.
            from qemu.qmp import QMPClient
        except ImportError as error:
            raise UnavailableError(
                "Virtual machines need the Python package qemu.qmp.",
                hint="pip install 'nbdock[vm]'",
            ) from error
        self._client: QMPClient = QMPClient()
        self._on_event = on_event
        self._watching: asyncio.Task[None] | None = None
        # One descriptor at a time: QEMU takes the last it was sent for what a command means.
        self._sending = asyncio.Lock()

    async def connect(self, channel: socket.socket) -> None:
        """Take over the socket, and negotiate."""
        from qemu.qmp import QMPError

        try:
            await self._client.connect(channel)
        except (QMPError, AssertionError) as error:  # what it asserts, a QEMU can end just before
            raise ConnectionError(str(error)) from error
        finally:
            if self._client.runstate.name == "IDLE":
                channel.close()
        self._watching = asyncio.create_task(self._watch())

    async def execute(self, command: str, **arguments: object) -> Any:
        """Execute a command; `-` in the names of arguments is written `_`."""
        from qemu.qmp import ExecuteError, QMPError

        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            return await self._client.execute(command, named)
        except ExecuteError as error:
            raise VmError(f"QEMU refused the command {command}: {error}.") from error
        except QMPError as error:
            raise ConnectionError(str(error)) from error

    async def hand_over(self, fd: int) -> str:
        """Give QEMU an open file, which it may use as often as it likes by the path returned."""
        async with self._sending:
            with contextlib.suppress(OSError):
                self._client.send_fd_scm(fd)
            answer = await self.execute("add-fd")
        return f"/dev/fdset/{answer['fdset-id']}"

    async def give(self, fd: int, name: str) -> None:
        """Give QEMU an open file under a name, which the next command that says ``fd:`` uses up."""
        async with self._sending:
            with contextlib.suppress(OSError):
                self._client.send_fd_scm(fd)
            await self.execute("getfd", fdname=name)

    async def plug(self, disks: Sequence[Disk]) -> None:
        """Put disks into their slots, or plug them in as logical units of one SCSI target."""
        paths = [await self.hand_over(disk.fd) for disk in disks]
        for disk, path in zip(disks, paths, strict=True):
            read_only = disk.read_only
            file = {"driver": "file", "filename": path, "read-only": read_only, "locking": "off"}
            if disk.slot is not None:
                await self.execute("blockdev-add", node_name=f"file{disk.slot}", **file)
                slot = {"driver": "raw", "node-name": f"slot{disk.slot}", "read-only": read_only}
                options = [{**slot, "file": f"file{disk.slot}"}]
                await self.execute("blockdev-reopen", options=options)
                continue
            await self.execute(
                "blockdev-add", driver="raw", node_name=f"disk{disk.number}", read_only=read_only,
                file=file, cache={"no-flush": True},
            )  # fmt: skip
            await self.execute(
                "device_add", driver="scsi-hd", bus="scsi.0", drive=f"disk{disk.number}",
                id=f"plugged{disk.number}", scsi_id=0, lun=disk.number,
            )  # fmt: skip

    async def ended(self) -> None:
        """Return when the connection is gone and every event that came over it was told."""
        while self._client.runstate.name == "RUNNING":
            await self._client.runstate_changed()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        for event in self._client.events.clear():
            self._on_event(event["event"], event.get("data", {}))  # type: ignore[arg-type]

    async def close(self) -> None:
        """End the connection, in whatever state it is."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        # It tells again what ended the connection, which is known.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._client.disconnect(), _CLOSE_TIMEOUT_S)

    async def _watch(self) -> None:
        async for event in self._client.events:
            self._on_event(event["event"], event.get("data", {}))  # type: ignore[arg-type]
