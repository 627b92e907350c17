"""Modules in the order that modprobe loads them, from depmod's files or from our own."""

from __future__ import annotations

import gzip
import lzma
import os
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import GuestPartError
from nbdock.vm import resolve_modules
from nbdock.vm.depmod import Dependencies, module_facts
from nbdock.vm.kernel import host_kernel
from nbdock.vm.modules import GUEST_MODULES, module_name


def kernel_of(folder: Path, **files: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"modules.{name}").write_text(text)
    return str(folder)


def names(directory: str, *wanted: str, **options: tuple[str, ...]) -> list[str]:
    return [module.name for module in resolve_modules(directory, wanted, **options)]


def shown_by_modprobe(directory: str, name: str) -> list[str]:
    done = subprocess.run(
        ["modprobe", "--set-version", os.path.basename(directory), "--show-depends",
         "--ignore-install", name], check=True, capture_output=True, text=True,
    )  # fmt: skip
    words = (line.split() for line in done.stdout.splitlines())
    return [module_name(line[1]) for line in words if line[0] == "insmod"]


@pytest.mark.parametrize("name", [*GUEST_MODULES, "erofs", "nfsd", "vfat"])
def test_what_modprobe_would_load(name: str) -> None:
    directory = host_kernel().directory
    ours = names(directory, name)
    theirs = shown_by_modprobe(directory, name)
    assert sorted(ours) == sorted(set(theirs))
    assert ours[-1:] == theirs[-1:]


def test_needs_come_before_what_needs_them() -> None:
    directory = host_kernel().directory
    lines = Path(directory, "modules.dep").read_text().splitlines()
    needs = {
        module_name(line.partition(":")[0]): {module_name(n) for n in line.split()[1:]}
        for line in lines
    }
    every = names(directory, *needs)
    assert sorted(every) == sorted(needs)
    place = {name: number for number, name in enumerate(every)}
    assert all(place[need] < place[name] for name in needs for need in needs[name])


def test_soft_dependencies_aliases_and_what_is_built_in(tmp_path: Path) -> None:
    directory = kernel_of(
        tmp_path / "6.1",
        dep="kernel/fs/ext4.ko.xz: kernel/lib/jbd2.ko kernel/lib/libcrc32c.ko\n"
        "kernel/lib/libcrc32c.ko:\nkernel/lib/jbd2.ko: kernel/lib/libcrc32c.ko\n"
        "kernel/crypto/crc32c_generic.ko:\nkernel/arch/crc32c-intel.ko:\nkernel/late.ko:\n",
        builtin="kernel/drivers/virtio/virtio.ko\n",
        softdep="# comment\nsoftdep libcrc32c pre: crc32c no-such-module\n"
        "softdep ext4 ignored post: late\nsoftdep crc32c_generic pre: libcrc32c\n",
        alias="alias crc32c crc32c_generic\nalias crc32c crc32c_intel\n"
        "alias pci:v* ext4\nalias x\n",
    )
    assert names(directory, "virtio", "ext4") == [
        "crc32c_generic", "crc32c_intel", "libcrc32c", "jbd2", "ext4", "late",
    ]  # fmt: skip
    # A circle of wishes: crc32c_generic, libcrc32c, crc32c.
    assert names(directory, "crc32c", optional=("pvpanic",)) == [
        "crc32c_intel", "libcrc32c", "crc32c_generic",
    ]  # fmt: skip


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    directory = kernel_of(tmp_path / "6.1", dep="fs/overlay.ko: lib/gone.ko\n")
    with pytest.raises(GuestPartError, match=r"6\.1 has no module squashfs\.") as caught:
        names(directory, "squashfs")
    assert "NBDOCK_VM_KERNEL=package" in str(caught.value)
    with pytest.raises(GuestPartError, match="has no module gone, which overlay needs"):
        names(directory, "overlay")
    with pytest.raises(GuestPartError, match=r"There is no .*modules\.dep"):
        names(str(tmp_path / "6.2"), "overlay")


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("", bytes), (".gz", gzip.compress),
        (".xz", lambda data: lzma.compress(data, check=lzma.CHECK_CRC32)),
        (".zst", zstandard.ZstdCompressor().compress),
    ],
)  # fmt: skip
def test_modules_are_read_decompressed(suffix: str, compress: object, tmp_path: Path) -> None:
    data = os.urandom(5000)
    (tmp_path / f"a-b.ko{suffix}").write_bytes(compress(data))  # type: ignore[operator]
    directory = kernel_of(tmp_path, dep=f"a-b.ko{suffix}:\n")
    (module,) = resolve_modules(directory, ["a-b"])
    assert (module.name, module.read()) == ("a_b", data)


def test_a_damaged_module_and_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = kernel_of(tmp_path, dep="a.ko.xz:\nb.ko.gz:\nc.ko:\n")
    (tmp_path / "a.ko.xz").write_bytes(lzma.compress(bytes(5000))[:-9])
    (tmp_path / "b.ko.gz").write_bytes(gzip.compress(bytes(100_000)))
    monkeypatch.setenv("NBDOCK_VM_MODULE_LIMIT_BYTES", "50000")
    for module in resolve_modules(directory, ["a", "b", "c"]):
        with pytest.raises(GuestPartError, match=f"{module.name}.ko.* cannot be read"):
            module.read()


# depmod


def test_the_files_that_depmod_writes() -> None:
    directory = Path(host_kernel().directory)
    paths = [str(p.relative_to(directory)) for p in directory.rglob("*.ko")]
    ours = Dependencies({path: module_facts((directory / path).read_bytes()) for path in paths})

    def needs(text: str) -> dict[str, set[str]]:
        lines = (line.partition(":") for line in text.splitlines())
        direct = {path: set(rest.split()) for path, _, rest in lines}

        def all_of(path: str) -> set[str]:
            return direct[path].union(*map(all_of, direct[path]))

        return {path: all_of(path) for path in direct}

    assert needs(ours.modules_dep()) == needs((directory / "modules.dep").read_text())
    for name, text in (("softdep", ours.modules_softdep()), ("alias", ours.modules_alias())):
        theirs = (directory / f"modules.{name}").read_text().splitlines()
        assert set(text.splitlines()) == {line for line in theirs if not line.startswith("#")}


@pytest.fixture(scope="module")
def squashfs() -> bytes:
    modules = {module.name: module for module in host_kernel().modules()}
    return modules["squashfs"].read()


def test_facts_of_a_module(squashfs: bytes) -> None:
    facts = module_facts(squashfs)
    assert facts["name"] == ["squashfs"]
    assert facts["alias"] == ["fs-squashfs"]


@given(data=st.binary(max_size=200))
def test_what_is_no_module_is_refused(data: bytes) -> None:
    for junk in (data, b"\x7fELF\x02\x01" + data):
        with pytest.raises(GuestPartError, match="x is not a kernel module"):
            module_facts(junk, "x")


def test_a_module_cut_anywhere_is_refused(squashfs: bytes) -> None:
    unsigned = squashfs[: -(4 << 10)]  # the signature comes behind what is read
    for end in range(0, len(unsigned), len(unsigned) // 50):
        with pytest.raises(GuestPartError):
            module_facts(squashfs[:end])
