"""Narinfos: what Nix wrote is read as Nix reads it; all else is refused, with a reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.nix import Nix, NixCache

from nbdock.errors import BinaryCacheError
from nbdock.packages.nix import StorePath, format_hash, parse_hash
from nbdock.packages.nix.cache.narinfo import NarInfo, parse_narinfo

PATH = StorePath.parse("/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10")
HASH = "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"
FIELDS = {
    "StorePath": str(PATH),
    "URL": "nar/1b8m.nar.xz",
    "Compression": "xz",
    "FileHash": HASH,
    "FileSize": "41232",
    "NarHash": HASH,
    "NarSize": "206104",
    "References": f"{PATH.base_name} 6dq3xhbdsdh0hjgnhg0cx3bnxm6arjk1-glibc-2.37",
    "Deriver": "cjf2fqr6c3m3vvzdzqkmaicrl2m5hq0c-hello-2.10.drv",
    "Sig": "a-1:AAAA",
}


def written(*lines: str, **changes: str | None) -> bytes:
    fields = {**FIELDS, **changes}
    text = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\n".join([*text, *lines, ""]).encode()


def parse(text: bytes) -> NarInfo:
    return parse_narinfo(text, PATH, cache="https://cache.example.org")


def test_what_nix_wrote_is_read_as_nix_reads_it(nix: Nix, nix_cache: NixCache) -> None:
    store = f"file://{nix_cache.directory}"
    said = json.loads(
        nix.run("nix", "path-info", "--json", "--store", store, *nix_cache.store_paths)
    )
    assert len(said) == len(nix_cache.store_paths) > 50
    compressions = set()
    for facts in said:
        path = StorePath.parse(facts["path"])
        text = (nix_cache.directory / f"{path.hash_part}.narinfo").read_bytes()
        narinfo = parse_narinfo(text, path, cache="here")
        info = narinfo.info
        assert info.path == path
        assert info.nar_hash == parse_hash(facts["narHash"])
        assert info.nar_size_bytes == facts["narSize"]
        assert sorted(map(str, info.references)) == sorted(facts["references"])
        assert str(info.deriver or "") == facts.get("deriver", "")
        assert info.signatures == tuple(facts["signatures"])
        assert info.content_address == facts.get("ca", "")
        assert narinfo.file_hash is not None
        assert format_hash(narinfo.file_hash).startswith("sha256:")
        assert narinfo.file_size_bytes == facts["downloadSize"]
        compressions.add(narinfo.compression)
    assert compressions == {"xz", "zstd", "bzip2", "none"}


def test_what_may_be_left_out() -> None:
    few = parse(
        f"StorePath: {PATH}\nURL: nar/x.nar?hash=1b8m\nNarHash: {HASH}\nNarSize: 7".encode()
    )
    assert few.compression == "bzip2"
    assert few.file_hash is few.file_size_bytes is None
    assert few.info.references == few.info.signatures == ()
    assert few.info.deriver is None
    assert parse(written(Deriver="unknown-deriver")).info.deriver is None
    assert parse(written(FileSize="0")).file_size_bytes is None
    assert parse(written("System: x86_64-linux", "Sig: b-1:BBBB")).info.signatures == (
        "a-1:AAAA",
        "b-1:BBBB",
    )


def test_a_nar_that_is_not_compressed_is_its_own_file() -> None:
    plain = parse(written(Compression="none", FileHash=None, FileSize=None))
    assert plain.file_hash == plain.info.nar_hash
    assert plain.file_size_bytes == plain.info.nar_size_bytes
    with pytest.raises(BinaryCacheError, match="not compressed, but another file"):
        parse(written(Compression="none"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"StorePath": None}, "no StorePath"),
        ({"URL": None}, "no URL"),
        ({"NarHash": None}, "no NarHash"),
        ({"NarSize": ""}, "no NarSize"),
        ({"StorePath": "/nix/store/6dq3xhbdsdh0hjgnhg0cx3bnxm6arjk1-hello-2.10"}, "it is about"),
        ({"StorePath": f"/gnu/store/{PATH.base_name}"}, "it is about"),
        ({"References": "../../etc/passwd"}, "not a path in the store"),
        ({"References": "/nix/store/" + PATH.base_name}, "not a path in the store"),
        ({"References": PATH.base_name + "/bin"}, "not a path in the store"),
        ({"Deriver": "x"}, "not a path in the store"),
        ({"NarHash": "sha256:zzzz"}, "is not a hash"),
        ({"NarHash": "md5:d41d8cd98f00b204e9800998ecf8427e"}, "not of the algorithm sha256"),
        ({"FileHash": "sha1:" + "0" * 40}, "not of the algorithm sha256"),
        ({"NarSize": "-1"}, "which is no size"),
        ({"NarSize": "0"}, "no NAR is empty"),
        ({"NarSize": "9" * 19}, "which is no size"),
        ({"NarSize": "٣"}, "not text"),
        ({"NarSize": "1e9"}, "which is no size"),
        ({"FileSize": "0x10"}, "which is no size"),
        ({"URL": "/etc/passwd"}, "not one inside the cache"),
        ({"URL": "../other/x.nar"}, "not one inside the cache"),
        ({"URL": "nar/../../x.nar"}, "not one inside the cache"),
        ({"URL": "nar/%2e%2e/%2E%2E/x.nar"}, "not one inside the cache"),
        ({"URL": "nar/..%2f..%2fx.nar"}, "not one inside the cache"),
        ({"URL": "nar//x.nar"}, "not one inside the cache"),
        ({"URL": "nar\\x.nar"}, "not one inside the cache"),
        ({"URL": "file:///etc/passwd"}, "not one inside the cache"),
        ({"URL": "http://10.0.0.1/x.nar"}, "not one inside the cache"),
        ({"URL": "//10.0.0.1/x.nar"}, "not one inside the cache"),
        ({"URL": "nar/x\x7f.nar"}, "not one inside the cache"),
        ({"URL": "nar/" + "x" * 3000}, "not one inside the cache"),
    ],
)
def test_lies_are_refused(changes: dict[str, str | None], reason: str) -> None:
    with pytest.raises(BinaryCacheError, match=reason) as caught:
        parse(written(**changes))
    assert str(PATH) in caught.value.message
    assert caught.value.cache == "https://cache.example.org"
    assert caught.value.hint
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "Sig"])
def test_no_field_twice(name: str) -> None:
    with pytest.raises(BinaryCacheError, match=f"two fields {name}"):
        parse(written(f"{name}: {FIELDS[name]}"))


def test_no_line_that_is_no_field_and_no_thousand_signatures() -> None:
    with pytest.raises(BinaryCacheError, match="which is no field"):
        parse(b"<!doctype html>\n")
    with pytest.raises(BinaryCacheError, match="which is no field"):
        parse(written("", "a"))
    with pytest.raises(BinaryCacheError, match="more than 100 signatures"):
        parse(written(*["Sig: a-1:AAAA"] * 1000))


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 600), st.integers(0, 600))
@example(b"\xff", 0, 0)
def test_damage_is_an_error_or_harmless(damage: bytes, begin: int, length: int) -> None:
    whole = written()
    try:
        narinfo = parse(whole[:begin] + damage + whole[begin + length :])
    except BinaryCacheError:
        return
    assert narinfo.info.path == PATH
    assert ".." not in narinfo.url.split("/")


@settings(deadline=None)
@given(st.integers(0, len(written()) - 1))
def test_truncations(count: int) -> None:
    try:
        narinfo = parse(written()[:count])
    except BinaryCacheError:
        return
    # Only fields that a narinfo need not have, or that a signature covers, were lost.
    assert narinfo.info.path == PATH
