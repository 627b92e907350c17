"""Documents survive: their bytes when unchanged, their unknown fields when changed."""

import dataclasses
import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdock.oci import (
    EMPTY_DESCRIPTOR,
    ArchiveManifest,
    ContainerConfig,
    Descriptor,
    Digest,
    FrozenMap,
    Healthcheck,
    History,
    ImageConfig,
    Index,
    Manifest,
    MediaType,
    Platform,
    parse_manifest,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
name = st.from_regex(r"[a-z][a-z0-9.]{0,6}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), 1 << 64) | text
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
# Unknown to every object, in any capitals.
extras = st.dictionaries(name.map("x-{}".format), values, max_size=2)
string_maps = st.dictionaries(text, text, max_size=2)
strings = st.lists(text, max_size=3).map(tuple)
numbers = st.integers(0, (1 << 63) - 1)
digests = st.binary(max_size=4).map(Digest.of) | st.binary(max_size=4).map(
    lambda data: Digest.of(data, algorithm="sha512")
)
times = st.datetimes().map(lambda moment: moment.isoformat() + "Z")
platforms = st.builds(
    Platform, name, name, st.just("") | name, os_version=st.just("") | name,
    os_features=st.lists(name, max_size=2).map(tuple), extra=extras,
)  # fmt: skip
plain_descriptors = st.builds(
    Descriptor,
    st.sampled_from(
        [MediaType.OCI_LAYER, MediaType.DOCKER_LAYER_GZIP, MediaType.IN_TOTO, "a/b", "t/x; q=1"]
    ),
    digests,
    numbers,
    annotations=string_maps,
    platform=st.none() | platforms,
    urls=strings,
    artifact_type=st.none() | text,
    extra=extras,
)
descriptors = plain_descriptors | st.binary(max_size=20).map(
    lambda data: dataclasses.replace(Descriptor.of(data, "a/b"), data=data)
)
documents = {
    "annotations": string_maps,
    "artifact_type": st.none() | text,
    "subject": st.none() | descriptors,
    "extra": extras,
}
manifests = st.builds(
    Manifest, descriptors, st.lists(descriptors, max_size=3).map(tuple),
    media_type=st.sampled_from([MediaType.OCI_MANIFEST, MediaType.DOCKER_MANIFEST]), **documents,
)  # fmt: skip
indexes = st.builds(
    Index, st.lists(descriptors, max_size=3).map(tuple),
    media_type=st.sampled_from([MediaType.OCI_INDEX, MediaType.DOCKER_MANIFEST_LIST]), **documents,
)  # fmt: skip
healthchecks = st.builds(
    Healthcheck, test=strings, interval_ns=numbers, timeout_ns=numbers, start_period_ns=numbers,
    start_interval_ns=numbers, retries=numbers, extra=extras,
)  # fmt: skip
sets = st.dictionaries(text, extras, max_size=2)
containers = st.builds(
    ContainerConfig, user=text, exposed_ports=sets, env=strings, entrypoint=st.none() | strings,
    cmd=st.none() | strings, volumes=sets, working_dir=text, labels=string_maps, stop_signal=text,
    stop_timeout_s=st.none() | numbers, args_escaped=st.booleans(), memory_bytes=numbers,
    memory_swap_bytes=st.integers(-1, 5), cpu_shares=numbers,
    healthcheck=st.none() | healthchecks, on_build=strings, shell=st.none() | strings,
    extra=extras,
)  # fmt: skip
histories = st.builds(
    History, created=st.none() | times, created_by=st.none() | text, author=st.none() | text,
    comment=st.none() | text, empty_layer=st.booleans(), extra=extras,
)  # fmt: skip
configs = st.builds(
    ImageConfig, text, text, created=st.none() | times, author=st.none() | text,
    variant=text, os_version=text, os_features=strings, config=containers,
    diff_ids=st.lists(digests, max_size=3).map(tuple),
    history=st.lists(histories, max_size=3).map(tuple), extra=extras, rootfs_extra=extras,
)  # fmt: skip


@given(descriptors)
def test_descriptor(descriptor):
    assert Descriptor.from_json(descriptor.to_json()) == descriptor
    assert hash(Descriptor.from_json(descriptor.to_json())) == hash(descriptor)


@given(manifests | indexes)
def test_manifest_and_index(document):
    data = document.to_bytes()
    parsed = parse_manifest(data, document.media_type)
    assert parsed == document
    assert hash(parsed) == hash(document)
    assert parsed.to_bytes() == data == dataclasses.replace(parsed).to_bytes()
    assert parsed.descriptor() == document.descriptor()
    assert type(document).parse(data) == document
    assert pickle.loads(pickle.dumps(parsed)) == parsed


@settings(max_examples=50)
@given(configs)
def test_image_config(config):
    data = config.to_bytes()
    parsed = ImageConfig.parse(data)
    assert parsed == config
    assert parsed.to_bytes() == data == dataclasses.replace(parsed).to_bytes()
    assert parsed.descriptor().digest == Digest.of(data)
    assert pickle.loads(pickle.dumps(parsed)) == parsed


@given(
    st.lists(
        st.builds(
            ArchiveManifest,
            name,
            strings,
            st.lists(name, max_size=3).map(tuple),
            parent=text,
            extra=extras,
        )
    )
)
def test_archive_manifest(images):
    assert ArchiveManifest.parse(ArchiveManifest.dump(images)) == tuple(images)


@settings(max_examples=50)
@given(configs, st.integers(0, 4))
def test_layout_of_the_text_does_not_matter(config, indent):
    spread = json.dumps(json.loads(config.to_bytes()), indent=indent).encode()
    parsed = ImageConfig.parse(spread)
    assert parsed == config
    assert parsed.to_bytes() == spread, "an unchanged document keeps its bytes"
    changed = dataclasses.replace(parsed, author="somebody")
    assert json.loads(changed.to_bytes())["author"] == "somebody"
    assert dataclasses.replace(changed, author=config.author).to_bytes() == config.to_bytes()


DOCKER_CONFIG = b"""{"architecture":"amd64","config":{"Hostname":"","Domainname":"","User":"",
"AttachStdin":false,"Tty":false,"Env":["PATH=/bin"],"Cmd":null,"Image":"sha256:77af","Volumes":null,
"Future":{"b":[1],"a":2},"WorkingDir":"","Entrypoint":["/x"],"OnBuild":null,"Labels":{"b":"1","a":"2"}},
"container":"b2a5","container_config":{"Hostname":"b2a5","Env":null},
"created":"2024-02-29T23:59:59.123456789+01:00","docker_version":"20.10","history":[{"created":
"2024-01-01T00:00:00Z","created_by":"/bin/sh","empty_layer":true,"moby.x":1}],"os":"linux",
"rootfs":{"type":"layers","layers.x":7}}"""


def test_a_config_by_docker_keeps_what_nbdock_does_not_know():
    config = ImageConfig.parse(DOCKER_CONFIG, MediaType.DOCKER_CONFIG)
    assert config.to_bytes() == DOCKER_CONFIG
    assert config.config.cmd is None
    assert config.config.entrypoint == ("/x",)
    assert list(config.config.extra) == [
        "Hostname", "Domainname", "AttachStdin", "Tty", "Image", "Future",
    ]  # fmt: skip
    assert config.config.extra["Future"] == {"b": (1,), "a": 2}
    assert config.rootfs_extra == {"layers.x": 7}
    assert config.history[0].extra == {"moby.x": 1}
    assert config.created_at is not None
    assert config.created_at.isoformat() == "2024-02-29T23:59:59.123456+01:00"
    assert config.descriptor().media_type == MediaType.DOCKER_CONFIG

    changed = dataclasses.replace(
        config, config=dataclasses.replace(config.config, user="redis"), created=None
    )
    written = json.loads(changed.to_bytes())
    original = json.loads(DOCKER_CONFIG)
    assert list(written) == [
        "architecture", "os", "config", "rootfs", "history",
        "container", "container_config", "docker_version",
    ]  # fmt: skip
    assert written["container_config"] == original["container_config"]
    assert written["config"].pop("User") == "redis"
    nothing = ("", None)
    for key, value in original["config"].items():
        assert written["config"].get(key) == value or value in nothing
    assert list(written["config"]["Labels"]) == ["b", "a"]


def test_new_documents_are_compact_and_in_the_specification_s_order():
    config = ImageConfig(
        "arm64",
        created="1970-01-01T00:00:01Z",
        variant="v8",
        config=ContainerConfig(cmd=("/bin/é",), volumes={"/data": {}}, env=("A=1",)),
        diff_ids=(Digest.of(b"x"),),
        history=(History(created="1970-01-01T00:00:01Z", comment="all"),),
    )
    x = Digest.of(b"x")
    assert config.to_bytes().decode() == (
        '{"created":"1970-01-01T00:00:01Z","architecture":"arm64","variant":"v8","os":"linux",'
        '"config":{"Env":["A=1"],"Cmd":["/bin/é"],"Volumes":{"/data":{}}},'
        f'"rootfs":{{"type":"layers","diff_ids":["{x}"]}},'
        '"history":[{"created":"1970-01-01T00:00:01Z","comment":"all"}]}'
    )
    layer = Descriptor(MediaType.OCI_LAYER, x, 1, annotations={"b": "1", "a": "2"})
    manifest = Manifest(config.descriptor(), (layer,), annotations={"k": "v"})
    c = config.descriptor()
    assert manifest.to_bytes().decode() == (
        f'{{"schemaVersion":2,"mediaType":"{MediaType.OCI_MANIFEST}",'
        f'"config":{{"mediaType":"{MediaType.OCI_CONFIG}","digest":"{c.digest}",'
        f'"size":{c.size_bytes}}},'
        f'"layers":[{{"mediaType":"{MediaType.OCI_LAYER}","digest":"{x}","size":1,'
        '"annotations":{"b":"1","a":"2"}}],"annotations":{"k":"v"}}'
    )
    assert manifest.size_bytes == 1 + c.size_bytes
    index = Index((manifest.descriptor(platform=config.platform),))
    assert index.find(Platform.parse("aarch64")) == index.manifests[0]
    assert index.find(Platform.parse("amd64")) is None


def test_attestations_are_no_images():
    digest = Digest.of(b"")
    unknown = Platform("unknown", "unknown")
    attestation = Descriptor(
        MediaType.OCI_MANIFEST, digest, 0, platform=unknown,
        annotations={"vnd.docker.reference.type": "attestation-manifest"},
    )  # fmt: skip
    image = Descriptor(MediaType.OCI_MANIFEST, digest, 0, platform=Platform.parse("amd64"))
    index = Index((attestation, image, image))
    assert list(index.images()) == [image, image]
    assert index.find(unknown) is None


def test_the_empty_descriptor_is_the_specification_s():
    assert EMPTY_DESCRIPTOR.to_json() == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
        "data": "e30=",
    }


def test_chain_ids_and_layer_history():
    a, b = Digest.of(b"a"), Digest.of(b"b")
    made = History(created_by="made it")
    config = ImageConfig("amd64", diff_ids=(a, b), history=(made, History(empty_layer=True), made))
    assert config.chain_ids == (a, Digest.of(f"{a} {b}".encode()))
    assert config.layer_history == (made, made)
    assert dataclasses.replace(config, history=(made,)).layer_history == (None, None)
    assert ImageConfig("amd64").chain_ids == ()


def test_null_means_absent():
    document = {
        "architecture": "amd64", "os": "linux", "config": None, "created": None, "history": None,
        "rootfs": {"type": "layers", "diff_ids": None},
    }  # fmt: skip
    config = ImageConfig.parse(json.dumps(document).encode())
    assert config == ImageConfig("amd64")
    index = {"schemaVersion": 2, "manifests": None, "annotations": None, "config": None}
    assert parse_manifest(json.dumps(index).encode()) == Index()


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [(MediaType.OCI_CONFIG, MediaType.OCI_MANIFEST),
     (MediaType.DOCKER_CONFIG, MediaType.DOCKER_MANIFEST)],
)  # fmt: skip
def test_a_manifest_that_does_not_say_what_it_is(media_type, kind):
    manifest = Manifest(Descriptor.of(b"{}", media_type), media_type=kind)
    document = json.loads(manifest.to_bytes())
    del document["mediaType"]
    assert parse_manifest(json.dumps(document).encode()) == manifest


def test_values_cannot_be_changed_from_outside():
    annotations = {"a": "1"}
    descriptor = dataclasses.replace(EMPTY_DESCRIPTOR, annotations=annotations)
    annotations["a"] = "2"
    assert descriptor.annotations == {"a": "1"}
    assert isinstance(descriptor.annotations, FrozenMap)
    with pytest.raises(dataclasses.FrozenInstanceError):
        descriptor.size_bytes = 3
    with pytest.raises(TypeError):
        descriptor.annotations["a"] = "2"
