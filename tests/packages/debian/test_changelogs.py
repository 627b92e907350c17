"""Changelogs of .debs: what they say, what hostile ones do, and the history that comes of them."""

from __future__ import annotations

import datetime as dt
import gzip
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from debian.changelog import Changelog
from hypothesis import given
from hypothesis import strategies as st
from support.apt_archive import Archive, Signer
from support.debs import deb, info, write

from nbdock import settings
from nbdock.packages import AptPackage, apt, changelog_history, read_uploads
from nbdock.packages.debian.changelog import UPLOADS_LIMIT, deb_uploads, parse_changelog
from nbdock.packages.debian.fetching import deb_path
from nbdock.packages.debian.record import PackageRecord

STAMP = dt.datetime(2026, 1, 15, tzinfo=dt.UTC)


def entry(version: str, suite: str, day: str, text: str = "* Change.", source: str = "app") -> str:
    date = dt.datetime.fromisoformat(f"{day}T12:00:00+02:00")
    return (
        f"{source} ({version}) {suite}; urgency=medium\n\n  {text}\n\n"
        f" -- A. Person <a@example.org>  {date:%a, %d %b %Y %H:%M:%S %z}\n\n"
    )


def changelog(*entries: str) -> bytes:
    return "".join(entries).encode()


APP = changelog(
    entry("2-1+deb12u1", "bookworm-security", "2025-09-01", "* CVE-2025-1234, CVE-2025-1234."),
    entry("2-1", "unstable", "2023-03-01"),
    entry("2~rc1-1", "experimental", "2023-01-01"),
    entry("1-1", "unstable", "2020-01-01"),
)


def test_entries_are_those_that_debians_own_library_finds() -> None:
    uploads = list(parse_changelog(APP))
    oracle = Changelog(APP.decode())
    assert [u.version for u in uploads] == [str(block.version) for block in oracle]
    assert [u.suite for u in uploads] == [block.distributions for block in oracle]
    assert [u.date.isoformat() for u in uploads][:1] == ["2025-09-01T10:00:00+00:00"]
    assert [u.vulnerabilities for u in uploads] == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("", []),
        ("no changelog at all\n", []),
        (" -- A <a@b>  Mon, 01 Jan 2024 00:00:00 +0000\n", []),
        (entry("1", "unstable", "2020-01-01").replace("2020", "20202"), []),
        (entry("1", "a b; c", "2020-01-01"), ["1"]),
        ("Old Changes:\n\n" + entry("1", "unstable", "2020-01-01"), ["1"]),
        (entry("1", "unstable", "2020-01-01").replace("+0200", ""), ["1"]),
        ("app (1) unstable; x\n" * 3 + entry("2", "unstable", "2020-01-01"), ["2"]),
    ],
)
def test_what_is_no_entry_is_passed_over(text: str, versions: list[str]) -> None:
    assert [u.version for u in parse_changelog(text.encode())] == versions


@given(st.binary(max_size=2000))
def test_any_bytes_are_read(data: bytes) -> None:
    list(parse_changelog(b"app (1) x; y\n -- " + data + APP))


def test_a_long_changelog_is_read_from_its_beginning() -> None:
    text = changelog(*(entry(str(n), "unstable", "2020-01-01") for n in range(UPLOADS_LIMIT + 5)))
    uploads = list(parse_changelog(text))
    assert (len(uploads), uploads[0].version) == (UPLOADS_LIMIT, "0")


def test_hostile_lines_take_no_time() -> None:
    begun = time.process_time()
    for data in (b"a" * 1_000_000, b"a (" * 300_000, b" -- <" * 200_000, b"a (1)" + b" " * 999_999):
        assert list(parse_changelog(data)) == []
    assert time.process_time() - begun < 20


def doc(name: str, file: str, data: bytes) -> tuple[object, bytes]:
    return info(f"usr/share/doc/{name}/{file}", size=len(data)), data


def uploads_of(directory: Path, *members: tuple[object, bytes], name: str = "hello") -> list[str]:
    path = write(directory, deb(members))  # type: ignore[arg-type]
    return [upload.version for upload in deb_uploads(path, name)]


def test_where_a_deb_has_its_changelog(tmp_path: Path) -> None:
    text = changelog(entry("2", "unstable", "2021-01-01"), entry("1", "unstable", "2020-01-01"))
    packed, upstream = gzip.compress(text), gzip.compress(b"2020-01-01 Somebody\n * x.c: y\n")
    rebuilt = gzip.compress(changelog(entry("2+b1", "unstable", "2021-02-01")))
    debian, own = doc("hello", "changelog.Debian.gz", packed), doc("hello", "changelog.gz", packed)
    assert uploads_of(tmp_path, debian) == ["2", "1"]
    assert uploads_of(tmp_path, own) == ["2", "1"], "Debian's own sources"
    assert uploads_of(tmp_path, doc("hello", "changelog", text)) == ["2", "1"]
    others = doc("hello", "changelog.gz", upstream)
    assert uploads_of(tmp_path, others, debian) == ["2", "1"]
    arch = doc("hello", "changelog.Debian.amd64.gz", rebuilt)
    assert uploads_of(tmp_path, arch, debian, others) == ["2+b1", "2", "1"]
    assert uploads_of(tmp_path, doc("other", "changelog.Debian.gz", packed)) == []
    link = (info("usr/share/doc/hello", linkname="hello-data"), b"")
    assert uploads_of(tmp_path, link) == []


