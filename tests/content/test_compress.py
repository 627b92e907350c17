"""Writing gzip and zstd: one valid stream for every tool, the same bytes everywhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdock.content import compressor, default_level, encoder_version, open_decompressed
from nbdock.errors import ArgumentTypeError, CodecError

MIB = 1 << 20
ALGORITHMS = ("gzip", "zstd", "none")


def compressible(size: int, seed: int = 1) -> bytes:
    chosen = random.Random(seed)
    words = [chosen.randbytes(chosen.randint(2, 12)) for _ in range(2000)]
    return b"".join(chosen.choices(words, k=size // 6))[:size]


def compress(data: bytes, algorithm: str, *, cut: int = 1 << 18, **options: int) -> bytes:
    out = bytearray()
    buffer = bytearray(cut)
    with compressor(algorithm, out.extend, **options) as stream:
        for start in range(0, len(data), cut):
            part = data[start : start + cut]
            buffer[: len(part)] = part
            stream.write(memoryview(buffer)[: len(part)])
            buffer[:] = b"\xee" * cut  # it must not be looked at later
        assert stream.finish() == len(out)
    return bytes(out)


SIZES = [0, 1, 1000, MIB - 1, MIB, MIB + 1, 3 * MIB, 5 * MIB + 12345]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", SIZES)
def test_round_trip(algorithm: str, size: int) -> None:
    data = compressible(size + 100)[:size]
    made = compress(data, algorithm)
    with open_decompressed(io.BytesIO(made), codec=algorithm) as stream:
        assert stream.read() == data


@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB + 1])
def test_the_tools_read_it(size: int) -> None:
    data = compressible(size + 100)[:size]
    for algorithm, commands in (("gzip", (["gzip", "-dc"], ["gzip", "-t"])),
                                ("zstd", (["zstd", "-dc"], ["zstd", "-tq"]))):  # fmt: skip
        made = compress(data, algorithm)
        for command in commands:
            done = subprocess.run(command, input=made, capture_output=True, check=True)
            assert done.stdout == (data if "-dc" in command else b"")
    made = compress(data, "gzip")
    # One member, as the strictest readers want it.
    member = zlib.decompressobj(wbits=31)
    assert member.decompress(made) == data
    assert member.eof
    assert not member.unused_data


def test_the_gzip_header_tells_nothing() -> None:
    made = compress(b"x", "gzip")
    assert made[:10] == b"\x1f\x8b\x08\x00\0\0\0\0\x00\xff"


def test_zstd_frames_carry_a_checksum() -> None:
    assert compress(b"content", "zstd")[4] & 4
    assert compress(b"", "zstd")[4] & 4


@settings(max_examples=15)
@given(
    size=st.integers(0, 2_500_000), cuts=st.lists(st.integers(100, 700_000), min_size=1, max_size=6)
)
def test_bytes_do_not_depend_on_how_the_input_is_cut(size: int, cuts: list[int]) -> None:
    data = compressible(2_500_100)[:size]
    for algorithm in ("gzip", "zstd"):
        out = bytearray()
        with compressor(algorithm, out.extend, level=1) as stream:
            position = turn = 0
            while position < size:
                stream.write(data[position : position + cuts[turn % len(cuts)]])
                position += cuts[turn % len(cuts)]
                turn += 1
            stream.finish()
        assert bytes(out) == compress(data, algorithm, level=1, cut=1 << 20)


@pytest.mark.parametrize("algorithm", ["gzip", "zstd"])
def test_bytes_do_not_depend_on_the_number_of_workers(algorithm: str) -> None:
    # Long enough for several of the jobs that zstd cuts (2 MiB at level 1).
    data = compressible(7 * MIB)
    made = {
        compress(data, algorithm, workers=workers, cut=cut, level=1)
        for workers, cut in ((1, 1 << 20), (2, 300_001), (5, 7 * MIB))
    }
    assert len(made) == 1


# Run by one interpreter under qemu-user for processors with fewer and fewer instructions.
ON_ANOTHER_PROCESSOR = """
import hashlib, sys
from nbdock.content import compressor
data = open(sys.argv[1], "rb").read()
for algorithm, levels in (("gzip", (1, 6)), ("zstd", (3,))):
    for level in levels:
        hasher = hashlib.sha256()
        with compressor(algorithm, hasher.update, level=level, workers=1) as stream:
            stream.write(data)
            stream.finish()
        print(algorithm, level, hasher.hexdigest())
