"""Who vouches for a store path: compared with what Nix itself signs and takes unsigned."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nix import Nix, NixCache

from nbdock.errors import ArgumentTypeError, DigestMismatchError, SignatureError
from nbdock.packages.nix import PathInfo, StorePath, parse_hash
from nbdock.packages.nix.cache.contentaddress import check_content, names_its_content
from nbdock.packages.nix.cache.narinfo import parse_narinfo
from nbdock.packages.nix.cache.signatures import TrustedKeys, fingerprint

OTHER_KEY = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
CACHE = "https://cache.example.org"

# What the public cache says of a path, and has signed.
PUBLIC = PathInfo(
    path=StorePath.parse("/nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin"),
    nar_hash=parse_hash("sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0"),
    nar_size_bytes=196040,
    references=tuple(
        sorted(
            StorePath.parse(f"/nix/store/{name}")
            for name in (
                "0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0",
                "6w8g7njm4mck5dmjxws0z1xnrxvl81xa-glibc-2.34-115",
                "j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12",
                "yxvjs9drzsphm9pcf42a4byzj1kb9m7k-openssl-1.1.1n",
            )
        )
    ),
    signatures=(
        (
            "cache.nixos.org-1:TsTTb3WGTZKphvYdBHXwo6weVILmTytUjLB+vcX89fOjjRicCHmKA4RCPMVLkj6TMJ4G"
            "MX3HPVWRdD1hkeKZBQ=="
        ),
    ),
)  # fmt: skip


def infos(cache: NixCache) -> Iterator[PathInfo]:
    for text in cache.store_paths:
        path = StorePath.parse(text)
        data = (cache.directory / f"{path.hash_part}.narinfo").read_bytes()
        yield parse_narinfo(data, path, cache=CACHE).info


def test_the_public_cache_by_its_own_key() -> None:
    """Facts that Nix's own tests hold: a path of the public cache, signed years ago."""
    keys = TrustedKeys([OTHER_KEY])
    assert keys.vouch(PUBLIC, cache=CACHE)
    with pytest.raises(SignatureError, match="not what the key cache"):
        keys.vouch(dataclasses.replace(PUBLIC, nar_size_bytes=196041), cache=CACHE)


def test_what_nix_signed_is_vouched_for(nix_cache: NixCache) -> None:
    keys = TrustedKeys([OTHER_KEY, nix_cache.public_key])
    assert all(keys.vouch(info, cache=CACHE) for info in infos(nix_cache))


def test_every_fact_that_is_signed_counts(nix_cache: NixCache) -> None:
    keys = TrustedKeys([nix_cache.public_key])
    info, other = (i for i in infos(nix_cache) if i.path.package_name in ("hello", "redis"))
    changed = [
        {"path": other.path},
        {"nar_hash": other.nar_hash},
        {"nar_size_bytes": info.nar_size_bytes + 1},
        {"references": info.references[1:]},
        {"references": (*info.references, other.path)},
        {"signatures": other.signatures},
        {"signatures": (info.signatures[0][:-8] + "AAAAAA==",)},
        {"signatures": (info.signatures[0].partition(":")[0] + ":",)},
        {"signatures": (info.signatures[0].partition(":")[0] + ":%%%",)},
    ]
    for change in changed:
        lie = dataclasses.replace(info, **change)
        with pytest.raises(
            SignatureError, match="not what the key nbdock-tests-1 signed"
        ) as caught:
            keys.vouch(lie, cache=CACHE)
        assert str(lie.path) in caught.value.message
        assert CACHE in caught.value.message
    # The order in which a narinfo has the references, and who built it, are nobody's promise.
    turned = dataclasses.replace(info, references=info.references[::-1], deriver=None)
    assert keys.vouch(turned, cache=CACHE)


def test_one_good_signature_is_enough(nix_cache: NixCache) -> None:
    keys = TrustedKeys([nix_cache.public_key])
    info = next(infos(nix_cache))
    bad = info.signatures[0].replace(":", ":AAAA", 1)
    many = dataclasses.replace(info, signatures=(bad, "unknown-1:AAAA", *info.signatures, bad))
    assert keys.vouch(many, cache=CACHE)


