"""`file_table` against `tarfile`, umoci, and what was kept of layers that were read before."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from support import oracles, plain_images
from support.layers import directory, file, hardlink, make_image, member, symlink, tar

import nbdock
from nbdock import concurrency
from nbdock.errors import ArchiveError, ArgumentTypeError, BlobNotFoundError, ImageNotFoundError
from nbdock.images import Image
from nbdock.oci import Descriptor, MediaType

COLUMNS = {
    "layer": "int16", "path": "str", "kind": "category", "mode": "uint16", "uid": "int64",
    "gid": "int64", "size_bytes": "int64", "mtime": "datetime64[us, UTC]", "link_target": "str",
    "digest": "str", "change": "category", "visible": "bool",
}  # fmt: skip
KINDS = {
    tarfile.REGTYPE: "file", tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink", tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device", tarfile.FIFOTYPE: "fifo",
}  # fmt: skip


def dtypes(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


BASE = [
    directory("etc", mtime=1_700_000_000),
    file("etc/motd", data=b"hello", uid=7, gid=8, mode=0o4640, mtime=1_700_000_000.25),
    hardlink("etc/again", "etc/motd"),
    symlink("etc/link", "../etc/motd"),
    member("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("dev/sda", tarfile.BLKTYPE, devmajor=8, devminor=0),
    member("run/pipe", tarfile.FIFOTYPE),
    file(b"bad\xff name", data=b"x" * 5000),
    file("späß/日本", data=b""),
]
TOP = [
    directory("etc", mtime=1_700_000_000),
    file("etc/motd", data=b"hello!", mtime=5),
    file("etc/.wh.link"),
    file("run/.wh..wh..opq"),
    file("new", data=b"new"),
]


@pytest.mark.parametrize("form", ["plain", "gzip", "both"])
def test_every_entry_as_tarfile_reads_it(nbdock_home, form) -> None:
    image = make_image([tar(BASE)], compressed=form != "plain", plain=form != "gzip")
    table = nbdock.file_table(image)
    assert dtypes(table) == COLUMNS
    rows = {row.path: row for row in table.itertuples()}
    with tarfile.open(fileobj=io.BytesIO(tar(BASE))) as archive:
        members = archive.getmembers()
        assert len(table) == len(members)
        for info in members:
            path = info.name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            row = rows["/" + path]
            assert (row.mode, row.uid, row.gid) == (info.mode, info.uid, info.gid)
            assert row.kind == KINDS[info.type]
            assert row.size_bytes == info.size
            assert row.mtime.timestamp() == info.mtime
            if info.isreg():
                content = archive.extractfile(info)
                assert content is not None
                assert row.digest == f"sha256:{hashlib.sha256(content.read()).hexdigest()}"
    assert rows["/etc/again"].link_target == "/etc/motd"
    assert rows["/etc/again"].digest == rows["/etc/motd"].digest
    assert rows["/etc/link"].link_target == "../etc/motd"
    assert pd.isna(rows["/etc/link"].digest)
    assert pd.isna(rows["/etc"].link_target)
    assert table.visible.all()
    assert (table.change == "added").all()


def test_what_a_layer_changes(nbdock_home) -> None:
    table = nbdock.file_table(make_image([tar(BASE), tar(TOP)]))
    top = table[table.layer == 1].set_index("path")
    assert top.change.to_dict() == {
        "/etc": "unchanged", "/etc/motd": "modified", "/etc/link": "deleted", "/run": "deleted",
        "/new": "added",
    }  # fmt: skip
    assert top.kind.to_dict()["/etc/link"] == "whiteout"
    assert top.kind.to_dict()["/run"] == "opaque whiteout"
    assert set(table[~table.visible & (table.layer == 0)].path) == {
        "/etc", "/etc/motd", "/etc/link", "/run/pipe",
    }  # fmt: skip


def test_files_that_were_not_hashed_are_not_known_to_be_the_same(nbdock_home) -> None:
    layer = tar([file("a", data=b"1"), directory("d")])
    other = tar([file("a", data=b"1"), directory("d"), file("b")])
    image = make_image([layer, other])
    table = nbdock.file_table(image, hashes=False)
    assert dtypes(table) == COLUMNS
    assert table.digest.isna().all()
    assert table[table.layer == 1].change.tolist() == ["modified", "unchanged", "added"]
    # What was read without is read again, and then serves both.
    assert nbdock.file_table(image)[table.layer == 1].change.tolist() == [
        "unchanged", "unchanged", "added",
    ]  # fmt: skip
    kept = sorted((nbdock_home / "tables/layers-1").iterdir())
    assert [path.suffixes for path in kept] == [[".parquet"]] * 2


def test_no_layers_and_empty_layers_give_the_same_columns(nbdock_home) -> None:
    for layers in ([], [tar([])], [tar([]), tar([])]):
        table = nbdock.file_table(make_image(layers))
        assert dtypes(table) == COLUMNS
        assert len(table) == 0


def test_a_layer_is_read_once(nbdock_home) -> None:
    image = make_image([tar(BASE), tar(TOP), tar(BASE)], compressed=True, plain=False)
    first = nbdock.file_table(image)
    for blob in {layer.digest for layer in image.manifest.layers}:
        image.store.path_of(blob).unlink()
    pd.testing.assert_frame_equal(nbdock.file_table(image), first)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text", "other"])
def test_a_damaged_file_is_made_again(nbdock_home, damage, caplog) -> None:
    image = make_image([tar(BASE)])
    first = nbdock.file_table(image)
    (kept,) = (nbdock_home / "tables/layers-1").iterdir()
    good = kept.read_bytes()
    os.chmod(kept, 0o644)
    if damage == "truncate":
        kept.write_bytes(good[: len(good) // 2])
    elif damage == "flip":
        kept.write_bytes(bytes(b ^ 0x55 if 100 <= i < 140 else b for i, b in enumerate(good)))
    elif damage == "empty":
        kept.write_bytes(b"")
    elif damage == "text":
        kept.write_bytes(b"PAR1" + b"x" * 300 + b"PAR1")
    else:
        pd.DataFrame({"path": [1]}).to_parquet(kept)
    pd.testing.assert_frame_equal(nbdock.file_table(image), first)
    assert "read again" in caplog.text
    assert pd.read_parquet(kept).shape[0] == len(first)


def test_an_image_that_lies_spoils_no_other_table(nbdock_home) -> None:
    honest = make_image([tar(BASE)], compressed=True, plain=False)
    other = make_image([tar(TOP)], compressed=True, plain=False)
    # The liar has other bytes, and says that they are the honest image's layer.
    lying = honest.store.read(honest.digest).decode()
    for mine, its in zip(honest.manifest.layers, other.manifest.layers, strict=True):
        lying = lying.replace(str(mine.digest), str(its.digest))
        lying = lying.replace(f'"size":{mine.size_bytes}', f'"size":{its.size_bytes}')
    digest = honest.store.add(lying.encode())
    liar = Image(honest.store, Descriptor(MediaType.OCI_MANIFEST, digest, len(lying)))
    assert liar.layers[0].diff_id == honest.layers[0].diff_id
    assert "/new" in set(nbdock.file_table(liar).path)
    assert "/new" not in set(nbdock.file_table(honest).path)


def test_where_nothing_can_be_kept_the_table_is_there_all_the_same(nbdock_home, caplog) -> None:
    image = make_image([tar(BASE)])
    (nbdock_home / "tables").write_text("not a directory")
    assert len(nbdock.file_table(image)) == len(BASE)
    assert "not kept" in caplog.text


def test_a_layer_that_is_gone_or_broken_is_one_clear_error(nbdock_home) -> None:
    image = make_image([tar(BASE)], compressed=True, plain=False)
    blob = image.store.path_of(image.manifest.layers[0].digest)
    data = blob.read_bytes()
    blob.unlink()
    with pytest.raises(BlobNotFoundError):
        nbdock.file_table(image)
    blob.write_bytes(data[:-200])
    with pytest.raises(ArchiveError, match=r"The layer sha256:\w+ cannot be read: .*ends"):
        nbdock.file_table(image)
    assert not (nbdock_home / "tables").exists()
    assert not list((nbdock_home / "tmp").iterdir())


def test_numbers_and_times_that_no_system_has(nbdock_home) -> None:
    layer = tar(
        [
            file("far", mtime=1e300),
            file("old", mtime=-1e12),
            file("huge", uid=2**70),
            file("y1", mtime=-62135596800),
        ]
    )
    table = nbdock.file_table(make_image([layer])).set_index("path")
    assert dtypes(table.reset_index()[list(COLUMNS)]) == COLUMNS
    assert table.mtime.isna().tolist() == [True, True, False, False]
    assert table.uid["/huge"] == 2**63 - 1
    assert "far" in repr(table)


def test_a_sparse_file_of_holes_takes_no_time(nbdock_home) -> None:
    # 4 TB of holes in a kilobyte: more than the files of a layer may hold.
    info, _ = file("holes")
    info.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "holes",
        "GNU.sparse.size": str(1 << 42), "GNU.sparse.map": "",
    }  # fmt: skip
    with pytest.raises(ArchiveError, match="have more than"):
        nbdock.file_table(make_image([tar([(info, b"")])]))


def test_what_is_visible_is_what_umoci_unpacks(nbdock_home, tmp_path) -> None:
    top = [file("etc/motd", data=b"new"), file("etc/.wh.link"), file("run/.wh..wh..opq")]
    base = [m for m in BASE if not m[0].name.startswith(("dev", "bad"))]
    path = plain_images.write_docker_archive(
        tmp_path / "x.tar", name="x:1", layers=[tar(base), tar(top)]
    )
    root = oracles.unpack(path, tmp_path)
    table = nbdock.file_table(path)
    seen = table[table.visible].set_index("path")
    found = {}
    for place, directories, files in os.walk(os.fsencode(root)):
        for name in (*directories, *files):
            full = os.path.join(place, name)
            found["/" + os.path.relpath(full, os.fsencode(root)).decode()] = os.lstat(full)
    implied = {"/run", "/späß"}
    assert set(found) - implied == set(seen.index)
    for name, row in seen.iterrows():
        facts = found[str(name)]
        if row.kind in ("file", "directory"):
            assert (stat.S_IMODE(facts.st_mode), facts.st_uid) == (row["mode"], row.uid)


def test_an_archive_a_layout_and_a_name_in_a_registry(nbdock_home, tmp_path, registry) -> None:
    path = plain_images.write_docker_archive(tmp_path / "x.tar", name="x:1", layers=[tar(BASE)])
    expected = nbdock.file_table(path)
    image = concurrency.run(nbdock.load_image(path))
    pd.testing.assert_frame_equal(nbdock.file_table(image), expected)
    reference = f"{registry.host}/tables/files:1"
    concurrency.run(image.push(reference))
    pd.testing.assert_frame_equal(nbdock.file_table(reference), expected)
    layout = concurrency.run(image.save(tmp_path / "layout"))
    pd.testing.assert_frame_equal(nbdock.file_table(layout), expected)


def test_an_image_of_a_running_engine(nbdock_home, tmp_path, docker_engine, monkeypatch) -> None:
    path = plain_images.write_docker_archive(tmp_path / "x.tar", name="x:1", layers=[tar(BASE)])
    docker_engine.load(path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{docker_engine.socket}")
    table = nbdock.file_table("docker-daemon:x:1")
    assert set(table.path) >= {"/etc/motd", "/bad\\xff name"}
    with pytest.raises(ImageNotFoundError):
        nbdock.file_table("docker-daemon:none:1")


@pytest.mark.parametrize("value", [None, 3, []])
def test_something_else_is_refused(value) -> None:
    with pytest.raises(ArgumentTypeError, match=r"takes an image, not .* \(of the type"):
        nbdock.file_table(value)


def test_progress_is_told(nbdock_home) -> None:
    told = []
    image = make_image([tar(BASE)], compressed=True, plain=False)
    nbdock.file_table(image, progress=lambda *facts: told.append(facts))
    total = image.manifest.layers[0].size_bytes
    assert told[-1] == ("Reading layers", total, total)


def test_paths_keep_no_secrets_of_their_home(nbdock_home) -> None:
    nbdock.file_table(make_image([tar(BASE)]))
    (kept,) = (nbdock_home / "tables/layers-1").iterdir()
    assert os.fsencode(str(Path(nbdock_home))) not in kept.read_bytes()


def test_a_reading_that_fails_leaves_nothing(nbdock_home) -> None:
    image = make_image([tar([file("a", os.urandom(3 << 20))])], compressed=True, plain=False)

    def fail(*_: object) -> None:
        raise LookupError("no more")

    with pytest.raises(LookupError):
        nbdock.file_table(image, progress=fail)
    assert not (nbdock_home / "tables").exists()
    assert not list((nbdock_home / "tmp").iterdir())
    assert len(nbdock.file_table(image)) == 1


def test_two_threads_and_the_same_layers(nbdock_home) -> None:
    image = make_image([tar(BASE), tar(TOP)], compressed=True, plain=False)
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: nbdock.file_table(image), range(8)))
    for table in tables:
        pd.testing.assert_frame_equal(table, tables[0])
