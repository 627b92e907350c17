"""What QEMU and its guest say unasked, and how one waits while they may say anything.

Its console, its control port, its log, the monitor's events and how QEMU ends: each is heard at any
time, and nothing is kept of it without a bound. What it means of trouble ends whatever is waited
for with one error.

    listener.listen(process, channels, monitor)
    ready = await listener.expect(Ready, timeout_s, late)      # or the error that came before
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from nbdock import settings
from nbdock.concurrency import in_thread
from nbdock.errors import GuestProtocolError, StorageFullError, VmError
from nbdock.lines import Lines
from nbdock.vm.control import Failed, Message, parse_line
from nbdock.vm.log import Log, keep_last
from nbdock.vm.monitor import Monitor
from nbdock.vm.reception import PIECE_BYTES
from nbdock.vm.state import State
from nbdock.vm.verdict import Death, judge, refusal

__all__ = ["Listener"]

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_CONTROL_LINE_BYTES: Final = 1000
_CONTROL_LINES: Final = 16
_CONSOLE_BYTES: Final = 16 << 10
_CONSOLE_PIECES: Final = 64


class Listener:
    """The ears of one machine.

    Parameters
    ----------
    state
        Gives where the machine is on its way.

    Attributes
    ----------
    log
        Takes what the job's commands write, once there is a job.
    """

    def __init__(self, state: Callable[[], State]) -> None:
        self.log: Log | None = None
        self._state = state
        self._channels: Mapping[str, socket.socket] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._trouble: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._events: list[str] = []
        self._console = bytearray()
        self._stderr = bytearray()

    def listen(
        self,
        process: subprocess.Popen[bytes],
        channels: Mapping[str, socket.socket],
        monitor: Monitor,
    ) -> None:
        """Begin, with a QEMU that has just been started."""
        self._channels = channels
        work = (
            self._read("console", self._take_console),
            self._read("control", self._take_control()),
            self._read("log", self._take_log),
            self._watch(process, monitor),
        )
        self._tasks = [asyncio.create_task(self.beside(each)) for each in work]

    async def close(self) -> None:
        """Listen no longer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def within(
        self, work: Awaitable[T], timeout_s: float, late: Callable[[], Exception]
    ) -> T:
        """Wait for something, for trouble, or for the deadline: what comes first."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait(
                (task, self._trouble),
                timeout=max(timeout_s, 0),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if task.done():
                try:
                    return task.result()
                except (ConnectionError, BrokenPipeError) as error:
                    # QEMU has ended, and why is about to be known.
                    await asyncio.wait(
                        (self._trouble,), timeout=settings.current().vm_stop_timeout_s
                    )
                    if not self._trouble.done():
                        raise VmError(f"The connection to QEMU is gone: {error}.") from error
            if self._trouble.done():
                self._trouble.result()
            raise late()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))

    async def expect(self, kind: type[M], timeout_s: float, late: Callable[[], Exception]) -> M:
        """The next message of the guest, which must be of this kind."""
        message = await self.within(self._messages.get(), timeout_s, late)
        if isinstance(message, Failed):
            # What the guest's programs said of it may not have been read yet.
            with contextlib.suppress(OSError):
                for _ in range(_CONSOLE_PIECES):
                    self._take_console(self._channels["console"].recv(PIECE_BYTES))
            raise refusal(message, console=self.console_text())
        if not isinstance(message, kind):
            raise GuestProtocolError(
                f"The guest said {message} where {kind.__name__} was expected.",
                output=self.console_text(),
            )
        return message

    async def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside what is waited for, which its failure then ends."""
        try:
            await work
        except OSError as error:
            self._fail(VmError(f"The connection to the guest broke: {error}."))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._trouble.done():
            self._trouble.set_exception(error)
            self._trouble.exception()  # it may be that nobody waits any more

    async def _read(self, name: str, take: Callable[[bytes], None]) -> None:
        loop, channel = asyncio.get_running_loop(), self._channels[name]
        with contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(channel, PIECE_BYTES):
                take(data)

    def _take_console(self, data: bytes) -> None:
        keep_last(self._console, data, _CONSOLE_BYTES)

    def _take_control(self) -> Callable[[bytes], None]:
        lines = Lines(_CONTROL_LINE_BYTES)

        def take(data: bytes) -> None:
            for line in lines.feed(data):
                self._messages.put_nowait(parse_line(line))
            if self._messages.qsize() > _CONTROL_LINES:
                raise GuestProtocolError("The guest says more on its control port than it should.")

        return take

    def _take_log(self, data: bytes) -> None:
        if self.log is not None:
            self.log.feed(data)

    def take_event(self, name: str, data: Mapping[str, Any]) -> None:
        """Take what the monitor says has happened to QEMU."""
        self._events.append(f"{name} {data.get('reason', '')}".rstrip())
        if name == "BLOCK_IO_ERROR":
            if data.get("nospace"):
                self._fail(
                    StorageFullError(
                        "This machine's disk is full: the guest cannot write to its own.",
                        hint="Nothing was kept. Free some space where NBDOCK_HOME is.",
                    )
                )
            else:
                reason = data.get("reason", "an error")
                self._fail(VmError(f"{self._state().where}, a disk of the guest failed: {reason}."))

    async def _watch(self, process: subprocess.Popen[bytes], monitor: Monitor) -> None:
        """Say what became of QEMU when it ends."""
        reader = asyncio.StreamReader(limit=_CONSOLE_BYTES)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), process.stderr
        )
        try:
            while data := await reader.read(PIECE_BYTES):
                keep_last(self._stderr, data, _CONSOLE_BYTES)
        finally:
            transport.close()
        returncode = await in_thread(process.wait)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(monitor.ended(), settings.current().vm_stop_timeout_s)
        death = Death(
            returncode=returncode, events=tuple(self._events), console=self.console_text(),
            stderr=self._stderr.decode("utf-8", "replace"),
            booted=self._state().has_booted,
        )  # fmt: skip
        self._fail(judge(death, where=self._state().where))

    def console_text(self) -> str:
        """What the guest's kernel has written, the last of it."""
        return self._console.decode("utf-8", "replace").replace("\r", "").strip()
