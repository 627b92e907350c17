"""What is wrong with a cell that does not parse, where, and what its writer should do.

Reads the tokens by the language's grammar, up to the first that cannot stand where it stands, and
then looks at its surroundings: where the list was opened that a `;` ends too early, which line the
missing `;` belongs to, what Python or JSON would write here.
"""

from __future__ import annotations

from typing import NoReturn

from nbdock.errors import CellSyntaxError
from nbdock.nixlang import advice
from nbdock.nixlang.lexer import Kind, Token
from nbdock.nixlang.places import Source
from nbdock.nixlang.token_reader import CLOSERS, TokenReader, WrongCell
from nbdock.nixlang.trampoline import Steps, run

__all__ = ["diagnose"]

_BINARY = frozenset(
    ("==", "!=", "<", "<=", ">", ">=", "&&", "||", "->", "//", "++", "+", "-", "*", "/")
)
_SINGLE = frozenset(("==", "!=")), frozenset(("<", "<=", ">", ">="))


def diagnose(
    source: Source, found: list[Token], *, bindings: bool, suspect: int
) -> CellSyntaxError:
    """The error of a cell that does not parse.

    Parameters
    ----------
    source, found
        The cell and its tokens.
    bindings
        Whether it is bindings, rather than an expression.
    suspect
        The offset where the parser stumbled: said if nothing better is found.
    """
    reader = _Reader(source, found)
    try:
        run(reader.cell(bindings=bindings))
    except WrongCell as problem:
        offset, message, hint = problem.offset, problem.message, problem.hint
        for token in found:
            # A string that was not closed swallows what follows, up to the next string's quotes.
            swallowed = advice.swallowing_string(source.text, token, found, offset)
            if swallowed:
                offset, (message, hint) = token.start, swallowed
                break
    else:
        offset, message, hint = (
            suspect,
            "The cell cannot be understood from here on",
            advice.GENERAL,
        )
    line, column = source.line_and_column(offset)
    return CellSyntaxError(message, source=source.text, line=line, column=column, hint=hint)


