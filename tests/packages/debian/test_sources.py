"""Entries of sources.list and *.sources, against APT reading the same files."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.apt_archive import Archive, Signer, apt_root

from nbdock.errors import ArgumentTypeError, MissingArgumentError, SourceConfigurationError
from nbdock.packages.debian.sources import (
    AptSources,
    Source,
    combine,
    explicit_sources,
    host_sources,
    parse_deb822,
    parse_one_line,
)


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with Signer() as key:
        yield key


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Archive:
    made = Archive(tmp_path_factory.mktemp("sources") / "archive", signer)
    for component in ("main", "extra"):
        made.add(f"in-{component}", "1", component=component, architecture="all")
    for suite in ("stable", "testing"):
        made.publish(suite, components=("main", "extra"), architectures=("amd64", "arm64", "i386"))
    flat = made.root / "flat"
    flat.mkdir()
    (flat / "Packages").write_bytes(made.packages())
    made.sign(flat, b"Suite: flat\nDate: Sat, 21 Nov 2026 00:00:00 UTC\nSHA256:\n")
    return made


def ours(sources: AptSources, architectures: tuple[str, ...]) -> set[str]:
    return {
        source.release_url + path
        for source in sources.sources
        for architecture in architectures
        if source.for_architecture(architecture)
        for path in source.packages_paths(architecture)
    }


ENTRIES = {
    "a.list": """# a comment
deb [signed-by=@KEY@] @URI@ stable main   # the rest
deb [signed-by=@KEY@]   @URI@ stable extra main
deb-src [signed-by=@KEY@] @URI@ stable main
deb [ signed-by=@KEY@ arch=i386,amd64 ] @URI@/ testing main extra
""",
    "b.sources": """# a comment
Types: deb deb-src
URIs: @URI@
# one in the middle
Suites: stable
 testing
Components: extra
Architectures: amd64
Signed-By: @KEY@
X-Unknown: yes

Enabled: no
Types: deb
URIs: @URI@
Suites: never
Components: main
Signed-By: @KEY@


