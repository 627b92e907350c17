"""Images in files: what is written, who can read it, and what is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import oracles
from support.machines import small_disk

import nbdock
from nbdock.content import BlobStore
from nbdock.errors import (
    ArchiveError,
    ArgumentTypeError,
    BlobNotFoundError,
    CodecError,
    ContentError,
    DigestMismatchError,
    ImageNotFoundError,
    InvalidManifestError,
    NbdockError,
    SizeMismatchError,
    StorageFullError,
    TruncatedArchiveError,
    UnsafePathError,
)
from nbdock.images import Image


async def an_image(name: str = "site", tag: str | None = "1") -> Image:
    base = await nbdock.build_layered_image(
        "base", contents=[nbdock.text_file("etc/motd", "hello"), nbdock.script("run", "echo run")]
    )
    return await nbdock.build_image(
        name,
        tag=tag,
        from_image=base,
        contents=nbdock.text_file("data/zeros", "0" * 300_000),
        config={"Cmd": ["/bin/run"], "Env": ["A=1"]},
    )


EVERY_FORM = [
    ("i.tar", {}, "docker-archive"),
    ("i.tar.gz", {}, "docker-archive"),
    ("i.tgz", {}, "docker-archive"),
    ("i.tar.zst", {}, "docker-archive"),
    ("i.image", {"format": "docker-archive", "compression": "zstd"}, "docker-archive"),
    ("i.oci.tar", {}, "oci-archive"),
    ("i2.oci.tar", {"compression": "gz"}, "oci-archive"),
    ("layout", {}, "oci"),
    ("layout-zstd", {"compression": "zstd"}, "oci"),
]


@pytest.mark.parametrize(("name", "options", "transport"), EVERY_FORM)
async def test_every_form_is_read_back_and_by_skopeo(
    name: str, options: dict[str, str], transport: str, tmp_path: Path
) -> None:
    image = await an_image()
    path = await image.save(tmp_path / name, **options)
    assert path == tmp_path / name
    again = await nbdock.load_image(path)
    assert again.reference == "site:1"
    assert again.id == image.id
    if "compression" not in options:
        assert again.digest == image.digest
    place = f"{transport}:{path}:1" if transport == "oci" else f"{transport}:{path}"
    if not path.name.endswith((".zst", ".image")):  # Debian 12's skopeo reads no zstd archive
        with oracles.without_gzip(path) if path.is_file() else _itself(path) as plain:
            seen = json.loads(
                oracles.skopeo("inspect", "--config", place.replace(str(path), plain))
            )
        assert seen["config"]["Cmd"] == ["/bin/run"]
        assert seen["rootfs"]["diff_ids"] == [str(layer.diff_id) for layer in image.layers]


class _itself:  # noqa: N801 - a context manager that gives what it was given
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        pass


async def test_umoci_unpacks_what_is_in_the_image(tmp_path: Path) -> None:
    image = await an_image()
    await image.save(tmp_path / "layout", compression="gz")
    oracles.umoci(
        "unpack", "--rootless", "--image", f"{tmp_path / 'layout'}:1", tmp_path / "bundle"
    )
    root = tmp_path / "bundle" / "rootfs"
    found = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    assert found == {"etc/motd", "bin/run", "data/zeros"}
    assert (root / "data" / "zeros").read_text() == "0" * 300_000


async def test_what_skopeo_and_umoci_write_is_loaded(tmp_path: Path) -> None:
    image = await an_image()
    path = await image.save(tmp_path / "i.tar")
    for kind in ("oci", "oci-archive", "docker-archive"):
        target = tmp_path / f"skopeo-{kind}"
        oracles.skopeo("copy", f"docker-archive:{path}", f"{kind}:{target}:site:2")
        again = await nbdock.load_image(target)
        assert [x.diff_id for x in again.layers] == [x.diff_id for x in image.layers]
        assert again.config.config == image.config.config


async def test_a_layer_that_stands_twice_is_stored_once(tmp_path: Path) -> None:
    image = await nbdock.build_layered_image("twice", tag="1")
    on = await nbdock.build_layered_image("twice", tag="2", from_image=image)
    assert on.layers[0].diff_id == on.layers[1].diff_id
    path = await on.save(tmp_path / "i.tar")
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names)) == 3
    assert len((await nbdock.load_image(path)).layers) == 2


async def test_an_archive_of_several_images_is_chosen_from(tmp_path: Path) -> None:
    parts = {}
    images = []
    for tag in ("1", "2"):
        image = await nbdock.build_image("many", tag=tag, contents=nbdock.text_file("v", tag))
        path = await image.save(tmp_path / f"{tag}.tar")
        with tarfile.open(path) as archive:
            for member in archive:
                parts[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
        images += json.loads(parts.pop("manifest.json"))
    parts["manifest.json"] = json.dumps(images).encode()
    path = write_tar(tmp_path / "many.tar", parts)
    assert (await nbdock.load_image(path)).tag == "1"
    assert (await nbdock.load_image(path, tag="2")).tag == "2"
    on = await nbdock.build_image("on", from_image=path, from_image_name="many", from_image_tag="2")
    assert on.layers[0].diff_id == (await nbdock.load_image(path, tag="2")).layers[0].diff_id
    with pytest.raises(ImageNotFoundError) as caught:
        await nbdock.load_image(path, tag="3")
    assert caught.value.available == ("many:1", "many:2")


async def test_a_layout_with_docker_s_documents_is_loaded_twice(tmp_path: Path) -> None:
    path = await (await an_image()).save(tmp_path / "i.tar")
    oracles.skopeo("copy", "--format=v2s2", f"docker-archive:{path}", f"dir:{tmp_path / 'd'}")
    names = {p.name: p.read_bytes() for p in (tmp_path / "d").iterdir()}
    manifest = names.pop("manifest.json")
    names.pop("version")
    digest = hashlib.sha256(manifest).hexdigest()
    media_type = json.loads(manifest)["mediaType"]
    assert "docker" in media_type
    entry = {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(manifest)}
    index = {"schemaVersion": 2, "manifests": [entry]}
    layout = write_tar(tmp_path / "layout.tar", {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(),
        f"blobs/sha256/{digest}": manifest,
        **{f"blobs/sha256/{name}": data for name, data in names.items()},
    })  # fmt: skip
    first, second = await nbdock.load_image(layout), await nbdock.load_image(layout)
    assert first.digest.hex == second.digest.hex == digest
    assert [x.diff_id for x in first.layers] == [x.diff_id for x in second.layers]
    assert len(second.config.diff_ids) == 4


async def test_loading_the_same_file_again_reads_nothing(tmp_path: Path) -> None:
    path = await (await an_image()).save(tmp_path / "i.tar.gz")
    first = await nbdock.load_image(path)
    facts = path.stat()
    path.write_bytes(b"x" * facts.st_size)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(ArchiveError) as caught:
        await nbdock.load_image(path)  # the time of change tells
    assert repr(str(path)) in caught.value.message
    assert first.store.has(first.digest)


async def test_the_default_name_is_that_of_dockertools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = await nbdock.build_image("registry.example/team/app", compressor="zstd")
    assert (await image.save()).name == "docker-image-app.tar.zst"
    assert (await (await nbdock.build_image("app")).save()).name == "docker-image-app.tar.gz"


# Bad requests


@pytest.mark.parametrize(
    ("name", "options", "fragment"),
    [
        ("i.tar", {"format": "docker-archiv"}, "docker-archive"),
        ("i.tar", {"compression": "xz"}, "gz"),
        ("i.tar", {"compression": "lzma77"}, "compression"),
        ("i.tar.gz", {"compression": "zstd"}, "agree"),
        ("i.oci.tar.gz", {}, "layers"),
    ],
)
async def test_forms_that_do_not_exist(
    name: str, options: dict[str, str], fragment: str, tmp_path: Path
) -> None:
    image = await nbdock.build_image("x")
    with pytest.raises(ArgumentTypeError) as caught:
        await image.save(tmp_path / name, **options)
    assert fragment in str(caught.value)
    assert not list(tmp_path.glob("i*"))


async def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    image = await nbdock.build_image("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for place, options in [
        (tmp_path / "no" / "i.tar", {}),
        (tmp_path / "full", {"format": "docker-archive"}),
        (tmp_path / "full", {}),
    ]:
        with pytest.raises(ContentError) as caught:
            await image.save(place, **options)
        assert caught.value.hint
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine"]


async def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "small", "200k") as small:
        image = await an_image()
        (small / "i.tar").write_text("old")
        for form in ("i.tar", "i.oci.tar", "layout"):
            with pytest.raises(StorageFullError, match="oom"):
                await image.save(small / form)
        assert [p.name for p in small.iterdir()] == ["i.tar"]
        assert (small / "i.tar").read_text() == "old"


async def test_loading_and_laying_out_on_a_full_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "small", "300k") as small:
        archive = await (await an_image()).save(tmp_path / "i.tar.gz")
        store = BlobStore(small / "home")
        with pytest.raises(StorageFullError):
            await nbdock.load_image(archive, store=store)
        assert not list((small / "home" / "tmp").iterdir())
        monkeypatch.setattr("tempfile.tempdir", str(small))
        with pytest.raises(StorageFullError, match="lay out"):
            big = nbdock.text_file("zeros", "0" * 600_000)
            await nbdock.build_image("x", contents=big, extra_commands="true")
        assert [p.name for p in small.iterdir()] == ["home"]


@pytest.mark.parametrize("name", ["i.tar", "i.tar.gz", "layout"])
async def test_a_cancelled_save_leaves_nothing(name: str, tmp_path: Path) -> None:
    big = await nbdock.build_image(
        "big", contents=[nbdock.text_file(f"f{i}", os.urandom(1 << 20).hex()) for i in range(30)]
    )
    for delay_s in (0.0, 0.01, 0.05):
        task = asyncio.ensure_future(big.save(tmp_path / name))
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # Cancelled early it leaves nothing, cancelled late the whole; never a part.
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
        if (tmp_path / name).exists():
            assert (await nbdock.load_image(tmp_path / name)).id == big.id


async def test_a_layout_is_replaced_only_by_a_whole_one(tmp_path: Path) -> None:
    first, second = await an_image(tag="1"), await nbdock.build_image("other", tag="2")
    await first.save(tmp_path / "layout")
    await second.save(tmp_path / "layout")
    assert (await nbdock.load_image(tmp_path / "layout")).digest == second.digest
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


async def test_a_blob_that_is_gone_is_said(tmp_path: Path) -> None:
    image = await an_image()
    image.store.delete(image.layers[0].diff_id)
    for name in ("i.tar", "i.tar.gz", "layout"):
        with pytest.raises(BlobNotFoundError):
            await image.save(tmp_path / name)
    assert not list(tmp_path.glob("*i.tar*")) + list(tmp_path.glob("*layout*"))


# Bad archives


def write_tar(path: Path, parts: dict[str, bytes | None]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in parts.items():
            if data is not None:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


def layer_of(*names: str, link: str | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            if link is not None:
                info.type, info.linkname = tarfile.LNKTYPE, link
            tar.addfile(info)
    return out.getvalue()


Made = Callable[[Path], Path]


@dataclasses.dataclass
class Parts:
    """A docker-archive in pieces, to be broken."""

    layer: bytes
    diff_id: str | None = None

    def write(self, path: Path, **changes: bytes | None) -> Path:
        diff_id = self.diff_id or "sha256:" + hashlib.sha256(self.layer).hexdigest()
        config = {
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }  # fmt: skip
        manifest = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}]
        parts: dict[str, bytes | None] = {
            "l/layer.tar": self.layer,
            "c.json": json.dumps(config).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }
        names = {"layer": "l/layer.tar", "config": "c.json", "manifest": "manifest.json"}
        return write_tar(path, {**parts, **{names[k]: v for k, v in changes.items()}})


def archive(data: bytes, diff_id: str | None = None, **changes: bytes | None) -> Made:
    return lambda place: Parts(data, diff_id).write(place / "i.tar", **changes)


BROKEN: list[tuple[str, Made, type[NbdockError]]] = [
    ("no such file", lambda p: p / "none.tar", ImageNotFoundError),
    ("an empty file", lambda p: raw(p, b""), ArchiveError),
    ("no archive", lambda p: raw(p, b"hello " * 1000), ArchiveError),
    ("no image", lambda p: write_tar(p / "i.tar", {"etc/passwd": b""}), ArchiveError),
    ("no gzip", lambda p: raw(p, gzip.compress(b"x" * 99999)[:60]), TruncatedArchiveError),
    ("bit rot", lambda p: raw(p, flip(gzip.compress(os.urandom(99999)))), CodecError),
    ("no layer", archive(layer_of("a"), layer=None), ArchiveError),
    ("no config", archive(layer_of("a"), config=None), ArchiveError),
    ("no JSON", archive(layer_of("a"), config=b"{"), InvalidManifestError),
    ("wrong JSON", archive(layer_of("a"), manifest=b"{}"), InvalidManifestError),
    ("no images", archive(layer_of("a"), manifest=b"[]"), ImageNotFoundError),
    (
        "a manifest that leads out",
        archive(layer_of("a"), manifest=b'[{"Config":"../../etc/passwd","Layers":[]}]'
        ),
        InvalidManifestError,
    ),
    (
        "other layers than the configuration's",
        archive(layer_of("a"), manifest=b'[{"Config":"c.json","RepoTags":null,"Layers":[]}]'
        ),
        InvalidManifestError,
    ),
    ("a lying layer", archive(layer_of("a"), "sha256:" + "0" * 64), DigestMismatchError),
    ("traversal", archive(layer_of("../../etc/passwd")), UnsafePathError),
    ("traversal by link", archive(layer_of("a", link="../../x")), UnsafePathError),
    ("a layer that is no tar", archive(b"x" * 2048), ArchiveError),
    ("a truncated layer", archive(layer_of("a")[:700]), TruncatedArchiveError),
]  # fmt: skip


def raw(path: Path, data: bytes) -> Path:
    (path / "i.tar").write_bytes(data)
    return path / "i.tar"


def flip(data: bytes) -> bytes:
    return data[:5000] + bytes([data[5000] ^ 255]) + data[5001:]


@pytest.mark.parametrize(("make", "error"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
async def test_broken_archives_are_refused_and_nothing_stays(
    make: Callable[[Path], Path], error: type[NbdockError], tmp_path: Path, nbdock_home: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(error) as caught:
        await nbdock.load_image(path)
    assert len(str(caught.value)) > 20
    # Unreferenced blobs are harmless; a layer that nothing can read must not stay.
    assert not list((nbdock_home / "tmp").iterdir())
    for name in (nbdock_home / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(name.read_bytes()).hexdigest() == name.name
        assert error not in (UnsafePathError, TruncatedArchiveError)


async def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = (await (await an_image()).save(tmp_path / "i.tar")).read_bytes()
    zipped = gzip.compress(whole)
    for number in range(12):
        (tmp_path / "cut.tar").write_bytes(whole[: len(whole) * number // 13])
        with pytest.raises(ArchiveError):
            await nbdock.load_image(tmp_path / "cut.tar")
        (tmp_path / "cut.tar.gz").write_bytes(zipped[: len(zipped) * number // 13])
        with pytest.raises(ArchiveError):
            await nbdock.load_image(tmp_path / "cut.tar.gz")


async def test_broken_layouts(tmp_path: Path) -> None:
    image = await an_image()
    for number, (spoil, error) in enumerate(
        [
            (lambda p: (p / "index.json").write_text("{}"), InvalidManifestError),
            (lambda p: blob(p, image.id.hex).write_text("{}"), DigestMismatchError),
            (lambda p: blob(p, image.layers[0].diff_id.hex).unlink(), ArchiveError),
            (lambda p: blob(p, image.layers[0].diff_id.hex).write_bytes(b"x"), SizeMismatchError),
            (lambda p: spoil_bytes(blob(p, image.layers[0].diff_id.hex)), DigestMismatchError),
            (lambda p: blob(p, image.digest.hex).unlink(), ImageNotFoundError),
        ]
    ):
        path = await image.save(tmp_path / f"layout-{number}")
        spoil(path)
        with pytest.raises(error):
            await nbdock.load_image(path, store=BlobStore(tmp_path / f"store-{number}"))


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest


def spoil_bytes(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)


async def test_a_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nbdock_home: Path
) -> None:
    monkeypatch.setenv("NBDOCK_DECOMPRESSION_RATIO_LIMIT", "100")
    bomb = gzip.compress(bytes(200 << 20), compresslevel=1)
    (tmp_path / "whole.tar.gz").write_bytes(bomb)
    inner = Parts(bomb, "sha256:" + hashlib.sha256(bytes(200 << 20)).hexdigest())
    for path in (tmp_path / "whole.tar.gz", inner.write(tmp_path / "layer.tar")):
        with pytest.raises(CodecError):
            await nbdock.load_image(path)
    assert not list((nbdock_home / "tmp").iterdir())
    assert not list((nbdock_home / "blobs" / "sha256").iterdir())
