"""Digests: the grammar, every rejected form, and safety as a file name."""

import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import InvalidDigestError
from nbdock.oci import Digest

HEX64 = "0123456789abcdef" * 4


@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha384", "sha512"]))
def test_digest_agrees_with_hashlib_and_survives_text(data, algorithm):
    digest = Digest.of(data, algorithm=algorithm)
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()
    assert Digest.parse(str(digest)) == digest
    assert hash(Digest.parse(str(digest))) == hash(digest)


@given(st.text(max_size=300))
def test_whatever_parses_is_safe_in_a_path(text):
    try:
        digest = Digest.parse(text)
    except InvalidDigestError:
        return
    assert str(digest) == text
    for part in (digest.algorithm, digest.hex):
        assert part not in ("", ".", "..")
        assert part.isascii()
        assert not set(part) & set("/\\: \n\0")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no colon"),
        (HEX64, "no colon"),
        ("sha256:", "64 hexadecimal digits, not 0"),
        ("sha256:" + HEX64[:-1], "64 hexadecimal digits, not 63"),
        ("sha256:" + HEX64 + "0", "not 65"),
        ("sha256:" + HEX64.upper(), "in capitals"),
        ("SHA256:" + HEX64, "algorithm is in capitals"),
        ("sha256:" + "g" * 64, "not hexadecimal"),
        ("sha512:" + HEX64, "128 hexadecimal digits"),
        ("blake3:" + "z" * 64, "not hexadecimal"),
        (":" + HEX64, "no name of an algorithm"),
        ("a..b:" + HEX64, "no name of an algorithm"),
        ("../../etc:passwd", "no name of an algorithm"),
        ("new:../../etc/passwd", "other than letters"),
        ("new:", "other than letters"),
        ("new:" + "a" * 300, "longer than"),
        ("sha256:" + HEX64[:-1] + "\n", "not hexadecimal"),
        ("sha256:" + HEX64[:-1] + "\N{ARABIC-INDIC DIGIT ONE}", "not hexadecimal"),
    ],
)
def test_rejected_forms_say_why(text, reason):
    with pytest.raises(InvalidDigestError, match=reason):
        Digest.parse(text)


def test_digest_of_an_unknown_algorithm_passes_but_cannot_be_computed():
    digest = Digest.parse("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8")
    assert not digest.is_computable
    with pytest.raises(InvalidDigestError, match="cannot compute"):
        digest.hasher()
    with pytest.raises(InvalidDigestError, match="Did you mean sha256"):
        Digest.of(b"", algorithm="sha-256")


def test_hasher_verifies_content():
    digest = Digest.sha256(b"ab")
    hasher = digest.hasher()
    hasher.update(b"a")
    hasher.update(b"b")
    assert Digest.of_hasher(hasher) == digest
    assert pickle.loads(pickle.dumps(digest)) == digest
    assert digest.short == digest.hex[:12]
