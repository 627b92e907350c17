"""One QEMU with one guest in it, from its start to its end.

A machine goes through its states in one direction. Whatever goes wrong in any of them (QEMU dies,
the kernel panics, this machine's disk is full, the guest says nonsense, or nothing) ends whatever
waits at that moment with one error that says what it was. Every wait has a deadline, and when
`close` has returned there is no process, no socket and no task left, whoever was cancelled
meanwhile.

    async with Machine(spec, on_log=print) as machine:
        await machine.boot()                                  # or restored from a snapshot: READY
        exited = await machine.run(job, disks, timeout_s=60)

In the end it is killed, which is no loss: nothing of a guest is kept but what it has sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import IO, Any, Final, TypeVar

from nbdock import settings
from nbdock.concurrency import in_thread, in_worker
from nbdock.content import TemporaryFile
from nbdock.errors import (
    GuestBootError,
    GuestProtocolError,
    GuestTimeoutError,
    StorageFullError,
    VmError,
)
from nbdock.lines import Lines
from nbdock.vm.control import (
    HELLO,
    Exited,
    Failed,
    Job,
    Message,
    Ready,
    Sent,
    Started,
    Taken,
    parse_line,
)
from nbdock.vm.log import Log, keep_last
from nbdock.vm.monitor import Disk, Monitor
from nbdock.vm.qemu import MachineSpec, limit_qemu, start_qemu
from nbdock.vm.reception import PIECE_BYTES, Reception
from nbdock.vm.scratch import format_disk, new_disk
from nbdock.vm.verdict import Death, judge, refusal

__all__ = ["Machine", "State"]

_log = logging.getLogger(__name__)

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_CONTROL_LINE_BYTES: Final = 1000
_CONTROL_LINES: Final = 16
_CONSOLE_BYTES: Final = 16 << 10
_CONSOLE_PIECES: Final = 64


class State(enum.Enum):
    """Where a machine is on its way."""

    STARTING = "starting"
    """QEMU is started, and does not answer yet."""
    BOOTING = "booting"
    """The guest's kernel and its programs come up, or its snapshot is read."""
    READY = "ready"
    """The guest waits for its job. It has no disks."""
    RUNNING = "running"
    """The guest has its disks and its job, and does it."""
    SENDING = "sending"
    """The commands have succeeded, and what they wrote is coming."""
    ENDED = "ended"
    """There is no guest any more."""


_WHERE: Final = {
    State.STARTING: "Before it answered",
    State.BOOTING: "While the guest booted",
    State.READY: "Before the guest had its job",
    State.RUNNING: "While the commands ran",
    State.SENDING: "While the guest sent what was written",
    State.ENDED: "At its end",
}


