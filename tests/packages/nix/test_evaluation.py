"""Attributes of nixpkgs by a real Nix: what they are, what they become, what refuses them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.nix import Nix

import nbdock
from nbdock.errors import (
    ArgumentError,
    ArgumentTypeError,
    InvalidStorePathError,
    NixError,
    PackageNotFoundError,
    UnavailableError,
)
from nbdock.nixlang import ContextString, evaluate
from nbdock.packages import realise, resolve_closure
from nbdock.packages.nix import NixAttribute, NixPackageSet, StorePath
from nbdock.packages.nix.local import command, evaluation
from nbdock.packages.nix.local.command import run_nix
from nbdock.packages.nix.local.source import NixSource, attribute_path, attribute_text, nix_text

# What no other process sleeps.
SECONDS = f"{10**6 + os.getpid()}.{time.time_ns() % 10**9}"

# Packages that take no time to build. The sandbox shows the machine's shell (see support.nix).
PACKAGES = """
{ system ? builtins.currentSystem, config ? { } }:
let
  make = name: script: derivation {
    inherit name system;
    builder = "/bin/sh";
    PATH = "/usr/bin";
    args = [ "-c" script ];
  };
in
rec {
  one = make "one-1.0" "echo building one; echo 1 >$out";
  two = make "two-2.0" "mkdir $out; echo ${one} >$out/one";
  both = "${one}:${two}";
  slow = make "slow-1.0" "echo started; exec sleep SECONDS";
  broken = make "broken-1.0" "echo this is why; exit 3";
  unbuildable = make "unbuildable" "${broken}";
  imported = import (make "imported.nix" "echo '{ name = 5; }' >$out");
  thrown = throw "do not use this";
  endless = let x = x; in x;
  unfree = if config.allowUnfree or false then one
    else throw "it is unfree; set { nixpkgs.config.allowUnfree = true; }";
  floating = one // { outPath = "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"; };
  number = 7;
  flag = false;
  nothing = null;
  list = [ one ];
  place = ./packages.nix;
  file = "${./packages.nix}";
  function = x: x;
  set.inner.one = one;
  set."a.b" = one;
  set."quote\\"\\${d} \\\\ é" = one;
  with-dash = one;
  with_line = one;
  with-line = two;
  machine = system;
  settings = config;
}
"""


@pytest.fixture
def own(local_nix: Nix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NixPackageSet:
    """Packages of a small file, in a store that this test alone has."""
    monkeypatch.setenv("NIX_REMOTE", f"local?root={tmp_path / 'root'}")
    (tmp_path / "packages.nix").write_text(PACKAGES.replace("SECONDS", SECONDS))
    return NixPackageSet(tmp_path / "packages.nix")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands of Nix that were run since the last look."""
    programs: list[str] = []
    run_nix = evaluation.run_nix

    async def spy(program: str, *arguments: str, **options: Any) -> Any:
        programs.append(program)
        return await run_nix(program, *arguments, **options)

    monkeypatch.setattr(evaluation, "run_nix", spy)
    return programs


# What attributes are


def test_nothing_runs_before_it_is_needed(local_nix: Nix, runs: list[str], tmp_path: Path) -> None:
    packages = NixPackageSet()
    assert repr(packages) == "<NixPackageSet <nixpkgs>>"
    assert runs == []
    hello = packages.hello
    assert runs == ["nix-instantiate"]  # for the names
    assert repr(hello) == "<NixAttribute hello>"
    assert hello.name == "hello"
    assert hash(packages["hello"]) == hash(hello)
    assert packages["hello"] == hello != packages.redis
    assert len(runs) == 1
    # Once for all that was looked up, and whatever else is asked of them costs nothing.
    places = [str(packages[name]) for name in ("hello", "redis")]
    assert len(runs) == 2
    assert places == [
        local_nix.run("nix-instantiate", "--eval", "<nixpkgs>", "-A", f"{name}.outPath").strip(
            '"\n'
        )
        for name in ("hello", "redis")
    ]
    assert hello.root == places[0]
    assert hello.version == StorePath.parse(places[0]).version
    assert len(runs) == 2


