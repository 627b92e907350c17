"""What doctor() says of machines that lack something: never an error, always a row with a fix."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from support.components import require
from support.engine import Engine

import nbdock
from nbdock.notebook.doctor import doctor_view
from nbdock.requirements import Finding, Requirement, State
from nbdock.tables import check_parts, checkup

PARTS = [
    "home directory", "Python packages", "APT sources", "Nix", "logins", "engine", "bash",
    "unshare", "QEMU", "qemu.qmp", "accelerator", "guest kernel", "guest programs",
    "squashfs tools", "mke2fs", "ipywidgets",
]  # fmt: skip
VARIABLES = (
    "DOCKER_HOST", "CONTAINER_HOST", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
)  # fmt: skip


@pytest.fixture(autouse=True)
def around(
    monkeypatch: pytest.MonkeyPatch, nbdock_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A user without logins or an engine of their own; their home."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("HOME", str(home))
    return home


def row(part: str) -> tuple[str, str, str]:
    """Status, what was found, and the fix."""
    found = {checked.part: checked for checked in check_parts()}[part]
    return found.status, found.found, found.fix


def test_a_machine_that_has_it_all(docker_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{docker_engine.socket}")
    table = nbdock.doctor()
    assert isinstance(table, pd.DataFrame)
    assert list(table.index) == PARTS
    assert table.index.name == "part"
    assert list(table.columns) == ["status", "found", "needed_for", "fix"]
    assert (table["needed_for"] != "").all()
    status = table["status"].to_dict()
    expected = dict.fromkeys(PARTS, "ok")
    # What this machine may do without; the tests that need it say so themselves.
    for part in ("Nix", "logins", "accelerator"):
        expected[part] = status[part]
    assert status == expected
    assert (table.loc[table["status"] == "ok", "fix"] == "").all()
    assert table["status"].max() > "missing"
    assert table["status"].max() == "ok"
    version = subprocess.check_output(["qemu-system-x86_64", "--version"], text=True)
    assert table.loc["QEMU", "found"].split()[1] in version
    assert table.loc["engine", "found"] == str(docker_engine.socket)
    assert table.loc["accelerator", "found"].startswith(("tcg: ", "kvm: "))


def test_a_machine_without_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    # Where programs are looked for beside PATH.
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    table = nbdock.doctor()
    for part, package in {
        "QEMU": "qemu-system-x86", "bash": "bash", "unshare": "util-linux", "Nix": "nix-bin",
        "squashfs tools": "squashfs-tools", "mke2fs": "e2fsprogs",
    }.items():  # fmt: skip
        assert table.loc[part, "fix"] == f"apt-get install {package}", part
    assert table.loc["QEMU", "status"] == "optional"
    assert table.loc["squashfs tools", "status"] == "slower"
    # nbdock brings the guest's programs itself.
    status, found = table.loc["guest programs", ["status", "found"]]
    assert (status, found) == (
        "ok", "from a package, fetched when first needed (This machine has no busybox)"
    )  # fmt: skip


def test_each_package_manager_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    which = shutil.which
    # Not where programs are beside PATH.
    monkeypatch.setattr(shutil, "which", lambda name, **_: which(name))
    for manager, command in {
        "apk": "apk add qemu-system-x86_64", "pacman": "pacman -S qemu-base",
        "dnf": "dnf install qemu-kvm", "apt-get": "apt-get install qemu-system-x86",
    }.items():  # fmt: skip
        (tmp_path / manager).touch(0o755)
        assert row("QEMU") == (
            "optional", "This machine has no QEMU: there is no program qemu-system-x86_64", command
        )  # fmt: skip
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert row("QEMU")[2] == "sudo apt-get install qemu-system-x86"


def test_a_qemu_that_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "qemu-system-x86_64"
    program.write_text("#!/bin/sh\nexit 127\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    status, found, _ = row("QEMU")
    assert status == "optional"
    assert found.startswith("cannot tell: CalledProcessError: ")


class TestHome:
    def test_a_file_in_its_place(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "file" / "home"))
        assert row("home directory") == (
            "missing", f"{tmp_path}/file is no directory", "export NBDOCK_HOME=/path/to/a/directory"
        )  # fmt: skip

    def test_one_that_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # /proc takes no files, from root neither.
        monkeypatch.setenv("NBDOCK_HOME", "/proc/nbdock")
        monkeypatch.setattr(os, "access", lambda path, _: path != "/proc")
        assert row("home directory")[:2] == ("missing", "/proc is not writable")

    def test_one_that_is_not_there_yet(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "a" / "b"))
        status, found, _ = row("home directory")
        assert status == "ok"
        assert found.startswith(f"{tmp_path}/a/b, ")
        assert not (tmp_path / "a" / "vm").exists()

    def test_too_little_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NBDOCK_HOME_LEAST_FREE_BYTES", str(1 << 60))
        status, found, fix = row("home directory")
        assert status == "missing"
        assert found.startswith("too little room: ")
        assert fix.startswith("export NBDOCK_HOME=")


class TestLogins:
    def test_those_that_are_there(self, around: Path) -> None:
        auth = base64.b64encode(b"me:secret").decode()
        (around / ".docker").mkdir()
        file = around / ".docker" / "config.json"
        places = {f"https://r{n}.example": {"auth": auth} for n in range(5)}
        file.write_text(json.dumps({"auths": places}))
        assert row("logins") == (
            "ok",
            f"r0.example, r1.example, r2.example and 2 more ({file})",
            "",
        )

    def test_none(self) -> None:
        status, found, fix = row("logins")
        assert (status, found) == ("optional", "no logins: registries are asked without one")
        assert fix.endswith(" login REGISTRY")

    def test_a_helper_that_is_not_installed(self, around: Path) -> None:
        (around / ".docker").mkdir()
        file = around / ".docker" / "config.json"
        file.write_text('{"credsStore": "nowhere"}')
        expected = f"{file} names docker-credential-nowhere, which is not here"
        assert row("logins")[:2] == ("optional", expected)

    def test_a_file_that_is_damaged(self, around: Path) -> None:
        (around / ".docker").mkdir()
        file = around / ".docker" / "config.json"
        file.write_text('{"auths": [')
        status, found, _ = row("logins")
        assert status == "optional"
        assert str(file) in found


class TestEngine:
    def test_an_engine_that_is_gone(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        require("dockerd")
        path = tmp_path / "docker.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        status, found, fix = row("engine")
        assert (status, found) == ("optional", f"{path} does not answer (Connection refused)")
        assert fix == "sudo systemctl start docker"

    def test_an_engine_that_is_not_for_this_user(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "docker.sock"
        with socket.socket(socket.AF_UNIX) as there:
            there.bind(str(path))
            there.listen()
            monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")

            def refuse(*_: object) -> None:
                raise PermissionError(13, "Permission denied")

            class Refused(socket.socket):
                connect = refuse

            monkeypatch.setattr("nbdock.images.requirements.socket.socket", Refused)
            assert row("engine") == (
                "optional", f"{path} is not for this user", 'sudo usermod -aG docker "$USER"'
            )  # fmt: skip

    def test_an_engine_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOCKER_HOST", "tcp://localhost:2375")
        status, found, _ = row("engine")
        assert (status, found) == (
            "optional", "The engine 'tcp://localhost:2375' is not on a Unix socket"
        )  # fmt: skip


def test_packages_of_python_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checkup._PACKAGES, "nbdock-nowhere", "nbdock_nowhere")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert row("Python packages") == ("missing", "without nbdock-nowhere", "pip install nbdock")
    assert row("ipywidgets") == (
        "optional", "without ipywidgets", 'pip install "nbdock[widgets]"'
    )  # fmt: skip


def test_wrong_settings_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDOCK_VM_ACCELERATOR", "warp")
    monkeypatch.setenv("NBDOCK_VM_KERNEL", "host")
    table = nbdock.doctor()
    assert table.loc["accelerator", "found"] == (
        "The environment variable NBDOCK_VM_ACCELERATOR must be auto, kvm or tcg, not 'warp'."
    )
    monkeypatch.setenv("NBDOCK_WORKERS", "many")
    table = nbdock.doctor()
    assert table.loc["home directory", "status"] == "missing"
    assert "NBDOCK_WORKERS" in table.loc["home directory", "found"]


def test_a_look_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> Finding:
        raise RuntimeError("odd")

    odd = (Requirement("odd", "nothing", look), Requirement("more", "all", look, is_needed=True))
    monkeypatch.setattr(checkup, "REQUIREMENTS", odd)
    table = nbdock.doctor()
    assert list(table["found"]) == ["cannot tell: RuntimeError: odd"] * 2
    assert list(table["status"]) == ["optional", "missing"]


def test_it_is_quick() -> None:
    nbdock.doctor()  # the imports, and the first measurement of KVM
    best = float("inf")
    # The time of the processor, which tests beside this one do not lengthen.
    for _ in range(10):
        started = time.process_time()
        nbdock.doctor()
        best = min(best, time.process_time() - started)
    assert best < 1


def test_the_look_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "install " + "a-long-package-name " * 5 + "<&>"
    parts = (
        Requirement("one", "all", lambda: Finding(State.OK, "here")),
        Requirement("two", "some", lambda: Finding(State.ABSENT, "not here", command)),
    )
    monkeypatch.setattr(checkup, "REQUIREMENTS", parts)
    table = nbdock.doctor()
    html = doctor_view(table).html()
    assert "needed for" in html
    escaped = command.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert escaped in html
    assert isinstance(table[["fix"]], type(table))  # so a selection is shown whole as well
    assert escaped in doctor_view(table[table.status == "optional"]).html()
    del table["found"]
    assert doctor_view(table).text().splitlines()[2].split() == [
        "part", "status", "needed", "for", "fix"
    ]  # fmt: skip
