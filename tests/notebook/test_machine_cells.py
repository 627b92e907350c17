"""Cells that run commands as root in real virtual machines, and what stops them.

One kernel, whose first machine leaves a snapshot that the others begin with.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import psutil
import pytest
from support.components import require
from support.front_end import FrontEnd, is_display, state

BUSYBOX = shutil.which("busybox")
BASE = f"""
import nbdock, os, pathlib
folder = pathlib.Path("base/bin")
folder.mkdir(parents=True, exist_ok=True)
if not (folder / "busybox").exists():
    (folder / "busybox").write_bytes(pathlib.Path({BUSYBOX!r}).read_bytes())
    (folder / "busybox").chmod(0o755)
    for name in ("sh", "sleep", "mkdir"):
        (folder / name).symlink_to("busybox")
base = await nbdock.build_image("base", tag="1", contents=nbdock.directory("base"))
os.getpid()
"""


def of_kind(messages, kind):
    return [m["content"] for m in messages if m["msg_type"] == kind]


class Machines:
    """The virtual machines of a kernel."""

    def __init__(self, kernel) -> None:
        self.kernel = kernel
        messages = kernel.run(BASE)
        assert of_kind(messages, "error") == []
        [reply] = of_kind(messages, "execute_result")
        self.process = psutil.Process(int(reply["data"]["text/plain"]))
        self.home = Path(self.process.environ()["NBDOCK_HOME"])

    def all(self) -> list[psutil.Process]:
        try:
            return [p for p in self.process.children(recursive=True) if "qemu" in p.name()]
        except psutil.NoSuchProcess:
            return []

    def files(self) -> list[Path]:
        return sorted((self.home / "vm" / "tmp").glob("*"))


@pytest.fixture
def machines(kernel) -> Machines:
    require("busybox", "qemu-system-x86_64")
    return Machines(kernel)


def test_a_script_its_log_and_where_it_stopped(kernel, machines) -> None:
    messages = kernel.run(
        "%%runAsRoot base -o changed --tag 2 --disk-size 64 --memory 256\n"
        "echo \"as $(/bin/busybox id -u), ''not Nix''\"\n"
        "mkdir /data\n"
        "echo kept >/data/file\n"
    )
    assert of_kind(messages, "error") == []
    last = [m for m in messages if is_display(m)][-1]["content"]["data"]
    assert re.fullmatch(r"Ran as root in [\d.]+ s\.", last["text/plain"])
    assert "as 0, &#x27;&#x27;not Nix&#x27;&#x27;</pre>" in last["text/html"]
    [result] = of_kind(messages, "execute_result")
    assert result["data"]["text/plain"].startswith("base:2\n")

    # The image is tried before it leaves the notebook.
    messages = kernel.run(
        'await changed.run(["/bin/busybox", "cat", "/data/file"], memory_mib=256)'
    )
    [result] = of_kind(messages, "execute_result")
    assert result["data"]["text/plain"] == "Exit code 0\n\nkept"

    body = (
        "name = \"it\"; fromImage = base; diskSize = 64; buildVMMemorySize = 256;\nrunAsRoot = ''\n"
    )
    messages = kernel.run(f"%%buildImage -o it\n{body}  echo hello\n  mkdir /no/such\n'';")
    [error] = of_kind(messages, "error")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))
    assert plain.startswith("CommandError: runAsRoot failed with exit code 1")
    assert "(line 4, column 3):\n" in plain
    assert "\n    mkdir /no/such\n    ^\n" in plain
    assert machines.all() == []
    assert machines.files() == []


def test_the_button_stops_a_machine(kernel, machines) -> None:
    front = FrontEnd(kernel)
    request = kernel.send("%%runAsRoot base --memory 256\necho begun\nsleep 1000")
    comm = front.until(lambda m: state(m) is not None)["content"]["comm_id"]
    front.draw(comm)
    front.until_shown(lambda s: "begun" in s["lines"])
    assert len(machines.all()) == 1
    front.send(comm, {"type": "cancel"})
    [error] = of_kind(list(kernel.messages(request)), "error")
    assert error["ename"] == "KeyboardInterrupt"
    assert machines.all() == []
    assert machines.files() == []


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("%%runAsRoot base --memory 256\necho begun\nsleep 1000", "KeyboardInterrupt"),
        (
            'await base.run(["/bin/sh", "-c", "echo begun; sleep 1000"], memory_mib=256)',
            "CancelledError",
        ),
    ],
)
def test_an_interrupt_stops_a_machine(kernel, machines, cell, name) -> None:
    request = kernel.send(cell)
    interrupted = False
    messages = []
    for message in kernel.messages(request):
        messages.append(message)
        if not interrupted and "begun" in str((state(message) or {}).get("lines")):
            assert len(machines.all()) == 1
            kernel.manager.interrupt_kernel()
            interrupted = True
    [error] = of_kind(messages, "error")
    assert error["ename"] == name
    assert machines.all() == []
    assert machines.files() == []


def test_a_kernel_that_is_shut_down_leaves_no_machine(kernel, machines) -> None:
    front = FrontEnd(kernel)
    kernel.send('base.run(["/bin/sh", "-c", "echo begun; sleep 1000"], memory_mib=256)')
    front.until(lambda m: "begun" in str((state(m) or {}).get("lines")))
    [machine] = machines.all()
    kernel.manager.shutdown_kernel(now=False)
    assert not machine.is_running()
    assert machines.files() == []