async def test_packages_are_those_that_nix_builds(local_nix: Nix, runs: list[str]) -> None:
    names = ["hello", "zlib", "zlib.dev", "python3Packages.charset-normalizer", "oddities.file"]
    packages = NixPackageSet()
    realised = await realise([packages[name] for name in names])
    assert [str(p) for p in realised] == local_nix.build_all(*names)
    for package, path in zip(realised, map(str, realised), strict=True):
        size = local_nix.run("nix-store", "--query", "--size", path)
        assert package.size_bytes == int(size)
        assert package.package_set is packages
    # What is built is not built again, and is not even asked for.
    again = NixPackageSet()
    del runs[:]
    assert list(await realise([again.hello, again.zlib])) == [realised[0], realised[1]]
    assert runs == ["nix-instantiate"] * 2
    closure = await resolve_closure([again.hello, again["zlib"]])
    assert sorted(map(str, closure.packages)) == local_nix.closure(
        str(again.hello), str(again.zlib)
    )
    assert runs == ["nix-instantiate"] * 2
    assert again.hello.size_bytes == realised[0].size_bytes
    assert len(list(again.hello.entries())) == len(list(realised[0].entries()))


def test_what_is_inside(local_nix: Nix) -> None:
    packages = NixPackageSet()
    dev = packages.zlib.dev
    assert isinstance(dev, NixAttribute)
    assert str(dev) == local_nix.build("zlib.dev") == str(packages["zlib.dev"])
    assert packages["hello"]["version"] == packages["hello.version"]
    assert isinstance(packages["hello.name"], str)
    assert (
        packages.python3Packages.charset_normalizer
        == packages['python3Packages."charset-normalizer"']
    )
    assert repr(packages.python3Packages.requests) == "<NixAttribute python3Packages.requests>"
    assert "requests" in dir(packages.python3Packages)
    assert "entries" not in dir(packages.python3Packages)  # as a package has them
    assert "entries" in dir(packages.hello)
    assert "charset-normalizer" in packages.python3Packages._ipython_key_completions_()
    assert {"hello", "python3Packages", "search"} <= set(dir(packages))
    assert "hello" in list(packages)
    assert "hello" in packages
    assert "helo" not in packages
    assert hasattr(packages, "hello")
    assert not hasattr(packages, "helo")
    assert packages.search("python") == ["python3Packages"]
    assert packages.search("*cor*utils") == ["coreutils"]


def test_values_of_every_kind(own: NixPackageSet) -> None:
    texts = own["both"]
    assert str(texts) == f"{own.one}:{own.two}"
    assert [needed.path.name for needed in texts.needed()] == ["one-1.0", "two-2.0"]
    assert str(own.machine) == os.uname().machine + "-linux"
    assert own["set.inner.one"] == own["set"]["inner.one"] == own.set.inner.one
    assert str(own["set.inner.one"]) == str(own['set."a.b"']) == str(own.one)
    assert str(own["set"]['"quote\\"${d} \\\\ é"']) == str(own.one)
    assert own.with_dash == own["with-dash"]
    assert own.with_line == own["with_line"] != own["with-line"]
    assert own["one.system"] == os.uname().machine + "-linux"
    assert own["one.drvPath"].endswith(".drv")


def test_plain_values_and_texts_inside(own: NixPackageSet, tmp_path: Path) -> None:
    (tmp_path / "values.nix").write_text("{ set = import ./packages.nix { }; }")
    values = NixPackageSet(tmp_path / "values.nix")
    assert values["set.number"] == 7
    assert values["set.flag"] is False
    assert values["set.nothing"] is None
    text = values["set.both"]
    assert type(text) is ContextString
    assert [str(package) for package in text.context] == text.split(":") == [
        str(own.one), str(own.two)
    ]  # fmt: skip
    source = values["set.file"]
    assert [str(package) for package in source.context] == [source]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("function", "a function"), ("list", "a list"), ("place", "a path"), ("number", "7"),
        ("machine", "a text"), ("set", "a set"), ("floating", "known only when it is built"),
    ],
)  # fmt: skip
async def test_what_is_no_package(own: NixPackageSet, name: str, words: str) -> None:
    attribute = own[name]
    with pytest.raises(NixError, match=words) as caught:
        await realise([attribute])
    assert caught.value.package == name
    with pytest.raises(NixError, match=words):
        attribute.root  # noqa: B018
    if name == "set":
        assert 'set."a.b"' in str(caught.value)
    if name == "function":
        assert "packages.nix" in str(caught.value)


