"""Cells of dockerTools' text, and the images they make: built once, loaded into an engine once.

workshop = Workshop(shell, {"pkgs": nbdock.nixpkgs()}, {"bashImage": "buildImage { ... }"})
workshop["bashImage"]                   # built by a cell, with the examples that it names
workshop.loaded("bashImage", engine)    # "bash:latest", which the engine has
workshop.cell("%%buildImage ...")       # what any other cell gives
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from support.engine import Engine

from nbdock import concurrency
from nbdock.images import Image, ImageStream


class Workshop:
    """Images by the names of their examples.

    Parameters
    ----------
    shell
        An IPython shell that has nbdock's extension loaded whenever a cell is run.
    names
        What cells may use besides the examples: ``pkgs`` and the like. Asked when a cell does.
    examples
        Whole expressions by name: ``buildImage { ... }``. A name that occurs in a cell is built
        before it, so names are not ordinary words.
    """

    def __init__(
        self, shell: InteractiveShell, names: Mapping[str, Any], examples: Mapping[str, str]
    ) -> None:
        self._shell = shell
        self._names = names
        self._examples = examples
        self._made: dict[str, Any] = {}
        self._loaded: dict[tuple[str, Path], str] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self.cell(self._cell_of(name))
        return self._made[name]

    def image(self, name: str) -> Image:
        """An example as an image, also if it is a stream."""
        made = self[name]
        image: Image = concurrency.run(made.build()) if isinstance(made, ImageStream) else made
        return image

    def _cell_of(self, name: str) -> str:
        text = self._examples[name].strip()
        return f"%%{re.match('(?:[a-z]+[.])*([A-Za-z]+)', text)[1]}\n{text}\n"  # type: ignore[index]

    def cell(self, source: str, **names: object) -> Any:
        """What a cell shows, which may name examples; it must not fail."""
        result = self._run(source, names)
        result.raise_error()
        return result.result

    def error(self, name: str) -> BaseException:
        """What an example that cannot be built raises."""
        return self.failed(self._cell_of(name))

    def failed(self, source: str, **names: object) -> BaseException:
        """What a cell that must fail raises."""
        error = self._run(source, names).error_in_exec
        assert error is not None, "It was built."
        return error

    def _run(self, source: str, names: Mapping[str, object]) -> Any:
        words = set(re.findall(r"[A-Za-z]\w*", re.sub(r'"[\w-]*"', "", source)))
        named = {n: self[n] for n in sorted(words) if n in self._examples}
        given = {n: self._names[n] for n in sorted(words) if n in self._names}
        self._shell.user_ns.update({**given, **named, **names})
        return self._shell.run_cell(source)

    def loaded(self, name: str, engine: Engine) -> str:
        """The reference under which the engine has an example."""
        place = (name, engine.directory)
        if place not in self._loaded:
            self._loaded[place] = load(self[name], engine)
        return self._loaded[place]


def load(image: Image | ImageStream, engine: Engine) -> str:
    """Have an engine load an image from its archive; the reference it says it loaded."""
    if isinstance(image, ImageStream):
        said = engine("load", stdin=concurrency.run(_archive(image))).stdout
        return said.removeprefix("Loaded image: ").strip()
    with tempfile.TemporaryDirectory() as directory:
        archive = concurrency.run(image.save(Path(directory) / "image.tar"))
        (reference,) = engine.load(archive)
    return reference


async def _archive(stream: ImageStream) -> bytes:
    return b"".join([piece async for piece in stream])


def wait_for_log(engine: Engine, container: str, what: str) -> None:
    """Return once a container has logged something; fail if it ends without."""
    with subprocess.Popen(
        [*engine.command, "logs", "--follow", container], env=dict(engine.environment),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as following:  # fmt: skip
        assert following.stdout is not None
        lines = []
        for line in following.stdout:
            lines.append(line)
            if what in line:
                following.kill()
                return
    pytest.fail(f"It ended without {what!r}:\n{''.join(lines)}")
