"""Tasks in real guests: what commands find there, and what comes back."""

from __future__ import annotations

import contextlib
import os
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.entries import file, folder
from support.guests import busybox_layer, layer_of

from nbdock.errors import ArgumentError, VmError
from nbdock.filetree import Entry, EntryKind
from nbdock.vm import (
    DiskFormat,
    GuestResult,
    GuestTask,
    LayerDisk,
    layerdisk,
    machine,
    run_guest,
)

TIMEOUT_S = 240.0


@contextlib.asynccontextmanager
async def guest(**fields: object) -> AsyncIterator[GuestResult]:
    async with run_guest(GuestTask(timeout_s=TIMEOUT_S, **fields)) as result:  # type: ignore[arg-type]
        yield result


def facts(tar_path: str | None) -> dict[str, tarfile.TarInfo]:
    assert tar_path is not None
    with tarfile.open(tar_path, errors="surrogateescape") as archive:
        return {member.name: member for member in archive}


SCRIPT = rb"""
mkdir -p srv/{a,b} "odd
name"
rm etc/gone
rm -r opt/tool && mkdir opt/tool && touch opt/tool/new
echo more >>etc/kept
chown 70000:70001 etc/kept && chmod 4711 etc/kept
ln etc/kept etc/again
mknod etc/device b 7 8
mkfifo etc/fifo
touch $'etc/b\xe4d'
echo 1 >/dev/null; echo said >/dev/stderr; echo "and said" >/dev/stdout
head -c 3 /dev/urandom >/dev/zero
[ -t 0 ] || read -r nothing || echo "no input"
set | grep -E '^(HOME|PATH|PWD|USER)='
echo "other variables: $(env | grep -vcE '^(HOME|PATH|PWD|SHLVL|_)=')"
echo "time $(date +%s)"
echo "processes $(ls -d /proc/[0-9]* | wc -l)"
echo "ports $(ls /dev | grep -c vport)"
echo "network $(ls /sys/class/net)"
echo "root $(df -k / | tail -n 1 | awk '{print $2}')"
mount -t tmpfs over srv/b && touch srv/b/not-kept
# What nobody waits for is gone before anything is sent.
(while :; do echo x >>srv/a/growing; sleep 0.01; done) &
until [ -s srv/a/growing ]; do sleep 0.01; done
setsid sh -c 'trap "" TERM HUP; exec sleep 100000' </dev/null >/dev/null 2>&1 &
printf 'no end of line'
"""


async def test_a_script_changes_its_layers(tmp_path: Path) -> None:
    base = [
        folder("etc"), file("etc/kept", b"kept\n"), file("etc/gone"), folder("proc", 0o555),
        file("etc/resolv.conf", b"nameserver 10.0.0.1\n"), file("opt/tool/old"),
        file("tmp/of the image"),
    ]  # fmt: skip
    disks = (await layer_of(tmp_path, base), await busybox_layer(tmp_path))
    lines: list[str] = []
    task = GuestTask(
        layers=disks, script=SCRIPT, send="changes", disk_mib=300, timeout_s=TIMEOUT_S
    )  # fmt: skip
    async with run_guest(task, on_log=lines.append) as result:
        assert (result.exit_code, result.failed_line, result.hint) == (0, None, None), lines
        members = facts(result.tar_path)
        with tarfile.open(result.tar_path) as archive:  # type: ignore[type-var]
            kept = archive.extractfile("./etc/kept")
            assert kept is not None
            assert kept.read() == b"kept\nmore\n"
        assert os.stat(result.tar_path).st_mode & 0o777 == 0o600  # type: ignore[arg-type]
        tar_path = result.tar_path
    assert not os.path.exists(tar_path)  # type: ignore[arg-type]
    assert result.output == "\n".join(lines).encode()
    said = dict(line.partition(" ")[::2] for line in lines)
    assert lines[:3] == ["said", "and said", "no input"]
    assert "HOME=/root" in lines
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/dev/.nbdock/bin"
    assert f"PATH={path}" in lines
    assert "other variables: 0" in lines
    assert abs(int(said["time"]) - time.time()) < TIMEOUT_S
    assert int(said["processes"]) < 8
    assert said["ports"] == "0"
    assert said["network"] == "lo"
    assert 270_000 < int(said["root"]) <= 300 << 10
    assert lines[-1] == "no end of line"
    assert set(members) == {
        ".", "./etc", "./etc/again", "./etc/b\udce4d", "./etc/device", "./etc/fifo", "./etc/gone",
        "./etc/kept", "./odd\nname", "./opt", "./opt/tool", "./opt/tool/new", "./srv", "./srv/a",
        "./srv/a/growing", "./srv/b",
    }  # fmt: skip
    gone, kept_fact = members["./etc/gone"], members["./etc/again"]
    assert (gone.type, gone.devmajor, gone.devminor) == (tarfile.CHRTYPE, 0, 0)
    assert (kept_fact.uid, kept_fact.gid, kept_fact.mode) == (70000, 70001, 0o4711)
    assert members["./etc/kept"].linkname == "./etc/again"
    assert (members["./etc/device"].devmajor, members["./etc/device"].devminor) == (7, 8)
    opaque = members["./opt/tool"].pax_headers
    assert opaque["SCHILY.xattr.trusted.overlay.opaque"] == "y"


