"""Derivations are read as Nix reads them, and nothing else is taken for one."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.nix import Nix

from nbdock.errors import NixError
from nbdock.packages.nix.local.derivation import Derivation

NASTY = r"""
derivation {
  name = "nasty-1.0";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  outputs = [ "out" "dev" ];
  args = [ "-c" "echo \"quoted\" \\back\\slash \${out}\n\ttab" "" ];
  quotes = "\"',()[]{}\\";
  lines = "one\ntwo\r\nthree\ttabbed";
  unicode = "grüezi ☃";
  empty = "";
  source = builtins.toFile "source" "text";
  inputs = [ pkgs.hello pkgs.ncurses.dev pkgs.ncurses ];
  passAsFile = [ "lines" ];
}
"""


def instantiate(nix: Nix, expression: str) -> str:
    text = f"let pkgs = import <nixpkgs> {{ }}; in {expression}"
    return nix.run("nix-instantiate", "-E", text).split()[0]


def test_it_says_what_nix_says(nix: Nix) -> None:
    paths = [instantiate(nix, NASTY), instantiate(nix, "pkgs.oddities.deep")]
    shown = json.loads(nix.run("nix", "show-derivation", "-r", *paths))
    assert len(shown) > 20
    for path, facts in shown.items():
        read = Derivation.parse(nix.path(path).read_bytes())
        assert {n: str(p) for n, p in read.outputs.items()} == {
            name: output["path"] for name, output in facts["outputs"].items()
        }
        assert {str(p): list(o) for p, o in read.input_derivations.items()} == facts["inputDrvs"]
        assert [str(p) for p in read.input_sources] == facts["inputSrcs"]
        assert (read.system, read.builder) == (facts["system"], facts["builder"])
        assert list(read.arguments) == facts["args"]
        assert read.environment == facts["env"]


def test_outputs_without_a_place_are_refused(nix: Nix) -> None:
    placeless = """derivation {
      name = "floating"; system = builtins.currentSystem; builder = "/bin/sh";
      __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";
    }"""
    path = nix.run(
        "nix-instantiate", "--option", "extra-experimental-features", "ca-derivations",
        "-E", placeless,
    ).strip()  # fmt: skip
    with pytest.raises(NixError, match="'out' is not known before it is built"):
        Derivation.parse(nix.path(path).read_bytes())


PLAIN = (
    b'Derive([("out","/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello","","")],'
    b'[("/nix/store/11zb1padqbbb7jicsvkmrym3r6snphxg-a.drv",["out","dev"])],'
    b'["/nix/store/21zb1padqbbb7jicsvkmrym3r6snphxg-b"],"x86_64-linux","/bin/sh",["-c",""],'
    b'[("a\\"b","c\\\\\\n"),("name","hello")])'
)


def test_every_truncation_is_an_error() -> None:
    assert Derivation.parse(PLAIN).environment == {'a"b': "c\\\n", "name": "hello"}
    for length in range(len(PLAIN)):
        with pytest.raises(NixError):
            Derivation.parse(PLAIN[:length])
    with pytest.raises(NixError, match="not the end"):
        Derivation.parse(PLAIN + b"\n")


@given(st.integers(0, len(PLAIN) - 1), st.binary(max_size=3))
def test_every_change_is_read_or_refused(place: int, other: bytes) -> None:
    with contextlib.suppress(NixError):
        Derivation.parse(PLAIN[:place] + other + PLAIN[place + 1 :])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PLAIN.replace(b"/nix/store/2", b"/etc/2"), "not a path in the store"),
        (PLAIN.replace(b"-b\"", b"-b/../../x\""), "not a path in the store"),
        (b'DrvWithVersion("xp-dyn-drv",' + PLAIN, "not a derivation that nbdock can read"),
        (b"\x7fELF", "not a derivation"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(wrong: bytes, message: str) -> None:
    with pytest.raises(NixError, match=message):
        Derivation.parse(wrong)


@given(st.dictionaries(st.text(), st.text()))
def test_texts_come_back(environment: dict[str, str]) -> None:
    def quoted(text: str) -> bytes:
        data = text.encode()
        for raw, escaped in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"), (b"\r", b"\\r"),
                             (b"\t", b"\\t")):  # fmt: skip
            data = data.replace(raw, escaped)
        return b'"' + data + b'"'

    pairs = b",".join(b"(%s,%s)" % (quoted(k), quoted(v)) for k, v in environment.items())
    read = Derivation.parse(b'Derive([],[],[],"","",[],[%s])' % pairs)
    assert read.environment == environment
