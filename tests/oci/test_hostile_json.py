"""Hostile documents: each is refused with the JSON path of the fault."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import InvalidManifestError
from nbdock.oci import (
    ArchiveManifest,
    Descriptor,
    Digest,
    ImageConfig,
    Index,
    Manifest,
    MediaType,
    parse_manifest,
)
from nbdock.settings import configure

DIGEST = "sha256:" + "a" * 64
CONFIG = {"mediaType": MediaType.OCI_CONFIG, "digest": DIGEST, "size": 2}
LAYER = {"mediaType": MediaType.OCI_LAYER_GZIP, "digest": DIGEST, "size": 2}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": MediaType.OCI_MANIFEST,
    "config": CONFIG,
    "layers": [LAYER, LAYER],
}
INDEX = {
    "schemaVersion": 2,
    "mediaType": MediaType.OCI_INDEX,
    "manifests": [{"mediaType": MediaType.OCI_MANIFEST, "digest": DIGEST, "size": 2}],
}
IMAGE = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["A=b"]},
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    "history": [{"created": "2020-01-01T00:00:00Z"}],
}
LAYER_TEXT = json.dumps(LAYER)


def encoded(document) -> bytes:
    return json.dumps(document).encode()


def changed(document, path, value):
    """A copy of `document` with the value at `path` (keys and indexes) set, or dropped."""
    copy = json.loads(json.dumps(document))
    *parents, last = path
    place = copy
    for step in parents:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copy


def fault(data, parse=parse_manifest) -> InvalidManifestError:
    with pytest.raises(InvalidManifestError) as caught:
        parse(data)
    error = caught.value
    assert error.path
    assert f"at {error.path}, " in error.message
    return error


def test_the_unchanged_documents_parse():
    assert isinstance(parse_manifest(encoded(MANIFEST)), Manifest)
    assert isinstance(parse_manifest(encoded(INDEX)), Index)
    assert ImageConfig.parse(encoded(IMAGE)).architecture == "amd64"


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        (b"", "$", "not JSON"),
        (b"{", "$", "not JSON"),
        (b"[]", "$", "an object should stand, not an array"),
        (b"null", "$", "not null"),
        (b"7", "$", "not an integer"),
        (b'{"a": NaN}', "$.a", "NaN"),
        (b'{"a": [0, -Infinity]}', "$.a[1]", "-Infinity"),
        (b'{"a": 1e999}', "$.a", "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "$.a", "5000 digits"),
        (b'{"a": 1, "a": 1}', "$.a", "twice"),
        (b'{"x": {"b": [{"a": 1, "c": 2, "a": 1}]}}', "$.x.b[0].a", "twice"),
        (b'{"\\u0061": 1, "a": 1}', "$.a", "twice"),
        (b'{"odd key": 1, "odd key": 2}', '$["odd key"]', "twice"),
        (b'{"a": "\\ud800"}', "$.a", "UTF-16"),
        (b'{"\\udfff": 1}', '$["\\udfff"]', "UTF-16"),
        (b'{"a": "\xff"}', "$", "not UTF-8 (byte 7)"),
        ('{"a": 1}'.encode("utf-16"), "$", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "$", "byte order mark"),
        (b'{"a": 1} {"b": 2}', "$", "Extra data"),
        (b"[" * 100_000, "$", "nested too deeply"),
        (b'{"a":' * 100_000, "$", "nested too deeply"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "$.a", "more than 64 levels"),
        (b"[" + b"[]," * 600_000 + b"[]]", "$", "500000 objects"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else None,
)
def test_text_that_programs_would_read_differently(text, path, reason):
    for parse in (parse_manifest, ImageConfig.parse):
        error = fault(text, parse)
        assert reason in error.message
        if reason == "more than 64 levels":
            assert error.path.startswith("$.a.a.a")
            assert len(error.path) <= 200
        else:
            assert error.path == path


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        (b"null", "$", "not null"),
        (b"{}", "$", "an array should stand"),
        (b"[[]]", "$[0]", "an object should stand"),
        (b"[{}]", "$[0].Config", "missing"),
        (b'[{"Config": "c"}]', "$[0].Layers", "missing"),
        (b'[{"Config": "c", "Layers": [], "Layers": []}]', "$[0].Layers", "twice"),
        (b'[{"Config": "c", "Layers": [], "RepoTags": "a"}]', "$[0].RepoTags", "an array"),
    ],
)
def test_archive_faults(text, path, reason):
    error = fault(text, ArchiveManifest.parse)
    assert error.path == path
    assert reason in error.message


MANIFEST_FAULTS = [
    (("schemaVersion",), ..., "$.schemaVersion", "missing"),
    (("schemaVersion",), "2", "$.schemaVersion", "an integer should stand, not a string"),
    (("schemaVersion",), 2.0, "$.schemaVersion", "not a fraction"),
    (("schemaVersion",), True, "$.schemaVersion", "not true"),
    (("schemaVersion",), 3, "$.schemaVersion", "should be 2, not 3"),
    (("schemaVersion",), 1, "$.schemaVersion", "schema 1"),
    (("mediaType",), 7, "$.mediaType", "a string should stand"),
    (("mediaType",), "text/html", "$.mediaType", "neither a manifest nor an index"),
    (("mediaType",), MediaType.OCI_ARTIFACT_MANIFEST, "$.mediaType", "neither"),
    (("mediaType",), MediaType.DOCKER_SCHEMA1_SIGNED, "$.schemaVersion", "schema 1"),
    (("mediaType",), MediaType.OCI_INDEX, "$.config", "an index has no 'config'"),
    (("manifests",), [], "$.manifests", "a manifest has no 'manifests'"),
    (("fsLayers",), [], "$.fsLayers", "taken for two things"),
    (("config",), ..., "$.config", "missing"),
    (("config",), None, "$.config", "not null"),
    (("config",), [CONFIG], "$.config", "not an array"),
    (("config", "digest"), "sha256:../../etc", "$.config.digest", "64 hexadecimal digits"),
    (("config", "digest"), None, "$.config.digest", "a string should stand, not null"),
    (("config", "mediaType"), "json", "$.config.mediaType", "not a media type"),
    (("config", "mediaType"), "a/b\n", "$.config.mediaType", "not a media type"),
    (("layers",), ..., "$.layers", "missing"),
    (("layers",), {}, "$.layers", "an array should stand, not an object"),
    (("layers", 1), None, "$.layers[1]", "an object should stand"),
    (("layers", 1, "size"), -1, "$.layers[1].size", "below 0"),
    (("layers", 1, "size"), 1 << 63, "$.layers[1].size", "above 9223372036854775807"),
    (("layers", 1, "size"), 10**40, "$.layers[1].size", "41 digits"),
    (("layers", 1, "size"), 1.5, "$.layers[1].size", "not a fraction"),
    (("layers", 1, "size"), False, "$.layers[1].size", "not false"),
    (("layers", 1, "size"), ..., "$.layers[1].size", "missing"),
    (("layers", 0, "urls"), "http://x", "$.layers[0].urls", "an array should stand"),
    (("layers", 0, "urls"), [1], "$.layers[0].urls[0]", "a string should stand"),
    (("layers", 0, "annotations"), {"a b": 1}, '$.layers[0].annotations["a b"]', "a string"),
    (("layers", 0, "annotations"), [], "$.layers[0].annotations", "an object should stand"),
    (("layers", 0, "platform"), "linux", "$.layers[0].platform", "an object should stand"),
    (("layers", 0, "platform"), {"os": "x"}, "$.layers[0].platform.architecture", "missing"),
    (("layers", 0, "data"), "e30", "$.layers[0].data", "not base64"),
    (("layers", 0, "data"), "e30gIA==", "$.layers[0].data", "4 bytes, not 2"),
    (("layers", 0, "data"), "e30=", "$.layers[0].data", "does not have the descriptor's digest"),
    (("layers", 0, "Digest"), DIGEST, "$.layers[0].Digest", "only in capitals"),
    (("Layers",), [], "$.Layers", "only in capitals"),
    (("layer\N{LATIN SMALL LETTER LONG S}",), [], '$["layer\\u017f"]', "only in capitals"),
    (("annotations",), {"a": None}, "$.annotations.a", "not null"),
    (("subject",), {}, "$.subject.mediaType", "missing"),
    (("artifactType",), 1, "$.artifactType", "a string should stand"),
]


@pytest.mark.parametrize(("place", "value", "path", "reason"), MANIFEST_FAULTS)
def test_manifest_faults(place, value, path, reason):
    error = fault(encoded(changed(MANIFEST, place, value)))
    assert error.path == path
    assert reason in error.message


@pytest.mark.parametrize(
    ("place", "value", "path", "reason"),
    [
        (("manifests",), ..., "$.manifests", "missing"),
        (("manifests", 0, "size"), -5, "$.manifests[0].size", "below 0"),
        (("config",), CONFIG, "$.config", "an index has no 'config'"),
        (("layers",), [], "$.layers", "an index has no 'layers'"),
        (("mediaType",), MediaType.OCI_MANIFEST, "$.manifests", "a manifest has no 'manifests'"),
        (("mediaType",), MediaType.DOCKER_MANIFEST, "$.manifests", "taken for two things"),
        (("fsLayers",), [], "$.fsLayers", "an index has no 'fsLayers'"),
    ],
)
def test_index_faults(place, value, path, reason):
    error = fault(encoded(changed(INDEX, place, value)))
    assert error.path == path
    assert reason in error.message


@pytest.mark.parametrize(
    ("document", "announced", "path"),
    [
        (MANIFEST, MediaType.OCI_INDEX, "$.mediaType"),
        (MANIFEST, MediaType.DOCKER_MANIFEST, "$.mediaType"),
        (INDEX, MediaType.OCI_MANIFEST, "$.mediaType"),
        (changed(MANIFEST, ("mediaType",), ...), MediaType.OCI_INDEX, "$.config"),
        (changed(INDEX, ("mediaType",), ...), MediaType.OCI_MANIFEST, "$.manifests"),
        (changed(MANIFEST, ("mediaType",), ...), "application/x-tar", "$"),
        ({**MANIFEST, **INDEX, "mediaType": MediaType.OCI_MANIFEST}, None, "$.manifests"),
        ({**INDEX, **MANIFEST, "mediaType": MediaType.OCI_INDEX}, None, "$.config"),
        (changed({**INDEX, **MANIFEST}, ("mediaType",), ...), None, "$.config"),
    ],
)
def test_index_and_manifest_cannot_be_confused(document, announced, path):
    """CVE-2021-41190: two programs must not see two images in the same bytes."""
    error = fault(encoded(document), lambda data: parse_manifest(data, announced))
    assert error.path == path


@pytest.mark.parametrize(
    "announced",
    [None, "", MediaType.OCI_MANIFEST, MediaType.OCI_MANIFEST + "; charset=utf-8",
     "application/json", "Application/VND.oci.image.manifest.v1+json"],
)  # fmt: skip
def test_announcements_that_agree(announced):
    assert isinstance(parse_manifest(encoded(MANIFEST), announced), Manifest)


def test_one_kind_is_not_parsed_as_the_other():
    with pytest.raises(InvalidManifestError, match="index of several images"):
        Manifest.parse(encoded(INDEX))
    with pytest.raises(InvalidManifestError, match="manifest of one image"):
        Index.parse(encoded(MANIFEST))


@pytest.mark.parametrize(
    ("place", "value", "path", "reason"),
    [
        (("architecture",), ..., "$.architecture", "missing"),
        (("os",), 1, "$.os", "a string should stand"),
        (("rootfs",), ..., "$.rootfs", "missing"),
        (("rootfs",), [], "$.rootfs", "an object should stand"),
        (("rootfs", "type"), "stack", "$.rootfs.type", "'layers', not 'stack'"),
        (("rootfs", "type"), ..., "$.rootfs.type", "missing"),
        (("rootfs", "diff_ids", 0), "abc", "$.rootfs.diff_ids[0]", "no colon"),
        (("rootfs", "diff_ids"), DIGEST, "$.rootfs.diff_ids", "an array should stand"),
        (("created",), "yesterday", "$.created", "not a time"),
        (("created",), "2020-02-30T00:00:00Z", "$.created", "not a time"),
        (("created",), "2020-01-01T00:00:00", "$.created", "not a time"),
        (("created",), "2020-01-01T00:00:00+99:99", "$.created", "not a time"),
        (("history", 0, "created"), "", "$.history[0].created", "not a time"),
        (("history", 0, "empty_layer"), 1, "$.history[0].empty_layer", "true or false"),
        (("history", 0), "x", "$.history[0]", "an object should stand"),
        (("config",), "x", "$.config", "an object should stand"),
        (("config", "Env"), {"A": "b"}, "$.config.Env", "an array should stand"),
        (("config", "Env"), [None], "$.config.Env[0]", "a string should stand, not null"),
        (("config", "Cmd"), "sh", "$.config.Cmd", "an array should stand"),
        (("config", "Volumes"), ["/x"], "$.config.Volumes", "an object should stand"),
        (("config", "Volumes"), {"/x": 1}, '$.config.Volumes["/x"]', "an object should stand"),
        (("config", "Labels"), {"a": 1}, "$.config.Labels.a", "a string should stand"),
        (("config", "Tty"), "yes", "$.config.Tty", "true or false"),
        (("config", "Memory"), 1 << 70, "$.config.Memory", "above"),
        (("config", "User"), 0, "$.config.User", "a string should stand"),
        (("config", "env"), [], "$.config.env", "only in capitals"),
        (("config", "Healthcheck"), {"Interval": "1s"}, "$.config.Healthcheck.Interval", "integer"),
    ],
)
def test_image_config_faults(place, value, path, reason):
    error = fault(encoded(changed(IMAGE, place, value)), ImageConfig.parse)
    assert error.path == path
    assert reason in error.message


def test_the_configuration_of_an_artifact_is_none_of_an_image():
    with pytest.raises(InvalidManifestError, match="not an image's configuration"):
        ImageConfig.parse(b"{}", MediaType.OCI_EMPTY)


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a\0b"])
def test_names_in_an_archive_stay_inside(name):
    """CVE-2014-9358."""
    for place in ("Config", "Layers"):
        entry = {"Config": "c", "RepoTags": None, "Layers": ["l"]}
        entry[place] = name if place == "Config" else ["l", name]
        error = fault(encoded([entry]), ArchiveManifest.parse)
        assert error.path == ("$[0].Config" if place == "Config" else "$[0].Layers[1]")


def test_huge_document_is_refused_before_it_is_read():
    configure(json_limit_bytes=100)
    try:
        assert "100 are the most" in fault(b" " * 101).message
    finally:
        configure(json_limit_bytes=None)


def test_values_are_checked_when_put_together_too():
    digest = Digest.of(b"")
    for arguments in [("text", digest, 0), ("a/b", digest, -1), ("a/b", digest, 1 << 63)]:
        with pytest.raises(InvalidManifestError):
            Descriptor(*arguments)
    with pytest.raises(InvalidManifestError):
        Manifest(Descriptor("a/b", digest, 0), media_type=MediaType.OCI_INDEX)
    with pytest.raises(InvalidManifestError):
        Index(media_type=MediaType.OCI_MANIFEST)
    with pytest.raises(InvalidManifestError):
        ImageConfig("amd64", media_type=MediaType.OCI_EMPTY)
    with pytest.raises(InvalidManifestError, match="not a time"):
        ImageConfig("amd64", created="now")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PLACES = [place for place, *_ in MANIFEST_FAULTS if place[0] != "fsLayers"]


@given(st.sampled_from(PLACES), json_values)
def test_any_value_anywhere_parses_or_is_a_fault_with_a_path(place, value):
    data = encoded(changed(MANIFEST, place, value))
    try:
        found = parse_manifest(data)
    except InvalidManifestError as error:
        path = error.path
    else:
        path = "$"
        assert found.to_bytes() == data
    assert path.startswith("$")


@given(st.binary(max_size=80), st.integers(0, 400))
def test_bytes_cut_and_garbled_anywhere(garbage, position):
    data = encoded(MANIFEST)
    garbled = data[:position] + garbage + data[position + len(garbage) :]
    for candidate in (garbled, data[:position], garbage):
        try:
            path = "$" if parse_manifest(candidate) else ""
        except InvalidManifestError as error:
            path = error.path
        assert path.startswith("$")
