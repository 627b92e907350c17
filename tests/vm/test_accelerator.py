"""KVM is believed only when measured: real probes, and children that lie, crash or hang."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

import pytest

from nbdock.errors import ArgumentTypeError
from nbdock.vm import Accelerator, accelerator, choose_accelerator, measure_kvm, remember

PRINT = "import sys; sys.stdout.write(sys.argv[1])"


def says(text: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", PRINT, text]


@pytest.fixture(autouse=True)
def _home(nbdock_home: Path) -> None:
    pass


@pytest.mark.parametrize("name", ["kvm", "tcg"])
def test_what_the_setting_forces_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_VM_ACCELERATOR", name)
    assert choose_accelerator() == Accelerator(name, "the setting vm_accelerator says so")  # type: ignore[arg-type]


def test_a_setting_that_is_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_VM_ACCELERATOR", "hvf")
    with pytest.raises(ArgumentTypeError, match="auto, kvm or tcg, not 'hvf'"):
        choose_accelerator()


def test_this_machine_is_measured_quickly_and_once(nbdock_home: Path) -> None:
    before = os.times()
    chosen = choose_accelerator()
    after = os.times()
    # Time of the processor, not of the clock: the tests beside this one take theirs.
    spent = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    assert spent < 0.3
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        assert chosen.name == "tcg"
        assert "/dev/kvm" in chosen.reason
        return
    note = json.loads((nbdock_home / "vm/accelerator.json").read_text())
    assert (note["name"], note["reason"]) == (chosen.name, chosen.reason)
    remember(Accelerator("tcg", "a guest did not boot within 8 s"))
    assert choose_accelerator().reason == "a guest did not boot within 8 s"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child has all the time it needs: the machine may have much else to do."""
    monkeypatch.setenv("NBDOCK_VM_PROBE_TIMEOUT_S", "240")


@pytest.mark.usefixtures("patience")
def test_the_choice_is_what_the_rate_says(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        monkeypatch.setenv("NBDOCK_VM_KVM_LEAST_MIPS", "0.001")
        assert choose_accelerator().name == "kvm"
        monkeypatch.setenv("NBDOCK_VM_KVM_LEAST_MIPS", "1e9")
        assert "(it is emulated)" in choose_accelerator().reason


@pytest.mark.usefixtures("patience")
def test_slow_and_fast_rates() -> None:
    slow = measure_kvm(says("1543209\n"))
    assert slow.name == "tcg"
    assert "executes 1.5 million instructions/s" in slow.reason
    fast = measure_kvm(says("2300000000\n"))
    assert fast == Accelerator("kvm", "KVM executes at least 2,300 million instructions/s")


@pytest.mark.usefixtures("patience")
def test_a_rate_that_is_not_a_number() -> None:
    assert measure_kvm(says("nan")).name == "tcg"


def test_a_child_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_VM_PROBE_TIMEOUT_S", "0.05")
    chosen = measure_kvm([sys.executable, "-c", "import time; time.sleep(60)"])
    assert str(chosen) == "tcg: KVM did not come back from a few instructions within 0.05 s"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('Bad address')"], "(Bad address)"),
        ([sys.executable, "-c", "import os; os.abort()"], "(exit code -6)"),
        (says("nan or so"), "(exit code 0)"),
        (["/nowhere/python"], "could not be measured (No such file or directory)"),
    ],
)
@pytest.mark.usefixtures("patience")
def test_a_child_that_fails(command: list[str], reason: str) -> None:
    chosen = measure_kvm(command)
    assert chosen.name == "tcg"
    assert reason in chosen.reason


def test_a_machine_without_the_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accelerator, "_DEVICE", str(tmp_path / "kvm"))
    assert choose_accelerator() == Accelerator("tcg", f"this machine has no {tmp_path}/kvm")
    (tmp_path / "kvm").mkdir()
    assert "cannot be opened (Is a directory)" in choose_accelerator().reason


def test_a_guest_of_another_architecture() -> None:
    chosen = choose_accelerator(machine="riscv64")
    assert chosen.name == "tcg"
    assert "the guest is riscv64" in chosen.reason


@pytest.mark.parametrize(
    "note",
    [
        b"", b"[]", b"{", b"\xff", b'{"boot_id": "another"}',
        b'{"boot_id": "HERE", "name": "hvf", "reason": "", "least_mips": 100.0}',
        b'{"boot_id": "another", "name": "kvm", "reason": "", "least_mips": 100.0}',
    ],
)  # fmt: skip
def test_a_note_that_is_not_of_this_boot_is_not_believed(
    note: bytes, nbdock_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(accelerator, "_DEVICE", str(tmp_path / "kvm"))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(accelerator, "measure_kvm", lambda: Accelerator("tcg", "measured"))
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip().encode()
    (nbdock_home / "vm").mkdir(parents=True)
    (nbdock_home / "vm/accelerator.json").write_bytes(note.replace(b"HERE", boot_id))
    assert choose_accelerator().reason == "measured"
    assert json.loads((nbdock_home / "vm/accelerator.json").read_text())["reason"] == "measured"


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "file"))
    remember(Accelerator("tcg", "measured"))