def test_unsigned_and_unknown(nix_cache: NixCache) -> None:
    keys = TrustedKeys([OTHER_KEY])
    info = next(infos(nix_cache))
    with pytest.raises(SignatureError, match="signed by nbdock-tests-1 only") as caught:
        keys.vouch(info, cache=CACHE)
    assert "cache.nixos.org-1" in caught.value.message
    assert "trusted_keys" in str(caught.value.hint)
    with pytest.raises(SignatureError, match="it is not signed"):
        keys.vouch(dataclasses.replace(info, signatures=()), cache=CACHE)
    with pytest.raises(SignatureError, match="trusted are no keys"):
        TrustedKeys([]).vouch(info, cache=CACHE)
    # A name is the cache's own text: it cannot take over the terminal.
    odd = dataclasses.replace(info, signatures=("\x1b[2J" + "x" * 500 + ":AAAA",))
    with pytest.raises(SignatureError) as caught:
        keys.vouch(odd, cache=CACHE)
    assert "\x1b" not in str(caught.value)
    assert len(caught.value.message) < 400


def test_a_key_of_the_same_name_is_another_key(
    nix: Nix, nix_cache: NixCache, tmp_path: Path
) -> None:
    nix.run("nix-store", "--generate-binary-cache-key", "nbdock-tests-1",
            tmp_path / "secret", tmp_path / "public")  # fmt: skip
    impostor = (tmp_path / "public").read_text().strip()
    info = next(infos(nix_cache))
    with pytest.raises(SignatureError, match="not what the key nbdock-tests-1 signed"):
        TrustedKeys([impostor]).vouch(info, cache=CACHE)
    # While a cache changes its key, both may be trusted.
    assert TrustedKeys([impostor, nix_cache.public_key]).vouch(info, cache=CACHE)


