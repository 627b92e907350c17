"""Pins, against the priorities that apt-cache policy gives."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.apt_archive import Archive, Signer, apt_root

from nbdock.errors import SourceConfigurationError
from nbdock.packages.debian.index import load_index
from nbdock.packages.debian.preferences import Pin, parse_preferences
from nbdock.packages.debian.sources import host_sources


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with Signer() as key:
        yield key


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory, signer: Signer
) -> tuple[Path, dict[str, str]]:
    """A machine with two suites, `stable` and `next`, whose lists APT has fetched."""
    root = tmp_path_factory.mktemp("pins")
    archive = Archive(root / "archive", signer)
    for name in ("aaa", "aab", "zzz"):
        archive.add(name, "1", source="src-one")
    archive.publish("stable", extra={"Label": "First"})
    for file in (archive.root / "pool/main").iterdir():
        file.unlink()
    for name in ("aaa", "aab", "zzz"):
        archive.add(name, "2:2.0", source="src-two")
    archive.publish("next", extra={"NotAutomatic": "yes", "Label": "Second"})
    key = signer.export(root / "key.gpg")
    text = "".join(
        f"deb [signed-by={key}] file:{archive.root} {suite} main\n" for suite in ("stable", "next")
    )
    env = apt_root(root / "machine", sources=text)
    subprocess.run(["apt-get", "update"], env=env, check=True, capture_output=True)
    return root / "machine", env


def record(package: str, pin: str, priority: int) -> str:
    return f"Package: {package}\nPin: {pin}\nPin-Priority: {priority}\n\n"


CASES = {
    "none": "",
    "general by suite": record("*", "release a=next", 700),
    "general by codename": record("*", "release n=next-name", 701),
    "general by origin field": record("*", "release o=Tests", 702),
    "several parts": record("*", "release o=Tests,l=Second,c=main", 703),
    "parts that do not all fit": record("*", "release o=Tests,l=Third", 704),
    "a part nobody has": record("*", "release x=y", 705),
    "one word": record("*", "release next", 706),
    "version of the release": record("*", "release v=1.0", 707),
    "first general wins": record("*", "release a=next", 708) + record("*", "release l=Second", 99),
    "local origin": record("*", 'origin ""', 709),
    "named": record("aaa", "release a=next", 710),
    "two named": record("aaa zzz", "release a=next", 711),
    "glob name": record("aa*", "release a=next", 712),
    "regex name": record("/^z/", "release a=next", 713),
    "source name": record("src:src-two", "release a=next", 714),
    "version": record("aaa", "version 2:2*", 715),
    "exact version": record("aaa", "version 1", 716),
    "regex version": record("aaa", "version /^2:/", 717),
    "other version": record("aaa", "version 3*", 718),
    "named before general": record("*", "release a=next", 719)
    + record("aaa", "release a=next", 720),
    "first named wins": record("aaa", "release a=next", 721) + record("aa*", "release a=next", 722),
    "glob value": record("*", "release l=Sec*", 723),
    "negative": record("aaa", "release a=*", -5),
    "comments": "# one\nExplanation: why\n" + record("aaa", "release a=next", 724),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
async def test_as_apt_pins(
    case: str, machine: tuple[Path, dict[str, str]], nbdock_home: Path, tmp_path: Path
) -> None:
    root, env = machine
    pins = tmp_path / "preferences"
    pins.write_text(CASES[case])
    names = ("aaa", "aab", "zzz")
    out = subprocess.run(
        ["apt-cache", "-o", f"Dir::Etc::preferences={pins}", "policy", *names],
        env=env, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    theirs: dict[tuple[str, str], int] = {}
    name = ""
    for line in out.splitlines():
        if match := re.fullmatch(r"(\w+):", line):
            name = match[1]
        elif match := re.fullmatch(r" {5}(\S+) (-?\d+)", line):
            theirs[name, match[1]] = int(match[2])
    found = host_sources(str(root))
    found = dataclasses.replace(found, pins=tuple(parse_preferences(CASES[case], str(pins))))
    index = await load_index(found)
    mine = {(r.name, r.version): r.pin_priority for n in names for r in index.candidates(n)}
    # APT shows a version that has no record of its own with its best source's priority.
    assert len(theirs) == 6
    assert mine == theirs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Pin: release a=b\nPin-Priority: 1\n", "Package"),
        ("Package: x\nPin-Priority: 1\n", "Pin is"),
        ("Package: x\nPin: nonsense y\nPin-Priority: 1\n", "nonsense"),
        ("Package: x\nPin: release a=b\n", "Pin-Priority"),
        ("Package: x\nPin: release a=b\nPin-Priority: high\n", "high"),
        ("\n\nwhat\n", "line 3"),
        (" x\n", "line 1"),
    ],
)
def test_errors_name_the_place(text: str, said: str) -> None:
    with pytest.raises(SourceConfigurationError, match=said) as caught:
        parse_preferences(text, "/etc/apt/preferences")
    assert caught.value.path == "/etc/apt/preferences"
    assert caught.value.line


@given(st.text("Package:*Pinrels= -1\n#/"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert all(isinstance(pin, Pin) for pin in parse_preferences(text, "f"))
    except SourceConfigurationError as error:
        if not error.line:
            raise
