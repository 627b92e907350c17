"""Errors about arguments, in the words of whoever called: every public function, in Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import nbdock
from nbdock.calling import argument_name, called_by_cell, cell_name, checked, renamed
from nbdock.errors import ArgumentTypeError, MissingArgumentError, UnknownArgumentError
from nbdock.images import ImageStream, MergedImages, MultiPlatformImage, RootFilesystem

CLASSES = (nbdock.Image, ImageStream, MergedImages, MultiPlatformImage, RootFilesystem)
METHODS = [
    getattr(kind, name)
    for kind in CLASSES
    for name in ("run", "save", "load", "push", "file")
    if name in vars(kind)
]
PASSES_ON = ("closure_mermaid",)
FUNCTIONS = [
    value
    for name, value in ((name, getattr(nbdock, name)) for name in nbdock.__all__)
    # What passes options on leaves it to the other to refuse them.
    if inspect.isfunction(value) and inspect.signature(value).parameters and name not in PASSES_ON
]


def named(function: Callable[..., Any]) -> str:
    return function.__qualname__


@pytest.mark.parametrize("function", [*FUNCTIONS, *METHODS], ids=named)
def test_a_misspelled_argument_is_refused_with_the_nearest(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    given = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY] or [
        p.name for p in parameters if p.name != "self" and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    wanted = given[0] if given else "progress_delay_s"  # configure takes any setting
    misspelled = f"{wanted}x"
    own = (
        (object.__new__(nbdock.Image),) if "self" in inspect.signature(function).parameters else ()
    )
    with pytest.raises(UnknownArgumentError) as caught:
        function(*own, **{misspelled: 1})
    assert caught.value.argument == misspelled
    assert repr(misspelled) in caught.value.message
    assert wanted in str(caught.value.hint)


def test_calls_that_do_not_fit() -> None:
    @checked
    def f(first: int, *, second: int, third: int = 3) -> int:
        return first + second + third

    assert f(1, second=2) == 6
    with pytest.raises(MissingArgumentError, match="needs the argument 'second'") as missing:
        f(1)  # type: ignore[call-arg]
    assert missing.value.argument == "second"
    with pytest.raises(UnknownArgumentError, match="too many arguments without a name") as many:
        f(1, 2, second=2)  # type: ignore[misc]
    assert many.value.hint == "These are given by name: second, third."
    with pytest.raises(UnknownArgumentError, match="'first' twice"):
        f(1, first=2, second=2)  # type: ignore[misc]
    with pytest.raises(TypeError, match="inside"):
        checked(_fails)()


def _fails() -> None:
    raise TypeError("inside")


def test_what_an_argument_is_called() -> None:
    assert argument_name("include_nix_db") == "include_nix_db"
    with renamed(memory_mib="build_vm_memory_size"):
        assert argument_name("memory_mib") == "build_vm_memory_size"
        with called_by_cell():
            assert argument_name("memory_mib") == cell_name("build_vm_memory_size")
    with renamed(disk_size="--disk-size"), renamed(disk_mib="disk_size"), called_by_cell():
        assert argument_name("disk_mib") == "--disk-size"
    assert argument_name("memory_mib") == "memory_mib"


async def test_python_is_told_of_python_s_names(nbdock_home: object) -> None:
    build: Any = nbdock.build_image
    layered: Any = nbdock.build_layered_image
    hello = nbdock.text_file("hello", "")
    with pytest.raises(ArgumentTypeError, match=r"^run_as_root must be a script, or None, not"):
        await build("x", run_as_root=3)
    with pytest.raises(ArgumentTypeError, match=r"^from_image takes an image"):
        await build("x", from_image=3)
    with pytest.raises(ArgumentTypeError, match=r"^config must be a dict, not a string"):
        await build("x", config="")
    with pytest.raises(ArgumentTypeError, match=r"^build_vm_memory_size must be at least 1 MiB"):
        await build("x", build_vm_memory_size=0)
    with pytest.raises(nbdock.errors.LayerLimitError, match=r"^max_layers must be from 2") as limit:
        await layered("x", max_layers=1)
    assert "max_layers" in str(limit.value.hint)
    image: Any = await build("x", contents=hello, config={"Cmd": ["/x"]})
    with pytest.raises(ArgumentTypeError, match=r"^memory_mib must be a number of MiB, not a str"):
        image.run(memory_mib="x")
    with pytest.raises(ArgumentTypeError, match=r"^disk_mib must be at least 1 MiB, not 0"):
        image.run(disk_mib=0)
    with pytest.raises(ArgumentTypeError, match=r"^image takes an image") as wrong:
        await nbdock.run_as_root(3, "true")  # type: ignore[arg-type]
    assert wrong.value.argument == "from_image" or wrong.value.argument == "image"


async def test_a_package_that_is_written_as_a_text() -> None:
    with pytest.raises(ArgumentTypeError, match="no directory 'redis'") as caught:
        await nbdock.build_image("x", contents="redis")
    assert caught.value.argument == "contents"
    assert caught.value.hint == 'The package is nbdock.apt()["redis"]'
    with pytest.raises(ArgumentTypeError, match=r"^copy_to_root\[1\]\[0\]: The directory '/none'"):
        await nbdock.build_image("x", copy_to_root=[None, ["/none"]])
