"""Nix's base 32 and its hashes: as Nix writes and reads them, and nothing else."""

from __future__ import annotations

import hashlib
import random
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import InvalidDigestError
from nbdock.oci import Digest
from nbdock.packages.nix import format_hash, parse_hash
from nbdock.packages.nix.base32 import DIGITS, HASH_SIZES_BYTES, decode, encode

EMPTY = Digest.sha256(b"")
BASE32 = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"


def naive(data: bytes) -> str:
    """Digit by digit, five bits each, from the end."""
    bits = "".join(f"{byte:08b}" for byte in reversed(data))
    bits = "0" * (-len(bits) % 5) + bits
    return "".join(DIGITS[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


@given(st.binary(max_size=80))
def test_every_text_of_bytes_is_read_back(data: bytes) -> None:
    text = encode(data)
    assert text == naive(data)
    assert decode(text, len(data)) == data


@given(st.text(alphabet=DIGITS + "eotuA!", max_size=60), st.integers(0, 40))
def test_a_text_is_either_refused_or_the_only_one_for_its_bytes(text: str, size: int) -> None:
    try:
        data = decode(text, size)
    except InvalidDigestError:
        return
    assert encode(data) == text


@pytest.mark.parametrize("algorithm", HASH_SIZES_BYTES)
def test_hashes_are_those_of_nix(algorithm: str) -> None:
    rng = random.Random(algorithm)
    hashes = [hashlib.new(algorithm, rng.randbytes(9)).hexdigest() for _ in range(50)]

    def told(*command: str) -> list[str]:
        return subprocess.run(
            [*command, *hashes], capture_output=True, text=True, check=True
        ).stdout.split()

    digests = [Digest(algorithm, text) for text in hashes]
    in_base32 = told("nix-hash", "--type", algorithm, "--to-base32")
    experimental = ("nix", "--extra-experimental-features", "nix-command", "hash")
    in_sri = told(*experimental, "to-sri", "--type", algorithm)
    assert [format_hash(d, prefixed=False) for d in digests] == in_base32
    assert [format_hash(d, "sri") for d in digests] == in_sri
    for forms in (in_base32, hashes, [s.partition("-")[2] for s in in_sri]):
        assert [parse_hash(text, algorithm=algorithm) for text in forms] == digests
        assert [parse_hash(f"{algorithm}:{text}") for text in forms] == digests
    assert [parse_hash(text) for text in in_sri] == digests


def test_forms() -> None:
    assert format_hash(EMPTY) == f"sha256:{BASE32}"
    assert format_hash(EMPTY, "hex") == f"sha256:{EMPTY.hex}"
    assert format_hash(EMPTY, "hex", prefixed=False) == EMPTY.hex
    assert parse_hash(f"sha256:{EMPTY.hex.upper()}") == EMPTY
    assert parse_hash(f"sha256:{BASE32}", algorithm="sha256") == EMPTY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "algorithm"),
        (BASE32, "algorithm"),
        ("sha256:", "0 characters"),
        (f"sha256:{BASE32[:-1]}", "51 characters"),
        (f"sha256:{BASE32}0", "53 characters"),
        (f"sha256:{BASE32[:-1]}e", "'e' is not a digit"),
        (f"sha256:z{BASE32[1:]}", "too great"),
        (f"sha256-{BASE32}", "not 44"),
        (f"sha256-{EMPTY.hex}", "not 44"),
        ("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "43 characters"),
        ("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=", "last digit"),
        ("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA", "last digit"),
        ("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSu\nU=", "base 64"),
        ("sha256:" + "g" * 64, "hexadecimal"),
        ("sha256:" + "0" * 62 + "_0", "hexadecimal"),
        ("sha256: " + BASE32[1:], "not a digit"),
        ("sha256:\N{FULLWIDTH DIGIT ZERO}" + BASE32[1:], "not a digit"),
        ("sha265:" + BASE32, "Did you mean sha256?"),
        ("blake3:" + EMPTY.hex, "It knows: md5"),
    ],
)
def test_what_is_no_hash_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidDigestError) as caught:
        parse_hash(text)
    assert said in str(caught.value)
    assert text.endswith(caught.value.value)


def test_another_algorithm_is_refused_when_one_is_wanted() -> None:
    with pytest.raises(InvalidDigestError, match="not of the algorithm sha512"):
        parse_hash(f"sha256:{BASE32}", algorithm="sha512")
