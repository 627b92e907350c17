"""Where commands run as root: virtual machines under QEMU, and the parts they are made of."""

from nbdock.vm.accelerator import Accelerator, choose_accelerator, measure_kvm, remember
from nbdock.vm.changes import read_changes
from nbdock.vm.initramfs import Initramfs, build_initramfs
from nbdock.vm.kernel import Kernel, guest_kernel, host_kernel, package_kernel
from nbdock.vm.layerdisk import DiskFormat, LayerDisk, layer_disk
from nbdock.vm.modules import Module, resolve_modules
from nbdock.vm.programs import guest_programs, host_programs, package_programs
from nbdock.vm.requirements import REQUIREMENTS
from nbdock.vm.tasks import GuestResult, GuestTask, run_guest

__all__ = [  # noqa: RUF022, in order of importance
    "run_guest",
    "GuestTask",
    "GuestResult",
    "choose_accelerator",
    "Accelerator",
    "measure_kvm",
    "remember",
    "guest_kernel",
    "host_kernel",
    "package_kernel",
    "Kernel",
    "Module",
    "resolve_modules",
    "guest_programs",
    "host_programs",
    "package_programs",
    "build_initramfs",
    "Initramfs",
    "read_changes",
    "layer_disk",
    "LayerDisk",
    "DiskFormat",
    "REQUIREMENTS",
]
