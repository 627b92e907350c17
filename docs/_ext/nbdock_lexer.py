"""Colours for cells: a first line ``%%buildImage ...`` above text in the language of Nix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pygments.lexer import Lexer
from pygments.lexers import BashLexer, NixLexer, PythonLexer
from pygments.token import Keyword, Text
from sphinx.application import Sphinx

from nbdock.notebook.names import BUILDERS

_MAGIC = re.compile(r"(%%?\w+)(.*(?:\n|\Z))")

Token = tuple[int, Any, str]


class CellLexer(Lexer):
    """A cell: the line of a magic and what the magic takes, or else the language `rest`."""

    rest: type[Lexer] = PythonLexer

    def get_tokens_unprocessed(self, text: str) -> Iterator[Token]:  # type: ignore[override]
        """Tokens and where they begin."""
        inner = self.rest
        offset = 0
        while found := _MAGIC.match(text, offset):
            yield offset, Keyword, found[1]
            yield found.end(1), Text, found[2]
            offset = found.end()
            name = found[1].lstrip("%")
            inner = NixLexer if name in BUILDERS else BashLexer if name == "runAsRoot" else inner
        for place, kind, value in inner().get_tokens_unprocessed(text[offset:]):
            yield place + offset, kind, value


class NixCellLexer(CellLexer):
    """The same where everything else is Nix."""

    rest = NixLexer


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_lexer("ipython3", CellLexer)
    app.add_lexer("nix", NixCellLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
