"""The index file against python-debian reading the same text, and against damage."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from debian import deb822
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nbdock.errors import SourceConfigurationError
from nbdock.packages.debian.indexfile import IndexFile, build_index, parse_stanza

WORD = st.text("abcdefgh0123+-.~", min_size=1, max_size=6).map(lambda word: "a" + word)
VALUE = st.lists(
    st.text("abz:#-.\u00e9\u4e2d", min_size=1, max_size=5), min_size=1, max_size=3
).map(" ".join)  # fmt: skip
FOLDED = st.lists(VALUE, min_size=1, max_size=3).map("\n ".join)


@st.composite
def stanza(draw: st.DrawFn) -> str:
    fields = {
        "Package": draw(WORD),
        "Version": draw(WORD),
        "Architecture": draw(st.sampled_from(["amd64", "all", "arm64"])),
    }
    optional = {
        "Depends": FOLDED, "Pre-Depends": VALUE, "Multi-Arch": st.sampled_from(["same", "no"]),
        "Essential": st.sampled_from(["yes", "no"]),
        "Installed-Size": st.integers(0, 10**9).map(str),
        "Size": st.integers(0, 10**12).map(str), "Section": VALUE, "Source": VALUE,
        "Provides": st.lists(WORD, min_size=1, max_size=3).map(", ".join),
        "Description": FOLDED, "Description-md5": VALUE, "X-Other": FOLDED, "Depends-X": VALUE,
    }  # fmt: skip
    for name, values in optional.items():
        if draw(st.booleans()):
            fields[name] = draw(values)
    names = draw(st.permutations(list(fields)))
    usual = draw(st.booleans())
    gap = draw(st.sampled_from([" ", "", "  "]))
    return "".join(f"{name if usual else name.lower()}:{gap}{fields[name]}\n" for name in names)


def opened(text: bytes, architecture: str = "amd64") -> IndexFile:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "index")
        build_index(text, path, architecture)
        assert os.listdir(folder) == ["index"]
        return IndexFile(path)


def first_line(text: str) -> str:
    return text.split("\n")[0].strip()


@hypothesis_settings(max_examples=40)
@given(st.lists(stanza(), max_size=5), st.sampled_from(["\n", "\n\n", "\n\n\n"]))
def test_as_python_debian_reads_it(stanzas: list[str], gap: str) -> None:
    text = gap.join(stanzas).encode()
    theirs = [dict(found) for found in deb822.Deb822.iter_paragraphs(text, use_apt_pkg=False)]
    theirs = [{name.lower(): value for name, value in found.items()} for found in theirs if found]
    theirs = [found for found in theirs if found["architecture"] in {"amd64", "all"}]
    index = opened(text)
    assert index.names == sorted({found["package"] for found in theirs})
    assert len(index) == len(theirs)
    for name in index.names:
        wanted = [found for found in theirs if found["package"] == name]
        records = [parse_stanza(stanza, "http://x/") for stanza in index.named(name)]
        assert len(records) == len(wanted)
        for record, found in zip(records, wanted, strict=True):
            assert record.name == name
            assert record.version == found["version"]
            assert record.depends.split() == found.get("depends", "").split()
            assert record.pre_depends == found.get("pre-depends", "").strip()
            assert record.multi_arch == found.get("multi-arch", "no")
            assert record.essential is (found.get("essential") == "yes")
            assert record.installed_size_kib == int(found.get("installed-size", "0"))
            assert record.size_bytes == int(found.get("size", "0"))
            assert record.section == found.get("section", "").strip()
            assert record.description == first_line(found.get("description", ""))
            assert record.source == (found.get("source") or name).split(" ")[0]
    provided = {p for found in theirs for p in found.get("provides", "").split(", ") if p}
    assert index.provided == sorted(provided)
    for name in provided:
        givers = sorted(f["package"] for f in theirs if name in f.get("provides", "").split(", "))
        records = [parse_stanza(stanza, "") for stanza in index.providing(name)]
        assert sorted(record.name for record in records) == givers


def test_versions_in_provides() -> None:
    text = b"Package: a\nVersion: 1\nArchitecture: all\nProvides: b (= 2),c:any ,\n d (= 1:3)\n"
    assert opened(text).provided == ["b", "c", "d"]


def test_windows_line_ends_and_no_last_newline() -> None:
    text = b"Package: a\r\nVersion: 1\r\nArchitecture: all\r\n\r\nPackage: b\r\nVersion: 2"
    index = opened(text)
    assert index.names == ["a", "b"]
    assert parse_stanza(index.named("b")[0], "").version == "2"


@given(st.binary(max_size=200))
def test_any_bytes_make_an_index(text: bytes) -> None:
    index = opened(text)
    for stanza in index.stanzas():
        parse_stanza(stanza, "http://x/")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "pool/../../x", "./../x"])
def test_a_file_name_that_leads_out(name: str) -> None:
    with pytest.raises(SourceConfigurationError, match="outside"):
        parse_stanza(f"Package: a\nVersion: 1\nFilename: {name}".encode(), "file:/srv/")


def test_file_names_are_quoted() -> None:
    text = b"Package: a\nVersion: 1\nFilename: ./pool/a b%3a#?\xc3\xa9+~.deb"
    assert parse_stanza(text, "http://x/").url == "http://x/pool/a%20b%253a%23%3F%C3%A9+~.deb"


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "index"
    build_index(b"Package: a\nVersion: 1\nArchitecture: all\n", str(path), "amd64")
    data = path.read_bytes()
    for bad in (b"", data[:20], data[:-1], data + b"x", b"x" + data[1:]):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="index"):
            IndexFile(str(path))
