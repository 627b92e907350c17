"""The language of apt.conf, against apt-config."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.apt_archive import apt_root

from nbdock.errors import SourceConfigurationError
from nbdock.packages.debian.configuration import (
    AptConfiguration,
    configuration_files,
    host_configuration,
    native_architecture,
    parse_configuration,
)


def dumped(env: dict[str, str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """What APT itself understands."""
    out = subprocess.run(["apt-config", "dump"], env=env, check=True, capture_output=True)
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for line in out.stdout.decode().splitlines():
        name, _, value = line.partition(" ")
        text = value.removesuffix(";").strip('"')
        if name.endswith("::"):
            lists.setdefault(name[:-2].lower(), []).append(text)
        elif text:
            values[name.lower()] = text
    return values, lists


EXAMPLES = [
    'A "1"; b::C "two words";',
    "Acquire::Check-Date false;\n",
    'Acquire { Http { Proxy "http://p:1"; Proxy::host.test "DIRECT"; }; Retries 3; };',
    'X { "a"; "b"; "c d"; };',
    'X:: "a"; X:: "b";',
    '// nothing\nA "1"; # rest "x";\n/* A "2";\n */ B "http://x//y#z";',
    'A "1";\nA "2";\na::b "3"; A::B "4";',
    'A::B "1"; A::C "2";\n#clear A::B;\n',
    'L:: "1"; L:: "2";\n#clear L;\nL:: "3";',
    'Deep { Er { Est { Of "all"; }; }; };',
    'DPkg::Post-Invoke {"if x; then y; fi";};',
    "",
    'A "1";\n\n\n   B   \t "2"  ;',
]


@pytest.mark.parametrize("text", EXAMPLES)
def test_as_apt_reads_it(text: str, tmp_path: Path) -> None:
    env = apt_root(tmp_path)
    (tmp_path / "etc/apt/apt.conf.d/50x").write_text(text)
    values, lists = dumped(env)
    found = parse_configuration(text)
    assert {k: v for k, v in found.values.items() if v}.items() <= values.items()
    for name, items in found.lists.items():
        assert lists[name][-len(items) :] == list(items)
    # And nothing was overlooked.
    before_values, before_lists = dumped(apt_root(tmp_path / "empty"))
    mine = set(found.values) | set(found.lists)
    extra = {k for k in values if k not in before_values} - mine
    assert not {k for k in extra if not k.startswith("dir")}
    assert set(lists) - set(before_lists) <= mine


def test_this_machine() -> None:
    values, lists = dumped({**os.environ, "LC_ALL": "C"})
    found = host_configuration()
    # APT rewrites this one after reading, and nothing here uses it.
    found = dataclasses.replace(
        found, values={k: v for k, v in found.values.items() if k != "acquire::languages"}
    )
    assert {k: v for k, v in found.values.items() if v}.items() <= values.items()
    for name, items in found.lists.items():
        assert lists[name][-len(items) :] == list(items)
    assert native_architecture(found) == values["apt::architecture"]
    for name in ("sourcelist", "sourceparts", "preferencesparts", "trusted", "netrc"):
        out = subprocess.run(
            ["apt-config", "shell", "X", f"Dir::Etc::{name}/f"], check=True, capture_output=True
        )
        assert out.stdout.decode().strip() == f"X='{found.path(f'Dir::Etc::{name}')}'"


def test_directories_move_together(tmp_path: Path) -> None:
    text = f'Dir::Etc "{tmp_path}/other"; Dir::Etc::sourcelist "mine.list"; Dir::Etc::netrc "/x/y";'
    found = parse_configuration(text)
    assert found.path("Dir::Etc::sourcelist") == f"{tmp_path}/other/mine.list"
    assert found.path("Dir::Etc::netrc") == "/x/y"
    assert found.path("Dir::Etc::sourceparts") == f"{tmp_path}/other/sources.list.d"
    assert parse_configuration('Dir::Etc::sourceparts "";').path("Dir::Etc::sourceparts") == ""
    null = parse_configuration('Dir::Etc::sourcelist "/dev/null";')
    assert null.path("Dir::Etc::sourcelist") == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [('A "1";\n}', 2), ("A {\n B 1;", 2), ('A "1', 1), ("\n\nA", 3), ("{ }", 1), ('A "1"; "', 1)],
)
def test_errors_name_the_place(text: str, line: int) -> None:
    with pytest.raises(SourceConfigurationError) as caught:
        parse_configuration(text, "/etc/apt/apt.conf")
    assert caught.value.path == "/etc/apt/apt.conf"
    assert caught.value.line == line
    assert "/etc/apt/apt.conf" in str(caught.value)


@given(st.text('aA:"{};/*# \n\\'))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_configuration(text)
    except SourceConfigurationError:
        return
    assert isinstance(found, AptConfiguration)


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "b").write_text('B "2";')
    text = f'A "1";\n#include "{tmp_path}/b";\n'
    assert parse_configuration(text, str(tmp_path / "a")).values == {"a": "1", "b": "2"}
    (tmp_path / "loop").write_text(f'#include "{tmp_path}/loop";')
    with pytest.raises(SourceConfigurationError, match="itself"):
        parse_configuration((tmp_path / "loop").read_text(), str(tmp_path / "loop"))


NAMES = """0.list 1.sources a.b.list a:b.list A_b-c.list x~.list .hidden.list x.list~ x.list.save
x.list.dpkg-old x.list.disabled x.sources.bak x.sources é.list a.conf noext list .list a+b.list
10.list 9.list Z.list a.list x.list.orig x.LIST a..list -x.list a%b.sources"""


def test_which_files_count(tmp_path: Path) -> None:
    env = apt_root(tmp_path)
    folder = tmp_path / "etc/apt/sources.list.d"
    hosts = {name: f"http://x{number}.test/" for number, name in enumerate(NAMES.split())}
    for name, uri in hosts.items():
        text = f"Types: deb\nURIs: {uri}\nSuites: s\nComponents: c\n"
        (folder / name).write_text(text if name.endswith(".sources") else f"deb {uri} s c\n")
    out = subprocess.run(
        ["apt-get", "update", "--print-uris"], env=env, check=True, capture_output=True
    ).stdout.decode()
    theirs = set(re.findall(r"'(http://x\d+\.test/)dists/s/InRelease'", out))
    mine = configuration_files(str(folder), "(?:list|sources)", AptConfiguration())
    assert {hosts[Path(path).name] for path in mine} == theirs
    assert mine == sorted(mine)
    assert 8 < len(theirs) < len(hosts)
