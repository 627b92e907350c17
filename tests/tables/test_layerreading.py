"""Layers that another process reads: the same tables, whatever becomes of that process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator

import pandas as pd
import psutil
import pytest
from support.layers import directory, file, make_image, tar

import nbdock
from nbdock.errors import ArchiveError
from nbdock.tables import layerindex, layerreading
from nbdock.tables.layerreading import ReadingProcess, StoppedError, StoredLayer

LAYERS = [
    [directory("srv"), *(file(f"srv/{layer}-{i}", data=b"%d" % i * 50) for i in range(200))]
    for layer in range(6)
]


@pytest.fixture(autouse=True)
def workers(nbdock_home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layerindex, "_WORTH_A_PROCESS_BYTES", 0)
    monkeypatch.setenv("NBDOCK_WORKERS", "2")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes that a test starts; none may be left."""
    processes: list[subprocess.Popen[bytes]] = []
    start = layerreading._start

    def starting() -> subprocess.Popen[bytes]:
        processes.append(start())
        return processes[-1]

    monkeypatch.setattr(layerreading, "_start", starting)
    yield processes
    assert all(process.returncode is not None for process in processes)


def stored(image: nbdock.Image) -> list[StoredLayer]:
    return [StoredLayer.of(image.store, layer) for layer in image.layers]


@pytest.mark.parametrize("is_plain", [True, False])
def test_it_finds_what_is_found_here(
    nbdock_home, monkeypatch: pytest.MonkeyPatch, started, is_plain: bool
) -> None:
    image = make_image([tar(layer) for layer in LAYERS], compressed=True, plain=is_plain)
    (layer, *_) = stored(image)
    told: list[int] = []
    with ReadingProcess() as process:
        assert process.make_table(layer, True, threading.Event(), told.append)
        assert not process.make_table(
            StoredLayer(layer.store, *[layer.diff_id.of(b"none")] * 2, 0),
            True, threading.Event(), told.append,
        )  # fmt: skip
        assert process.make_table(stored(image)[1], True, threading.Event(), told.append)
    assert len(started) == 1
    assert told
    places = sorted((nbdock_home / "tables/layers-1").iterdir())
    assert len(places) == 2
    theirs = nbdock.file_table(image)
    for place in (nbdock_home / "tables/layers-1").iterdir():
        place.unlink()
    monkeypatch.setenv("NBDOCK_WORKERS", "1")
    pd.testing.assert_frame_equal(nbdock.file_table(image), theirs)


def test_large_images_are_shared_with_it(started) -> None:
    image = make_image([tar(layer) for layer in LAYERS])
    assert len(nbdock.file_table(image)) == sum(map(len, LAYERS))
    assert len(started) == 1


def test_where_it_is_killed_or_cannot_start_layers_are_read_here(
    monkeypatch: pytest.MonkeyPatch, started
) -> None:
    image = make_image([tar(layer) for layer in LAYERS])
    start = layerreading._start

    def killed() -> subprocess.Popen[bytes]:
        process = start()
        process.send_signal(signal.SIGKILL)
        return process

    monkeypatch.setattr(layerreading, "_start", killed)
    assert len(nbdock.file_table(image)) == sum(map(len, LAYERS))
    monkeypatch.setattr(layerreading.sys, "executable", "")
    monkeypatch.setattr(layerreading, "_start", start)
    other = make_image([tar([*layer, file("other")]) for layer in LAYERS])
    assert len(nbdock.file_table(other)) == sum(map(len, LAYERS)) + 6


def test_a_damaged_layer_is_the_same_error(started) -> None:
    good = [tar(layer) for layer in LAYERS]
    image = make_image([*good[:3], good[3][: len(good[3]) // 2]], plain=False)
    with pytest.raises(ArchiveError, match=f"The layer {image.layers[3].descriptor.digest} cannot"):
        nbdock.file_table(image)


def test_it_stops_when_nobody_waits_and_nothing_is_left(nbdock_home, started) -> None:
    image = make_image([tar(LAYERS[0])], plain=False)
    stop = threading.Event()
    stop.set()
    with ReadingProcess() as process, pytest.raises(StoppedError):
        process.make_table(stored(image)[0], True, stop, lambda used: None)
    assert not [p for p in psutil.Process(os.getpid()).children() if p.pid == started[0].pid]
    assert not list((nbdock_home / "tmp").iterdir())


def test_modules_of_the_working_directory_are_not_taken(
    tmp_path, monkeypatch: pytest.MonkeyPatch, started
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    image = make_image([tar(LAYERS[0])])
    with ReadingProcess() as process:
        assert process.make_table(stored(image)[0], True, threading.Event(), lambda used: None)
