"""What a cell may be, and what it may do with Python's objects: no more than it is given."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from collections import UserDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbdock import settings
from nbdock.errors import (
    CellError,
    CellEvaluationError,
    CellSyntaxError,
    PackageNotFoundError,
    TransportError,
    UndefinedNameError,
)
from nbdock.nixlang import ContextString, evaluate, parse, read_arguments, takes_keywords


class Package:
    """An object that says how it stands in strings."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._secret = "s"

    def __str__(self) -> str:
        return f"/store/{self.name}"


class Packages:
    """A package set: items first, then methods."""

    def __init__(self) -> None:
        self._made: dict[str, Package] = {}

    def __getitem__(self, name: str) -> Package:
        if name.startswith("no"):
            raise PackageNotFoundError(f"There is no package {name}.", hint="Did you mean bash?")
        if name == "offline":
            raise TransportError("No network.", url="http://x")
        return self._made.setdefault(name, Package(name))

    def search(self, text: str) -> list[str]:
        return [text]


APT = Packages()


def value(text: str, names: Any = None, **options: Any) -> Any:
    return evaluate(text, {"apt": APT} if names is None else names, **options).value


# What a cell may be.


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ('name = "x"; n = 1;', None),
        ('name = "x"; n = 1', None),
        ('name = "x"; n = 1 # the end', None),
        ('  # first\n/* then */ "name" = "x";\n n = 1;', None),
        ('{ name = "x"; n = 1; }', None),
        ('rec { name = "x"; n = 1; }', None),
        ('f { name = "x"; n = 1; }', "f"),
        ('f rec { name = "x"; n = 1; }', "f"),
        ('f ({ name = "x"; } // { n = 1; })', "f"),
        ('pkgs.dockerTools.f { name = "x"; n = 1; }', "f"),
        ('dockerTools.f { name = "x"; n = 1; }', "f"),
        ('with pkgs; dockerTools.f { name = "x"; n = 1; }', "f"),
        ('let n = 1; in f { name = "x"; inherit n; }', "f"),
        ('let pkgs = import <nixpkgs> { }; in pkgs.dockerTools.f { name = "x"; n = 1; }', "f"),
        ('let inherit (pkgs.dockerTools) f; in f { name = "x"; n = 1; }', "f"),
        ('{ pkgs ? import <nixpkgs> { } }: pkgs.dockerTools.f { name = "x"; n = 1; }', "f"),
        ('{ pkgs, ... }@all: with pkgs; f { name = "x"; n = 1; }', "f"),
        ('{ one, two ? 5 }: f { name = "x"; n = one; }', "f"),
        ('if true then f { name = "x"; n = 1; } else g { }', "f"),
        ('assert true; f { name = "x"; n = 1; }', "f"),
        ('(f { name = "x"; n = 1; })', "f"),
        ('let g = x: x // { n = 1; }; in g { name = "x"; }', None),
    ],
)
def test_the_forms_of_a_cell(text: str, function: str | None) -> None:
    cell = read_arguments(text, {"one": 1}, function_names=["f"], other_functions={"g": "no"})
    assert cell.arguments == {"name": "x", "n": 1}
    assert cell.function_name == function


@pytest.mark.parametrize("text", ["", "  \n\n", "# only a comment", "/* another */\n"])
def test_an_empty_cell_has_no_arguments(text: str) -> None:
    assert read_arguments(text).arguments == {}


def test_a_parsed_cell_can_be_evaluated_again() -> None:
    expression = parse("a = x;")
    assert [evaluate(expression, {"x": n}).value for n in (1, 2)] == [{"a": 1}, {"a": 2}]


def test_places_of_arguments() -> None:
    cell = read_arguments(
        'f {\n  "é" = "→"; config.Cmd = [ 1 { a = 2; } ];\n  config.Env = x;\n}',
        {"x": {"k": 1}}, function_names=["f"],
    )  # fmt: skip

    def at(*path: str | int, name: bool = False) -> tuple[int, int, int, int]:
        place = cell.place_of(path, name=name)
        assert place is not None
        return place.line, place.column, place.end_line, place.end_column

    assert at("config", "Cmd") == (2, 27, 2, 43)
    assert at("config", "Cmd", name=True) == (2, 21, 2, 24)
    assert at("config", "Cmd", 1, "a") == (2, 37, 2, 38)
    assert at("config", "Env") == (3, 16, 3, 17)
    # What came from Python stands where its name stands; what is nowhere has no place.
    assert at("config", "Env", "k") == (3, 16, 3, 17)
    assert cell.place_of("other") is None
    error = cell.error("Wrong", ("config", "Cmd", 0), hint="h")
    assert (error.line, error.column, error.hint) == (2, 29, "h")