@pytest.mark.parametrize("text", ["", "name", ":AAAA", "name:", "name:AAAA", "name:%"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="not a public key") as caught:
        TrustedKeys([text])
    assert caught.value.argument == "trusted_keys"


def test_a_secret_key_is_not_shown(nix_cache: NixCache) -> None:
    secret = nix_cache.secret_key_file.read_text().strip()
    with pytest.raises(ArgumentTypeError) as caught:
        TrustedKeys([secret])
    assert "length of a secret key" in caught.value.message
    assert secret.partition(":")[2][:20] not in str(caught.value)


# Paths that are named after their content


@pytest.fixture(scope="module")
def named(nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PathInfo]:
    """What Nix says of store paths that it named after their content, by how it made them."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "tree").mkdir()
    (folder / "tree/file").write_text("content")
    (folder / "tree/program").write_text("#!/bin/sh")
    (folder / "tree/program").chmod(0o755)
    (folder / "flat").write_text("flat")
    text = 'toString (builtins.toFile "greeting" "hello")'
    drv = 'derivation { name = "nothing"; system = "x86_64-linux"; builder = "/bin/sh"; }'
    found = {
        "nar": nix.run("nix-store", "--add", folder / "tree"),
        "nar of a file": nix.run("nix-store", "--add", folder / "flat"),
        "text": json.loads(
            nix.run("nix-instantiate", "--eval", "--read-write-mode", "--json", "-E", text)
        ),
        "derivation": nix.run("nix-instantiate", "-E", drv),
    }
    for algorithm in ("md5", "sha1", "sha256", "sha512"):
        add = ("nix-store", "--add-fixed", algorithm)
        found[f"flat {algorithm}"] = nix.run(*add, folder / "flat")
        found[f"nar {algorithm}"] = nix.run(*add, "--recursive", folder / "tree")
    # Rewritten to be named after what they hold, with references and to themselves.
    for name, attribute in (("references", "hello"), ("itself", "oddities.self")):
        path = nix.build(attribute)
        said = nix.run("nix", "store", "make-content-addressed", "--json", path)
        found[name] = json.loads(said)["rewrites"][path]
    found = {how: path.strip() for how, path in found.items()}
    cache = f"file://{folder / 'cache'}?compression=none"
    nix.run("nix", "copy", "--derivation", "--to", cache, found["derivation"])
    nix.run("nix", "copy", "--to", cache, *(p for p in found.values() if not p.endswith(".drv")))
    return {how: described(folder / "cache", path) for how, path in found.items()}


def described(cache: Path, text: str) -> PathInfo:
    path = StorePath.parse(text)
    data = (cache / f"{path.hash_part}.narinfo").read_bytes()
    info = parse_narinfo(data, path, cache=CACHE).info
    assert info.content_address
    assert not info.signatures
    return info


def nar_of(nix: Nix, info: PathInfo) -> bytes:
    return nix.run_bytes("nix-store", "--dump", str(nix.path(str(info.path))))


def test_content_vouches_for_itself(nix: Nix, named: dict[str, PathInfo]) -> None:
    keys = TrustedKeys([OTHER_KEY])
    for how, info in named.items():
        nar = nar_of(nix, info)
        assert keys.vouch(info, cache=CACHE) is False, how
        # In pieces that cut a name in two.
        check_content(info, (nar[at : at + 37] for at in range(0, len(nar), 37)))
        check_content(info, [nar])
    assert named["itself"].path in named["itself"].references
    assert named["references"].references
    assert {info.content_address.rpartition(":")[0] for info in named.values()} == {
        "fixed:md5", "fixed:sha1", "fixed:sha256", "fixed:sha512", "fixed:r:md5", "fixed:r:sha1",
        "fixed:r:sha256", "fixed:r:sha512", "text:sha256",
    }  # fmt: skip


def test_forged_content_is_found_out(nix: Nix, named: dict[str, PathInfo]) -> None:
    """The path and the CA field agree, but the NAR (and its hash) is another one."""
    other = named.pop("derivation")
    forged = nar_of(nix, other)
    for info in named.values():
        lie = dataclasses.replace(info, nar_hash=other.nar_hash)
        if names_its_content(lie):
            with pytest.raises(DigestMismatchError, match="is named after content") as caught:
                check_content(lie, [forged])
            assert str(info.path) in caught.value.message
        else:
            # Here the hash of the NAR is in the path: no need to wait for the content.
            assert info.content_address.startswith("fixed:r:sha256")
    named["derivation"] = other


def test_claims_that_are_not_true(named: dict[str, PathInfo]) -> None:
    keys = TrustedKeys([OTHER_KEY])
    tree, reference = named["nar"], named["flat sha1"]
    for change in (
        {"content_address": "fixed:r:sha256:" + "0" * 52},
        {"content_address": "text:" + tree.content_address.removeprefix("fixed:r:")},
        {"content_address": tree.content_address.replace("r:", "")},
        {"content_address": "fixed:r:sha256"},
        {"content_address": "fixed"},
        {"content_address": ":::"},
        {"references": (reference.path,)},
        {"references": (tree.path,)},
        {"path": reference.path},
    ):
        with pytest.raises(SignatureError, match="it is not signed"):
            keys.vouch(dataclasses.replace(tree, **change), cache=CACHE)


def test_fingerprint(nix_cache: NixCache) -> None:
    assert fingerprint(PUBLIC).decode() == (
        "1;/nix/store/syd87l2rxw8cbsxmxl853h0r6pdwhwjr-curl-7.82.0-bin;"
        "sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0;196040;"
        "/nix/store/0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0,"
        "/nix/store/6w8g7njm4mck5dmjxws0z1xnrxvl81xa-glibc-2.34-115,"
        "/nix/store/j5jxw3iy7bbz4a57fh9g2xm2gxmyal8h-zlib-1.2.12,"
        "/nix/store/yxvjs9drzsphm9pcf42a4byzj1kb9m7k-openssl-1.1.1n"
    )
