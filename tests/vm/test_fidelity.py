"""A layer with every kind of file, through two guests and a Docker engine: nothing is lost.

The script of `support.overlays` runs in a guest; the layer it leaves is byte for byte that of this
machine's own kernel, and what the next guest and dockerd make of it is what the script saw.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from support.engine import Engine
from support.entries import file
from support.overlays import (
    EVERYTHING,
    base_entries,
    facts,
    kernel_overlay,
    lower_directory,
    tools_layer,
)
from support.plain_images import write_docker_archive

from nbdock.filetree import Entry, EntryKind, overlay, read_tar, squash, tar_bytes
from nbdock.oci import Digest
from nbdock.vm import GuestTask, LayerDisk, layer_disk, read_changes, run_guest

ENVIRONMENT = {"PATH": "/tools/bin", "LD_LIBRARY_PATH": "/tools/lib"}


async def disk_of(entries: Iterable[Entry], place: Path) -> LayerDisk:
    data = tar_bytes(entries)
    place.write_bytes(data)
    return await layer_disk(Digest.of(data), place)


def without_root(found: dict[bytes, tuple[object, ...]]) -> dict[bytes, tuple[object, ...]]:
    """The root of a guest is the directory that its overlay writes to."""
    return {path: found[path] for path in found if path}


async def test_every_kind_of_file(nbdock_home: Path, tmp_path: Path, docker_engine: Engine) -> None:
    base = base_entries()
    base_disk = await disk_of(base, tmp_path / "base.tar")
    tools = await disk_of(tools_layer(), tmp_path / "tools.tar")
    task = GuestTask(
        layers=(tools, base_disk), send="changes", environment=ENVIRONMENT,
        script=EVERYTHING.encode("utf-8", "surrogateescape"),
    )  # fmt: skip
    async with run_guest(task) as result:
        assert result.exit_code == 0, result.output
        assert result.tar_path is not None
        changes = read_changes(result.tar_path, created=7, without=[b"tools"])
        layer = tmp_path / "layer.tar"
        layer.write_bytes(tar_bytes(changes))
    expected = facts(overlay([base, read_tar(layer)]))
    assert {held[0] for held in expected.values()} >= {*EntryKind} - {EntryKind.HARDLINK}

    # The kernel of this machine does the same, to the byte.
    lower = lower_directory(base, tmp_path / "base")
    tars = kernel_overlay([lower], tmp_path / "here", EVERYTHING)
    assert tar_bytes(read_changes(tars.changes, created=7)) == layer.read_bytes()
    assert facts(overlay([read_tar(tars.tree)])) == expected

    # A second guest, with the layer on the base; nothing runs there.
    disk = await layer_disk(Digest.of(layer.read_bytes()), layer)
    async with run_guest(GuestTask(layers=(base_disk, disk), send="tree")) as result:
        assert result.tar_path is not None
        seen = facts(overlay([read_tar(result.tar_path)]))
    assert without_root(seen) == without_root(expected)

    # dockerd unpacks both into directories, which its containers are made of.
    archive = write_docker_archive(
        tmp_path / "image.tar", name="fidelity:1", layers=[tar_bytes(base), layer.read_bytes()],
        config={"Cmd": ["/none"]},
    )  # fmt: skip
    docker_engine.load(archive)
    try:
        [image] = json.loads(docker_engine("image", "inspect", "fidelity:1").stdout)
        folders = image["GraphDriver"]["Data"]
        lowers = [folders["Dir"]] if "Dir" in folders else [
            folders["UpperDir"], *folders["LowerDir"].split(":")
        ]  # fmt: skip
        inside = kernel_overlay([Path(p) for p in reversed(lowers)], tmp_path / "docker")
        assert without_root(facts(overlay([read_tar(inside.tree)]))) == without_root(expected)
        docker_engine("create", "--name", "fidelity", "fidelity:1")
        docker_engine("export", "--output", str(tmp_path / "export.tar"), "fidelity")
        exported = overlay([read_tar(tmp_path / "export.tar")])
        assert set(exported) >= set(expected)
    finally:
        docker_engine("rm", "--force", "fidelity", check=False)
        docker_engine("image", "rm", "fidelity:1")


async def test_a_large_base_is_changed_where_it_is(nbdock_home: Path, tmp_path: Path) -> None:
    """64 MiB in 2,000 files: what comes back is what changed, however large the rest is."""

    noise = random.Random(1).randbytes(1 << 20)
    base: list[Entry] = []
    for number in range(2000):
        folder = b"f%02d" % (number // 100)
        if number % 100 == 0:
            base.append(Entry(folder, EntryKind.DIRECTORY, 0o755))
        at = number * 500
        base.append(file(b"%s/%03d" % (folder, number % 100), noise[at : at + 34_000]))
    below = overlay([base])
    assert below.size_bytes > 64 << 20
    # No shell, no programs: the guest's own do.
    script = b"rm -r /f00; chown -R 7:8 /f01; cp -a /f02 /copy; rm /f03/00*; mkdir /f00"
    task = GuestTask(
        layers=(await disk_of(base, tmp_path / "base.tar"),), script=script, send="changes"
    )
    async with run_guest(task) as result:
        assert result.exit_code == 0, result.output
        assert result.tar_path is not None
        changes = list(read_changes(result.tar_path, created=7))
        layer = overlay([squash([changes], base=below)])
        assert layer.size_bytes == 200 * 34_000
        copies = {p: layer[p].read() for p in layer if p.startswith(b"copy/")}
    assert copies == {b"copy" + p[3:]: below[p].read() for p in below if p.startswith(b"f02/")}
    tree = overlay([base, changes])
    assert (tree.names(b"f00"), len(tree.names(b"f01")), len(tree.names(b"f03"))) == ((), 100, 90)
    assert {(e.uid, e.gid) for p, e in tree.items() if p.startswith(b"f01")} == {(7, 8)}
