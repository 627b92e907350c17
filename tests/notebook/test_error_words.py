"""What people read under a cell that went wrong: its words, and what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

ORDINARY = 'name = "x"; contents = textFile "a" "b";'


def test_a_package_written_as_a_text(cells, packages) -> None:
    shown = cells.shown('%%buildImage\nname = "x";\ncontents = "redis";')
    assert '\n  contents = "redis";\n             ^\n' in shown
    assert "no directory 'redis'" in shown
    assert shown.endswith("The package is written without quotes: apt.redis")
    shown = cells.shown('%%buildImage\nname = "x"; contents = [ apt.redis-server "g++" ];')
    assert shown.startswith("ArgumentTypeError: contents[1] is a text")
    assert f"\n  {' ' * 42}^\n" in shown
    assert shown.endswith('apt."g++"')


def test_a_directory_that_is_not_there(cells) -> None:
    shown = cells.shown('%%buildImage\nname = "x"; contents = [ "./none" ];')
    assert "contents[0]: The directory" in shown
    assert f"\n  {' ' * 25}^\n" in shown


@pytest.mark.parametrize(
    ("before", "name", "advice"),
    [
        ("", "nixpkgs", "Write pkgs.hello: nixpkgs is a function, which is called with arguments."),
        ("from nbdock import nixpkgs", "nixpkgs", "as in nixpkgs = nixpkgs()."),
        ("from nbdock import apt", "apt", "call it in Python first, as in apt = apt()."),
        ("", "fakeNss.override", None),
    ],
)
def test_attributes_of_a_function(cells, before: str, name: str, advice: str | None) -> None:
    cells.run(before)
    shown = cells.shown(f'%%buildImage\nname = "x"; contents = [ {name}.hello ];')
    assert "has no attribute 'hello'" in shown
    assert advice is None or advice in shown


def test_a_value_that_is_a_function(cells) -> None:
    shown = cells.shown('%%buildImage\nname = "x"; contents = nixpkgs;')
    assert "contents must be packages and paths of directories, not a function (line" in shown
    assert "lambda" not in shown


def test_a_stream_is_not_merged(cells) -> None:
    cells.run(f"%%streamLayeredImage -o stream\n{ORDINARY}")
    for source in ("%%mergeImages\n[ stream ]", "await nbdock.merge_images([stream])"):
        cells.run("import nbdock")
        shown = cells.shown(source)
        assert "not a stream: <ImageStream x>" in shown
        assert "image = await stream.build()" in shown
    assert "nbdock.merge_images([redis, bash])" in cells.shown("await nbdock.merge_images(stream)")
    assert "[ redis bash ]" in cells.shown("%%mergeImages\n[ ]")


def test_the_format_that_a_name_stands_for(cells, tmp_path: Path) -> None:
    place = tmp_path / "x.zip"
    cells.run(f"%%buildImage -o image\n{ORDINARY}")
    for source in (
        f"await image.save({str(place)!r})",
        f'%%buildImage --save {place}\nname = throw "it is refused before";',
        f"%%exportImage --save {place}\nfromImage = image;",
    ):
        shown = cells.shown(source)
        assert "'x.zip' is the name of another format" in shown
        assert ".oci.tar" in shown
    assert not place.exists()
    cells.value(f"await image.save({str(place)!r}, format='docker-archive')")
    assert place.exists()
    cells.run("%%exportImage -o files\nfromImage = image;")
    shown = cells.shown(f"await files.save({str(tmp_path / 'x.tar.gz')!r})")
    assert "saved as a tar, uncompressed" in shown


def test_cells_are_told_of_their_own_names(cells) -> None:
    wrong = {
        "diskSize = 0;": "diskSize must be at least 1 MiB, not 0.",
        "config = 3;": "config must be an attribute set, not a number: 3",
        "fromImage = 3;": "fromImage takes an image or the path of one",
        "runAsRoot = 3;": "runAsRoot must be a script, or null, not a number: 3",
        "uid = -1;": "uid must be from 0 to",
    }
    for line, message in wrong.items():
        shown = cells.shown(f'%%buildImage\nname = "x";\n{line}')
        assert message in shown
        assert f"\n  {line}\n" in shown
    shown = cells.shown(
        '%%buildLayeredImage\nname = "x"; layering = "auto"; layeringPipeline = [ ];'
    )
    assert "layering and layeringPipeline both say" in shown
    cells.run(f"%%buildImage -o image\n{ORDINARY}")
    shown = cells.shown("%%runAsRoot image --memory 0\ntrue")
    assert "--memory must be at least 1 MiB, not 0." in shown


def test_what_was_asked_for_comes_first_in_a_plan(cells, packages) -> None:
    plan = cells.value('%%buildImage --dry-run\nname = "x"; contents = [ apt.redis-server ];')
    assert [package.name for package in plan.layers[0]] == ["redis-server", "libc6"]


@pytest.mark.parametrize(
    ("cell", "advice"),
    [
        ("%%buildimage -o a\n", "%%buildImage"),
        ("%%buildLayerdImage\n", "%%buildLayeredImage"),
        ("%layrs redis", "%layers"),
    ],
)
def test_a_magic_that_is_misspelt(cells, capsys, cell: str, advice: str) -> None:
    cells.shell.run_cell(cell)
    said = capsys.readouterr().err
    assert "not found" in said
    assert said.rstrip().endswith(f"Did you mean {advice}?")
    cells.shell.run_cell("%%no_magic_like_any\n")
    assert "Did you mean" not in capsys.readouterr().err


def test_what_was_not_awaited_says_so(cells) -> None:
    shell = cells.shell
    cells.run("async def own(): pass\nimport nbdock")
    for source, told in {
        "nbdock.prune()": "prune(...) has not begun: write await before it.",
        "own()": "<coroutine object own at",
    }.items():
        coroutine = shell.ev(source)
        assert shell.display_formatter.format(coroutine)[0]["text/plain"].startswith(told)
        coroutine.close()
