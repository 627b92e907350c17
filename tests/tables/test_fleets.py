"""`fleet_table`: images of a real registry, by threads and by processes, killed and resumed."""

from __future__ import annotations

import collections
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import distributed
import pandas as pd
import pytest
from support.fleets import FilledRegistry, fill
from support.registry import Registry, docker_registry

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.tables import Fleet, fleet_table

IMAGES, LAYERS, BATCH = 60, 12, 10
COLUMNS = {
    "images": ["image", "digest", "platform", "created", "layers", "size_bytes", "error"],
    "layers": [
        "image", "position", "diff_id", "digest", "media_type", "size_bytes", "created_by",
    ],
    "packages": ["image", "manager", "package", "version", "size_bytes", "layer", "error"],
}  # fmt: skip
pytestmark = pytest.mark.usefixtures("nbdock_home")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, FilledRegistry]]:
    directory = tmp_path_factory.mktemp("fleet")
    with docker_registry(directory) as registry:
        yield registry, fill(registry.storage, images=IMAGES, layers=LAYERS)


@pytest.fixture
def registry(filled: tuple[Registry, FilledRegistry]) -> Registry:
    return filled[0]


@pytest.fixture
def names(filled: tuple[Registry, FilledRegistry]) -> list[str]:
    return [f"{filled[0].host}/{name}" for name in filled[1].names]


def fetched(registry: Registry, since: int) -> collections.Counter[str]:
    """How often each blob and manifest was fetched, since so many requests."""
    lines = registry.requests[since:]
    found = (re.search(r"GET (\S+/(?:blobs|manifests)/\S+)", line) for line in lines)
    return collections.Counter(match[1] for match in found if match)


def tables(fleet: Fleet) -> dict[str, pd.DataFrame]:
    return {kind: fleet.table(kind) for kind in fleet.parts}


def test_threads_and_processes_give_the_same_tables(
    filled: tuple[Registry, FilledRegistry], names: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    registry, expected = filled
    before = len(registry.requests)
    told: list[tuple[str, int, int]] = []
    fleet = fleet_table(
        names, directory=tmp_path / "a", packages=True, batch_size=BATCH,
        progress=lambda *what: told.append(what),
    )  # fmt: skip
    assert {what for what, _, _ in told} == {
        "Scanning images",
        "Reading layers",
        "Reading packages",
    }
    counts = fetched(registry, before)
    blobs = {path: count for path, count in counts.items() if "/blobs/" in path}
    assert set(counts.values()) == {1}, "each document, and each layer, once"
    assert len(blobs) == IMAGES + LAYERS
    found = tables(fleet)
    assert {kind: list(table) for kind, table in found.items()} == COLUMNS
    assert found["images"].image.tolist() == names
    assert (found["images"].error == "").all()
    layers = found["layers"].groupby("image", sort=False).diff_id.agg(tuple)
    assert tuple(layers) == expected.diff_ids
    packages = found["packages"].groupby("image", sort=False).package.agg(set)
    assert list(packages) == [set(each) for each in expected.packages]
    one = nbdock.package_table(f"docker://{names[0]}")
    mine = found["packages"][found["packages"].image == names[0]].set_index("package")
    assert mine.size_bytes.to_dict() == one.size_bytes.to_dict()
    assert mine.layer.to_dict() == one.layer.to_dict()

    monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "other-home"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Dask's own parts
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50,
            local_directory=str(tmp_path),
        ) as cluster, cluster.get_client() as client:  # fmt: skip
            other = fleet_table(
                names, client=client, directory=tmp_path / "b", packages=True, batch_size=BATCH
            )
            memory = client.run(_peak_mebibytes)
    for kind, table in tables(other).items():
        pd.testing.assert_frame_equal(table, found[kind])
    assert max(memory.values()) < 1024


def _peak_mebibytes() -> float:
    # Not what getrusage says, which begins with that of the process it was forked from.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024


