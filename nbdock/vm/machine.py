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
import logging
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

from nbdock import settings
from nbdock.concurrency import in_thread, in_worker
from nbdock.content import TemporaryFile
from nbdock.errors import (
    GuestBootError,
    GuestTimeoutError,
    VmError,
)
from nbdock.vm.control import (
    HELLO,
    Exited,
    Job,
    Ready,
    Sent,
    Started,
    Taken,
)
from nbdock.vm.listener import Listener
from nbdock.vm.log import Log
from nbdock.vm.monitor import Disk, Monitor
from nbdock.vm.qemu import MachineSpec, limit_qemu, start_qemu
from nbdock.vm.reception import Reception
from nbdock.vm.scratch import format_disk, new_disk
from nbdock.vm.state import State

__all__ = ["Machine"]

_log = logging.getLogger(__name__)


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
        self._listener = Listener(lambda: self.state)
        self.monitor = Monitor(self._listener.take_event)
        self._begin = time.monotonic()
        self._on_log = on_log
        self.scratch: IO[bytes]
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: dict[str, socket.socket] = {}
        self._closing = contextlib.ExitStack()

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
        ready = await self._listener.expect(Ready, left_s, self._late_boot(limit_s))
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
        self._listener.listen(self._spawn(incoming=incoming), self._sockets, self.monitor)
        connecting = self.monitor.connect(self._sockets.pop("qmp"))
        await self._listener.within(connecting, timeout_s, self._late_boot(timeout_s))
        self._reach(State.BOOTING)

    async def ask(self, command: str, *, timeout_s: float, **arguments: object) -> Any:
        """Have QEMU execute a command of its monitor, in whatever state; what it answers.

        Raises
        ------
        VmError
            It refuses, or has ended.
        """
        work = self.monitor.execute(command, **arguments)
        return await self._listener.within(work, timeout_s, self._late_boot(timeout_s))

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
        await self._listener.expect(Ready, timeout_s, self._late_boot(timeout_s))
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
                f"{self.state.where}, the time limit of {timeout_s:g} s was reached.",
                timeout_s=timeout_s,
                output=self._listener.console_text(),
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
        self._listener.log = log = Log(self._on_log, job.nonce.encode())
        self.output = log.output
        await self._listener.within(self.monitor.plug(disks), left_s(), late)
        self._reach(State.RUNNING)
        sending = asyncio.get_running_loop().sock_sendall(self._sockets["control"], job.encode())
        await self._listener.within(sending, left_s(), late)
        await self._listener.expect(Taken, left_s(), late)
        self._mark("taken")
        await self._listener.expect(Started, left_s(), late)
        self._mark("started")
        exited = await self._listener.expect(Exited, left_s(), late)
        await self._listener.within(log.ended.wait(), left_s(), late)
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
        await self._listener.close()
        if process is not None and process.stderr is not None:
            process.stderr.close()
        await self.monitor.close()
        for channel in self._sockets.values():
            channel.close()
        self._closing.close()
        self._mark("closed")

    # Starting

    def _spawn(self, *, incoming: bool) -> subprocess.Popen[bytes]:
        """Start QEMU, from this thread, with whose end it would end."""
        scratch = self.scratch.fileno()
        self._process = start_qemu(self.spec, self._sockets, scratch, incoming=incoming)
        return self._process

    def _late_boot(self, timeout_s: float) -> Callable[[], VmError]:
        def late() -> VmError:
            console = self._listener.console_text()
            return GuestBootError(
                f"{self.state.where}, the time limit of {timeout_s:g} s was reached.",
                output=console,
                hint=f"Its console ends with:\n{console[-500:]}" if console else None,
            )

        return late

    # Waiting

    async def _receive(
        self, reception: Reception, left_s: Callable[[], float], late: Callable[[], VmError]
    ) -> None:
        """Take what the guest sends until it says how much it was and all of that is here."""
        taking = asyncio.create_task(self._listener.beside(reception.take(self._sockets["data"])))
        try:
            sent = await self._listener.expect(Sent, left_s(), late)
            await self._listener.within(reception.wait_for(sent.size_bytes), left_s(), late)
        finally:
            taking.cancel()
            await asyncio.wait((taking,))
        reception.check(sent.size_bytes)

    # The way

    def _reach(self, state: State) -> None:
        self.state = state
        self._mark(state.value)

    def _mark(self, name: str) -> None:
        _log.debug("A guest after %.3f s: %s", self.times.setdefault(name, self._elapsed_s()), name)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._begin
