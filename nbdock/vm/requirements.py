"""What virtual machines need: QEMU, something quick to execute a guest, the parts of a guest."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import Final

from nbdock import settings
from nbdock.errors import GuestPartError, SourceConfigurationError, UnavailableError
from nbdock.packages import apt_finding
from nbdock.requirements import Finding, Requirement, State, install_command, packages_finding
from nbdock.vm.accelerator import choose_accelerator
from nbdock.vm.kernel import host_kernel
from nbdock.vm.layerdisk import converter_path
from nbdock.vm.programs import host_programs
from nbdock.vm.qemu import find_qemu

__all__ = ["REQUIREMENTS"]

_COMMANDS: Final = "runAsRoot, fakeRootCommands, Image.run"
_LATER: Final = "from a package, fetched when first needed"
_PATIENCE_S: Final = 5.0


def _look_for_qemu() -> Finding:
    machine = platform.machine()
    try:
        path = find_qemu(machine)
    except UnavailableError as error:
        debian = {"x86_64": "qemu-system-x86", "aarch64": "qemu-system-arm"}
        fix = install_command(debian.get(machine, "qemu-system"), dnf="qemu-kvm", zypper="qemu",
                              pacman="qemu-base", apk=f"qemu-system-{machine}")  # fmt: skip
        return Finding(State.ABSENT, error.message.rstrip("."), fix)
    said = subprocess.run(
        [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
        timeout=_PATIENCE_S,
    ).stdout  # fmt: skip
    version = said.partition("version ")[2].split(" ")[0].strip() or "of an unknown version"
    return Finding(State.OK, f"{path} {version}")


def _look_at_accelerator() -> Finding:
    chosen = choose_accelerator()
    state = State.OK if chosen.name == "kvm" else State.SLOWER
    may_not = os.path.exists("/dev/kvm") and not os.access("/dev/kvm", os.R_OK | os.W_OK)
    return Finding(state, str(chosen), 'sudo usermod -aG kvm "$USER"' if may_not else "")


def _look_for_kernel() -> Finding:
    if settings.current().vm_kernel != "package":
        try:
            kernel = host_kernel()
        except UnavailableError as error:
            if settings.current().vm_kernel == "host":
                raise
            why = f" ({error.message.rstrip('.')})"
            fix = install_command(f"linux-image-cloud-{_debian_architecture()}")
            return _from_package(why, fix)
        return Finding(State.OK, f"{kernel.release}, {kernel.image}")
    return _from_package(" (the setting vm_kernel says so)", "")


def _debian_architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _look_for_programs() -> Finding:
    try:
        host_programs()
    except GuestPartError as error:
        return _from_package(
            f" ({error.message.rstrip('.')})",
            install_command("busybox-static tar", dnf="busybox tar"),
        )
    return Finding(State.OK, "busybox and tar of this machine")


def _from_package(why: str, fix: str) -> Finding:
    """A part that nbdock brings itself, as long as there are packages to take it from."""
    try:
        apt_finding()
    except SourceConfigurationError:
        return Finding(State.ABSENT, f"neither here nor in APT sources{why}", fix)
    return Finding(State.OK, f"{_LATER}{why}")


def _look_for_mke2fs() -> Finding:
    if path := shutil.which("mke2fs", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"):
        return Finding(State.OK, path)
    fix = install_command("e2fsprogs")
    return Finding(State.SLOWER, "no mke2fs: guests make their file systems", fix)


def _look_for_squashfs_tools() -> Finding:
    if path := converter_path():
        return Finding(State.OK, path)
    fix = install_command("squashfs-tools")
    return Finding(State.SLOWER, "neither sqfstar nor tar2sqfs: guests unpack layers", fix)


REQUIREMENTS: Final[tuple[Requirement, ...]] = (
    Requirement("QEMU", _COMMANDS, _look_for_qemu),
    Requirement("qemu.qmp", _COMMANDS, lambda: packages_finding({"qemu.qmp": "qemu.qmp"}, "vm")),
    Requirement("accelerator", _COMMANDS, _look_at_accelerator),
    Requirement("guest kernel", _COMMANDS, _look_for_kernel),
    Requirement("guest programs", _COMMANDS, _look_for_programs),
    Requirement("squashfs tools", "layers in virtual machines", _look_for_squashfs_tools),
    Requirement("mke2fs", "disks of virtual machines", _look_for_mke2fs),
)