def test_what_images_share(
    filled: tuple[Registry, FilledRegistry], names: list[str], tmp_path: Path
) -> None:
    fleet = fleet_table(names, directory=tmp_path / "a", batch_size=BATCH)
    shared = fleet.sharing()
    counts = collections.Counter(d for each in filled[1].diff_ids for d in each)
    assert shared.images.to_dict() == dict(counts)
    assert (shared.saved_bytes == shared.size_bytes * (shared.images - 1)).all()
    assert shared.saved_bytes.is_monotonic_decreasing
    oracle = nbdock.sharing_table(names[:15])
    few = fleet_table(names[:15], directory=tmp_path / "b").sharing()
    assert few.loc[oracle.index].saved_bytes.tolist() == oracle.saved_bytes.tolist()
    assert fleet.dataset("layers").count_rows() == sum(map(len, filled[1].diff_ids))
    with pytest.raises(ArgumentError, match="no 'packages'"):
        fleet.table("packages")
    with pytest.raises(ArgumentError, match="no by='file'"):
        fleet.sharing("file")


_PROGRAM = """
import os, signal, sys
from nbdock.tables import fleet_table

def die(what, done, total):
    if done >= 2:
        os.kill(os.getpid(), signal.SIGKILL)

fleet_table(sys.argv[2:], directory=sys.argv[1], batch_size=10, progress=die)
"""


def test_a_scan_that_was_killed_goes_on_where_it_was(
    registry: Registry, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "scan"
    ended = subprocess.run([sys.executable, "-c", _PROGRAM, place, *names], check=False)
    assert ended.returncode == -signal.SIGKILL
    finished = {path.name: path.stat().st_mtime_ns for path in (place / "images").iterdir()}
    assert 2 <= len(finished) < IMAGES // BATCH
    # With an empty store nothing but the parts can spare a request.
    monkeypatch.setenv("NBDOCK_HOME", str(tmp_path / "other-home"))
    since = sum(fetched(registry, 0).values())
    fleet = fleet_table(names, directory=place, batch_size=BATCH)
    again = sum(fetched(registry, 0).values()) - since
    assert again == 2 * (IMAGES - BATCH * len(finished)), "a manifest and a configuration each"
    for name, made in finished.items():
        assert (place / "images" / name).stat().st_mtime_ns == made
    whole = fleet_table(names, directory=tmp_path / "whole", batch_size=BATCH)
    for kind, table in tables(whole).items():
        pd.testing.assert_frame_equal(fleet.table(kind), table)
    assert not any(name.startswith("writing-") for name in os.listdir(place / "images"))


def test_an_image_that_cannot_be_read_has_a_row_with_its_error(
    registry: Registry, names: list[str], tmp_path: Path
) -> None:
    pushed = registry.push("fleet/other", "1")
    layer = f"sha256:{pushed.manifest.decode().split('sha256:')[2][:64]}"
    (blob,) = registry.storage.glob(f"**/blobs/sha256/*/{layer.removeprefix('sha256:')}/data")
    content = blob.read_bytes()
    blob.write_bytes(b"x" * len(content))
    asked = [names[0], f"{registry.host}/fleet/app:none", pushed.name, "127.0.0.1:1/no/where:1"]
    fleet = fleet_table(asked, directory=tmp_path / "a", packages=True)
    images = fleet.table("images").set_index("image")
    assert images.error.map(bool).tolist() == [False, True, False, True]
    assert "ManifestNotFoundError" in images.error.iloc[1]
    assert pd.isna(images.layers.iloc[1])
    packages = fleet.table("packages").set_index("image")
    assert "DigestMismatchError" in packages.error[pushed.name]
    assert set(packages.package[names[0]]) >= {"package0"}
    blob.write_bytes(content)
    healed = fleet_table(asked, directory=tmp_path / "a", packages=True)
    assert pushed.name not in set(healed.table("packages").image)
    assert "package" in fleet.sharing("package").index.name


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="give a list"):
        fleet_table("redis:7")
    with pytest.raises(ArgumentTypeError):
        fleet_table([1])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="A batch has images"):
        fleet_table(["redis:7"], batch_size=0)
    empty = fleet_table([], directory=tmp_path)
    assert {kind: list(table) for kind, table in tables(empty).items()} == {
        kind: COLUMNS[kind] for kind in ("images", "layers")
    }
    assert len(empty.sharing()) == 0