PASSWD = b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"
GROUP = b"root:x:0:\nmore:x:50:other,app\nstaff:x:60:app\napp:x:1001:\n"


async def test_a_command_as_a_user(tmp_path: Path) -> None:
    disks = (
        await layer_of(tmp_path, [file("etc/passwd", PASSWD), file("etc/group", GROUP)]),
        await busybox_layer(tmp_path),
    )
    odd = 'it\'s "$odd"\n`touch /gone` \\ \u00e9\n'
    check = (
        'id -u; id -g; id -G; echo "$HOME|$PATH"; pwd; printf %s "$ODD$1"; '
        "cat /proc/self/oom_score_adj; echo denied >/etc/x"
    )
    async with guest(
        layers=disks, command=("sh", "-c", check, "sh", odd), user="app",
        environment={"ODD": odd, "PATH": "/tools:/bin", "A B": "x", "-i": "y"},
        working_directory="/home/app/-new\ndirectory",
    ) as result:  # fmt: skip
        assert result.tar_path is None
    lines = result.output.decode().split("\n")
    assert lines[:3] == ["1000", "1001", "1001 50 60"]
    assert lines[3:6] == ["/home/app|/tools:/bin", "/home/app/-new", "directory"]
    assert odd + odd in result.output.decode()
    assert lines[-3:-1] == ["900", lines[-2]]
    assert lines[-2].endswith("can't create /etc/x: Permission denied")
    assert result.exit_code == 1


async def test_commands_beside_the_tree_and_the_whole_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 layers, one of them an archive, one that hides those below; tools stand elsewhere."""
    monkeypatch.setattr(layerdisk, "converter_path", lambda: None)
    archive = await layer_of(
        tmp_path,
        [
            file("from/archive", b"x" * 5000),
            file("from/layer1"),
            Entry(b"from/.wh.layer2", EntryKind.FILE),
        ],
    )
    assert archive.format is DiskFormat.TAR
    monkeypatch.undo()
    layers = [await layer_of(tmp_path, [file("never/seen")])]
    layers.append(await layer_of(tmp_path, [file(".wh..wh..opq"), file("first", b"1")]))
    layers += [
        await layer_of(tmp_path, [file(f"from/layer{number}", b"%d" % number)])
        for number in range(20)
    ]
    layers += [archive, await layer_of(tmp_path, [file("last")])]
    assert len(layers) == 24
    around = (
        await layer_of(
            tmp_path, [file("nix/store/tool/bin/hello", b"#!/bin/sh\necho hello\n", 0o755)]
        ),
    )
    script = b"#!/usr/bin/env bash\nset -e\n/nix/store/tool/bin/hello\npwd\necho $(ls from)\n"
    script += (
        b"chown 5:6 first\nrm from/layer3\nmkdir -p {x,y}\necho kept >/tmp/elsewhere\nls /build\n"
    )
    async with guest(
        layers=tuple(layers), around=around, root="changes", script=script, send="tree"
    ) as result:
        assert result.exit_code == 0, result.output
        members = facts(result.tar_path)
    listed = [f"layer{number}" for number in range(20) if number != 2]
    assert result.output.decode().splitlines() == [
        "hello", "/build", " ".join(["archive", *sorted(listed)]), "first", "from", "last", "x",
        "y",
    ]  # fmt: skip
    assert set(members) == {
        ".", "./first", "./from", "./from/archive", "./last", "./x", "./y",
        *(f"./from/{name}" for name in listed if name != "layer3"),
    }  # fmt: skip
    assert (members["./first"].uid, members["./first"].gid) == (5, 6)
    assert members["./from/archive"].size == 5000


async def test_a_machine_without_mke2fs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest makes the file system, of the same size."""
    monkeypatch.setattr(machine, "format_disk", lambda fd: None)
    async with guest(script=b"df -k / | tail -n 1 | awk '{print $2}'", disk_mib=64) as result:
        assert result.exit_code == 0, result.output
        assert 60_000 < int(result.output) < 64 << 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user": "nobody-knows"}, "There is no user nobody-knows in /etc/passwd."),
        ({"user": "0:nobody-knows"}, "There is no group nobody-knows in /etc/group."),
        (
            {"working_directory": "/dev/null/x"},
            "The working directory /dev/null/x cannot be entered.",
        ),
    ],
)
async def test_what_cannot_be_entered(fields: dict[str, str], message: str) -> None:
    with pytest.raises(VmError) as caught:
        async with guest(script=b"true", **fields):
            pass
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("fields", "argument"),
    [
        ({"script": b"x", "command": ("y",)}, "script"),
        ({"around": (LayerDisk("", DiskFormat.TAR, 0),)}, "around"),
        ({"memory_mib": 0}, "memory_mib"),
        ({"disk_mib": 0}, "disk_mib"),
    ],
)
async def test_tasks_that_make_no_sense(fields: dict[str, object], argument: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        async with guest(**fields):
            pass
    assert caught.value.argument == argument
