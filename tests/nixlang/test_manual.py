"""Every example of the dockerTools manual, with its free names bound to Python objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbdock.nixlang import CellArguments, ContextString, parse, read_arguments

MANUAL = Path(__file__).parent / "manual"


class Thing:
    """Something that Python knows: it has a name and stands in strings."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"/nix/store/{self.name}"


class Things:
    """A package set by attributes."""

    def __getattr__(self, name: str) -> Thing:
        if name.startswith("_"):
            raise AttributeError(name)
        thing = Thing(name)
        setattr(self, name, thing)
        return thing


NAMES: dict[str, Any] = {
    "pkgs": Things(),
    "someBaseImage": object(),
    "someLayeredImage": Thing("layered"),
    "shadowSetup": "export PATH=/shadow",
}


def read(name: str) -> CellArguments:
    functions = ["buildImage", "buildLayeredImage", "pullImage", "exportImage"]
    text = (MANUAL / f"{name}.nix").read_text("utf-8")
    return read_arguments(text, NAMES, function_names=functions)


@pytest.mark.parametrize("path", sorted(MANUAL.glob("*.nix")), ids=lambda path: path.stem)
def test_the_example_parses_and_has_arguments(path: Path) -> None:
    assert parse(path.read_text("utf-8")).form == "expression"
    assert read(path.stem).arguments


def test_build_image() -> None:
    cell = read("build_image")
    pkgs = NAMES["pkgs"]
    assert cell.function_name == "buildImage"
    assert cell.arguments == {
        "name": "redis",
        "tag": "latest",
        "fromImage": NAMES["someBaseImage"],
        "fromImageName": None,
        "fromImageTag": "latest",
        "contents": pkgs.redis,
        "runAsRoot": "#!/nix/store/runtimeShell\nmkdir -p /data\n",
        "config": {
            "Cmd": ["/bin/redis-server"],
            "WorkingDir": "/data",
            "Volumes": {"/data": {}},
        },
    }
    assert cell.context == (pkgs.runtimeShell,)
    place = cell.place_of(("config", "Volumes", "/data"), name=True)
    assert place is not None
    assert (place.line, place.column) == (19, 7)


def test_a_string_knows_the_packages_in_it() -> None:
    (command,) = read("build_layered_image_config").arguments["config"]["Cmd"]
    assert command == "/nix/store/hello/bin/hello"
    assert isinstance(command, ContextString)
    assert command.context == (NAMES["pkgs"].hello,)


def test_created_and_the_dotted_path() -> None:
    cell = read("build_image_created")
    assert cell.arguments["created"] == "now"
    assert cell.arguments["config"] == {"Cmd": ["/bin/hello"]}


def test_an_attribute_of_an_image() -> None:
    assert read("export_image").arguments["name"] == "layered"


def test_shadow_setup_is_part_of_the_script() -> None:
    assert read("shadow_setup").arguments["runAsRoot"].splitlines()[:2] == [
        "#!/nix/store/runtimeShell",
        "export PATH=/shadow",
    ]


def test_the_bindings_alone_are_the_same_arguments() -> None:
    text = (MANUAL / "build_image.nix").read_text("utf-8")
    inside = text[text.index("{") + 1 : text.rindex("}")]
    assert read_arguments(inside, NAMES).arguments == read("build_image").arguments
