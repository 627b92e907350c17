"""Runs a few instructions under KVM and prints how many it executes a second.

A program of its own, started by `accelerator` as a child: KVM that does not come back can then be
killed. It imports nothing of nbdock, so that it starts in a few hundredths of a second.

Only a measured rate tells the truth: where KVM is emulated (nested without hardware support),
``/dev/kvm`` opens and every ioctl succeeds, and a guest runs a thousand times too slowly.

    python -I -S kvmprobe.py    # prints: 1543209
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import sys
import time

# linux/kvm.h. The numbers carry the sizes of their structures.
_CREATE_VM = 0xAE01
_GET_VCPU_MMAP_SIZE = 0xAE04
_CREATE_VCPU = 0xAE41
_SET_USER_MEMORY_REGION = 0x4020AE46
_RUN = 0xAE80
_SET_REGS = 0x4090AE82
_GET_SREGS = 0x8138AE83
_SET_SREGS = 0x4138AE84
_EXIT_HLT = 5
_SREGS_BYTES = 312
_CR0_OFFSET = 224
"""Behind eight segments of 24 bytes and two descriptor tables of 16."""

_COUNT_DOWN = bytes.fromhex("ffc9 75fc f4")
"""``1: dec ecx; jnz 1b; hlt``"""
_INSTRUCTIONS_PER_ROUND = 2
_CODE, _PML4, _PDPT, _PD, _END = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000

_ENOUGH_PER_S = 100e6
_BUDGET_S = 0.05
_SHORT_S = 0.002


def _processor(kvm: int) -> tuple[int, mmap.mmap, mmap.mmap]:
    """A virtual processor in 64-bit mode, which no KVM has to emulate as it may real mode.

    Its descriptor, its shared page, and the guest's memory, to be kept alive.
    """
    vm = fcntl.ioctl(kvm, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _END)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    memory[_CODE : _CODE + len(_COUNT_DOWN)] = _COUNT_DOWN
    # One page of 2 MiB, mapped onto itself: present and writable (3), and large (0x80).
    struct.pack_into("<Q", memory, _PML4, _PDPT | 3)
    struct.pack_into("<Q", memory, _PDPT, _PD | 3)
    struct.pack_into("<Q", memory, _PD, 0x83)
    fcntl.ioctl(vm, _SET_USER_MEMORY_REGION, struct.pack("<IIQQQ", 0, 0, 0, _END, address))
    cpu = fcntl.ioctl(vm, _CREATE_VCPU, 0)
    shared = mmap.mmap(cpu, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0))

    registers = bytearray(fcntl.ioctl(cpu, _GET_SREGS, bytes(_SREGS_BYTES)))
    # base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding
    segment = "<QIH10B"
    struct.pack_into(segment, registers, 0, 0, 0xFFFFFFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0)
    for number in range(1, 6):
        struct.pack_into(
            segment, registers, 24 * number, 0, 0xFFFFFFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0
        )
    # cr0: paging, protection and what goes with them; cr4: PAE; efer: long mode, active.
    struct.pack_into("<6Q", registers, _CR0_OFFSET, 0x80050033, 0, _PML4, 0x20, 0, 0x500)
    fcntl.ioctl(cpu, _SET_SREGS, bytes(registers))
    return cpu, shared, memory


def measure() -> float:
    """Instructions per second, the best of what fits into a twentieth of a second."""
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    cpu, shared, _memory = _processor(kvm)
    rounds, best = 2000, 0.0
    begin = time.monotonic()
    # The first run also pays for the guest's page tables, and any may be interrupted: one good
    # run is proof, one bad run is not.
    while best < _ENOUGH_PER_S and time.monotonic() - begin < _BUDGET_S:
        state = [0] * 18
        state[2], state[16], state[17] = rounds, _CODE, 2  # rcx, rip, rflags
        fcntl.ioctl(cpu, _SET_REGS, struct.pack("<18Q", *state))
        start = time.perf_counter()
        fcntl.ioctl(cpu, _RUN, 0)
        took_s = time.perf_counter() - start
        (exit_reason,) = struct.unpack_from("<I", shared, 8)
        if exit_reason != _EXIT_HLT:
            raise OSError(0, f"the processor stopped for reason {exit_reason}")
        best = max(best, rounds * _INSTRUCTIONS_PER_ROUND / took_s)
        if took_s < _SHORT_S:
            rounds *= 8
    return best


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{measure():.0f}\n")
    except OSError as error:
        sys.exit(error.strerror)
    sys.stdout.flush()
    os._exit(0)  # the interpreter's own tidying up takes longer than the measurement
