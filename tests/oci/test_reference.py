"""References: Docker's short names, every rejected form, and skopeo as the oracle."""

import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdock.errors import InvalidReferenceError
from nbdock.oci import Digest, Reference

HEX64 = "a" * 64
DIGEST = f"sha256:{HEX64}"
SHA512 = "sha512:" + "f" * 128

ACCEPTED = [
    # what is typed, canonical, Docker's short form
    ("redis", "docker.io/library/redis", "redis"),
    ("redis:7", "docker.io/library/redis:7", "redis:7"),
    ("library/redis", "docker.io/library/redis", "redis"),
    ("docker.io/redis", "docker.io/library/redis", "redis"),
    ("docker.io/library/redis:latest", "docker.io/library/redis:latest", "redis:latest"),
    ("index.docker.io/redis", "docker.io/library/redis", "redis"),
    ("index.docker.io/library/redis", "docker.io/library/redis", "redis"),
    ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
    ("team/app", "docker.io/team/app", "team/app"),
    ("a/b/c/d", "docker.io/a/b/c/d", "a/b/c/d"),
    ("localhost/app", "localhost/app", "localhost/app"),
    ("localhost", "docker.io/library/localhost", "localhost"),
    ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
    ("localhost:5000/app", "localhost:5000/app", "localhost:5000/app"),
    ("ghcr.io/o/r:v1", "ghcr.io/o/r:v1", "ghcr.io/o/r:v1"),
    ("test.com", "docker.io/library/test.com", "test.com"),
    ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000/repo:5050", "192.168.1.1:5000/repo:5050"),
    ("xn--n3h.com/m:xn--n3h.com", "xn--n3h.com/m:xn--n3h.com", "xn--n3h.com/m:xn--n3h.com"),
    ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f", "a__b/c--d.e_f"),
    ("a:" + "t" * 128, "docker.io/library/a:" + "t" * 128, "a:" + "t" * 128),
    ("a:_1.-X", "docker.io/library/a:_1.-X", "a:_1.-X"),
    (f"redis@{DIGEST}", f"docker.io/library/redis@{DIGEST}", f"redis@{DIGEST}"),
    (f"redis:7@{DIGEST}", f"docker.io/library/redis:7@{DIGEST}", f"redis:7@{DIGEST}"),
    (f"h:1/r@{SHA512}", f"h:1/r@{SHA512}", f"h:1/r@{SHA512}"),
    ("a" * 200, "docker.io/library/" + "a" * 200, "a" * 200),
]

# Accepted by Docker today; the oracle's grammar is older or its transport reads [ ] itself.
ACCEPTED_BY_NEWER = [
    ("[::1]:5000/x", "[::1]:5000/x"),
    ("[2001:db8::1]/repo:tag", "[2001:db8::1]/repo:tag"),
    ("Host/app", "Host/app"),
]