"""


# Without SSE 4.2, and with AVX2 but nothing newer.
@pytest.mark.parametrize("processor", ["qemu64", "Haswell"])
def test_bytes_do_not_depend_on_the_processor(processor: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(compressible(MIB) + bytes(70_000))
    # Where there is no emulator for this machine, a second process stands in for it.
    emulator = shutil.which("qemu-x86_64") if os.uname().machine == "x86_64" else None
    command = [os.path.realpath(sys.executable), "-c", ON_ANOTHER_PROCESSOR, tmp_path / "data"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    here = subprocess.run(command, capture_output=True, check=True, env=environment)
    assert len(here.stdout.splitlines()) == 3
    emulated = [emulator, "-cpu", processor] if emulator else []
    there = subprocess.run([*emulated, *command], capture_output=True, check=True, env=environment)
    assert there.stdout == here.stdout


@pytest.mark.parametrize("algorithm", ["gzip", "zstd"])
def test_levels(algorithm: str) -> None:
    data = compressible(3 * MIB)
    default = compress(data, algorithm)
    assert default == compress(data, algorithm, level=default_level(algorithm))
    smallest, fastest = compress(data, algorithm, level=9), compress(data, algorithm, level=1)
    assert len(smallest) < len(fastest) < len(data)


def test_blocks_cost_little_size() -> None:
    """Compressed in blocks with dictionaries, it is as small as compressed in one go."""
    data = compressible(6 * MIB)
    assert len(compress(data, "gzip")) < 1.01 * len(gzip.compress(data, 6))


@pytest.mark.parametrize(
    ("algorithm", "level"),
    [("gzip", 0), ("gzip", 10), ("zstd", 0), ("zstd", 20), ("zstd", -5), ("xz", None), ("rar", 1)],
)
def test_what_is_not_written(algorithm: str, level: int | None) -> None:
    with pytest.raises(ArgumentTypeError) as error:
        compressor(algorithm, bytearray().extend, level=level)
    assert algorithm in str(error.value)


def test_a_finished_stream_takes_no_more() -> None:
    out = bytearray()
    with compressor("gzip", out.extend) as stream:
        stream.write(b"x")
        size = stream.finish()
        assert stream.finish() == size
        with pytest.raises(CodecError):
            stream.write(b"y")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_failing_sink_is_heard_and_nothing_hangs(algorithm: str) -> None:
    class FullError(Exception):
        pass

    def sink(_: bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise FullError

    for left in range(4):  # noqa: B007
        with (
            pytest.raises(FullError),
            compressor(algorithm, sink, workers=2) as stream,
        ):
            for _ in range(40):
                stream.write(os.urandom(MIB))
            stream.finish()


def test_many_streams_at_once_do_not_wait_for_each_other() -> None:
    data = compressible(4 * MIB)
    wanted = compress(data, "gzip")
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(compress(data, "gzip"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [wanted] * 8


FORKED = """
import os, sys
from nbdock.content import compressor
def run():
    out = bytearray()
    with compressor("gzip", out.extend, workers=2) as stream:
        for _ in range(4):
            stream.write(bytes(1 << 20))
        stream.finish()
    return out
first = run()
child = os.fork()
if not child:
    os._exit(run() != first)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_compresses_too() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=240)


MEMORY = """
import resource, sys
from nbdock.content import compressor
piece = bytes(range(256)) * 4096
def run(count):
    with compressor(sys.argv[1], lambda data: None, workers=2) as stream:
        for _ in range(count):
            stream.write(piece)
        stream.finish()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = run(1)
print(run(400) - before)
"""


@pytest.mark.parametrize("algorithm", ["gzip", "zstd"])
def test_memory_is_bounded(algorithm: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, algorithm], capture_output=True, check=True, text=True
    )
    assert int(done.stdout) < 100 << 10


def test_the_encoder_names_its_library() -> None:
    assert encoder_version("gzip").startswith("zlib-ng 2")
    assert encoder_version("zstd").startswith("zstd 1.")


@pytest.fixture
def layout(tmp_path: Path) -> Callable[[bytes, str], str]:
    def make(layer: bytes, algorithm: str) -> str:
        from nbdock.content import BlobStore
        from nbdock.oci import Descriptor, MediaType

        store = BlobStore(tmp_path / "layout")
        blob = compress(layer, algorithm)
        digest = store.add(blob)
        config = (
            '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers",'
            f'"diff_ids":["sha256:{hashlib.sha256(layer).hexdigest()}"]}}}}'
        ).encode()
        manifest = (
            f'{{"schemaVersion":2,"mediaType":"{MediaType.OCI_MANIFEST}",'
            f'"config":{{"mediaType":"{MediaType.OCI_CONFIG}","digest":"{store.add(config)}",'
            f'"size":{len(config)}}},'
            f'"layers":[{{"mediaType":"{MediaType.OCI_LAYER}+{algorithm}","digest":"{digest}",'
            f'"size":{len(blob)}}}]}}'
        ).encode()
        store.set_image(
            "it", Descriptor(MediaType.OCI_MANIFEST, store.add(manifest), len(manifest))
        )
        return f"oci:{store.home}:it"

    return make


@pytest.mark.parametrize("algorithm", ["gzip", "zstd"])
def test_skopeo_reads_the_layers(
    algorithm: str, layout: Callable[[bytes, str], str], tmp_path: Path
) -> None:
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("data")
        member.size = 5 * MIB
        archive.addfile(member, io.BytesIO(compressible(member.size)))
    source = layout(made.getvalue(), algorithm)
    # skopeo decompresses, and checks that the result is the diff ID.
    target = tmp_path / "out"
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-decompress", source, f"dir:{target}"], check=True
    )
    layer = made.getvalue()
    assert (target / hashlib.sha256(layer).hexdigest()).read_bytes() == layer
