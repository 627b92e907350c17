"""Store paths computed here are those that real Nix gives the same content."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from support import trees
from support.nix import Nix

from nbdock.errors import InvalidDigestError, InvalidStorePathError
from nbdock.filetree import scan_directory
from nbdock.oci import Digest
from nbdock.packages.nix import (
    StorePath,
    content_address,
    content_addressed_path,
    dump_path,
    fixed_path,
    format_hash,
    nar_hash,
    source_path,
    text_path,
)

TREES = 300


def nar_digest(path: Path, algorithm: str = "sha256") -> Digest:
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    dump_path(path, hasher.update)
    return Digest(algorithm, hasher.hexdigest())


def test_hundreds_of_trees_get_the_paths_of_nix_store_add(nix: Nix, tmp_path: Path) -> None:
    rng = random.Random(1)
    added = []
    for seed in range(TREES):
        place = tmp_path / f"{seed:03}{trees.random_name(rng)}"[:200]
        trees.write_random(place, seed)
        added.append(place)
    told = nix.run("nix-store", "--add", *added).split()
    nars = [nar_hash(scan_directory(str(place))) for place in added]
    assert [
        str(source_path(p.name, digest)) for p, (digest, _) in zip(added, nars, strict=True)
    ] == told
    assert [format_hash(digest) for digest, _ in nars] == nix.run(
        "nix-store", "--query", "--hash", *told
    ).split()
    assert [str(size) for _, size in nars] == nix.run(
        "nix-store", "--query", "--size", *told
    ).split()


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_fixed_outputs_get_the_paths_of_nix_store_add_fixed(
    nix: Nix, tmp_path: Path, algorithm: str
) -> None:
    files, directories = [], []
    for number in range(10):
        file = tmp_path / f"file-{number}.tar.gz"
        file.write_bytes(f"{algorithm} {number}".encode() * number)
        file.chmod(0o755 if number % 2 else 0o644)
        files.append(file)
        directories.append(tmp_path / f"tree-{number}")
        trees.write_random(directories[-1], 1000 + number)
    flat = nix.run("nix-store", "--add-fixed", algorithm, *files).split()
    deep = nix.run("nix-store", "--add-fixed", "--recursive", algorithm, *directories).split()
    for place, path in zip(files, flat, strict=True):
        hasher = hashlib.new(algorithm, place.read_bytes(), usedforsecurity=False)
        digest = Digest(algorithm, hasher.hexdigest())
        assert str(fixed_path(place.name, digest)) == path
        address = content_address(digest, recursive=False)
        assert str(content_addressed_path(place.name, address)) == path
    for place, path in zip(directories, deep, strict=True):
        digest = nar_digest(place, algorithm)
        assert str(fixed_path(place.name, digest, recursive=True)) == path
        assert str(content_addressed_path(place.name, content_address(digest))) == path
        told = nix.run("nix-store", "--print-fixed-path", "--recursive", algorithm,
                       format_hash(digest, prefixed=False), place.name)  # fmt: skip
        assert told.strip() == path


def test_texts_with_references_get_the_paths_of_to_file(nix: Nix, tmp_path: Path) -> None:
    expression = """
      let
        a = builtins.toFile "a" "plain";
        b = builtins.toFile "b" "to ${a}";
        c = builtins.toFile "c" "to ${b}, ${a}, ${a}";
      in [ a b c (builtins.toFile "leer" "") ]
    """
    told = json.loads(nix.run("nix-instantiate", "--eval", "--strict", "--json", "-E", expression))
    a = text_path("a", b"plain")
    b = text_path("b", f"to {a}".encode(), references=[a])
    text = f"to {b}, {a}, {a}".encode()
    c = text_path("c", text, references=[a, b, a])
    assert told == list(map(str, [a, b, c, text_path("leer", b"")]))
    assert text_path("c", Digest.sha256(text), references=[b, a]) == c
    address = content_address(Digest.sha256(text), text=True)
    assert content_addressed_path("c", address, references=[a, b]) == c


def test_whatever_nix_knows_to_be_content_addressed_has_the_path_of_its_address(nix: Nix) -> None:
    # Paths of derivations rewritten to be named after their content: they refer to each other,
    # and to themselves.
    own = nix.build_expression(
        'pkgs.runCommand "own" { } "mkdir $out; echo $out ${pkgs.hello} >$out/places"'
    )
    nix.run("nix", "store", "make-content-addressed", own)
    known = json.loads(nix.run("nix", "path-info", "--all", "--json"))
    found = [info for info in known if info.get("ca")]
    selves = links = 0
    for info in found:
        path = StorePath.parse(info["path"])
        references = [StorePath.parse(text) for text in info["references"]]
        others = [other for other in references if other != path]
        selves += path in references
        links += bool(others) and info["ca"].startswith("fixed:r:")
        assert path == content_addressed_path(
            path.name, info["ca"], references=others, self_reference=path in references
        )
    assert selves
    assert links


@pytest.mark.parametrize("store_dir", ["/gnu/store", "/home/me/own/store"])
def test_the_store_may_be_elsewhere(tmp_path: Path, nix: Nix, store_dir: str) -> None:
    file = tmp_path / "file"
    file.write_text("data")
    digest = Digest.sha256(b"data")
    told = nix.run("env", f"NIX_STORE_DIR={store_dir}", f"NIX_REMOTE=local?root={tmp_path}",
                   "nix-store", "--print-fixed-path", "sha256", digest.hex, "file")  # fmt: skip
    assert str(fixed_path("file", digest, store_dir=store_dir)) == told.strip()
    # A reference is in the same store as what refers to it.
    other = text_path("other", b"", store_dir=store_dir)
    assert other.store_dir == store_dir
    one = text_path("x", b"", references=[other], store_dir=store_dir)
    assert one != text_path("x", b"", store_dir=store_dir)


def test_what_has_no_store_path() -> None:
    sha1 = Digest("sha1", "0" * 40)
    with pytest.raises(InvalidDigestError, match="not by sha1"):
        source_path("x", sha1)
    with pytest.raises(InvalidDigestError, match="blake3"):
        fixed_path("x", Digest("blake3", "0" * 64))
    for name in ("", ".", "a b", "a/b", "é", "\udcff", "x" * 212):
        with pytest.raises(InvalidStorePathError):
            source_path(name, Digest.sha256(b""))
    for address in ("", "fixed", "text", "git:sha1:" + "0" * 40):
        if ":" in address or address in ("", "git"):
            assert content_addressed_path("x", address) is None
        else:
            with pytest.raises(InvalidDigestError):
                content_addressed_path("x", address)
    other = text_path("y", b"")
    flat = content_address(Digest.sha256(b""), recursive=False)
    assert content_addressed_path("x", flat, references=[other]) is None
    assert content_addressed_path("x", content_address(sha1), self_reference=True) is None