# Python's objects.


def test_selecting() -> None:
    names = {
        "m": UserDict({"a": 1}),
        "d": {"x-y": {"z": (1, 2)}},
        "o": SimpleNamespace(snake_case=3, plain="p"),
        "apt": APT,
    }
    text = "[ m.a d.x-y.z o.snake-case o.plain (m.b or 4) (o ? plain) (o ? b) (d ? x-y.z) ]"
    assert value(text, names) == [1, [1, 2], 3, "p", 4, True, False, True]
    bash = APT["g++"]
    assert value('[ apt."g++" apt.${"g++"} (apt.nope or 1) (apt ? nope) (apt ? a) ]') == [
        bash, bash, 1, False, True,
    ]  # fmt: skip
    assert value("with apt; [ redis-server git ]") == [APT["redis-server"], APT["git"]]
    assert value("let inherit (apt) git; in git") is APT["git"]
    # Items come before attributes: it is the package of that name.
    assert value("apt.search") is APT["search"]


def test_names_win_over_with_except_modules() -> None:
    assert value("with apt; [ x git ]", {"apt": APT, "x": 1, "git": os}) == [1, APT["git"]]


def test_names_may_be_a_function() -> None:
    def lookup(name: str) -> object:
        return {"a": 1}[name]

    assert value("a", lookup) == 1
    with pytest.raises(UndefinedNameError) as caught:
        value("b", lookup)
    assert caught.value.name == "b"


def test_an_error_of_a_lookup_keeps_its_words_and_gains_a_place() -> None:
    with pytest.raises(CellEvaluationError) as caught:
        value("a = 1;\nb = apt.nope;")
    error = caught.value
    assert (error.message, error.hint) == ("There is no package nope.", "Did you mean bash?")
    assert (error.line, error.column) == (2, 9)
    assert isinstance(error.__cause__, PackageNotFoundError)
    for text in ("apt.offline", "apt.offline or 1", "apt ? offline.x", "with apt; offline"):
        with pytest.raises(CellEvaluationError, match="No network") as caught:
            value(text)
        assert isinstance(caught.value.__cause__, TransportError)


@pytest.mark.parametrize(
    "text",
    ["apt._made", "apt.__class__", "apt ? __class__", "os._exit", "__builtins__", "__import__",
     'apt.${"__" + "class__"}', "with apt; _made", "apt.-made", 'builtins.getAttr "_made" apt'],
)  # fmt: skip
def test_private_names_do_not_exist(text: str) -> None:
    with pytest.raises(CellError):
        value(text, {"apt": APT, "os": os, "__builtins__": {"exec": exec}})


@pytest.mark.parametrize(
    "text",
    ['os.system "touch x"', 'o.method "x"', 'let s = os.system; in s "x"',
     'builtins.head (map (f: f "x") [ os.system ])', '(x: x) os.system "x"',
     "builtins.foldl' (f: x: f x) os.system [ 1 ]", 'with os; system "x"',
     'let inherit (os) system; in system "x"', '{ __functor = self: os.system; } "x"'],
)  # fmt: skip
def test_what_is_reached_through_an_attribute_is_not_called(text: str, tmp_path: Path) -> None:
    with pytest.raises(CellEvaluationError, match=r"reached as an attribute"):
        value(text, {"o": SimpleNamespace(method=print), "os": os})


