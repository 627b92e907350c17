"""The tokens of a wrong cell, one after the other, and what to say where one does not fit."""

from __future__ import annotations

from typing import NoReturn

from nbdock.nixlang import advice
from nbdock.nixlang.lexer import Kind, Token
from nbdock.nixlang.places import Source

__all__ = ["CLOSERS", "TokenReader", "WrongCell"]

CLOSERS = {"(": ")", "[": "]", "{": "}", "${": "}"}


class WrongCell(Exception):  # noqa: N818
    """The first thing that is wrong."""

    def __init__(self, offset: int, message: str, hint: str | None) -> None:
        super().__init__(message)
        self.offset, self.message, self.hint = offset, message, hint


class TokenReader:
    """Steps through tokens; raises `WrongCell` at the first that does not fit."""

    def __init__(self, source: Source, found: list[Token]) -> None:
        self._source = source
        self._tokens = found
        self._index = 0
        # The brackets that are open, and the matching end of each, if there is one.
        self._open: list[Token] = []
        # Where each simple expression of the application being read begins.
        self._parts: list[int] = []

    # Tokens.

    @property
    def _token(self) -> Token:
        return self._tokens[self._index]

    @property
    def _before(self) -> Token | None:
        return self._tokens[self._index - 1] if self._index else None

    def _at_end(self) -> bool:
        return self._token.kind is Kind.END

    def _peek(self, count: int = 1) -> Token:
        return self._tokens[min(self._index + count, len(self._tokens) - 1)]

    def _is(self, *texts: str) -> bool:
        return self._token.text in texts and self._token.kind in (Kind.SYMBOL, Kind.KEYWORD)

    def _next(self) -> Token:
        token = self._token
        if token.kind is not Kind.END:
            self._index += 1
        return token

    def _fail(self, token: Token | int, message: str, hint: str | None = None) -> NoReturn:
        raise WrongCell(token if isinstance(token, int) else token.start, message, hint)

    def _expect(self, text: str, message: str, hint: str | None = None) -> None:
        if not self._is(text):
            self._unexpected(message, hint)
        self._next()

    def _unexpected(self, message: str, hint: str | None = None) -> NoReturn:
        """The token at hand cannot stand here; say why, or else `message` after the last token."""
        token = self._token
        if problem := advice.about_token(token, self._peek()):
            self._fail(token, *problem)
        closers = CLOSERS.values()
        if self._open:
            opening = self._open[-1]
            expected = CLOSERS[opening.text]
            wrong_end = token.text in closers and token.text != expected
            if token.kind is Kind.END or wrong_end:
                self._fail(opening, *advice.unclosed(opening, expected))
        elif token.text in closers and token.kind is Kind.SYMBOL:
            self._fail(
                token,
                f"Nothing is open that this `{token.text}` could close",
                f"Delete it, or add the `{advice.OPENERS[token.text]}` that it should close.",
            )
        before = self._before
        self._fail(before.end if before else token.start, message, hint)