class _Reader(TokenReader):
    """Reads a cell by the grammar, up to what is wrong with it."""

    def cell(self, *, bindings: bool) -> Steps:
        if bindings:
            yield self._bindings(None)
        else:
            yield self._expression()
            self._after_cell()

    def _after_cell(self) -> None:
        token = self._token
        if token.kind is Kind.END:
            return
        first, second = self._tokens[0], self._tokens[1]
        if second.text == ":" and first.kind is Kind.NAME:
            self._fail(second, *advice.colon(first.text))
        if second.text == "==" and first.kind is Kind.NAME and token.text == ";":
            self._fail(second, *(advice.instead_of_equals(first.text, first, second) or ("", None)))
        if token.text == ";":
            self._fail(
                token,
                "Nothing may follow the end of the expression",
                "Delete the `;`, or give the value a name: `name = value;`.",
            )
        self._missing_semicolon_before_equals()
        self._unexpected(
            "The expression ends here, but the cell goes on",
            "A cell is either bindings (`name = value; ...`) or one expression.",
        )

    def _bindings(self, opening: Token | None) -> Steps:
        """The bindings of a set, a `let`, or the cell itself, up to what ends them."""
        while True:
            token = self._token
            if self._at_end() and opening is None:
                return
            if opening is not None and self._is("}" if opening.text == "{" else "in"):
                return
            if self._is("inherit"):
                yield self._inherit()
                continue
            if self._at_end() and opening is not None and opening.text == "let":
                self._fail(
                    opening,
                    "This `let` has no `in`",
                    "After the bindings comes what they are for: `let a = 1; in a`.",
                )
            yield self._attribute_path(opening)
            name = self._source.text[token.start : self._tokens[self._index - 1].end]
            if not self._is("="):
                if problem := advice.instead_of_equals(name, token, self._token):
                    self._fail(self._token, *problem)
                self._unexpected(
                    f"After the name {name} comes an `=` and its value", f"Write `{name} = value;`."
                )
            self._next()
            if self._is(";", "}", ",") or self._at_end():
                self._fail(
                    self._token if self._is(";", "}", ",") else self._tokens[self._index - 1],
                    f"The attribute {name} has no value",
                    f"Write `{name} = value;`, or `null` for none.",
                )
            yield self._expression()
            if self._at_end() and opening is None:
                return
            self._end_of_binding(name)

    def _end_of_binding(self, name: str) -> None:
        if self._is(";"):
            self._next()
            return
        if self._is(","):
            self._fail(
                self._token,
                "Bindings end with `;`, not with `,`",
                "Write `;` in place of the comma.",
            )
        self._missing_semicolon_before_equals()
        hint = "Each binding ends with `;`, the last one in the braces too."
        if self._is("inherit"):
            self._fail(
                self._tokens[self._index - 1].end, f"The value of {name} lacks its `;`", hint
            )
        self._unexpected_or_semicolon(f"The value of {name} lacks its `;`", hint)

    def _unexpected_or_semicolon(self, message: str, hint: str) -> NoReturn:
        # `}` after a value is a missing `;`, even where more than that is wrong.
        if self._is("}") and self._open and self._open[-1].text == "{":
            self._fail(self._tokens[self._index - 1].end, message, hint)
        self._unexpected(message, hint)

    def _missing_semicolon_before_equals(self) -> None:
        """`name = "a" tag = "b"`: `tag` was read as an argument; the `;` lacks before it."""
        if not self._is("=") or len(self._parts) < 2:
            return
        start = self._parts[-1]
        token, before = self._tokens[start], self._tokens[start - 1]
        if before.kind is Kind.NUMBER and before.end == token.start:
            number = Token(Kind.NUMBER, before.text + token.text, before.start, token.end)
            self._fail(before, *(advice.instead_of_name(number, None) or ("", None)))
        if token.kind in (Kind.NAME, Kind.OPEN_STRING):
            self._fail(
                before.end,
                f"A `;` is missing here, before {token.text.strip()}"
                if token.kind is Kind.NAME
                else "A `;` is missing here",
                "Each binding ends with `;`.",
            )

    def _inherit(self) -> Steps:
        self._next()
        if self._is("("):
            yield self._bracketed(self._expression())
        while self._token.kind in (Kind.NAME, Kind.OPEN_STRING):
            if self._token.kind is Kind.NAME:
                self._next()
            else:
                yield self._string()
        if self._is(","):
            self._fail(
                self._token,
                "The names after `inherit` are separated by spaces",
                "Delete the comma.",
            )
        if self._is(".", "="):
            self._fail(
                self._token,
                "After `inherit` come plain names",
                "Write `inherit (set) name;`, or `name = value;` without `inherit`.",
            )
        self._expect(";", "This `inherit` lacks its `;`", "Write `inherit a b;`.")

    def _attribute_path(self, opening: Token | None = None) -> Steps:
        while True:
            token = self._token
            if token.kind is Kind.NAME or self._is("or"):
                self._next()
            elif token.kind is Kind.OPEN_STRING and token.text == '"':
                yield self._string()
            elif self._is("${"):
                yield self._bracketed(self._expression())
            else:
                if problem := advice.instead_of_name(token, self._before):
                    self._fail(token, *problem)
                if opening is not None and opening.text == "let":
                    self._fail(
                        token,
                        "Here a name or `in` is expected",
                        "After the bindings of `let` comes `in`: `let a = 1; in { ... }`.",
                    )
                self._unexpected("Here the name of an attribute is expected")
            if not self._is("."):
                return
            self._next()

    def _expression(self) -> Steps:
        token = self._token
        if (token.kind is Kind.NAME and self._peek().text in (":", "@")) or self._is_formals():
            yield self._function()
        elif self._is("let") and self._peek().text != "{":
            self._next()
            yield self._bindings(token)
            self._next()
            yield self._expression()
        elif self._is("with", "assert"):
            self._next()
            yield self._expression()
            if not self._is(";"):
                self._missing_after(token)
            self._next()
            yield self._expression()
        elif self._is("if"):
            self._next()
            yield self._expression()
            self._expect(
                "then", "After the condition a `then` is missing", "Write `if a then b else c`."
            )
            yield self._expression()
            self._expect(
                "else",
                "This `if` has no `else`",
                "Every `if` has a value: write `if a then b else c`.",
            )
            yield self._expression()
        else:
            yield self._operation()

    def _missing_after(self, token: Token) -> NoReturn:
        """`with pkgs [ hello ]`: the list was read as an argument; the `;` lacks before it."""
        message = f"After `{token.text}` and its value a `;` is missing"
        hint = f"Write `{token.text} ...; ...`."
        if len(self._parts) > 1 and self._at_end():
            self._fail(self._tokens[self._parts[1] - 1].end, message, hint)
        self._unexpected(message, hint)

    def _function(self) -> Steps:
        if self._token.kind is Kind.NAME:
            self._next()
            if self._is("@"):
                self._next()
                yield self._formals()
        else:
            yield self._formals()
            if self._is("@"):
                self._next()
                self._next()
        self._expect(
            ":",
            "After the parameters of a function a `:` is missing",
            "Write `{ a, b }: ...`; or, for a set, `{ inherit a b; }`.",
        )
        yield self._expression()

    def _is_formals(self) -> bool:
        if not self._is("{"):
            return False
        one, two = self._peek(1), self._peek(2)
        if one.text == "}":
            return two.text in (":", "@")
        if one.text == "...":
            return True
        return one.kind is Kind.NAME and (two.text in (",", "?") or (
            two.text == "}" and self._peek(3).text in (":", "@")))  # fmt: skip

    def _formals(self) -> Steps:
        opening = self._token
        self._expect("{", "After `@` come the parameters in braces")
        self._open.append(opening)
        while not self._is("}"):
            if self._is("..."):
                self._next()
            elif self._token.kind is Kind.NAME:
                self._next()
                if self._is("?"):
                    self._next()
                    yield self._expression()
            else:
                self._unexpected("Here the name of a parameter is expected")
            if not self._is("}"):
                self._expect(",", "Parameters are separated by commas")
        self._open.pop()
        self._next()

    def _operation(self) -> Steps:
        compared: Token | None = None
        while True:
            while self._is("-", "!"):
                self._next()
            if not self._at_simple():
                self._no_value()
            yield self._application()
            if self._is("?"):
                self._next()
                yield self._attribute_path()
            if not self._is(*_BINARY):
                return
            operator = self._next()
            group = next((g for g in _SINGLE if operator.text in g), None)
            if group is not None and compared is not None and compared.text in group:
                self._fail(operator, "Comparisons cannot be chained", "Write `a < b && b < c`.")
            if operator.text in ("&&", "||", "->"):
                compared = None
            elif group is not None:
                compared = operator
            if self._is("if", "let", "with", "assert") or (
                self._token.kind is Kind.NAME and self._peek().text == ":"
            ):
                yield self._expression()
                return

    def _no_value(self) -> NoReturn:
        before = self._before
        if problem := advice.instead_of_value(self._token, before, self._source.text):
            self._fail(self._token, *problem)
        after = f" after `{before.text}`" if before and before.kind is Kind.SYMBOL else ""
        self._unexpected(f"A value is missing{after}")

    def _at_simple(self) -> bool:
        kind = self._token.kind
        if kind in (Kind.NAME, Kind.NUMBER, Kind.PATH, Kind.URI, Kind.OPEN_STRING):
            return True
        return self._is("(", "[", "{", "rec", "let")

    def _application(self) -> Steps:
        outer, self._parts = self._parts, []
        parts = self._parts
        while self._at_simple() and not self._is_formals():
            parts.append(self._index)
            yield self._select()
            self._parts = parts
        if self._token.kind in (Kind.STRAY, Kind.UNCLOSED):
            self._unexpected("This cannot be understood")
        if not parts:
            self._parts = outer

    def _select(self) -> Steps:
        yield self._simple()
        while self._is("."):
            self._next()
            yield self._attribute_path()
            if self._is("or"):
                self._next()
                yield self._select()

    def _simple(self) -> Steps:
        token = self._token
        if token.kind is Kind.OPEN_STRING:
            yield self._string()
        elif self._is("rec", "let"):
            self._next()
            if not self._is("{"):
                self._unexpected("After `rec` comes a set", "Write `rec { ... }`.")
            yield self._bracketed(self._bindings(self._token))
        elif self._is("{"):
            yield self._bracketed(self._bindings(token))
        elif self._is("("):
            yield self._bracketed(self._expression())
        elif self._is("["):
            yield self._bracketed(self._list(token))
        else:
            self._next()

    def _list(self, opening: Token) -> Steps:
        while not self._is("]"):
            token = self._token
            named = token.kind is Kind.NAME and self._peek().text in (":", "@")
            if self._at_simple() and not named and not self._is_formals():
                yield self._select()
                continue
            closed = advice.is_closed(self._tokens, self._index)
            if problem := advice.in_list(
                token, self._before, self._peek(), self._source.text, closed=closed
            ):
                self._fail(token, *problem)
            if self._is(";", "=") or (self._is("}") and self._open[-1] is opening):
                self._fail(opening, *advice.unclosed(opening, "]"))
            self._unexpected(
                "This cannot stand in a list",
                "Elements are separated by spaces; put ( ) around anything longer.",
            )

    def _bracketed(self, inside: Steps) -> Steps:
        opening = self._next()
        expected = CLOSERS[opening.text]
        self._open.append(opening)
        outer, self._parts = self._parts, []
        yield inside
        self._parts = outer
        if not self._is(expected):
            if self._is("=") and opening.text == "(":
                before = self._tokens[max(self._tokens.index(opening) - 1, 0)]
                name = before.text if before.kind is Kind.NAME else "function"
                self._fail(
                    opening,
                    "Arguments are given as a set, in braces",
                    f"Write `{name} {{ name = value; }}`.",
                )
            if self._is(";") and opening.text == "(":
                self._fail(opening, *advice.unclosed(opening, expected))
            if self._is(",") and opening.text == "(":
                self._fail(
                    self._token,
                    "A comma cannot stand in parentheses",
                    "A function takes its arguments one after the other: `f a b`.",
                )
            self._unexpected(f"A `{expected}` is missing here")
        self._open.pop()
        self._next()

    def _string(self) -> Steps:
        self._next()
        while self._token.kind is not Kind.CLOSE_STRING:
            if self._is("${"):
                yield self._bracketed(self._expression())
            elif self._token.kind is Kind.TEXT:
                self._next()
            else:
                self._unexpected("The string is not closed")
        self._next()
