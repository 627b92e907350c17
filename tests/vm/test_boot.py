"""A guest of these parts boots in a real QEMU: everything between is taken at its word there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nbdock.vm import build_initramfs, host_kernel, host_programs

DEADLINE_S = 90

AGENT = b"""#!/bin/sh
echo "agent on $(uname -r)"
cut -d' ' -f1 /proc/modules | sort | xargs echo modules
echo "tar says $(/nbdock/ld.so --library-path /nbdock /nbdock/tar --version | head -n 1)"
poweroff -f
"""


def boot(image: str, initramfs: str, *more: str) -> list[str]:
    """What a guest prints until it powers itself off."""
    done = subprocess.run(
        ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
         "-nic", "none", "-machine", "q35,usb=off,vmport=off,sata=off,smbus=off", "-accel", "tcg",
         "-cpu", "max", "-m", "256", "-kernel", image, "-initrd", initramfs,
         "-append", "console=ttyS0 quiet panic=-1 oops=panic cryptomgr.notests",
         "-serial", "stdio", *more],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=DEADLINE_S,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_a_guest_reaches_its_agent(nbdock_home: Path) -> None:
    kernel = host_kernel()
    initramfs = build_initramfs(kernel, host_programs(), agent=AGENT)
    lines = boot(kernel.image, initramfs.path)
    assert f"agent on {kernel.release}" in lines
    (loaded,) = (line.split()[1:] for line in lines if line.startswith("modules"))
    assert loaded == sorted(module.name for module in kernel.modules())
    assert any(line.startswith("tar says tar (GNU tar)") for line in lines)