def test_calling_what_names_give() -> None:
    @takes_keywords
    def keywords(*, a: int, b: int = 2) -> list[int]:
        return [a, b]

    names = {
        "f": lambda argument: {"got": argument},
        "keywords": keywords,
        "tools": SimpleNamespace(keywords=keywords),
        "curried": lambda a: lambda b: a + b,
        "twice": lambda function: function(function(1)),
        "d": {"f": len},
    }
    assert value("f { a.b = [ 1 ]; }", names) == {"got": {"a": {"b": [1]}}}
    assert value("(f 1).got + 1", names) == 2
    assert value("[ (keywords { a = 1; }) (tools.keywords { a = 1; b = 3; }) ]", names) == [
        [1, 2], [1, 3],
    ]  # fmt: skip
    assert value("curried 1 2", names) == 3
    assert value("twice (x: x * 10)", names) == 100
    assert value("d.f [ 1 2 ]", names) == 2
    assert value("map curried [ ]", names) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keywords { c = 1; }", "unexpected keyword argument 'c'"),
        ("keywords 1", "takes a set of arguments, not an integer"),
        ("fails 1", "Calling fails failed: ZeroDivisionError"),
        ("coroutine 1", "is asynchronous"),
        ('unstringable + "x"', "cannot stand in a string"),
        ("1 + null", "cannot stand in a string"),
        ("broken.x", "Reading .x of a Broken failed: ValueError: no"),
    ],
)
def test_what_python_refuses_is_said_at_its_place(text: str, message: str) -> None:
    @takes_keywords
    def keywords(*, a: int = 1) -> int:
        return a

    def fails(argument: object) -> None:
        raise ZeroDivisionError

    async def coroutine(argument: object) -> None:
        pass

    class Broken:
        @property
        def x(self) -> int:
            raise ValueError("no")

    names = {"keywords": keywords, "fails": fails, "coroutine": coroutine,
             "unstringable": object(), "broken": Broken()}  # fmt: skip
    with pytest.raises(CellEvaluationError, match=message) as caught:
        value(f"\n  {text}", names)
    assert caught.value.line == 2


def test_functions_of_the_cell_can_be_called_from_python() -> None:
    function = value("{ a, b ? 2 }: [ a b ]")
    assert function({"a": 1}) == [1, 2]
    with pytest.raises(CellEvaluationError):
        function({})


def test_strings_know_what_is_in_them() -> None:
    names = {"a": Package("a"), "b": Package("b"), "p": Path("/p")}
    a, b = names["a"], names["b"]
    for text, expected, context in [
        ('"${a}/x"', "/store/a/x", (a,)),
        ('a + "/x"', "/store/a/x", (a,)),
        ('"x" + (a + "y")', "x/store/ay", (a,)),
        ('"${a}${b}${a}"', "/store/a/store/b/store/a", (a, b)),
        ('builtins.concatStringsSep ":" [ a "x" "${b}" ]', "/store/a:x:/store/b", (a, b)),
        ("toString [ a b ]", "/store/a /store/b", (a, b)),
        ("''\n  ${a}\n''", "/store/a\n", (a,)),
        ('builtins.substring 0 3 "${a}"', "/st", (a,)),
        ('builtins.replaceStrings [ "x" ] [ "${b}" ] "x${a}"', "/store/b/store/a", (a, b)),
        ("builtins.toJSON { x = a; }", '{"x":"/store/a"}', (a,)),
        ('{ outPath = a; } + ""', "/store/a", (a,)),
        ('"${p}"', "/p", (names["p"],)),
    ]:
        result = evaluate(text, names)
        assert (result.value, set(result.context)) == (expected, set(context))
        assert isinstance(result.value, ContextString)
    assert evaluate('{ x = [ "${a}" ]; y = "${b}"; }', names).context == (a, b)
    assert type(value('"x" + "y"')) is str


def test_a_string_with_context_is_a_string() -> None:
    text = ContextString("a", ("x",))
    assert ("b" + text + "c", ("b" + text + "c").context) == ("bac", ("x",))
    copy = pickle.loads(pickle.dumps(text))
    assert (copy, copy.context) == (text, text.context)
    assert json.dumps({"a": text}) == '{"a": "a"}'
    assert type(str(text)) is str


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = '[ ./a ../b/./c /d/../e ~/f ./x${"y"}/z (./a + "/b") (/a + /b) ]'
    base = tmp_path / "base"
    assert value(text, base_dir=base) == [
        base / "a", tmp_path / "b/c", Path("/e"), Path("/home/me/f"),
        base / "xy/z", base / "a/b", Path("/a/b"),
    ]  # fmt: skip
    assert value("./a", base_dir="relative") == Path.cwd() / "relative" / "a"
    assert value("<nixpkgs>", {"<nixpkgs>": APT}) is APT
    assert value("(import <nixpkgs> { }).x", {"<nixpkgs>": lambda _arguments: {"x": 1}}) == 1


def test_unused_parts_need_no_value() -> None:
    assert value("let a = undefined; in { b = 1; }") == {"b": 1}
    assert value('(x: 1) (throw "no")') == 1


def test_numbers_of_other_libraries() -> None:
    numpy = pytest.importorskip("numpy")
    result = value("[ (a + 1) (b * 2.0) ]", {"a": numpy.int64(1), "b": numpy.float32(0.5)})
    assert result == [2, 1.0]
    assert [type(item) for item in result] == [int, float]


