"""Tab in a build cell."""

from __future__ import annotations

import pytest

from nbdock.errors import ConnectionFailedError
from nbdock.notebook import completion


def complete(cells, text: str) -> list[str]:
    """What Tab offers at the end of a cell's text, as it would stand there."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        found = cells.shell.Completer.completions(text, len(text))
        return [text[: c.start].rpartition("\n")[2] + c.text for c in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%%buildLayeredImage --d", ["%%buildLayeredImage --dry-run"]),
        ("%%buildLayeredImage -o x --s", ["%%buildLayeredImage -o x --save"]),
        ("%%buildLayeredImage\nmaxL", ["maxLayers = "]),
        ("%%buildLayeredImage\nname = \"x\";\n  maxL", ["  maxLayers = "]),
        ("%%pullImage\nimageD", ["imageDigest = "]),
        ("%%pullImage\nconfig.Wor", []),
        ("%%buildImage\nfromImage = pullI", ["fromImage = pullImage"]),
        ("%%pullImage\ndockerTools.pre", []),
        ("%%buildImage\nfromImage = pullImage (dockerTools.pre", [
            "fromImage = pullImage (dockerTools.prefetchImage",
        ]),
        ("%prefetchImage --image-n", ["%prefetchImage --image-name"]),
        ("pin = %prefetchImage mysql:8 --ar", ["pin = %prefetchImage mysql:8 --arch"]),
        ("%%buildImage\nname = \"x\"; copy", ["name = \"x\"; copyToRoot = "]),
        ("%%buildLayeredImage\ncontents = [ apt.redis-", [
            "contents = [ apt.redis-server", "contents = [ apt.redis-tools",
        ]),
        ("%%buildLayeredImage\ncontents = [\n  apt.lib", ["  apt.libc6"]),
        ("%%buildLayeredImage\nconfig.Wor", ["config.WorkingDir = "]),
        ("%%buildLayeredImage\nconfig = { Entr", ["config = { Entrypoint = "]),
        ("%%buildLayeredImage\nconfig = {\n  Cmd = [ ];\n  Ent", ["  Entrypoint = "]),
        ("%%buildLayeredImage\ncontents = [ (textF", ["contents = [ (textFile"]),
        ("%%buildLayeredImage\nfromImage = my_b", ["fromImage = my_base"]),
        ("%%buildLayeredImage\nname = \"maxL", []),
        ("%%buildLayeredImage\nnothing.at", []),
        ("%%buildLayeredImage\nlayering = \"au", ["layering = \"auto"]),
        ("%%buildLayeredImage\nconfig.Cmd = [ \"${apt.redis-s", [
            "config.Cmd = [ \"${apt.redis-server",
        ]),
        ("%%buildLayeredImage\ncontents = with apt; [ redis-s", [
            "contents = with apt; [ redis-server",
        ]),
        ("%%buildLayeredImage\nfromImage = apt.dockerTools.pullI", [
            "fromImage = apt.dockerTools.pullImage",
        ]),
    ],
)  # fmt: skip
def test_what_is_offered(cells, packages, text, found) -> None:
    cells.names["my_base"] = 1
    assert sorted(complete(cells, text)) == found


def test_after_an_argument_the_others_are_offered(cells) -> None:
    offered = complete(cells, "%%buildImage\n")
    assert "name = " in offered
    assert "fromImage = " in offered
    assert "maxLayers = " not in offered  # that is the other function's


def test_arguments_that_are_there_are_not_offered_again(cells) -> None:
    assert "name = " not in complete(cells, '%%buildImage\nname = "x";\n')


def test_other_cells_are_completed_as_ever(cells) -> None:
    cells.names["some_name"] = 1
    assert "some_name" in complete(cells, "some_n")
    assert "maxLayers = " not in complete(cells, "maxL")
    assert "import " not in complete(cells, "%%bash\nmaxL")


def test_an_index_that_is_not_here_is_not_waited_for(cells, packages, monkeypatch) -> None:
    monkeypatch.setattr("nbdock.notebook.completion._PATIENCE_S", 0.01)
    packages.waits = True
    for _ in range(3):
        found = complete(cells, "%%buildImage\ncontents = [ apt.lib")
        assert found == ["contents = [ apt.lib"]
    # It is the same load that goes on, not one more at each key.
    assert packages.loads == 1
    completion._loading[packages].cancel()


def test_names_that_need_quotes_get_them(cells, packages, monkeypatch) -> None:
    monkeypatch.setattr(type(packages), "__iter__", lambda self: iter(["libstdc++6", "libc6"]))
    assert complete(cells, "%%buildImage\ncontents = [ apt.libst") == [
        'contents = [ apt."libstdc++6"'
    ]


def test_nothing_is_raised(cells, packages, capsys) -> None:
    packages.error = ConnectionFailedError("No answer.")

    class Hostile:
        def __dir__(self):
            raise RuntimeError("no")

        def __iter__(self):
            raise RuntimeError("no")

    cells.names["hostile"] = Hostile()
    for text in ("contents = [ apt.", "contents = [ hostile.x", '"', "\x00", "a.b.c.", "${", "''"):
        for magic in ("%%buildImage\n", "%%buildImage -", "%%buildLayeredImage\n\t"):
            complete(cells, magic + text)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("position", [0, 3, 12, 13, 14])
def test_anywhere_in_a_cell(cells, position) -> None:
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        list(cells.shell.Completer.completions('%%buildImage\nname = "x";\n', position))
