"""A guest of these parts boots in a real QEMU: everything between is taken at its word there."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from support import entries

from nbdock.filetree import tar_bytes
from nbdock.oci import Digest
from nbdock.vm import build_initramfs, host_kernel, host_programs, layer_disk

DEADLINE_S = 240  # the machine may have much else to do


AGENT = b"""#!/bin/sh
echo "agent on $(uname -r)"
echo modules $(cut -d' ' -f1 /proc/modules | sort)
cd /nbdock/tools && echo "tar says $(./ld.so --library-path . ./tar --version | head -n 1)"
mkdir /base /layer /merged
# Guests look for disks when they are told to.
for host in /sys/class/scsi_host/*; do echo "- - -" >"$host/scan"; done
# Names such as sda come in any order, and a while after the adapter.
disk() {
  until ls /sys/bus/scsi/devices/*:0:$1:0/block 2>/dev/null; do usleep 10000; done
}
mount -t squashfs -o ro /dev/$(disk 0) /base && mount -t squashfs -o ro /dev/$(disk 1) /layer
mount -t overlay -o ro,lowerdir=/layer:/base overlay /merged || echo "no overlay"
cd /merged && echo files $(find . | sort)
stat -c 'owner %u:%g %a' etc/kept
poweroff -f
"""

file = functools.partial(entries.file, data=b"x", mode=0o4751, uid=70000, gid=8)
BASE = [file("etc/kept"), file("etc/gone"), file("srv/old"), file("opt/tool/old")]
LAYER = [
    file("etc/.wh.gone"), file("etc/new"), file("srv/.wh..wh..opq"), file("srv/new"),
    file("opt/.wh.tool"), file("opt/tool/new"),
]  # fmt: skip


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


async def test_a_guest_sees_its_layers(nbdock_home: Path, tmp_path: Path) -> None:
    kernel = host_kernel()
    initramfs = build_initramfs(kernel, host_programs(), agent=AGENT)
    disks = ["-device", "virtio-scsi-pci,id=scsi"]
    for number, layer in enumerate((BASE, LAYER)):
        data = tar_bytes(layer)
        (tmp_path / "layer.tar").write_bytes(data)
        disk = await layer_disk(Digest.of(data), tmp_path / "layer.tar")
        disks += ["-drive", f"file={disk.path},format=raw,if=none,id=disk{number},readonly=on",
                  "-device", f"scsi-hd,bus=scsi.0,drive=disk{number},scsi-id={number}"]  # fmt: skip
    lines = boot(kernel.image, initramfs.path, *disks)
    said = {line.partition(" ")[0]: line.split()[1:] for line in lines if line}
    assert said["agent"] == ["on", kernel.release]
    assert said["modules"] == sorted(module.name for module in kernel.modules())
    assert said["tar"][:4] == ["says", "tar", "(GNU", "tar)"]
    assert said["files"] == [
        ".", "./etc", "./etc/kept", "./etc/new", "./opt", "./opt/tool", "./opt/tool/new",
        "./srv", "./srv/new",
    ]  # fmt: skip
    assert said["owner"] == ["70000:8", "4751"]
