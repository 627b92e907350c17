"""Who signed: real signatures by GnuPG, and what must never be taken for one."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.apt_archive import Signer

from nbdock.errors import SignatureError, SourceConfigurationError
from nbdock.packages.debian.signatures import (
    read_keys,
    signed_part,
    verify_clearsigned,
    verify_detached,
)

TEXT = b"Origin: Tests\n- dashed\n-----BEGIN PGP SIGNATURE-----\n\nSHA256:\n 00 1 x\n"


@pytest.fixture(scope="module")
def alice() -> Iterator[Signer]:
    with Signer("alice@example.org", "rsa2048") as key:
        yield key


@pytest.fixture(scope="module")
def bob() -> Iterator[Signer]:
    with Signer("bob@example.org", "ed25519") as key:
        yield key


@pytest.mark.parametrize("armour", [False, True])
def test_clearsigned(alice: Signer, bob: Signer, armour: bool) -> None:
    keys = read_keys(alice.public_key(armour=armour) + bob.public_key(armour=armour))
    assert len(keys) == 2
    for signer in (alice, bob):
        found = verify_clearsigned(signer.clearsign(TEXT), keys)
        assert found.text == TEXT
        assert found.signers == (signer.fingerprint,)


def test_the_known_one_of_two_signatures_is_enough(alice: Signer, bob: Signer) -> None:
    both = alice.detach(TEXT, armour=False) + bob.detach(TEXT, armour=False)
    for signer in (alice, bob):
        found = verify_detached(TEXT, both, read_keys(signer.public_key()))
        assert found.signers == (signer.fingerprint,)
    armoured = alice.detach(TEXT) + bob.detach(TEXT)
    keys = read_keys(alice.public_key() + bob.public_key())
    assert verify_detached(TEXT, armoured, keys).signers == (alice.fingerprint, bob.fingerprint)


def test_by_a_stranger(alice: Signer, bob: Signer) -> None:
    keys = read_keys(bob.public_key())
    with pytest.raises(SignatureError, match=alice.fingerprint) as caught:
        verify_clearsigned(alice.clearsign(TEXT), keys)
    assert "keyrings" in (caught.value.hint or "")
    with pytest.raises(SignatureError, match="No signature is valid"):
        verify_detached(TEXT, alice.detach(TEXT), keys)


@pytest.mark.parametrize(
    "tamper",
    [
        lambda data: data.replace(b"Tests", b"Pests"),
        lambda data: data.replace(b"SHA256:\n", b"SHA256:\n 11 2 y\n"),
        lambda data: data.replace(b"Hash: SHA512", b"Hash: MD5"),
    ],
)
def test_changed(alice: Signer, tamper) -> None:
    data = alice.clearsign(TEXT)
    changed = tamper(data)
    if changed == data:
        pytest.fail("the tampering changed nothing")
    keys = read_keys(alice.public_key())
    # A changed header that nobody relies on may pass, but only with the text that was signed.
    with contextlib.suppress(SignatureError):
        assert verify_clearsigned(changed, keys).text == TEXT
    with pytest.raises(SignatureError):
        verify_detached(tamper(TEXT + b"Hash: SHA512"), alice.detach(TEXT), keys)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: b"Origin: Evil\n\n" + data,
        lambda data: data + b"Origin: Evil\n",
        lambda data: data + data,
        lambda data: data.replace(b"\n\n", b"\nComment: Evil\n\n", 1),
        lambda data: data.replace(b"-----BEGIN PGP SIGNATURE", b"-----BEGIN EVIL", 1),
        lambda data: TEXT,
        lambda data: b"",
        lambda data: data[:-60],
        lambda data: data.split(b"-----BEGIN PGP SIGNATURE")[0],
    ],
)
def test_text_beside_what_was_signed(alice: Signer, wrap) -> None:
    data = alice.clearsign(TEXT.replace(b"-----", b"====="))
    with pytest.raises(SignatureError):
        verify_clearsigned(wrap(data), read_keys(alice.public_key()))


def test_weak_digests_are_refused(alice: Signer) -> None:
    weak = alice.clearsign(TEXT, "--digest-algo", "SHA1", "--weak-digest", "MD5")
    with pytest.raises(SignatureError):
        verify_clearsigned(weak, read_keys(alice.public_key()))


def test_fingerprints_narrow_down(alice: Signer, bob: Signer) -> None:
    keys = read_keys(alice.public_key() + bob.public_key())
    data = alice.clearsign(TEXT)
    for name in (alice.fingerprint, f"{alice.fingerprint}!", f"0x{alice.fingerprint.lower()}"):
        assert verify_clearsigned(data, keys, fingerprints=[name]).signers == (alice.fingerprint,)
    with pytest.raises(SignatureError, match="Signed-By"):
        verify_clearsigned(data, keys, fingerprints=[bob.fingerprint])


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"\x99\x01", b"-----BEGIN PGP PUBLIC KEY BLOCK"]
)
def test_no_keyring(data: bytes) -> None:
    with pytest.raises(SourceConfigurationError, match="ring"):
        read_keys(data, "ring")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xc2\xff\xff\xff\xff\xff"])
def test_no_signature(alice: Signer, data: bytes) -> None:
    with pytest.raises(SignatureError):
        verify_detached(TEXT, data, read_keys(alice.public_key()))


def test_dashes_are_unescaped_like_gnupg_does(alice: Signer) -> None:
    assert signed_part(alice.clearsign(TEXT)) == TEXT
    assert signed_part(TEXT) is None


def test_gpgv_agrees(alice: Signer, bob: Signer, tmp_path: Path) -> None:
    key = alice.export(tmp_path / "key.gpg")
    for signer, good in ((alice, True), (bob, False)):
        file = tmp_path / "InRelease"
        file.write_bytes(signer.clearsign(TEXT))
        theirs = subprocess.run(["gpgv", "--keyring", key, file], capture_output=True, check=False)
        assert (theirs.returncode == 0) is good
