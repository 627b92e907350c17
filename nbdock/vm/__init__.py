"""Where commands run as root: virtual machines under QEMU, and the parts they are made of."""

from nbdock.vm.accelerator import Accelerator, choose_accelerator, measure_kvm, remember

__all__ = [  # noqa: RUF022, in order of importance
    "choose_accelerator",
    "Accelerator",
    "measure_kvm",
    "remember",
]
