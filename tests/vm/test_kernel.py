"""A guest's kernel: this machine's, or a package's, which is read without being installed."""

from __future__ import annotations

import lzma
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.apt_archive import Archive

from nbdock.errors import ArgumentTypeError, GuestPartError, UnavailableError
from nbdock.filetree import BytesContent, Entry, EntryKind
from nbdock.packages import AptPackageSet, Package, apt
from nbdock.vm import Kernel, guest_kernel, host_kernel, package_kernel
from nbdock.vm.kernelpackage import keep_kernel
from nbdock.vm.modules import GUEST_MODULES

RELEASE = "6.9.1-cloud-amd64"


def install(root: Path, release: str, *, dep: str | None = None, image: bool = True) -> None:
    """A kernel as a distribution would have installed it, with everything built in."""
    directory = root / "lib/modules" / release
    directory.mkdir(parents=True)
    (directory / "modules.dep").write_text(dep or "")
    builtin = [name for name in GUEST_MODULES if name != "overlay"]
    (directory / "modules.builtin").write_text("".join(f"kernel/{n}.ko\n" for n in builtin))
    (root / "boot").mkdir(exist_ok=True)
    if image:
        (root / "boot" / f"vmlinuz-{release}").write_bytes(b"kernel")


def test_this_machine_has_one() -> None:
    kernel = host_kernel()
    assert Path(kernel.image).read_bytes()[0x202:0x206] == b"HdrS"
    loaded = [module.name for module in kernel.modules()]
    assert loaded.index("virtio") < loaded.index("virtio_pci")
    assert "virtio_rng" not in loaded
    assert [module.name for module in kernel.late_modules()] == ["virtio_rng"]


def test_the_best_of_several(tmp_path: Path) -> None:
    overlay = "kernel/overlay.ko:\n"
    for release in ("6.1.0-9-amd64", "6.1.0-10-amd64", "5.10.0-cloud-amd64", "5.9.0-cloud-amd64"):
        install(tmp_path, release, dep=overlay)
    install(tmp_path, "9.9.0-amd64", dep=overlay, image=False)
    install(tmp_path, "9.9.0-cloud-amd64")
    assert host_kernel(str(tmp_path)).release == "5.10.0-cloud-amd64"
    for release in ("5.9.0-cloud-amd64", "5.10.0-cloud-amd64"):
        (tmp_path / "boot" / f"vmlinuz-{release}").unlink()
    kernel = host_kernel(str(tmp_path))
    assert kernel.image == f"{tmp_path}/boot/vmlinuz-6.1.0-10-amd64"
    assert [module.path for module in kernel.modules()] == [
        f"{tmp_path}/lib/modules/6.1.0-10-amd64/kernel/overlay.ko"
    ]


def test_an_image_beside_its_modules(tmp_path: Path) -> None:
    install(tmp_path, "6.1", dep="overlay.ko:\n", image=False)
    (tmp_path / "lib/modules/6.1/vmlinuz").write_bytes(b"kernel")
    assert host_kernel(str(tmp_path)).image == f"{tmp_path}/lib/modules/6.1/vmlinuz"


def test_why_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match=r"no kernel that a guest can boot\.\n"):
        host_kernel(str(tmp_path))
    install(tmp_path, "6.1", image=False)
    install(tmp_path, "6.2")
    with pytest.raises(UnavailableError) as caught:
        host_kernel(str(tmp_path))
    assert caught.value.message == (
        "This machine has no kernel that a guest can boot: The kernel 6.2 has no module overlay; "
        f"6.1 has no image in {tmp_path}/boot."
    )
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UnavailableError, match=r"vmlinuz-6\.2 is not readable for this user"):
        host_kernel(str(tmp_path))


# From packages


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    """What Debian's package of a kernel holds, with the modules of the one that is installed."""
    kernel = host_kernel()
    place = f"lib/modules/{RELEASE}"
    modules = {
        os.path.relpath(module.path, kernel.directory): Path(module.path).read_bytes()
        for module in (*kernel.modules(), *kernel.late_modules())
    }
    return {
        f"boot/vmlinuz-{RELEASE}": b"MZ kernel",
        f"boot/config-{RELEASE}": b"CONFIG_X=y",
        f"{place}/modules.builtin": Path(kernel.directory, "modules.builtin").read_bytes(),
        f"{place}/kernel/not/needed.ko": modules[next(iter(modules))],
        **{f"{place}/{path}": data for path, data in modules.items()},
    }


def packages(folder: Path, files: Mapping[str, bytes]) -> AptPackageSet:
    archive = Archive(folder / "archive")
    archive.add("kmod", "1", files={"bin/kmod": b""})
    archive.add(f"linux-image-{RELEASE}", "1", files=files, Depends="kmod")
    archive.add("linux-image-cloud-amd64", "1", Depends=f"linux-image-{RELEASE}")
    archive.publish()
    return apt(f"file:{archive.root}", suite="stable", architecture="amd64", trusted=True)