# What is not there, and what Nix refuses


def test_names_that_are_not_there(local_nix: Nix) -> None:
    packages = NixPackageSet()
    with pytest.raises(PackageNotFoundError, match="nixpkgs has no 'helo'") as caught:
        packages["helo"]
    assert "Did you mean hello?" in str(caught.value)
    with pytest.raises(AttributeError, match="helo"):
        packages.helo  # noqa: B018
    with pytest.raises(PackageNotFoundError, match="no 'request' in python3Packages") as inner:
        packages["python3Packages.request"]
    assert "Did you mean requests" in str(inner.value)
    with pytest.raises(AttributeError, match="in hello"):
        packages.hello.deve  # noqa: B018
    with pytest.raises(PackageNotFoundError, match=r"'more' in hello\.name"):
        packages["hello.name.more"]
    for wrong in ("", ".", "a..b", "a.", 'a"b', '"a', "a\nb", "a b\0"):
        with pytest.raises(ArgumentTypeError, match="not the name of an attribute"):
            packages[wrong]
    with pytest.raises(ArgumentTypeError, match="by its name, not by int"):
        packages[5]  # type: ignore[index]
    with pytest.raises(ArgumentTypeError, match="A pattern"):
        packages.search(5)  # type: ignore[arg-type]


def test_nix_words_are_quoted(own: NixPackageSet) -> None:
    with pytest.raises(
        NixError, match=r"cannot evaluate thrown:\n  error: do not use this"
    ) as caught:
        str(own.thrown)
    assert caught.value.package == "thrown"
    assert "do not use this" in caught.value.output
    with pytest.raises(NixError, match="infinite recursion"):
        own.endless.root  # noqa: B018
    with pytest.raises(NixError, match="it is unfree") as unfree:
        str(own.unfree)
    assert 'config={"allowUnfree": True}' in str(unfree.value)


def test_one_error_does_not_spoil_the_others(own: NixPackageSet, runs: list[str]) -> None:
    one, thrown, two = own.one, own.thrown, own.two
    assert str(one).endswith("-one-1.0")
    assert str(two).endswith("-two-2.0")
    with pytest.raises(NixError, match="do not use"):
        str(thrown)
    assert str(one).endswith("-one-1.0")
    assert len(runs) == 5  # names, all three, each of them


