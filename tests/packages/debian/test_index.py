"""Indexes of a real signed archive on loopback: loading, believing, refusing."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.apt_archive import Archive, Signer, compressed
from support.faulty_server import FaultyServer, answer, content, short

from nbdock import settings
from nbdock.errors import (
    DigestMismatchError,
    HttpStatusError,
    NbdockError,
    OutdatedSourceError,
    SignatureError,
    SourceConfigurationError,
)
from nbdock.packages.debian.configuration import parse_configuration
from nbdock.packages.debian.index import AptIndex, load_index
from nbdock.packages.debian.sources import AptSources, combine, parse_one_line

DAY = 86400.0


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with Signer() as key:
        yield key


@pytest.fixture(scope="module")
def stranger() -> Iterator[Signer]:
    with Signer("stranger@example.org") as key:
        yield key


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Archive:
    """The archive that each test takes a copy of: building packages takes a while."""
    made = Archive(tmp_path_factory.mktemp("index") / "archive", signer)
    made.add("app", "1.0", depends="libone (>= 1), mta | other", installed_size="7")
    made.add("app", "1.1", depends="libone (>= 2)", essential="yes", multi_arch="foreign")
    made.add("libone", "2.0-1", architecture="all", provides="libvirtual (= 2), lib-other, mta")
    made.add("mailer", "3", provides="mta", source="mail (9)", section="mail")
    made.add("foreign", "1", architecture="arm64")
    made.add("extra", "1:5", component="extra")
    return made


@pytest.fixture
def archive(tmp_path: Path, master: Archive, signer: Signer) -> Archive:
    made = Archive(tmp_path / "archive", signer)
    (made.root / "pool").rmdir()
    (made.root / "pool").symlink_to(master.root / "pool")
    made.publish("stable", components=("main", "extra"), architectures=("amd64", "arm64"))
    return made


@pytest.fixture
async def server(archive: Archive) -> AsyncIterator[FaultyServer]:
    async with FaultyServer() as running:
        running.serve_directory(archive.root)
        yield running


@pytest.fixture(autouse=True)
def _home(nbdock_home: Path) -> None:
    pass


@pytest.fixture
def key(tmp_path: Path, signer: Signer) -> Path:
    return signer.export(tmp_path / "key.gpg")


def sources(
    server: FaultyServer | str, key: Path | None, *, suite: str = "stable",
    components: str = "main", options: str = "", configuration: str = "",
) -> AptSources:  # fmt: skip
    signed = f"signed-by={key}" if key else ""
    uri = server if isinstance(server, str) else server.url("/")
    return AptSources(
        sources=combine(parse_one_line(f"deb [{signed} {options}] {uri} {suite} {components}", "")),
        configuration=parse_configuration(f'APT::Architecture "amd64"; {configuration}'),
    )


def versions(index: AptIndex, name: str) -> list[str]:
    return [record.version for record in index.candidates(name)]


async def test_everything_that_a_stanza_says(server: FaultyServer, key: Path) -> None:
    index = await load_index(sources(server, key))
    assert list(index.names()) == ["app", "libone", "mailer"]
    assert versions(index, "app") == ["1.0", "1.1"]
    old, new = index.candidates("app")
    assert (old.depends, old.installed_size_kib) == ("libone (>= 1), mta | other", 7)
    assert (old.essential, old.multi_arch, old.pin_priority) == (False, "no", 500)
    assert (new.essential, new.multi_arch) == (True, "foreign")
    [one] = index.candidates("libone")
    assert (one.architecture, one.source) == ("all", "libone")
    [mailer] = index.candidates("mailer")
    assert (mailer.source, mailer.section) == ("mail", "mail")
    assert mailer.description == "mailer for tests"
    assert index.candidates("nothing") == index.providers("nothing") == ()
    assert [r.name for r in index.providers("mta")] == ["libone", "mailer"]
    assert [r.name for r in index.providers("libvirtual")] == ["libone"]
    assert index.providers("lib-other")[0] is one
    assert [str(r) for r in index.records()] == ["app 1.0", "app 1.1", "libone 2.0-1", "mailer 3"]
    body = (server.root / mailer.url.removeprefix(server.url("/"))).read_bytes()
    assert (len(body), hashlib.sha256(body).hexdigest()) == (mailer.size_bytes, mailer.sha256)


async def test_a_second_run_asks_nothing(server: FaultyServer, key: Path) -> None:
    first = await load_index(sources(server, key))
    asked = server.paths()
    assert [path.split("/")[-2] for path in asked] == ["stable", "SHA256"]
    second = await load_index(sources(server, key))
    assert server.paths() == asked
    assert second.fingerprint == first.fingerprint
    assert list(second.records()) == list(first.records())


async def test_asking_again_is_one_small_question(
    server: FaultyServer, key: Path, archive: Archive
) -> None:
    first = await load_index(sources(server, key))
    server.requests.clear()
    await load_index(sources(server, key), refresh=True)
    assert [request.path for request in server.requests] == ["/dists/stable/InRelease"]
    assert "if-none-match" in server.requests[0].headers
    archive.publish("stable", packages=b"Package: new\nVersion: 1\nArchitecture: all\n")
    third = await load_index(sources(server, key), refresh=True)
    assert list(third.names()) == ["new"]
    assert third.fingerprint != first.fingerprint
    indexes = [n for n in os.listdir(settings.current().home / "apt/indexes") if "index" in n]
    assert len(indexes) == 1
    assert os.listdir(settings.current().home / "apt/incoming") == []


async def test_old_answers_are_renewed(
    server: FaultyServer, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load_index(sources(server, key))
    now = time.time() + settings.current().apt_index_max_age_s + 1
    monkeypatch.setattr(time, "time", lambda: now)
    await load_index(sources(server, key))
    assert server.paths()[2:] == ["/dists/stable/InRelease"]
    # And that answer is young again.
    await load_index(sources(server, key))
    assert len(server.requests) == 3


async def test_an_archive_that_moved_on(server: FaultyServer, key: Path, archive: Archive) -> None:
    configured = sources(server, key)
    await load_index(configured)
    archive.publish("stable", components=("main", "extra"), extra={"X": "new"},
                    packages=b"Package: new\nVersion: 1\nArchitecture: all\n")  # fmt: skip
    # The remembered Release file names an index of `extra` that is gone.
    index = await load_index(sources(server, key, components="extra"))
    assert list(index.names()) == ["new"]


async def test_when_the_server_is_gone_the_known_lists_do(
    key: Path, archive: Archive, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.configure(retries=1)
    try:
        async with FaultyServer() as server:
            server.serve_directory(archive.root)
            configured = sources(server, key)
            first = await load_index(configured)
        now = time.time() + DAY
        monkeypatch.setattr(time, "time", lambda: now)
        second = await load_index(configured)
        assert second.fingerprint == first.fingerprint
        assert "cannot be asked" in caplog.text
        with pytest.raises(NbdockError):
            await load_index(configured, refresh=True)
    finally:
        settings.configure(retries=None)


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz", ".zst"])
@pytest.mark.parametrize("by_hash", [True, False])
async def test_every_compression(
    server: FaultyServer, key: Path, archive: Archive, suffix: str, by_hash: bool
) -> None:
    archive.publish("stable", suffixes=(suffix,), by_hash=by_hash, plain=not by_hash)
    index = await load_index(sources(server, key))
    assert versions(index, "app") == ["1.0", "1.1"]
    assert server.paths()[-1].endswith(f"Packages{suffix}") is not by_hash


async def test_by_hash_is_left_aside_when_missing_or_unwanted(
    server: FaultyServer, key: Path, archive: Archive
) -> None:
    archive.publish("stable", by_hash=False, extra={"Acquire-By-Hash": "yes"})
    await load_index(sources(server, key))
    assert ["by-hash" in path for path in server.paths()] == [False, True, False]
    server.requests.clear()
    archive.publish("stable", packages=b"Package: new\nVersion: 1\nArchitecture: all\n")
    await load_index(sources(server, key, options="by-hash=no"), refresh=True)
    assert not any("by-hash" in path for path in server.paths())


async def test_a_listed_form_that_is_missing(
    server: FaultyServer, key: Path, archive: Archive
) -> None:
    dist = archive.publish("stable", components=("main", "extra"), by_hash=False)
    (dist / "main/binary-amd64/Packages.xz").unlink()
    assert versions(await load_index(sources(server, key)), "mailer") == ["3"]
    for file in (dist / "extra/binary-amd64").iterdir():
        file.unlink()
    with pytest.raises(HttpStatusError, match="announced"):
        await load_index(sources(server, key, components="extra"), refresh=True)


async def test_broken_transfers(server: FaultyServer, key: Path, archive: Archive) -> None:
    dist = archive.root / "dists/stable"
    body = (dist / "InRelease").read_bytes()
    server.script("/dists/stable/InRelease", answer(503), short(body, 100), content(body))
    assert versions(await load_index(sources(server, key)), "mailer") == ["3"]


async def test_another_architecture(server: FaultyServer, key: Path) -> None:
    index = await load_index(sources(server, key), architecture="arm64")
    assert list(index.names()) == ["foreign", "libone"]
    assert index.architecture == "arm64"
    with pytest.raises(SourceConfigurationError, match="riscv64"):
        await load_index(sources(server, key), architecture="riscv64")
    only = sources(server, key, options="arch=arm64")
    with pytest.raises(SourceConfigurationError, match="amd64"):
        await load_index(only)


async def test_packages_for_all_in_a_list_of_their_own(
    server: FaultyServer, key: Path, archive: Archive
) -> None:
    archive.publish("stable", architectures=("amd64", "all"))
    names = {path.split("/")[-2] for path in server.paths()}
    index = await load_index(sources(server, key))
    assert versions(index, "libone") == ["2.0-1"]
    assert names == set()
    assert len(server.requests) == 3


@pytest.mark.parametrize("components", ["extra", "main extra"])
async def test_components(server: FaultyServer, key: Path, components: str) -> None:
    index = await load_index(sources(server, key, components=components))
    assert versions(index, "extra") == ["1:5"]
    [record] = index.candidates("extra")
    assert record.url == server.url("/pool/extra/extra_1%253a5_amd64.deb")


async def test_a_component_that_is_none(server: FaultyServer, key: Path) -> None:
    with pytest.raises(SourceConfigurationError, match="mian") as caught:
        await load_index(sources(server, key, components="mian"))
    assert caught.value.hint == "Did you mean main?"


async def test_release_and_signature_apart(
    server: FaultyServer, key: Path, archive: Archive
) -> None:
    dist = archive.root / "dists/stable"
    archive.sign(dist, (dist / "Release").read_bytes(), detached=True)
    index = await load_index(sources(server, key))
    assert versions(index, "mailer") == ["3"]
    await load_index(sources(server, key), refresh=True)
    (dist / "Release").write_bytes((dist / "Release").read_bytes() + b"Evil: yes\n")
    with pytest.raises(SignatureError, match="No signature is valid"):
        await load_index(sources(server, key), refresh=True)


async def test_unsigned(server: FaultyServer, key: Path, archive: Archive) -> None:
    dist = archive.root / "dists/stable"
    archive.signer = None
    archive.sign(dist, (dist / "Release").read_bytes())
    for options in ("", "trusted=no"):
        with pytest.raises(SignatureError, match=r"not (signed|trusted)"):
            await load_index(sources(server, key, options=options))
    for options in ("trusted=yes", "allow-insecure=yes"):
        index = await load_index(sources(server, key, options=options), refresh=True)
        assert versions(index, "mailer") == ["3"]
    # Once it was trusted for the asking; that must not outlive the asking.
    with pytest.raises(SignatureError, match="not signed"):
        await load_index(sources(server, key))


async def test_nothing_there(server: FaultyServer, key: Path) -> None:
    with pytest.raises(SignatureError, match="no InRelease"):
        await load_index(sources(server, key, suite="nowhere"))
    assert not (settings.current().home / "apt").exists() or not [
        name for name in os.listdir(settings.current().home / "apt") if "release" in name
    ]


async def test_a_stranger_s_signature(
    server: FaultyServer, key: Path, archive: Archive, stranger: Signer, tmp_path: Path
) -> None:
    await load_index(sources(server, key))
    theirs = stranger.export(tmp_path / "stranger.asc", armour=True)
    # What the one key vouched for is not believed for the other's sake.
    with pytest.raises(SignatureError, match="stable"):
        await load_index(sources(server, theirs))
    archive.signer = stranger
    archive.publish("stable")
    with pytest.raises(SignatureError):
        await load_index(sources(server, key), refresh=True)
    await load_index(sources(server, theirs))
    name = stranger.fingerprint
    both = tmp_path / "both.gpg"
    both.write_bytes(key.read_bytes() + stranger.public_key())
    await load_index(sources(server, both, options=f"signed-by={both},{name}"))


async def test_without_any_key(server: FaultyServer, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="No key"):
        await load_index(sources(server, None))
    with pytest.raises(SourceConfigurationError, match=r"none\.gpg"):
        await load_index(sources(server, tmp_path / "none.gpg"))


async def test_default_keyrings(server: FaultyServer, key: Path, tmp_path: Path) -> None:
    (tmp_path / "junk.gpg").write_bytes(b"junk")
    configured = dataclasses.replace(
        sources(server, None), keyrings=(str(tmp_path / "junk.gpg"), str(key))
    )
    assert versions(await load_index(configured), "mailer") == ["3"]


async def test_tampered_release(server: FaultyServer, key: Path, archive: Archive) -> None:
    file = archive.root / "dists/stable/InRelease"
    file.write_bytes(file.read_bytes().replace(b"Label: Tests", b"Label: Pests"))
    with pytest.raises(SignatureError, match="No signature is valid"):
        await load_index(sources(server, key))


@pytest.mark.parametrize("local", [False, True])
async def test_tampered_packages(
    server: FaultyServer, key: Path, archive: Archive, local: bool
) -> None:
    dist = archive.publish("stable", by_hash=False)
    file = dist / "main/binary-amd64/Packages.xz"
    evil = bytearray(file.read_bytes())
    evil[-20] ^= 1
    file.write_bytes(evil)
    uri = f"file:{archive.root}" if local else server
    with pytest.raises(DigestMismatchError):
        await load_index(sources(uri, key))
    indexes = settings.current().home / "apt/indexes"
    assert not indexes.exists() or os.listdir(indexes) == []


async def test_a_list_that_decompresses_to_something_else(
    server: FaultyServer, key: Path, archive: Archive
) -> None:
    """The compressed digest is right, the plain one is not: a bomb or a mistake."""
    dist = archive.publish("stable", suffixes=(".xz",), by_hash=False)
    text = archive.packages()
    for other in (text.replace(b"mailer", b"mauler"), bytes(50 << 20)):
        bomb = compressed(other, ".xz")
        good = compressed(text, ".xz")
        release = (dist / "Release").read_bytes()
        (dist / "main/binary-amd64/Packages.xz").write_bytes(bomb)
        line = f" {hashlib.sha256(good).hexdigest()} {len(good):>8} main/binary-amd64/Packages.xz"
        new = f" {hashlib.sha256(bomb).hexdigest()} {len(bomb):>8} main/binary-amd64/Packages.xz"
        assert line.encode() in release
        archive.sign(dist, release.replace(line.encode(), new.encode()))
        with pytest.raises(NbdockError, match=r"SHA-256|limit|more than"):
            await load_index(sources(server, key), refresh=True)
        archive.sign(dist, release)


async def test_expired(server: FaultyServer, key: Path, archive: Archive) -> None:
    past = "Sat, 01 Jan 2022 00:00:00 UTC"
    archive.publish("stable", date_s=1.6e9, extra={"Valid-Until": past})
    with pytest.raises(OutdatedSourceError, match="expired at 2022-01-01"):
        await load_index(sources(server, key))
    for options, configuration in (
        ("check-valid-until=no", ""),
        ("check-date=no", ""),
        ("", "Acquire::Check-Valid-Until no;"),
        ("", "Acquire::Check-Date no;"),
        ("valid-until-min=999999999", ""),
    ):
        await load_index(sources(server, key, options=options, configuration=configuration))
    # And what was accepted without the check is checked again when it is on.
    with pytest.raises(OutdatedSourceError):
        await load_index(sources(server, key))


async def test_longest_validity(server: FaultyServer, key: Path, archive: Archive) -> None:
    archive.publish("stable", date_s=time.time() - 3 * DAY)
    await load_index(sources(server, key))
    for options, configuration in (
        ("valid-until-max=86400", ""),
        ("", "Acquire::Max-ValidTime 86400;"),
        ("", "Acquire::Max-ValidTime::Tests 86400;"),
    ):
        with pytest.raises(OutdatedSourceError, match="expired"):
            await load_index(sources(server, key, options=options, configuration=configuration))


async def test_of_the_future(server: FaultyServer, key: Path, archive: Archive) -> None:
    archive.publish("stable", date_s=time.time() + 3600)
    with pytest.raises(OutdatedSourceError, match="future"):
        await load_index(sources(server, key))
    await load_index(sources(server, key, options="date-max-future=7200"))


async def test_yesterday_s_lists_are_not_taken_back(
    server: FaultyServer, key: Path, archive: Archive
) -> None:
    archive.publish("stable", date_s=time.time() - DAY)
    await load_index(sources(server, key))
    archive.publish("stable", date_s=time.time() - 2 * DAY)
    off = "Acquire::Check-Date no;"
    with pytest.raises(OutdatedSourceError, match="older than"):
        await load_index(sources(server, key, configuration=off), refresh=True)
    archive.publish("stable", date_s=time.time() - DAY / 2)
    await load_index(sources(server, key), refresh=True)


@pytest.mark.parametrize("scheme", ["file:", "copy:", "file://"])
async def test_archives_on_this_disk(archive: Archive, key: Path, scheme: str) -> None:
    configured = sources(f"{scheme}{archive.root}", key)
    index = await load_index(configured)
    assert versions(index, "mailer") == ["3"]
    archive.publish("stable", packages=b"Package: new\nVersion: 1\nArchitecture: all\n")
    assert list((await load_index(configured)).names()) == ["new"]


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("suffix", ["", ".gz"])
async def test_a_trusted_directory_without_release_file(
    server: FaultyServer, archive: Archive, local: bool, suffix: str
) -> None:
    (archive.root / f"Packages{suffix}").write_bytes(compressed(archive.packages(), suffix))
    uri = f"file:{archive.root}" if local else server
    with pytest.raises(SignatureError):
        await load_index(sources(uri, None, suite="./", components=""))
    configured = sources(uri, None, suite="./", components="", options="trusted=yes")
    index = await load_index(configured)
    assert versions(index, "app") == ["1.0", "1.1"]
    assert "foreign" not in index.names()
    assert index.candidates("mailer")[0].url.endswith("/archive/pool/main/mailer_3_amd64.deb" if local else "/pool/main/mailer_3_amd64.deb")  # fmt: skip # noqa: E501


async def test_unknown_methods(key: Path) -> None:
    with pytest.raises(SourceConfigurationError, match="tor"):
        await load_index(sources("tor+http://x.test/", key))


async def test_the_same_version_in_two_sources(
    server: FaultyServer, key: Path, archive: Archive
) -> None:
    archive.publish("backports", extra={"NotAutomatic": "yes", "ButAutomaticUpgrades": "yes"})
    text = "".join(
        f"deb [signed-by={key}] {server.url('/')} {suite} main\n"
        for suite in ("backports", "stable")
    )
    both = dataclasses.replace(sources(server, key), sources=combine(parse_one_line(text, "f")))
    index = await load_index(both)
    assert [(r.version, r.pin_priority) for r in index.candidates("app")] == [
        ("1.0", 500), ("1.1", 500),
    ]  # fmt: skip
    only = await load_index(sources(server, key, suite="backports"))
    assert {r.pin_priority for r in only.records()} == {100}
    chosen = sources(server, key, configuration='APT::Default-Release "stable";')
    assert {r.pin_priority for r in (await load_index(chosen)).records()} == {990}


async def test_cancelled_in_the_middle(server: FaultyServer, key: Path, archive: Archive) -> None:
    reached = asyncio.Event()

    async def stuck(request, out) -> None:
        reached.set()
        await asyncio.Event().wait()

    listed = archive.root / "dists/stable/main/binary-amd64/by-hash/SHA256"
    for name in os.listdir(listed):
        path = f"/dists/stable/main/binary-amd64/by-hash/SHA256/{name}"
        server.script(path, stuck)
    task = asyncio.ensure_future(load_index(sources(server, key)))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(settings.current().home / "apt/incoming") == []


async def test_a_damaged_memory_is_made_anew(server: FaultyServer, key: Path) -> None:
    configured = sources(server, key)
    await load_index(configured)
    home = settings.current().home / "apt"
    for file in [*home.glob("*.release"), *home.glob("indexes/*.index")]:
        file.write_bytes(file.read_bytes()[:50])
    assert versions(await load_index(configured), "mailer") == ["3"]


async def test_progress(server: FaultyServer, key: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    await load_index(sources(server, key), progress=lambda *line: seen.append(line))
    assert any(done == total > 0 for _, done, total in seen)
    assert seen[-1] == ("reading package list stable", 0, 0)
