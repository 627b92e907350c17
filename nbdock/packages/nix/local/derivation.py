r"""Derivations: how Nix builds a store path, as the ``.drv`` files of a store say it.

>>> text = ('Derive([("out","/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello","","")],[],[],'
...         '"x86_64-linux","/bin/sh",["-c","echo \\"hi\\" > $out"],[("name","hello")])')
>>> hello = Derivation.parse(text.encode())
>>> hello.arguments, hello.environment
(('-c', 'echo "hi" > $out'), {'name': 'hello'})

The form is an expression of the ATerm library that Nix once used: nested lists and tuples of
quoted texts.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from nbdock.errors import InvalidStorePathError, NixError
from nbdock.packages.nix.storepath import StorePath

__all__ = ["Derivation"]

T = TypeVar("T")

_TEXT = re.compile(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclasses.dataclass(frozen=True)
class Derivation:
    """What Nix runs to build something, with what environment, and what it needs for that.

    Attributes
    ----------
    outputs
        The store path of each output, by name.
    input_derivations
        The outputs that it needs of other derivations, by the path of the derivation.
    input_sources
        The store paths it needs that nothing builds.
    system
        The machine it builds on, such as ``x86_64-linux``.
    builder, arguments
        The program that builds, and what it is called with.
    environment
        The variables it builds with, the outputs' among them.
    """

    outputs: Mapping[str, StorePath]
    input_derivations: Mapping[StorePath, tuple[str, ...]]
    input_sources: tuple[StorePath, ...]
    system: str
    builder: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    @classmethod
    def parse(cls, data: bytes, *, store_dir: str = "/nix/store") -> Derivation:
        """A derivation from the content of its file.

        Raises
        ------
        NixError
            It is not a derivation, or one whose outputs have no place yet because that depends on
            what is in them.
        """
        return _Reader(data, store_dir).derivation()


class _Reader:
    def __init__(self, data: bytes, store_dir: str) -> None:
        self._data = data
        self._at = 0
        self._store_dir = store_dir

    def derivation(self) -> Derivation:
        self._expect(b"Derive(")
        outputs = self._list(self._output)
        self._expect(b",")
        inputs = self._list(self._input)
        self._expect(b",")
        sources = self._list(self._path)
        self._expect(b",")
        system = self._text()
        self._expect(b",")
        builder = self._text()
        self._expect(b",")
        arguments = self._list(self._text)
        self._expect(b",")
        environment = self._list(self._variable)
        self._expect(b")")
        if self._at != len(self._data):
            raise self._wrong("the end")
        return Derivation(
            dict(outputs), dict(inputs), tuple(sources), system, builder, tuple(arguments),
            dict(environment),
        )  # fmt: skip

    def _wrong(self, wanted: str) -> NixError:
        if self._at >= len(self._data):
            return NixError("The derivation is cut off.", hint="Its file in the store is damaged.")
        found = self._data[self._at : self._at + 20].decode(errors="replace")
        return NixError(
            f"This is not a derivation that nbdock can read: at byte {self._at} stands {found!r}, "
            f"not {wanted}."
        )

    def _expect(self, token: bytes) -> None:
        if not self._data.startswith(token, self._at):
            raise self._wrong(repr(token.decode()))
        self._at += len(token)

    def _list(self, item: Callable[[], T]) -> list[T]:
        self._expect(b"[")
        found: list[T] = []
        while not self._data.startswith(b"]", self._at):
            if found:
                self._expect(b",")
            found.append(item())
        self._at += 1
        return found

    def _text(self) -> str:
        match = _TEXT.match(self._data, self._at)
        if match is None:
            raise self._wrong("a quoted text")
        self._at = match.end()
        data = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), match[1])
        return data.decode("utf-8", "surrogateescape")

    def _path(self) -> StorePath:
        text = self._text()
        try:
            return StorePath.parse(text, store_dir=self._store_dir)
        except InvalidStorePathError as error:
            raise NixError(f"In the derivation, {error.message}", hint=error.hint) from error

    def _output(self) -> tuple[str, StorePath]:
        self._expect(b"(")
        name = self._text()
        self._expect(b",")
        if self._data.startswith(b'""', self._at):
            raise NixError(
                f"The place of the output {name!r} is not known before it is built: the derivation "
                f"is content-addressed, or builds on one that is.",
                hint="Use a derivation with __contentAddressed = false.",
            )
        path = self._path()
        for _ in ("algorithm", "hash"):
            self._expect(b",")
            self._text()
        self._expect(b")")
        return name, path

    def _input(self) -> tuple[StorePath, tuple[str, ...]]:
        self._expect(b"(")
        path = self._path()
        self._expect(b",")
        outputs = self._list(self._text)
        self._expect(b")")
        return path, tuple(outputs)

    def _variable(self) -> tuple[str, str]:
        self._expect(b"(")
        name = self._text()
        self._expect(b",")
        value = self._text()
        self._expect(b")")
        return name, value