@pytest.mark.parametrize(
    ("text", "words"),
    [("{ a = ", "syntax error"), ("5", "has no 'hello'"), ("x: x", "has no 'hello'"),
     ("{ here }: { }", "without required argument")],
)  # fmt: skip
def test_files_that_are_no_packages(local_nix: Nix, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.nix").write_text(text)
    with pytest.raises((NixError, PackageNotFoundError), match=words):
        NixPackageSet(tmp_path / "a.nix")["hello"]


# Building


def test_errors_say_where_it_stands(own: NixPackageSet, tmp_path: Path) -> None:
    with pytest.raises(
        PackageNotFoundError, match=re.escape(f"{own.source.described} has no 'on'")
    ):
        own["on"]
    (tmp_path / "typo.nix").write_text("{ a = ; }")
    with pytest.raises(NixError, match=r"unexpected ';'\n  at /.*typo\.nix:1:7\Z") as caught:
        NixPackageSet(tmp_path / "typo.nix")["a"]
    assert "--show-trace" not in str(caught.value)


async def test_what_is_built_is_reported(own: NixPackageSet, runs: list[str]) -> None:
    reports: list[tuple[str, int, int]] = []
    closure = await resolve_closure([own.two], progress=lambda *report: reports.append(report))
    assert [p.name for p in closure.packages] == ["one", "two"]
    assert runs == ["nix-instantiate", "nix-instantiate", "nix-store"]
    assert reports[0] == (f"Evaluating {own.source.described}", 0, 0)
    assert ("Building one-1.0", 0, 2) in reports
    assert ("Building one-1.0: building one", 0, 2) in reports
    assert ("Building two-2.0", 1, 2) in reports


async def test_a_text_stands_for_all_that_was_put_into_it(own: NixPackageSet) -> None:
    (package,) = await realise([own.both])
    assert package.name == "one"
    assert [p.name for p in package.needs] == ["two"]
    closure = await resolve_closure([own.both])
    assert [p.name for p in closure.packages] == ["one", "two"]


async def test_a_build_that_fails(own: NixPackageSet) -> None:
    with pytest.raises(NixError, match=r"Nix cannot build broken-1\.0:") as caught:
        await realise([own.one, own.broken])
    assert "this is why" in str(caught.value)
    assert "exit code 3" in str(caught.value)
    assert re.search(r"nix-store --read-log /.*-broken-1\.0\.drv\Z", str(caught.value.hint))
    with pytest.raises(NixError, match=r"cannot build broken-1\.0:"):
        await realise([own.unbuildable])
    # What could be built was.
    assert str((await realise([own.one]))[0]).endswith("-one-1.0")


async def test_what_was_evaluated_may_be_collected(own: NixPackageSet, runs: list[str]) -> None:
    (before,) = await realise([own.two])
    process = await asyncio.create_subprocess_exec(
        "nix-store", "--gc", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    assert not own.database.infos([StorePath.parse(str(before))])
    (after,) = await realise([own.two])
    assert after == before
    assert list(after.entries())


def test_an_import_of_something_built(own: NixPackageSet) -> None:
    assert own["imported.name"] == 5


async def test_store_paths(own: NixPackageSet, local_nix: Nix, monkeypatch: pytest.MonkeyPatch,
                           tmp_path: Path) -> None:  # fmt: skip
    hello = local_nix.build("hello")
    package = own[hello]
    assert (str(package), package.name) == (hello, "hello")
    assert own[StorePath.parse(hello)] == package
    assert package.size_bytes == 0
    with pytest.raises(PackageNotFoundError, match="Neither the Nix store nor a cache") as caught:
        await realise([package])
    assert "don't know how to build" in str(caught.value.__cause__)
    cache = f"file://{tmp_path}/cache"
    local_nix.run("nix", "copy", "--to", cache, hello)
    monkeypatch.setenv("NIX_CONFIG", f"substituters = {cache}\nrequire-sigs = false")
    reports: list[str] = []
    (realised,) = await own.realise([package], progress=lambda what, *_: reports.append(what))
    assert str(realised) == hello
    assert any(what.startswith("Fetching hello") for what in reports)
    await own.fetch([package])
    closure = await own.closure([package])
    assert sorted(map(str, closure.packages)) == local_nix.closure(hello)
    for wrong in ("/nix/store/hello", "/usr/bin/hello", f"{hello}/bin"):
        with pytest.raises(InvalidStorePathError):
            own[wrong]


def processes(word: str) -> list[psutil.Process]:
    return [
        p for p in psutil.process_iter(["cmdline"]) if word in " ".join(p.info["cmdline"] or ())
    ]


async def test_cancelling_ends_the_build(own: NixPackageSet) -> None:
    started = asyncio.Event()

    def progress(what: str, *_: int) -> None:
        if "started" in what:
            started.set()

    task = asyncio.create_task(own.realise([own.slow], progress=progress))
    await asyncio.wait([task, asyncio.ensure_future(started.wait())],
                       return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
    assert started.is_set()
    assert processes(f"sleep {SECONDS}")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not processes(f"sleep {SECONDS}")
    assert not processes(own.attribute_set["slow.drvPath"])


async def test_a_command_that_does_not_want_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nix-store").write_text(
        f"#!/bin/sh\ntrap '' TERM\necho started >&2\nwhile :; do sleep {SECONDS}; done\n"
    )
    (tmp_path / "nix-store").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(command, "_PATIENCE_S", 0.05)
    started = asyncio.Event()
    task = asyncio.create_task(run_nix("nix-store", on_message=lambda _: started.set()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not processes(str(tmp_path / "nix-store"))


async def test_messages_of_any_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nix").write_text(
        "#!/bin/sh\ncat >/dev/null\nprintf 'a\\033[31;1mb\\033[0m\\r\\n\\377\\n' >&2\n"
        "head -c 300000 /dev/zero | tr '\\0' x >&2\nprintf '\\nend' >&2\nexit 3\n"
    )
    (tmp_path / "nix").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    outcome = await run_nix("nix", text="x" * 200_000)
    assert outcome.exit_code == 3
    assert outcome.messages[:2] == ("ab", "\ufffd")
    assert outcome.messages[-1] == "end"
    assert all(len(message) <= 1 << 16 for message in outcome.messages)


# Sources


@pytest.mark.parametrize(
    ("source", "attribute"),
    [
        (lambda nix: None, "hello"),
        (lambda nix: "<nixpkgs>", "hello"),
        (lambda nix: nix.nixpkgs, "hello"),
        (lambda nix: f"{nix.nixpkgs}/default.nix", "hello"),
        (lambda nix: f"path:{nix.nixpkgs}", "hello"),
        (lambda nix: f"path:{nix.nixpkgs}#", "hello"),
        (lambda nix: f"{nix.nixpkgs}#", "hello"),
        (lambda nix: f"{nix.nixpkgs}#python3Packages", "requests"),
    ],
)
def test_sources(local_nix: Nix, source: Callable[[Nix], Any], attribute: str) -> None:
    packages = NixPackageSet(source(local_nix))
    whole = "python3Packages.requests" if attribute == "requests" else attribute
    assert str(packages[attribute]) == local_nix.run(
        "nix-instantiate", "--eval", "<nixpkgs>", "-A", f"{whole}.outPath"
    ).strip().strip('"')


def test_a_file_in_an_odd_place(local_nix: Nix, tmp_path: Path,
                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    place = tmp_path / 'a "b" ${c} \\ é'
    place.mkdir()
    (place / "default.nix").write_text('{ x = "here"; }')
    assert str(NixPackageSet(place).x) == "here"
    monkeypatch.chdir(place)
    assert str(NixPackageSet(".").x) == "here"
    assert str(NixPackageSet("default.nix").x) == "here"


def test_systems_and_configurations(own: NixPackageSet, tmp_path: Path, local_nix: Nix) -> None:
    place = tmp_path / "packages.nix"
    foreign = NixPackageSet(place, system="aarch64-linux")
    assert str(foreign.machine) == "aarch64-linux"
    assert str(foreign.one) != str(own.one)
    assert foreign.architecture == "aarch64"
    assert repr(foreign) == f"<NixPackageSet {place} for aarch64-linux>"
    free = NixPackageSet(place, config={"allowUnfree": True})
    assert str(free.unfree) == str(own.one)
    arm = NixPackageSet(f"path:{local_nix.nixpkgs}", system="aarch64-linux")
    assert str(arm.system) == "aarch64-linux"
    (tmp_path / "set.nix").write_text("{ a = 1; }")
    with pytest.raises(NixError, match="takes neither system nor config"):
        NixPackageSet(tmp_path / "set.nix", system="aarch64-linux")["a"]


def test_sources_that_cannot_be(tmp_path: Path) -> None:
    for wrong in (5, "", b"x", ["a"]):
        with pytest.raises(ArgumentTypeError, match="source of packages"):
            NixPackageSet(wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="no file or directory"):
        NixPackageSet(tmp_path / "none.nix")
    with pytest.raises(ArgumentTypeError, match=r"neither a default\.nix nor a flake\.nix"):
        NixPackageSet(tmp_path)
    with pytest.raises(ArgumentError, match="take no config"):
        NixPackageSet("nixpkgs#", config={"allowUnfree": True})
    for config in ("allowUnfree", {"a": object()}, {"a": float("nan")}):
        with pytest.raises(ArgumentTypeError, match="config must be"):
            NixPackageSet(config=config)  # type: ignore[arg-type]
    for system in ("linux", "x86_64-linux; rm", "", 5):
        with pytest.raises(ArgumentTypeError, match="system must be"):
            NixPackageSet(system=system)  # type: ignore[arg-type]


def test_archives_are_fetched_by_nix() -> None:
    for text in ("https://example.org/nixexprs.tar.xz", "channel:nixos-unstable"):
        assert NixSource.parse(text).expression == f'import (builtins.fetchTarball "{text}")'
    assert NixSource.parse("github:NixOS/nixpkgs/nixos-unstable").is_flake
    assert NixSource.parse("https://example.org/flake.tar.gz#").is_flake


def test_without_nix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UnavailableError, match="no nix-instantiate") as caught:
        NixPackageSet()["hello"]
    assert "channel=" in str(caught.value)


# Texts for Nix


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1), min_size=1))
def test_attribute_paths(names: list[str]) -> None:
    printable = [name for name in names if name.isprintable()]
    if printable:
        quoted = ".".join(f'"{n}"' for n in printable if not set(n) & set('\\"'))
        if quoted:
            assert attribute_path(quoted) == tuple(n for n in printable if not set(n) & set('\\"'))
    assert attribute_path("a.b-c.d'e") == ("a", "b-c", "d'e")