async def test_a_kernel_out_of_a_package(
    files: Mapping[str, bytes], nbdock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = packages(tmp_path, files)
    kernel = await package_kernel(source)
    assert kernel.release == RELEASE
    assert Path(kernel.image).read_bytes() == b"MZ kernel"
    host = host_kernel()
    assert {(m.name, m.read()) for m in kernel.modules()} == {
        (m.name, m.read()) for m in host.modules()
    }
    assert [m.name for m in kernel.late_modules()] == ["virtio_rng"]
    assert not Path(kernel.directory, "kernel/not").exists()
    assert os.listdir(nbdock_home / "vm/tmp") == []
    # What is kept is used again: the package is not read.
    for deb in (tmp_path / "archive/pool/main").glob("linux-image-6*"):
        deb.write_bytes(b"x" * deb.stat().st_size)

    async def nothing(packages: object, *, progress: object = None) -> None:
        pass

    monkeypatch.setattr(source, "fetch", nothing)
    assert await package_kernel(source) == kernel


async def test_the_setting_chooses(
    files: Mapping[str, bytes], nbdock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Kernel:
        raise UnavailableError("none")

    source = packages(tmp_path, {**files})
    assert await guest_kernel() == host_kernel()
    monkeypatch.setenv("NBDOCK_VM_KERNEL", "mine")
    with pytest.raises(ArgumentTypeError, match="auto, host or package, not 'mine'"):
        await guest_kernel()
    monkeypatch.setenv("NBDOCK_VM_KERNEL", "package")
    assert (await guest_kernel(source)).release == RELEASE
    monkeypatch.setattr("nbdock.vm.kernel.host_kernel", none)
    monkeypatch.setenv("NBDOCK_VM_KERNEL", "host")
    with pytest.raises(UnavailableError):
        await guest_kernel(source)
    monkeypatch.setenv("NBDOCK_VM_KERNEL", "auto")
    assert (await guest_kernel(source)).release == RELEASE


class Files(Package):
    """A package of these files."""

    name, version, root, key, size_bytes = "linux-image-x", "1", "/", "files", 0

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def entries(self) -> Iterator[Entry]:
        for path, data in self.files.items():
            content = BytesContent(data)
            yield Entry(os.fsencode(path), EntryKind.FILE, size_bytes=len(data), content=content)


def test_packages_without_a_usable_kernel(
    files: Mapping[str, bytes], nbdock_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(changed: Mapping[str, bytes]) -> str:
        with pytest.raises(GuestPartError) as caught:
            keep_kernel([Files(changed)])
        assert not list((nbdock_home / "vm").rglob("release"))
        assert os.listdir(nbdock_home / "vm/tmp") == []
        return caught.value.message

    image = f"boot/vmlinuz-{RELEASE}"
    no_image = {path: data for path, data in files.items() if path != image}
    assert refused(no_image) == "There is no kernel in linux-image-x."
    overlay = next(path for path in files if path.endswith("overlay.ko"))
    without = {path: data for path, data in files.items() if path != overlay}
    assert "has no module overlay" in refused(without)
    damaged = {**files, overlay: files[overlay][:5000]}
    assert "overlay.ko is not a kernel module" in refused(damaged)
    packed = {**files, f"{overlay}.xz": lzma.compress(files[overlay])[:-5]}
    assert "overlay.ko.xz is damaged" in refused(packed)
    assert "has kernels" in refused({**files, "boot/vmlinuz-7": b""})
    assert "has kernels '' and '..'" in refused({"boot/vmlinuz-..": b"x"})
    monkeypatch.setenv("NBDOCK_VM_MODULE_LIMIT_BYTES", "10000")
    assert "too many for a guest" in refused(files)


def test_compressed_modules_stay_as_they_are(files: Mapping[str, bytes], nbdock_home: Path) -> None:
    packed = {
        f"usr/{path}.xz" if path.endswith(".ko") else path: lzma.compress(data, preset=0)
        if path.endswith(".ko") else data
        for path, data in files.items()
    }  # fmt: skip
    release, directory = keep_kernel([Files(packed)])
    kernel = Kernel(release, f"{directory}/vmlinuz", directory)
    assert all(module.path.endswith(".ko.xz") for module in kernel.modules())
    assert {m.read() for m in kernel.modules()} == {m.read() for m in host_kernel().modules()}


async def test_sources_without_a_kernel(nbdock_home: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    archive.add("kmod", "1")
    archive.publish()
    source = apt(f"file:{archive.root}", suite="stable", architecture="amd64", trusted=True)
    with pytest.raises(UnavailableError, match="neither linux-image-cloud-amd64 nor"):
        await package_kernel(source)
