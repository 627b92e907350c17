"""Platforms: every name people use, what documents say, and matching."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import InvalidManifestError, InvalidPlatformError
from nbdock.oci import Platform


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("aarch64", "linux/arm64/v8"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64/8", "linux/arm64/v8"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("armhf", "linux/arm/v7"),
        ("armv7l", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("armv6l", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/5", "linux/arm/v5"),
        ("i686", "linux/386"),
        ("i386", "linux/386"),
        ("ppc64el", "linux/ppc64le"),
        ("s390x", "linux/s390x"),
        ("riscv64", "linux/riscv64"),
        ("loongarch64", "linux/loong64"),
        ("mips64el", "linux/mips64le"),
        ("Linux/AMD64", "linux/amd64"),
        ("macos/arm64", "darwin/arm64/v8"),
        ("windows/amd64", "windows/amd64"),
        ("unknown/unknown", "unknown/unknown"),
    ],
)
def test_names(text, canonical):
    platform = Platform.parse(text)
    assert str(platform) == canonical
    assert Platform.parse(canonical) == platform
    assert platform.normalised() == platform


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a platform"),
        ("linux/", "not a platform"),
        ("linux/amd64/v1/x", "not a platform"),
        ("linux amd64", "not a platform"),
        ("linux/*", "not a platform"),
        ("linus/amd64", "Did you mean linux"),
        ("linux/amd65", "Did you mean amd64"),
        ("linux/aarch65", "Did you mean aarch64"),
        ("amd65", "Did you mean amd64"),
        ("z80", "For example amd64"),
    ],
)
def test_rejected_forms_say_why(text, reason):
    with pytest.raises(InvalidPlatformError) as caught:
        Platform.parse(text)
    assert reason in str(caught.value)


def test_host_is_linux_on_this_processor():
    host = Platform.host()
    assert host.os == "linux"
    assert Platform.parse("linux").architecture == host.architecture
    if os.path.exists("/usr/bin/dpkg"):
        told = subprocess.run(
            ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert Platform.parse(told).architecture == host.architecture


name = st.from_regex(r"[a-z0-9_.]{1,8}", fullmatch=True)


platforms = st.builds(
    Platform,
    name,
    name,
    st.just("") | name,
    os_version=st.just("") | name,
    os_features=st.lists(name).map(tuple),
    extra=st.dictionaries(st.sampled_from(["features", "x"]), st.lists(name)),
)


@given(platforms)
def test_every_platform_survives_a_document(platform):
    assert Platform.from_json(platform.to_json()) == platform
    assert platform.matches(platform.normalised())


def test_what_a_document_says_stays():
    document = {"os": "linux", "architecture": "arm64", "features": ["sse4"]}
    platform = Platform.from_json(document)
    assert platform.variant == ""
    assert platform.matches(Platform.parse("linux/aarch64"))
    assert not platform.matches(Platform.parse("linux/arm"))
    assert platform.to_json() == {
        "architecture": "arm64", "os": "linux", "features": ("sse4",),
    }  # fmt: skip
    with pytest.raises(InvalidManifestError, match=r"\$\.architecture"):
        Platform.from_json({"os": "linux"})