types: deb
uris: @URI@
suites: testing
components: main
Signed-By: @KEY@
Enabled: yes
""",
}


@pytest.mark.parametrize("names", [("a.list",), ("b.sources",), ("a.list", "b.sources")])
def test_as_apt_reads_them(
    names: tuple[str, ...], tmp_path: Path, archive: Archive, signer: Signer
) -> None:
    env = apt_root(tmp_path)
    key = signer.export(tmp_path / "key.gpg")
    for name in names:
        text = ENTRIES[name].replace("@URI@", f"file:{archive.root}").replace("@KEY@", str(key))
        (tmp_path / "etc/apt/sources.list.d" / name).write_text(text)
    both = ["-o", "APT::Architectures::=arm64", "-o", "Acquire::Check-Date=false"]
    done = subprocess.run(["apt-get", *both, "update"], env=env, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    out = subprocess.run(
        ["apt-get", *both, "indextargets", "--format", "$(URI)", "Created-By: Packages"],
        env=env, check=True, capture_output=True,
    )  # fmt: skip
    theirs = {line for line in out.stdout.decode().split() if "/binary-all/" not in line}
    found = host_sources(str(tmp_path))
    mine = ours(found, ("amd64", "arm64"))
    # i386 is not among this APT's architectures, though an entry names it.
    assert {url for url in theirs if "i386" not in url} == mine


def test_this_machine() -> None:
    out = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(URI)", "Created-By: Packages"],
        check=True, capture_output=True,
    )  # fmt: skip
    theirs = {line for line in out.stdout.decode().split() if "/binary-all/" not in line}
    found = host_sources()
    assert theirs == ours(found, (found.native_architecture,))


def test_one_line_forms() -> None:
    text = (
        'deb [arch=amd64,arm64 arch-=arm64 trusted=yes by-hash=force] "http://h/a b" s c # x\n'
        "deb http://h/$(ARCH) ./\n"
        "deb [check-valid-until=no valid-until-max=5]http://h/ s c\n"
        "deb cdrom:[Debian 12 _Bookworm_]/ bookworm main\n"
        "\t \n"
    )
    first, second, third = parse_one_line(text, "f")
    assert (first.architectures, first.trusted, first.by_hash) == (("amd64",), True, "force")
    assert first.uri == "http://h/a b/"
    assert second.is_flat
    assert second.release_url == "http://h/$(ARCH)/"
    assert (third.check_valid_until, third.valid_until_max_s) == (False, 5)
    assert (third.path, third.line) == ("f", 3)


def test_an_embedded_key() -> None:
    text = (
        "Types: deb\nURIs: http://h\nSuites: s\nComponents: c\nSigned-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    [source] = parse_deb822(text, "f")
    assert source.signed_by == ()
    assert source.signed_by_key == (
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("\ndeb http://h s\n", 2, "no component"),
        ("deb http://h\n", 1, "incomplete"),
        ("rpm http://h s c\n", 1, "rpm"),
        ("deb nowhere s c\n", 1, "not a URI"),
        ("deb [arch] http://h s c\n", 1, "arch"),
        ("deb [trusted=perhaps] http://h s c\n", 1, "yes or no"),
        ("deb [valid-until-max=x] http://h s c\n", 1, "seconds"),
        ("deb http://h s/ c\n", 1, "path"),
        ("deb http://h ../../x c\n", 1, "leads out"),
        ("deb http://h s ../c\n", 1, "leads out"),
    ],
)
def test_one_line_errors(text: str, line: int, said: str) -> None:
    with pytest.raises(SourceConfigurationError, match=said) as caught:
        parse_one_line(text, "/etc/apt/sources.list")
    assert (caught.value.path, caught.value.line) == ("/etc/apt/sources.list", line)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("Types: deb\nSuites: s\nComponents: c\n", 1, "Uris"),
        ("\n\nTypes: deb\nURIs: http://h\n", 3, "Suites"),
        ("Types: rpm\nURIs: http://h\nSuites: s\n", 1, "rpm"),
        ("Types: deb\nwhat\n", 2, "not a field"),
        (" x\n", 1, "continues nothing"),
        ("Types: deb\nTypes: deb\n", 2, "twice"),
        ("Types: deb\nURIs: http://h\nSuites: s\nEnabled: perhaps\n", 1, "Enabled"),
        ("Types: deb\nURIs: http://h\nSuites: s\n", 1, "no component"),
    ],
)
def test_deb822_errors(text: str, line: int, said: str) -> None:
    with pytest.raises(SourceConfigurationError, match=said) as caught:
        parse_deb822(text, "x.sources")
    assert (caught.value.path, caught.value.line) == ("x.sources", line)


@given(st.text('deb[]=+-: #\n/hsc."$\tTypesURIs'))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_one_line, parse_deb822):
        try:
            assert all(isinstance(source, Source) for source in parse(text, "f"))
        except SourceConfigurationError as error:
            if not error.line:
                raise


def test_entries_that_disagree() -> None:
    text = "deb [signed-by=/a] http://h s c\ndeb [signed-by=/b] http://h/ s d\n"
    with pytest.raises(SourceConfigurationError, match=r"Signed-By.*f:1") as caught:
        combine(parse_one_line(text, "f"))
    assert caught.value.line == 2


def test_a_machine_without_sources(tmp_path: Path) -> None:
    with pytest.raises(SourceConfigurationError, match="no package sources") as caught:
        host_sources(str(tmp_path))
    assert "mirror=" in (caught.value.hint or "")


def test_a_list_of_mirrors(tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors.txt"
    folder = tmp_path / "etc/apt"
    folder.mkdir(parents=True)
    entry = f"# one\n\ndeb mirror+file:{mirrors} stable main\n"
    (folder / "sources.list").write_text(entry)
    with pytest.raises(SourceConfigurationError, match=r"mirrors\.txt") as caught:
        host_sources(str(tmp_path))
    assert caught.value.line == 3
    mirrors.write_text("# empty\n")
    with pytest.raises(SourceConfigurationError, match="empty"):
        host_sources(str(tmp_path))
    mirrors.write_text("http://a/x # first\nhttp://b/x/\tarch:amd64 priority:2\nhttp://c\n")
    assert host_sources(str(tmp_path)).sources[0].uri == "http://b/x/"
    mirrors.write_text("http://a/x\nhttp://b/x/\n")
    assert host_sources(str(tmp_path)).sources[0].uri == "http://a/x/"


def test_explicit(tmp_path: Path) -> None:
    made = explicit_sources(
        mirror="http://h/debian", suite="a b", components="main contrib", keyring=tmp_path / "k"
    )
    assert [source.release_url for source in made.sources] == [
        "http://h/debian/dists/a/", "http://h/debian/dists/b/",
    ]  # fmt: skip
    assert made.sources[0].components == ("main", "contrib")
    assert made.keyrings == (str(tmp_path / "k"),)
    assert made.pins == ()
    flat = explicit_sources(mirror="file:/srv", suite="./", trusted=True)
    assert (flat.sources[0].components, flat.sources[0].trusted) == ((), True)
    with pytest.raises(MissingArgumentError, match="suite"):
        explicit_sources(mirror="http://h", suite=" ")
    with pytest.raises(ArgumentTypeError, match="mirror"):
        explicit_sources(mirror=5, suite="s")  # type: ignore[arg-type]
    with pytest.raises(SourceConfigurationError, match="not a URI"):
        explicit_sources(mirror="nowhere", suite="s")
