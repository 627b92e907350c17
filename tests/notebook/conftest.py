"""A shell with the extension loaded, a real kernel, and a package set that counts its loads."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from jupyter_client.manager import KernelManager
from traitlets.config import Config

from nbdock.errors import NbdockError, PackageNotFoundError
from nbdock.filetree import Entry
from nbdock.packages import Closure, Package, PackageSet, Progress, text_file

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class FakePackage(Package):
    root = "/"

    def __init__(self, name: str, package_set: FakePackageSet) -> None:
        self.name, self.version, self.package_set = name, "1.0", package_set
        self._file = text_file(f"opt/{name}", name)

    @property
    def key(self) -> str:
        return f"fake:{self.name}"

    @property
    def size_bytes(self) -> int:
        return self._file.size_bytes

    def entries(self) -> Iterator[Entry]:
        return self._file.entries()


class FakePackageSet(PackageSet):
    """`redis-server` needs `libc6`; loading the index can be made to wait or to fail."""

    distribution = "debian"

    def __init__(self) -> None:
        self.loads = 0
        self.cancelled = False
        self.waits = False
        self.error: NbdockError | None = None
        self.fetched: list[str] = []
        self.loading: Callable[[], object] = lambda: None

    async def load(self, *, progress: Progress | None = None) -> None:
        if progress:
            progress("Loading the index", 0, 0)
        self.loads += 1
        self.loading()
        if self.error:
            raise self.error
        if self.waits:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise

    def __getitem__(self, name: str) -> Package:
        if name not in ("coreutils", "libc6", "passwd", "redis-server", "redis-tools"):
            raise PackageNotFoundError(
                f"There is no package {name!r}.", package=name, hint="Did you mean redis-server?"
            )
        return FakePackage(name, self)

    def __dir__(self) -> list[str]:
        return ["libc6", "redis_server", "redis_tools", "load"]

    def __iter__(self) -> Iterator[str]:
        return iter(["libc6", "redis-server", "redis-tools"])

    async def closure(self, packages: Sequence[Package]) -> Closure:
        names = sorted({p.name for p in packages} | {"libc6"})
        found = tuple(self[name] for name in names)
        return Closure(
            packages=found,
            references={p.key: () if p.name == "libc6" else ("fake:libc6",) for p in found},
            roots=tuple(p.key for p in packages),
        )

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        self.fetched += [p.name for p in packages]


@dataclasses.dataclass
class Cells:
    """Runs cells in a shell; what they print is read with capsys."""

    shell: InteractiveShell

    def run(self, source: str) -> ExecutionResult:
        return self.shell.run_cell(source)

    def value(self, source: str) -> Any:
        """What a cell shows; it must not fail."""
        result = self.run(source)
        result.raise_error()
        return result.result

    def error(self, source: str) -> BaseException:
        """What a cell raises."""
        error = self.run(source).error_in_exec
        assert error is not None
        return error

    def shown(self, source: str) -> str:
        """What is shown for a cell that fails, without colours."""
        return self.rendered(self.error(source))

    @staticmethod
    def rendered(error: Any) -> str:
        return COLOURS.sub("", "\n".join(error._render_traceback_()))

    @property
    def names(self) -> dict[str, Any]:
        return self.shell.user_ns


@pytest.fixture(scope="session")
def bare_shell(tmp_path_factory: pytest.TempPathFactory) -> InteractiveShell:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.ipython_dir = str(tmp_path_factory.mktemp("ipython"))
    return InteractiveShell.instance(config=config)


@pytest.fixture
def cells(bare_shell: InteractiveShell, nbdock_home: Path) -> Iterator[Cells]:
    shell = bare_shell
    own = set(shell.user_ns)
    shell.run_line_magic("load_ext", "nbdock")
    yield Cells(shell)
    shell.run_line_magic("unload_ext", "nbdock")
    for name in set(shell.user_ns) - own:
        del shell.user_ns[name]


@pytest.fixture
def packages(cells: Cells) -> FakePackageSet:
    """What cells of the test call `apt`."""
    packages = cells.names["apt"] = FakePackageSet()
    return packages


class Kernel:
    """A real kernel with the extension loaded; collects the messages of a cell."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=240)
        self.run("%load_ext nbdock")

    def send(self, source: str) -> str:
        # Else a kernel drops what comes right after a cell that failed: "run all" stops there.
        return self.client.execute(source, stop_on_error=False)

    def messages(self, request: str) -> Iterator[dict[str, Any]]:
        """The messages of a cell until it is done."""
        while True:
            message = self.client.get_iopub_msg(timeout=240)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind = message["msg_type"]
            if kind == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message

    def run(self, source: str) -> list[dict[str, Any]]:
        return list(self.messages(self.send(source)))

    def next_update(self) -> dict[str, Any]:
        """The next change of a display, whichever cell it belongs to."""
        while True:
            message = self.client.get_iopub_msg(timeout=240)
            if message["msg_type"] == "update_display_data":
                return message


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    private = tmp_path_factory.mktemp("kernel")
    manager = KernelManager(kernel_name="python3")
    # This environment's Python, whatever kernels the machine has registered.
    assert manager.kernel_spec is not None
    manager.kernel_spec.argv = [
        sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}",
        "--HistoryManager.enabled=False",
    ]  # fmt: skip
    environment = {
        **os.environ, "IPYTHONDIR": str(private / "ipython"),
        "NBDOCK_HOME": str(private / "home"), "TMPDIR": str(private),
        "NBDOCK_PROGRESS_DELAY_S": "0.05",
    }  # fmt: skip
    manager.start_kernel(env=environment, cwd=str(private))
    kernel = Kernel(manager)
    try:
        yield kernel
    finally:
        kernel.client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
