"""Streams, merges and exports in cells; build functions as names; pkgs and dockerTools."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest
from IPython.core.error import UsageError

import nbdock
from nbdock.errors import (
    ArgumentTypeError,
    CellEvaluationError,
    MissingArgumentError,
    UnknownArgumentError,
)
from nbdock.images import Image, ImageStream, MergedImages, RootFilesystem
from nbdock.layering import LayerPlan

HELLO = 'name = "hello"; tag = "1"; contents = [ (textFile "etc/hello" "hi") ];'
BASE = 'name = "base"; tag = "1"; contents = [ (textFile "etc/base" "base") ];'


@pytest.fixture
def pkgs(cells, packages, monkeypatch: pytest.MonkeyPatch):
    """What `pkgs` means where nobody bound it."""
    monkeypatch.setattr(nbdock.packages, "default_nixpkgs", lambda: packages)
    return packages


@pytest.mark.parametrize("body", [HELLO, f"streamLayeredImage {{ {HELLO} }}"])
def test_a_stream_is_described_and_saved(cells, body: str, tmp_path: Path) -> None:
    stream = cells.value(f"%%streamLayeredImage -o stream --save {tmp_path}/s.tar\n{body}")
    assert isinstance(stream, ImageStream)
    assert cells.names["stream"] is stream
    with tarfile.open(tmp_path / "s.tar") as archive:
        assert "manifest.json" in archive.getnames()
    data = cells.value("b''.join([piece async for piece in stream])")
    assert data == (tmp_path / "s.tar").read_bytes()


def test_a_dry_run_of_a_stream(cells) -> None:
    plan = cells.value(f'%%streamLayeredImage --dry-run\n{HELLO} repoTag = "x:2";')
    assert isinstance(plan, LayerPlan)


def test_a_stream_takes_no_compressor(cells) -> None:
    shown = cells.shown(f'%%streamLayeredImage\n{HELLO} compressor = "gz";')
    assert "has no argument 'compressor'" in shown


@pytest.mark.parametrize("body", ["[ hello base ]", "mergeImages [ hello base ]",
                                  "pkgs.dockerTools.mergeImages [ hello base ]",
                                  "let both = [ hello base ]; in mergeImages both",
                                  "images = [ hello base ];"])  # fmt: skip
def test_images_are_merged(cells, body: str, tmp_path: Path) -> None:
    cells.value(f"%%buildImage -o hello\n{HELLO}")
    cells.value(f"%%buildImage -o base\n{BASE}")
    merged = cells.value(f"%%mergeImages -o both --save {tmp_path}/m.tar\n{body}")
    assert isinstance(merged, MergedImages)
    assert [str(image) for image in cells.names["both"]] == ["hello:1", "base:1"]
    assert tarfile.is_tarfile(tmp_path / "m.tar")


def test_a_merge_of_something_else(cells) -> None:
    cells.value(f"%%buildImage -o hello\n{HELLO}")
    error = cells.error("%%mergeImages\n[ hello\n  17 ]")
    assert isinstance(error, ArgumentTypeError)
    assert "Images and paths of archives can be merged, not 17" in cells.rendered(error)
    shown = cells.shown("%%mergeImages\nhello")
    assert "should hold a list" in shown
    assert "mergeImages [ a b ]" in shown
    assert "images" in cells.shown("%%mergeImages\n{ }")


@pytest.mark.parametrize(
    "body",
    ["fromImage = hello;", "exportImage { fromImage = hello; name = hello.name; }",
     ("pkgs.dockerTools.exportImage { fromImage = hello; fromImageName = null; "
     "fromImageTag = null; name = hello.imageName; diskSize = 512; }")],
)  # fmt: skip
def test_an_image_is_exported(cells, body: str, tmp_path: Path) -> None:
    cells.value(f"%%buildImage -o hello\n{HELLO}")
    rootfs = cells.value(f"%%exportImage -o rootfs --save {tmp_path}/r.tar\n{body}")
    assert isinstance(rootfs, RootFilesystem)
    assert cells.names["rootfs"] is rootfs
    with tarfile.open(tmp_path / "r.tar") as archive:
        assert archive.getnames() == [".", "./etc", "./etc/hello"]


def test_what_it_says_is_missing(cells) -> None:
    error = cells.error('%%exportImage\nname = "x";')
    assert isinstance(error, MissingArgumentError)
    assert "%%exportImage needs the argument fromImage" in cells.rendered(error)


@pytest.mark.parametrize("magic", ["mergeImages", "exportImage"])
def test_what_plans_no_layers_has_no_dry_run(cells, magic: str) -> None:
    error = cells.error(f"%%{magic} --dry-run\n[ ]")
    assert isinstance(error, UsageError)
    assert "has no flag '--dry-run'" in str(error)


NESTED = {
    "a name": "fromImage = buildImage { %s };",
    "of dockerTools": "fromImage = dockerTools.buildLayeredImage { %s };",
    "of pkgs": "fromImage = pkgs.dockerTools.buildImage { %s };",
    "of an import": "fromImage = (import <nixpkgs> { }).dockerTools.buildImage { %s };",
}


@pytest.mark.parametrize("how", NESTED)
def test_a_build_in_a_build(cells, pkgs, how: str) -> None:
    """Also from a set of packages whose index is not needed, and so not loaded."""
    image = cells.value(f"%%buildImage\n{HELLO}\n{NESTED[how] % BASE}")
    assert isinstance(image, Image)
    assert len(image.layers) in (2, 3)
    assert pkgs.loads == 0


def test_builds_bound_by_let(cells) -> None:
    merged = cells.value(
        f"%%mergeImages\nlet base = buildImage {{ {BASE} }};\nin with dockerTools; mergeImages [\n"
        f"  base (buildLayeredImage {{ {HELLO} fromImage = base; }}) ]"
    )
    assert [str(image) for image in merged] == ["base:1", "hello:1"]
    rootfs = cells.value(f"%%exportImage\nfromImage = buildImage {{ {BASE} }};")
    assert rootfs.tree[b"etc/base"].read() == b"base"


def test_errors_of_inner_builds_point_at_them(cells) -> None:
    error = cells.error(f'%%buildImage\n{HELLO}\nfromImage = buildImage {{ nam = "x"; }};')
    assert isinstance(error, UnknownArgumentError | CellEvaluationError)
    shown = cells.rendered(error)
    assert "buildImage has no argument 'nam'" in shown
    assert "(line 2, column" in shown
    assert "Did you mean name?" in shown
    shown = cells.shown(f"%%buildImage\n{HELLO}\nfromImage = buildImage [ ];")
    assert "buildImage takes a set of arguments" in shown


def test_the_notebooks_names_win(cells) -> None:
    cells.names["buildImage"] = "base.tar"
    assert "base.tar" in cells.shown(f"%%buildImage\n{HELLO}\nfromImage = buildImage;")


def test_pkgs_is_nixpkgs(cells, pkgs) -> None:
    """Loaded when it is named and needed, and at no other time."""
    cells.value(f"%%buildImage\n{HELLO} # pkgs.redis-server")
    assert pkgs.loads == 0
    image = cells.value('%%buildImage\nname = "x"; contents = [ pkgs.redis-server ];')
    assert [p.name for p in image.closure.packages] == ["libc6", "redis-server"]
    assert pkgs.loads > 0
    whole = "{ pkgs ? import <nixpkgs> { } }: pkgs.dockerTools.buildImage"
    again = cells.value(
        f'%%buildImage\n{whole} {{ name = "x"; contents = [ pkgs.redis-server ]; }}'
    )
    assert again.id == image.id
    own = cells.value(
        '%%buildImage\nlet own = nixpkgs { }; in buildImage { name = "x"; '
        "contents = [ own.redis-server ]; }"
    )
    assert own.id == image.id


def test_nixpkgs_with_arguments(cells, packages, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def nixpkgs(source=None, *, channel=None, trusted_keys=None):
        given.update(channel=channel, trusted_keys=trusted_keys)
        return packages

    monkeypatch.setattr(nbdock.packages, "nixpkgs", nixpkgs)
    cells.value(
        '%%buildImage\nname = "x";\ncontents = [ (nixpkgs { channel = "c"; '
        'trustedKeys = [ "k" ]; }).redis-server ];'
    )
    assert given == {"channel": "c", "trusted_keys": ["k"]}
    shown = cells.shown('%%buildImage\nname = "x"; contents = [ (nixpkgs { chanel = "c"; }).a ];')
    assert "Did you mean channel?" in shown


def test_names_of_an_image(cells) -> None:
    cells.value(f"%%buildImage -o hello\n{HELLO}")
    image = cells.value(
        '%%buildImage\nname = "${hello.imageName}-2"; tag = hello.imageTag; '
        "contents = hello.buildArgs.contents;"
    )
    assert image.reference == "hello-2:1"
    assert image.layers[0].diff_id == cells.names["hello"].layers[0].diff_id


def test_dockertools_helpers(cells) -> None:
    image = cells.value('%%buildImage\nname = "x"; copyToRoot = [ dockerTools.fakeNss fakeNss ];')
    assert any(entry.path == b"etc/passwd" for entry in image.layer_entries(0))


def test_an_interrupted_inner_build_is_cancelled(cells, packages) -> None:
    """The inner build waits for an index; the interrupt reaches it, and the cell ends after it."""
    import _thread

    packages.waits = True
    packages.loading = _thread.interrupt_main
    result = cells.run(
        f'%%buildImage\n{HELLO}\nfromImage = buildImage {{ name = "y"; contents = apt.libc6; }};'
    )
    assert isinstance(result.error_in_exec, KeyboardInterrupt)
    assert packages.cancelled


TABLES = {
    "stream": (
        "%%streamLayeredImage\n" + HELLO,
        (
            "hello:1\na stream, built when it is asked for\n\n"
            "async for piece in stream; await stream.save(path); await stream.load(); "
            "await stream.push(reference)"
        ),
    ),
    "merge": (
        f"%%mergeImages\n[ (buildImage {{ {HELLO} }}) (buildImage {{ {BASE} }}) ]",
        (
            "Merged images\n2 images, 20 kB\n\n"
            "image     size   adds  share             layers  ID\n"
            "hello:1  10 kB  10 kB   50 % *****            1  x\n"
            "base:1   10 kB  10 kB   50 % *****            1  x\n\n"
            "await merged.save(path); await merged.load()"
        ),
    ),
    "export": (
        f"%%exportImage\nfromImage = buildImage {{ {HELLO} }};",
        (
            "hello root file system\n2 entries, 2 B\n\n"
            "name  size  share             entries\n"
            "etc/   2 B  100 % **********        2\n\n"
            "await rootfs.save() writes hello.tar, which docker import takes"
        ),
    ),
}


@pytest.mark.parametrize("what", TABLES)
def test_how_they_look(cells, what: str) -> None:
    cell, expected = TABLES[what]
    value = cells.value(cell)
    bundle, _ = cells.shell.display_formatter.format(value)
    text = bundle["text/plain"].replace("\u2588", "*")
    assert re.sub(r"\b[0-9a-f]{12}\b", "x", text) == expected
    html = bundle["text/html"]
    assert "<script" not in html
    words = re.sub(r"<[^>]*>", " ", html.replace("</strong>", "")).split()
    assert not {w.strip(",;:1") for w in expected.split() if w.strip("*x")} - {
        word.strip(",;:1") for word in words
    }
    # In a list there is one line.
    shown, _ = cells.shell.display_formatter.format([value])
    assert shown["text/plain"] == f"[{value!r}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%%streamLayeredImage\nrepo", ["repoTag = "]),
        ("%%exportImage\nfromImageN", ["fromImageName = "]),
        ("%%exportImage --", ["--background", "--load", "--output", "--save"]),
        ("%%buildImage\nfromImage = dockerTools.buildL", ["dockerTools.buildLayeredImage"]),
        ("%%buildImage\nfromImage = buildL", ["buildLayeredImage"]),
        ("%%buildImage\ncontents = [ caC", ["caCertificates"]),
    ],
)
def test_completion(cells, text: str, expected: list[str]) -> None:
    from nbdock.notebook.completion import _complete

    magic = text.partition("\n")[0].split()[0].removeprefix("%%")
    fragment, known = _complete(cells.names, text, magic)
    assert sorted(name for name in known if name.startswith(fragment)) == expected


def test_unloading_takes_all_magics(cells) -> None:
    cell_magics = cells.shell.magics_manager.magics["cell"]
    assert {"streamLayeredImage", "mergeImages", "exportImage"} <= set(cell_magics)
    cells.run("%unload_ext nbdock")
    assert not {"streamLayeredImage", "mergeImages", "exportImage"} & set(cell_magics)
    cells.run("%load_ext nbdock")


@pytest.mark.parametrize("tools", ["dockerTools", "pkgs.dockerTools"])
def test_a_tool_that_there_is_not(cells, tools: str) -> None:
    shown = cells.shown(f"%%buildImage\nname = {tools}.tarsum;")
    assert "The set dockerTools has no attribute 'tarsum'" in shown
