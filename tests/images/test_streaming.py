"""`stream_layered_image`: the bytes of a build and a save, as early as they can be had."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import json
import os
import random
import subprocess
import tarfile
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support.engine import Engine
from support.plain_images import busybox_layer, layer, write_docker_archive

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import (
    ArgumentTypeError,
    CommandError,
    MissingArgumentError,
    UnknownArgumentError,
)
from nbdock.filetree import BytesContent, Entry, EntryKind
from nbdock.images import ImageStream
from nbdock.packages import Closure, Package, PackageSet, Progress


async def bytes_of(stream: ImageStream) -> bytes:
    return b"".join([piece async for piece in stream])


def texts(*names: str) -> list[Package]:
    return [nbdock.text_file(f"etc/{name}", name * 1000) for name in names]


def manifest(archive: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        found = opened.extractfile("manifest.json")
        assert found is not None
        one: dict[str, Any] = json.load(found)[0]
    return one


class Gated(PackageSet):
    """Packages whose contents appear only when they are let."""

    def __init__(self, names: Iterable[str]) -> None:
        self.gates = {name: threading.Event() for name in names}

    def __dir__(self) -> list[str]:
        return list(self.gates)

    async def load(self, *, progress: Progress | None = None) -> None:
        """There is no index."""

    def __getitem__(self, name: str) -> Package:
        return GatedPackage(name, self)

    async def closure(self, packages: Sequence[Package]) -> Closure:
        found = tuple(self[name] for name in self.gates)
        return Closure(found, {p.key: () for p in found}, tuple(p.key for p in packages))

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        """Nothing has to be fetched."""


class GatedPackage(Package):
    root, version = "/", "1"
    size_bytes = 3 << 20

    def __init__(self, name: str, package_set: Gated) -> None:
        self.name, self.package_set = name, package_set
        self._gate = package_set.gates[name]

    @property
    def key(self) -> str:
        return f"gated:{self.name}"

    def entries(self) -> Iterator[Entry]:
        assert self._gate.wait(240)
        data = self.name.encode().ljust(self.size_bytes, b".")
        yield Entry(
            self.name.encode(), EntryKind.FILE, size_bytes=len(data), content=BytesContent(data)
        )


@pytest.fixture
def gated() -> Iterator[Gated]:
    packages = Gated(["a", "b", "c"])
    yield packages
    for gate in packages.gates.values():
        gate.set()


@pytest.mark.parametrize("warm", [False, True])
async def test_its_bytes_are_those_of_a_build_saved(warm: bool, tmp_path: Path) -> None:
    """On a base, with a layer that comes twice, whatever is in the store already."""
    base = write_docker_archive(
        tmp_path / "base.tar", name="base:1",
        layers=[layer({"a": b"1"}), layer({"b": b"2"}), layer({"a": b"1"})],
    )  # fmt: skip
    arguments: dict[str, Any] = {
        "tag": "1", "contents": texts("x", "y", "z"), "from_image": base,
        "config": {"Cmd": ["/x"]}, "extra_commands": "mkdir made",
    }  # fmt: skip
    stream = nbdock.stream_layered_image("s", **arguments)
    if not warm:
        streamed = await bytes_of(stream)
    elsewhere = None if warm else BlobStore(tmp_path / "elsewhere")
    image = await nbdock.build_layered_image("s", **arguments, store=elsewhere)
    if warm:
        streamed = await bytes_of(stream)
    saved = await image.save(tmp_path / "i.tar")
    assert streamed == saved.read_bytes()
    again = await nbdock.load_image(saved)
    assert again.id == image.id


async def test_layers_go_out_while_others_are_made(gated: Gated) -> None:
    """Each as soon as those below it are there; the top layer and the documents come last."""
    contents = [gated[name] for name in gated.gates]
    plan = await nbdock.plan_layers(contents)
    order = [layer[0].name for layer in plan.layers]
    stream = nbdock.stream_layered_image("s", tag="1", contents=contents)
    seen = b""
    async with aclosing(stream.pieces()) as pieces:
        for name, above in zip(order, [*order[1:], None], strict=True):
            gated.gates[name].set()
            begins = name.encode() + b"." * 1000
            while begins not in seen:
                seen += await anext(pieces)
            assert above is None or not gated.gates[above].is_set()
        seen += b"".join([piece async for piece in pieces])
    assert len(manifest(seen)["Layers"]) == len(order) + 1


async def test_who_stops_early_leaves_nothing(gated: Gated, nbdock_home: Path) -> None:
    """No task, no open file; temporary files are gone, what was made can be used."""
    open_before = len(os.listdir("/proc/self/fd"))
    tasks_before = asyncio.all_tasks()
    gated.gates["a"].set()
    gated.gates["b"].set()
    stream = nbdock.stream_layered_image("s", tag="1", contents=[gated["a"]])
    async with aclosing(stream.pieces()) as pieces:
        async for _ in pieces:
            gated.gates["c"].set()
            break
    assert asyncio.all_tasks() == tasks_before
    assert len(os.listdir("/proc/self/fd")) <= open_before + 2  # of the store itself
    assert list((nbdock_home / "tmp").iterdir()) == []
    assert len(manifest(await bytes_of(stream))["Layers"]) == 4


async def test_a_cancelled_consumer_cancels_the_build(gated: Gated, nbdock_home: Path) -> None:
    stream = nbdock.stream_layered_image("s", tag="1", contents=[gated["a"]])
    started = asyncio.Event()

    async def consume() -> None:
        async for _ in stream.pieces(progress=lambda *_: started.set()):
            pytest.fail("nothing can have come yet")

    tasks_before = asyncio.all_tasks()
    consumer = asyncio.create_task(consume())
    await started.wait()
    consumer.cancel()
    for gate in gated.gates.values():
        gate.set()
    with contextlib.suppress(asyncio.CancelledError):
        await consumer
    assert consumer.cancelled()
    assert asyncio.all_tasks() == tasks_before
    assert list((nbdock_home / "tmp").iterdir()) == []


async def test_a_failing_build_fails_the_stream(gated: Gated) -> None:
    for gate in gated.gates.values():
        gate.set()
    stream = nbdock.stream_layered_image("s", contents=[gated["a"]], extra_commands="false")
    with pytest.raises(CommandError):
        await bytes_of(stream)


async def test_it_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    with (tmp_path / "host/big").open("wb") as file:
        file.truncate(96 << 20)
    await bytes_of(nbdock.stream_layered_image("first"))  # what is imported stays
    stream = nbdock.stream_layered_image("s", contents=nbdock.directory(tmp_path / "host"))
    size = 0
    tracemalloc.start()
    try:
        async for piece in stream:
            assert 0 < len(piece) <= 1 << 20
            size += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 96 << 20
    assert peak < 12 << 20


async def test_repo_tag_takes_the_place_of_the_name() -> None:
    plain = nbdock.stream_layered_image("s", tag="1", contents=texts("x"))
    named = nbdock.stream_layered_image("s", contents=texts("x"), repo_tag="r.io:5/other:2")
    assert (repr(plain), repr(named)) == ("<ImageStream s:1>", "<ImageStream r.io:5/other:2>")
    one, two = manifest(await bytes_of(plain)), manifest(await bytes_of(named))
    assert (one["RepoTags"], two["RepoTags"]) == (["s:1"], ["r.io:5/other:2"])
    assert (one["Config"], one["Layers"]) == (two["Config"], two["Layers"])


async def test_without_a_tag_it_has_that_of_the_build() -> None:
    stream = nbdock.stream_layered_image("s", contents=texts("x"))
    assert (stream.name, stream.tag, repr(stream)) == ("s", "", "<ImageStream s>")
    image = await nbdock.build_layered_image("s", contents=texts("x"))
    assert manifest(await bytes_of(stream))["RepoTags"] == [image.reference]


async def test_it_is_saved_like_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stream = nbdock.stream_layered_image("r.io/s", tag="1", contents=texts("x"))
    assert await stream.save() == tmp_path / "docker-image-s.tar"
    assert (tmp_path / "docker-image-s.tar").read_bytes() == await bytes_of(stream)
    assert (await stream.save("s.tar.gz")).read_bytes()[:2] == b"\x1f\x8b"
    assert (await stream.build()).reference == "r.io/s:1"


def test_its_arguments_are_those_of_build_layered_image() -> None:
    own = set(inspect.signature(nbdock.stream_layered_image).parameters)
    built = set(inspect.signature(nbdock.build_layered_image).parameters)
    assert own - built == {"repo_tag"}
    assert built - own == {"compressor", "on_layer"}


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"nam": "x"}, UnknownArgumentError, "no argument 'nam'"),
        ({}, MissingArgumentError, "'name'"),
        ({"name": "x", "compressor": "gz"}, UnknownArgumentError, "compressor"),
        ({"name": 1}, ArgumentTypeError, "name must be a string"),
        ({"name": "x", "config": []}, ArgumentTypeError, "config"),
        ({"name": "x", "contents": 7}, ArgumentTypeError, "contents"),
        ({"name": "x", "repo_tag": "other"}, ArgumentTypeError, "a name and a tag"),
        ({"name": "x", "repo_tag": "a b:1"}, ArgumentTypeError, "repo_tag"),
        ({"name": "x", "repo_tag": 7}, ArgumentTypeError, "repo_tag"),
    ],
)
def test_arguments_are_checked_at_once(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    stream: Callable[..., ImageStream] = nbdock.stream_layered_image
    with pytest.raises(error, match=says):
        stream(**arguments)


async def test_other_arguments_are_checked_before_the_first_byte(tmp_path: Path) -> None:
    base = write_docker_archive(tmp_path / "b.tar", name="b:1", layers=[layer({"a": b"1"})])
    for wrong in ({"max_layers": 1}, {"uid": -1}, {"mtime": "never"}, {"layering": "nobody's"}):
        stream = nbdock.stream_layered_image("s", from_image=base, **wrong)
        with pytest.raises(nbdock.NbdockError):
            await anext(stream.pieces())


async def piped(stream: ImageStream, *command: str, compressed: bool = False) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stdin is not None
    zstd = zstandard.ZstdCompressor(1).compressobj()
    async for piece in stream:
        process.stdin.write(zstd.compress(piece) if compressed else piece)
        await process.stdin.drain()
    if compressed:
        process.stdin.write(zstd.flush())
    process.stdin.close()
    assert await process.wait() == 0


async def test_a_pipe_into_skopeo(tmp_path: Path) -> None:
    """Compressed, for skopeo goes back and forth in what is not; gzip meets pgzip's fault."""
    # More than a pipe holds: skopeo opens /dev/stdin, which waits for ever when its writer is gone.
    noise = nbdock.text_file("noise", random.Random(1).randbytes(300_000))
    stream = nbdock.stream_layered_image("piped", tag="1", contents=noise)
    layout = tmp_path / "layout"
    copy = ("skopeo", "--insecure-policy", "copy", "docker-archive:/dev/stdin", f"oci:{layout}:1")
    await piped(stream, *copy, compressed=True)
    copied, image = await nbdock.load_image(layout), await stream.build()
    assert [one.diff_id for one in copied.layers] == [one.diff_id for one in image.layers]


@pytest.mark.engine
async def test_a_pipe_into_docker(docker_engine: Engine, tmp_path: Path) -> None:
    shell = write_docker_archive(tmp_path / "sh.tar", name="sh:1", layers=[busybox_layer()])
    stream = nbdock.stream_layered_image("piped", tag="1", from_image=shell, contents=texts("x"))
    await piped(stream, *docker_engine.command, "load")
    image = await stream.build()
    assert docker_engine.run("piped:1", "/bin/cat", "/etc/x") == "x" * 1000
    seen = docker_engine("image", "inspect", "--format", "{{.Id}}", "piped:1").stdout.strip()
    assert seen == str(image.id)
    docker_engine("rmi", "piped:1")
    assert await stream.load(docker_engine.url) == "piped:1"