REJECTED = [
    ("", "it is empty", "Write name:tag"),
    (" redis", "blank around it", "Write 'redis'"),
    ("redis\n", "blank around it", "Write 'redis'"),
    ("re dis", "a blank in it", "Only ASCII"),
    ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "in it .character 4", "Only ASCII"),
    ("a\0b", "in it", "Only ASCII"),
    ("https://docker.io/redis", "no 'https://' before it", "Write 'docker.io/redis'"),
    ("docker://redis", "no 'docker://' before it", "Write 'redis'"),
    ("docker-archive:x", "no 'docker-archive:' before it", "Write 'x'"),
    (HEX64, "an image ID", f"name@sha256:{HEX64}"),
    (DIGEST, "digest alone", "name@sha256"),
    ("@" + DIGEST, "no name before the digest", "name@sha256"),
    (":tag", "no name before the tag", "name:tag"),
    ("redis:", "no tag after the colon", "leave the colon out"),
    ("redis@", "no digest after the @", "leave @ out"),
    ("redis@sha256:abc", "64 hexadecimal digits, not 3", "whole digest"),
    ("redis@" + DIGEST.upper(), "algorithm is in capitals", "sha256"),
    ("redis@sha256:" + HEX64.upper(), "in capitals", "lower case"),
    ("redis@md5:" + "0" * 32, "cannot be verified", "sha256"),
    (f"redis@{DIGEST}@{DIGEST}", "more than one @", "name:tag@"),
    (f"redis@{DIGEST}:7", "a tag stands after the digest", "name:tag@"),
    ("Redis", "capitals in the repository", "Write 'redis'"),
    ("docker.io/Library/redis", "capitals in the repository", "Write 'library'"),
    ("a/B:t", "capitals in the repository", "Write 'b'"),
    ("a:b:c", "':' in the tag", "Only letters"),
    ("a:b:c/d", "port", "5000"),
    ("h:1/a:b/c", "colon in the middle", "after the last slash"),
    ("a//b", "between two slashes is empty", "name/name"),
    ("a/", "between two slashes is empty", "name/name"),
    ("/a", "between two slashes is empty", "name/name"),
    ("localhost/", "no repository after 'localhost/'", "registry/name"),
    ("h.io/", "no repository after 'h.io/'", "registry/name"),
    ("[::1]:5000", "a registry without a repository", "registry/name"),
    ("[::1/x", "not closed", None),
    ("[fe80::1%eth0]:5000/x", "has a zone", "Leave out"),
    ("[zz]/x", "not an IPv6 address", None),
    ("[::ffff:1.2.3.4]/x", "IPv4 part", None),
    ("[::1]x/y", "other than a port", None),
    ("::1/x", "not a registry's host name", "in brackets"),
    ("a_b.com/x", "not a registry's host name", "hyphens"),
    ("-a.com/x", "not a registry's host name", "hyphens"),
    ("a..com/x", "not a registry's host name", "hyphens"),
    ("h:/x", "'' is not a port", "5000"),
    ("h:port/x", "'port' is not a port", "5000"),
    ("h:99999/x", "no port 99999", None),
    ("h:0/x", "no port 0", None),
    ("../x", "not a registry's host name", "hyphens"),
    ("a/../x", "begin and end", None),
    ("a/.hidden", "begin and end", None),
    ("a-", "begin and end", None),
    ("_a", "begin and end", None),
    ("a___b", "separators", "one or two underscores"),
    ("a.-b", "separators", "one dot"),
    ("aa/asdf$$^/aa", r"'\$' in the repository", "lower-case"),
    ("a:.b", "begins with '.'", "letter or digit"),
    ("a:-b", "begins with '-'", "letter or digit"),
    ("a:b!c", "'!' in the tag", "Only letters"),
    ("a:" + "t" * 129, "tag has 129 characters", None),
    ("a" * 256, "repository has 264 characters", None),
]


@pytest.mark.parametrize(("text", "canonical", "familiar"), ACCEPTED)
def test_accepted(text, canonical, familiar):
    reference = Reference.parse(text)
    assert str(reference) == canonical
    assert reference.familiar() == familiar
    assert Reference.parse(canonical) == Reference.parse(familiar) == reference


@pytest.mark.parametrize(("text", "canonical"), ACCEPTED_BY_NEWER)
def test_accepted_by_newer_grammar(text, canonical):
    assert str(Reference.parse(text)) == canonical


@pytest.mark.parametrize(("text", "reason", "hint"), REJECTED)
def test_rejected_forms_say_why(text, reason, hint):
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse(text)
    error = caught.value
    assert error.value == text
    assert re.search(reason, error.message)
    assert error.message.count("is not an image reference") == 1
    assert (error.hint is None) if hint is None else (hint in (error.hint or ""))


def test_parts():
    reference = Reference.parse(f"ghcr.io/o/r:v1@{DIGEST}")
    assert reference.registry == "ghcr.io"
    assert reference.repository == "o/r"
    assert reference.tag == "v1"
    assert reference.digest == Digest.parse(DIGEST)
    assert reference.name == "ghcr.io/o/r"
    assert str(reference.with_tag("v2")) == "ghcr.io/o/r:v2"
    assert str(reference.with_digest(None)) == "ghcr.io/o/r:v1"
    assert str(Reference.parse("redis").with_default_tag()) == "docker.io/library/redis:latest"
    assert reference.with_default_tag() is reference


def test_parts_are_checked_when_put_together_too():
    with pytest.raises(InvalidReferenceError, match="begins with"):
        Reference.parse("redis").with_tag("-1")
    with pytest.raises(InvalidReferenceError, match="slash in it"):
        Reference("a/b", "c")
    with pytest.raises(InvalidReferenceError, match="registry is empty"):
        Reference("", "c")