def test_any_text_reaches_nix_as_it_is(local_nix: Nix, tmp_path: Path) -> None:
    texts = [
        "${x}",
        '"',
        "\\",
        "$${x}",
        "$",
        "''",
        "\n\t",
        "a\r\nb\r",
        "é\u2028😀",
        "\\${x}",
        "a'b",
        "$\\{",
    ]

    @settings(max_examples=200, database=None)
    @given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")))
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    expression = "[" + " ".join(map(nix_text, texts)) + "]"
    (tmp_path / "texts.nix").write_text(expression, encoding="utf-8")
    said = local_nix.run("nix-instantiate", "--eval", "--strict", "--json", tmp_path / "texts.nix")
    assert json.loads(said) == texts
    assert attribute_text(["a", "b.c", "$"]) == 'a."b.c"."$"'


# Cells


def test_cells(local_nix: Nix) -> None:
    names = {"pkgs": NixPackageSet()}
    value = evaluate(
        """
        {
          contents = with pkgs; [ hello python3Packages.requests ];
          config.Cmd = [ "${pkgs.runtimeShell}" "-c" "${pkgs.hello}/bin/hello" ];
          shell = pkgs.runtimeShell + "x";
          tag = pkgs.hello.version;
          there = pkgs ? hello && !(pkgs ? helo);
          other = pkgs.helo or "none";
          quoted = pkgs."hello".name;
        }
        """,
        names,
    ).value
    shell, _, program = value["config"]["Cmd"]
    bash = f"{NixPackageSet().bash}/bin/bash"
    assert shell == bash
    assert value["shell"] == bash + "x"
    assert [str(p) for p in program.context] == [str(NixPackageSet().hello)]
    assert [needed.path.package_name for p in shell.context for needed in p.needed()] == ["bash"]
    assert [p.attribute[-1] for p in value["contents"]] == ["hello", "requests"]
    assert value["tag"] == NixPackageSet()["hello.version"]
    assert value["there"] is True
    assert value["other"] == "none"
    assert value["quoted"] == NixPackageSet()["hello.name"]
    with pytest.raises(nbdock.errors.CellError, match="helo") as caught:
        evaluate("[ pkgs.hello\n  pkgs.helo ]", names)
    assert caught.value.line == 2
    assert "Did you mean hello?" in str(caught.value)


async def test_an_image_of_attributes(
    nbdock_home: Path, local_nix: Nix, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One worker only: nothing that waits for an answer of Nix may occupy it.
    monkeypatch.setenv("NBDOCK_WORKERS", "1")
    packages = NixPackageSet()
    building = nbdock.build_layered_image(
        "hello", contents=[packages.hello], config={"Cmd": [packages.runtimeShell, "-l"]}
    )
    image = await asyncio.wait_for(building, 240)
    hello = await image.file(f"{packages.hello}/bin/hello")
    assert hello == local_nix.path(f"{packages.hello}/bin/hello").read_bytes()
    shell = str(packages.runtimeShell)
    assert image.config.config.cmd == (shell, "-l")
    assert await image.file(shell) == local_nix.path(shell).read_bytes()