# Limits.


@pytest.mark.parametrize(
    "text",
    [
        "let f = x: f x; in f 1",
        "let f = x: [ (f x) ]; in f 1",
        "let a = { b = a; }; in a",
        "let f = n: [ (f (n + 1)) (f n) ]; in f 1",
        "let x = builtins.genList (i: i) 1000000000; in x",
        'builtins.foldl\' (s: _: s + s) "x" (builtins.genList (i: i) 60)',
        "let d = n: if n == 0 then [ 1 ] else let p = d (n - 1); in [ p p ]; in d 40",
        "let l = builtins.foldl' (l: _: l ++ l) [ 1 ] (builtins.genList (i: i) 60); in l",
        "let x = x; in x",
        "rec { a = b; b = c; c = a; }",
        "builtins.toJSON (let a = { b = a; }; in a)",
        "(let a = [ a ]; in a) == (let b = [ b ]; in b)",
    ],
)
def test_what_has_no_end_is_stopped(text: str) -> None:
    with pytest.raises(CellEvaluationError):
        value(text)


@pytest.mark.parametrize("depth", [900, 5_000])
@pytest.mark.parametrize(
    ("opening", "middle", "closing"),
    [("[ ", "1", " ]"), ("(", "1", ")"), ("{ a = ", "1", "; }"), ('"${', '"x"', '}"'),
     ("let a = 1; in ", "a", ""), ("- ", "1", ""), ("x: ", "x", ""), ("1 + ", "1", ""),
     ("[ ", "", ""), ("(", "", ""), ("{ a = ", "", ""), ('"${', "", ""), ("if ", "", ""),
     ("f ", "1", ""), ("", "x", ".a"), ("/*", "", ""), ("''${", "''x''", "}''")],
)  # fmt: skip
def test_deep_nesting_never_meets_pythons_limits(
    depth: int, opening: str, middle: str, closing: str
) -> None:
    with contextlib.suppress(CellError):
        value(opening * depth + middle + closing * depth, {"f": 1, "x": 1})


def test_recursion_as_deep_as_people_write_it() -> None:
    assert value("let sum = n: if n == 0 then 0 else n + sum (n - 1); in sum 2000") == 2001000


def test_a_cell_has_a_size() -> None:
    with pytest.raises(CellSyntaxError, match=r"limit is 262,144"):
        value('a = "' + "x" * (1 << 18) + '";')
    assert value('"' + "x" * 200_000 + '"') == "x" * 200_000
    with pytest.raises(CellSyntaxError, match="A word of"):
        value("1+" * 50_000 + "1")


@pytest.mark.parametrize(
    "text", ["a = \0;", "a = \ud800;", "\ufeff", "a = 1;\r\nb = '", "\x0b\x0c", "$"]
)
def test_strange_characters_are_refused(text: str) -> None:
    with pytest.raises(CellSyntaxError):
        value(text)


def test_settings_are_limits() -> None:
    settings.configure(cell_steps_limit=50)
    try:
        with pytest.raises(CellEvaluationError, match="more than 50 steps"):
            value("builtins.genList (i: i) 100")
    finally:
        settings.configure(cell_steps_limit=None)


@pytest.mark.parametrize(
    "text", ["[ 1 x ]", "f [ 1 x ]", "tools.f [ 1 x ]", "let l = [ 1 x ]; in l"]
)
def test_a_function_of_a_list(text: str) -> None:
    cell = read_arguments(text, {"x": 2}, function_names=["f"], list_name="items")
    assert cell.arguments == {"items": [1, 2]}
    place = cell.place_of(("items", 1))
    assert place is not None
    assert text[place.column - 1] == "x"


def test_what_is_no_list() -> None:
    with pytest.raises(CellEvaluationError, match="should hold a list, not an integer") as caught:
        read_arguments("1", function_names=["f"], list_name="items")
    assert "`f [ a b ]`" in str(caught.value.hint)
    # A set may name the list.
    named = read_arguments("items = [ ];", function_names=["f"], list_name="items")
    assert named.arguments == {"items": []}


def test_pythons_spelling_of_an_attribute() -> None:
    class Image:
        image_name = "x"
        imageTag = "1"  # noqa: N815 - this one comes first

    found = evaluate("[ i.imageName i.imageTag ]", {"i": Image()}).value
    assert found == ["x", "1"]