def test_a_damaged_or_endless_changelog_gives_what_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text = changelog(*(entry(str(n), "unstable", "2020-01-01") for n in range(2000)))
    whole = gzip.compress(text)
    torn = uploads_of(tmp_path, doc("hello", "changelog.Debian.gz", whole[: len(whole) // 2]))
    assert len(torn) < 2000
    assert "changelog.Debian.gz" in caplog.text
    bomb = gzip.compress(text + b"\0" * 50_000_000)
    monkeypatch.setenv("NBDOCK_DEB_CHANGELOG_LIMIT_BYTES", str(len(text)))
    settings.configure()
    assert len(uploads_of(tmp_path, doc("hello", "changelog.Debian.gz", bomb))) == 2000


def docs(name: str, text: bytes, file: str = "changelog.Debian.gz") -> dict[str, bytes]:
    return {f"usr/share/doc/{name}/{file}": gzip.compress(text, mtime=0)}


@pytest.fixture
async def packages(tmp_path: Path, nbdock_home: Path) -> list[AptPackage]:
    """A program, its data without changelog, a rebuilt library, one of no source, a quiet one."""
    library = changelog(entry("3-1", "unstable", "2023-02-01", source="lib"))
    rebuilt = changelog(entry("3-1+b1", "bookworm", "2025-10-01", source="lib"))
    with Signer() as signer:
        archive = Archive(tmp_path / "archive", signer)
        archive.add("app", "2-1+deb12u1", files={**docs("app", APP), "usr/x": b"x" * 9000})
        archive.add("app-data", "2-1+deb12u1", source="app", architecture="all")
        both = docs("lib", library) | docs("lib", rebuilt, "changelog.Debian.amd64.gz")
        archive.add("lib", "3-1+b1", source="lib (3-1)", files=both)
        archive.add(
            "lib-doc", "3-1", source="lib", architecture="all", files=docs("lib-doc", library)
        )
        archive.add("silent", "1")
        archive.publish(extra={"Codename": "bookworm"}, date_s=STAMP.timestamp())
        key = signer.export(tmp_path / "key.gpg")
    source = apt(f"file:{tmp_path}/archive", suite="stable", architecture="amd64", keyring=key)
    await source.load()
    return [source[name] for name in ("app", "app-data", "lib", "lib-doc", "silent")]


async def test_the_history_of_packages(packages: Sequence[AptPackage]) -> None:
    history = await changelog_history(packages)
    released = dt.date(2023, 3, 2)
    assert (history.start, history.end) == (released, STAMP.date() + dt.timedelta(days=1))
    security, rebuild = (dt.date(2025, 9, 1),), (dt.date(2025, 10, 1),)
    assert history.changes == {
        "app": security, "app-data": security, "lib": rebuild, "lib-doc": ()
    }  # fmt: skip
    assert history.sources == {"app": "app", "app-data": "app", "lib": "lib", "lib-doc": "lib"} | (
        {"silent": "silent"}
    )


async def test_one_deb_of_each_source_is_read_and_none_again(
    packages: Sequence[AptPackage], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdock.packages.debian import uploads

    read: list[str] = []

    def counted(path: Path, name: str) -> tuple[object, ...]:
        read.append(name)
        return deb_uploads(path, name)

    monkeypatch.setattr(uploads, "deb_uploads", counted)
    first = await read_uploads(packages)
    assert sorted(read) == ["app", "app-data", "lib", "lib-doc", "silent"]
    assert [u.version for u in first[packages[1].key]] == [
        u.version for u in first[packages[0].key]
    ]
    read.clear()
    assert await read_uploads(packages) == first
    assert read == []


async def test_what_is_not_here_is_not_fetched_for_who_did_not_ask(
    packages: Sequence[AptPackage], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbdock.packages.debian import uploads

    away = {p.record.sha256: Path("/nowhere") for p in packages[1:]}

    def path(record: PackageRecord) -> Path:
        return away.get(record.sha256) or deb_path(record)

    monkeypatch.setattr(uploads, "deb_path", path)
    monkeypatch.setattr(uploads, "fetch_debs", None)
    found = await read_uploads(packages, fetch=False)
    # Of one source it is enough to have one.
    assert [p.name for p in packages if found[p.key]] == ["app", "app-data"]
    history = await changelog_history(packages, fetch=False)
    assert set(history.changes) == {"app", "app-data"}


async def test_packages_that_are_not_debians_have_no_history(nbdock_home: Path) -> None:
    from nbdock.packages import text_file

    history = await changelog_history([text_file("etc/motd", "hi")])
    assert not history.changes