class Machine:
    """A machine as this module describes it; used once.

    Parameters
    ----------
    spec
        What it is.
    on_log
        Called with each line that the guest's commands write.

    Attributes
    ----------
    state
        Where it is on its way.
    output
        What the commands wrote, the last of it.
    entropy_bits
        How much entropy the guest's kernel had when it had booted. Bits.
    scratch
        The disk that it writes to, from its start on; a file without a name.
    times
        When each state was reached. Seconds since the start, by the state's name.
    """

    def __init__(self, spec: MachineSpec, *, on_log: Callable[[str], None] | None = None) -> None:
        self.spec = spec
        self.state = State.STARTING
        self.output = bytearray()
        self.entropy_bits = 0
        self.times: dict[str, float] = {}
        self.monitor = Monitor(self._take_event)
        self._begin = time.monotonic()
        self._on_log = on_log
        self.scratch: IO[bytes]
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: dict[str, socket.socket] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._trouble: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing = contextlib.ExitStack()
        self._events: list[str] = []
        self._console = bytearray()
        self._stderr = bytearray()
        self._log: Log | None = None

    async def __aenter__(self) -> Machine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def boot(self, *, timeout_s: float | None = None) -> None:
        """From STARTING to READY; at most in `timeout_s`, or the setting `vm_boot_timeout_s`.

        Raises
        ------
        GuestBootError
            It did not get there.
        """
        limit_s = timeout_s or settings.current().vm_boot_timeout_s
        begin = time.monotonic()
        await self.start(timeout_s=limit_s)
        left_s = limit_s - (time.monotonic() - begin)
        ready = await self._expect(Ready, left_s, self._late_boot(limit_s))
        self.entropy_bits = ready.entropy_bits
        self._reach(State.READY)

    async def start(self, *, incoming: bool = False, timeout_s: float) -> None:
        """From STARTING to BOOTING: QEMU runs and answers on its `monitor`.

        Parameters
        ----------
        incoming
            Whether it waits for a snapshot to be sent to it, and does not boot by itself.
        """
        assert self.state is State.STARTING, self.state
        assert self._process is None
        self.scratch = new_disk(self.spec.disk_mib << 20)
        self._closing.callback(self.scratch.close)
        if not incoming:
            await in_worker(format_disk, self.scratch.fileno())
        stderr = self._spawn(incoming=incoming)
        work = (
            self._read("console", self._take_console),
            self._read("control", self._take_control()),
            self._read("log", self._take_log),
            self._watch_process(stderr),
        )
        self._tasks = [asyncio.create_task(self._guarded(each)) for each in work]
        connecting = self.monitor.connect(self._sockets.pop("qmp"))
        await self._within(connecting, timeout_s, self._late_boot(timeout_s))
        self._reach(State.BOOTING)

    async def ask(self, command: str, *, timeout_s: float, **arguments: object) -> Any:
        """Have QEMU execute a command of its monitor, in whatever state; what it answers.

        Raises
        ------
        VmError
            It refuses, or has ended.
        """
        work = self.monitor.execute(command, **arguments)
        return await self._within(work, timeout_s, self._late_boot(timeout_s))

    async def greet(self, *, timeout_s: float) -> None:
        """From BOOTING to READY, after its snapshot was read: it goes on, and the guest answers.

        Raises
        ------
        GuestBootError
            It does not.
        """
        assert self.state is State.BOOTING, self.state
        await self.ask("cont", timeout_s=timeout_s)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self._sockets["control"], HELLO)
        await self._expect(Ready, timeout_s, self._late_boot(timeout_s))
        self._reach(State.READY)

    async def run(
        self,
        job: Job,
        disks: Sequence[Disk],
        *,
        timeout_s: float,
        tar: TemporaryFile | None = None,
        tar_limit_bytes: int | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> Exited:
        """From READY to the end of the job: the disks are plugged in, and the job is done.

        Parameters
        ----------
        disks
            The job's, by the numbers of `guest/agent.sh`.
        timeout_s
            For all of it. Seconds.
        tar
            Where what the guest sends is written; whole, if the commands succeed.
        tar_limit_bytes
            More than that is not taken, nor more than the setting `vm_changes_limit_bytes`.
        on_sent
            Called with how many bytes have come.

        Raises
        ------
        VmError
            It did not get to its end.
        StorageFullError, ContentError
            This machine's disk cannot hold what the guest writes or sends.
        """
        assert self.state is State.READY, self.state
        deadline = time.monotonic() + timeout_s

        def left_s() -> float:
            return deadline - time.monotonic()

        def late() -> VmError:
            return GuestTimeoutError(
                f"{_WHERE[self.state]}, the time limit of {timeout_s:g} s was reached.",
                timeout_s=timeout_s,
                output=self._console_text(),
                hint="Nothing was kept. Give it more time: timeout_s of Image.run, or the setting "
                "vm_timeout_s.",
            )

        assert self._process is not None
        written = [self.scratch.fileno(), *(disk.fd for disk in disks if not disk.read_only)]
        limit_qemu(
            self._process.pid,
            memory_mib=self.spec.memory_mib,
            cpu_s=self._elapsed_s() + 2 * timeout_s + 60,
            file_bytes=max(os.fstat(fd).st_size for fd in written),
        )
        self._log = log = Log(self._on_log, job.nonce.encode())
        self.output = log.output
        await self._within(self.monitor.plug(disks), left_s(), late)
        self._reach(State.RUNNING)
        sending = asyncio.get_running_loop().sock_sendall(self._sockets["control"], job.encode())
        await self._within(sending, left_s(), late)
        await self._expect(Taken, left_s(), late)
        self._mark("taken")
        await self._expect(Started, left_s(), late)
        self._mark("started")
        exited = await self._expect(Exited, left_s(), late)
        await self._within(log.ended.wait(), left_s(), late)
        self._mark("exited")
        if exited.exit_code == 0 and tar is not None:
            self._reach(State.SENDING)
            reception = Reception(tar, tar_limit_bytes, on_sent or (lambda _: None))
            await self._receive(reception, left_s, late)
            self._mark("sent")
        return exited

    async def close(self) -> None:
        """End it, in whatever state it is, and return when nothing of it is left."""
        closing = asyncio.ensure_future(self._close())
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as error:
                cancelled = error
        closing.result()
        if cancelled is not None:
            raise cancelled

    async def _close(self) -> None:
        self._reach(State.ENDED)
        process = self._process
        if process is not None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await in_thread(process.wait, settings.current().vm_stop_timeout_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if process is not None and process.stderr is not None:
            process.stderr.close()
        await self.monitor.close()
        for channel in self._sockets.values():
            channel.close()
        self._closing.close()
        if self._trouble.done():
            self._trouble.exception()
        self._mark("closed")

    # Starting

    def _spawn(self, *, incoming: bool) -> IO[bytes]:
        """Start QEMU, from this thread, with whose end it would end."""
        scratch = self.scratch.fileno()
        self._process = start_qemu(self.spec, self._sockets, scratch, incoming=incoming)
        assert self._process.stderr is not None
        return self._process.stderr

    def _late_boot(self, timeout_s: float) -> Callable[[], VmError]:
        def late() -> VmError:
            console = self._console_text()
            return GuestBootError(
                f"{_WHERE[self.state]}, the time limit of {timeout_s:g} s was reached.",
                output=console,
                hint=f"Its console ends with:\n{console[-500:]}" if console else None,
            )

        return late

    # Waiting

    async def _within(
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

    async def _expect(self, kind: type[M], timeout_s: float, late: Callable[[], Exception]) -> M:
        """The next message of the guest, which must be of this kind."""
        message = await self._within(self._messages.get(), timeout_s, late)
        if isinstance(message, Failed):
            # What the guest's programs said of it may not have been read yet.
            with contextlib.suppress(OSError):
                for _ in range(_CONSOLE_PIECES):
                    self._take_console(self._sockets["console"].recv(PIECE_BYTES))
            raise refusal(message, console=self._console_text())
        if not isinstance(message, kind):
            raise GuestProtocolError(
                f"The guest said {message} where {kind.__name__} was expected.",
                output=self._console_text(),
            )
        return message

    async def _receive(
        self, reception: Reception, left_s: Callable[[], float], late: Callable[[], VmError]
    ) -> None:
        """Take what the guest sends until it says how much it was and all of that is here."""
        taking = asyncio.create_task(self._guarded(reception.take(self._sockets["data"])))
        try:
            sent = await self._expect(Sent, left_s(), late)
            await self._within(reception.wait_for(sent.size_bytes), left_s(), late)
        finally:
            taking.cancel()
            await asyncio.wait((taking,))
        reception.check(sent.size_bytes)

    # What comes from QEMU and the guest

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
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

    async def _read(self, name: str, take: Callable[[bytes], None]) -> None:
        loop, channel = asyncio.get_running_loop(), self._sockets[name]
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
        if self._log is not None:
            self._log.feed(data)

    def _take_event(self, name: str, data: Mapping[str, Any]) -> None:
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
                self._fail(VmError(f"{_WHERE[self.state]}, a disk of the guest failed: {reason}."))

    async def _watch_process(self, stderr: IO[bytes]) -> None:
        """Say what became of QEMU when it ends."""
        process = self._process
        assert process is not None
        reader = asyncio.StreamReader(limit=_CONSOLE_BYTES)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), stderr
        )
        try:
            while data := await reader.read(PIECE_BYTES):
                keep_last(self._stderr, data, _CONSOLE_BYTES)
        finally:
            transport.close()
        returncode = await in_thread(process.wait)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.monitor.ended(), settings.current().vm_stop_timeout_s)
        death = Death(
            returncode=returncode, events=tuple(self._events), console=self._console_text(),
            stderr=self._stderr.decode("utf-8", "replace"),
            booted=self.state not in (State.STARTING, State.BOOTING),
        )  # fmt: skip
        self._fail(judge(death, where=_WHERE[self.state]))

    def _console_text(self) -> str:
        return self._console.decode("utf-8", "replace").replace("\r", "").strip()

    # The way

    def _reach(self, state: State) -> None:
        self.state = state
        self._mark(state.value)

    def _mark(self, name: str) -> None:
        _log.debug("A guest after %.3f s: %s", self.times.setdefault(name, self._elapsed_s()), name)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._begin