def test_another_default_registry():
    assert str(Reference.parse("app", default_registry="localhost:5000")) == "localhost:5000/app"
    assert str(Reference.parse("o/r:1", default_registry="quay.io")) == "quay.io/o/r:1"
    assert str(Reference.parse("docker.io/r", default_registry="quay.io")).endswith("/library/r")


component = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
host = st.from_regex(
    r"(localhost|[a-z0-9]{1,4}(-[a-z0-9]{1,3})?\.[a-z]{2,3})(:[1-9][0-9]{0,3})?", fullmatch=True
)


@given(
    st.one_of(st.just("docker.io"), host),
    st.lists(component, min_size=1, max_size=4).map("/".join),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True),
    st.none() | st.binary().map(Digest.of),
)
def test_every_reference_survives_text(registry, repository, tag, digest):
    try:
        reference = Reference(registry, repository, tag, digest)
    except InvalidReferenceError:
        assert len(repository) > 255
        return
    if registry == "docker.io" and "/" not in repository:
        # Docker Hub has no such name: it can only be typed as library/name.
        reference = Reference(registry, f"library/{repository}", tag, digest)
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar()) == reference


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_an_error_with_a_reason(text):
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError as error:
        reason = error.message
    else:
        reason = "."
        assert Reference.parse(str(reference)) == reference
    assert reason.endswith(".")


# skopeo puts every reference into its canonical form before it finds that its (empty) storage has
# no such image, so it tells what the reference library of Docker and Podman makes of any text.


@pytest.fixture(scope="module")
def skopeo(tmp_path_factory):
    root = tmp_path_factory.mktemp("storage")

    def canonical(text: str) -> str | None:
        store = f"[vfs@{root}/s+{root}/r]"
        done = subprocess.run(
            ["skopeo", "inspect", f"containers-storage:{store}{text}"],
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        found = re.search(r'reference \\"\[[^\]]*\]([^"]*)\\" does not resolve', done.stderr)
        if not found:
            assert re.search(
                "invalid reference|invalid checksum|unsupported digest|parsing named reference",
                done.stderr,
            ), done.stderr
        return found[1] if found else None

    return canonical


@pytest.mark.parametrize("text", [text for text, _, _ in ACCEPTED])
def test_skopeo_reads_accepted_forms_in_the_same_way(skopeo, text):
    assert skopeo(text) == str(Reference.parse(text).with_default_tag())


@pytest.mark.parametrize(
    "text",
    # Refused here because they hide a mistake, although the grammar lets them through.
    [t for t, *_ in REJECTED if "\0" not in t and t[:1] != "[" and t not in (
        DIGEST, HEX64, "docker-archive:x", "h:99999/x", "h:0/x", "a_b.com/x")],
)  # fmt: skip
def test_skopeo_rejects_them_too(skopeo, text):
    assert skopeo(text) is None


@settings(max_examples=60)
@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                "b1",
                "A",
                ".",
                "-",
                "_",
                "__",
                "/",
                ":",
                "@",
                "localhost",
                "h.io",
                "5000",
                DIGEST,
                "!",
                "library/",
            ]
        ),
        min_size=1,
        max_size=7,
    ).map("".join)
)
def test_skopeo_agrees_on_random_text(skopeo, text):
    first = text.partition("/")[0]
    if "/" in text and first != first.lower() and not set(first) & set(".:"):
        return  # a registry to newer versions of the grammar (see ACCEPTED_BY_NEWER)
    port_out_of_range = re.match(r"[^/]*:(\d{6,}|0+|5000\d+)/", text)
    digest_alone = re.fullmatch(r"sha256:[0-9a-f]{64,}", text)
    if port_out_of_range or digest_alone or ("/" in text and "_" in first):
        return  # refused here as a mistake
    try:
        mine = str(Reference.parse(text).with_default_tag())
    except InvalidReferenceError:
        mine = None
    assert skopeo(text) == mine


def test_as_the_value_of_a_cell_it_is_its_name() -> None:
    from IPython.lib.pretty import pretty

    reference = Reference.parse(f"localhost:5000/team/app:1@{DIGEST}")
    assert pretty(reference) == f"localhost:5000/team/app:1@{DIGEST}"
