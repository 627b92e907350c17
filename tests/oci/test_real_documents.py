"""Documents written by umoci and skopeo are read, and ours are read by skopeo."""

import dataclasses
import json
import subprocess

import pytest
from support.oracles import call, skopeo

from nbdock.oci import (
    ArchiveManifest,
    ContainerConfig,
    Descriptor,
    Digest,
    Healthcheck,
    History,
    ImageConfig,
    Index,
    Manifest,
    MediaType,
    is_layer,
    parse_manifest,
    to_docker,
)

EMPTY_TAR = bytes(10240)


def blob(layout, digest: Digest) -> bytes:
    return (layout / "blobs" / digest.algorithm / digest.hex).read_bytes()


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """A layout by umoci, with a configuration and one layer."""
    path = tmp_path_factory.mktemp("umoci") / "layout"
    tree = path.parent / "file"
    tree.write_text("hello")
    call("umoci", "init", "--layout", path)
    call("umoci", "new", "--image", f"{path}:x")
    call("umoci", "insert", "--image", f"{path}:x", tree, "/hello")
    call("umoci", "config", "--image", f"{path}:x", "--config.cmd", "/hello", "--config.env", "A=b",
         "--config.volume", "/data", "--config.exposedports", "80/tcp", "--config.label", "a=b",
         "--config.user", "1:2", "--config.workingdir", "/w", "--author", "me")  # fmt: skip
    return path


def test_a_layout_by_umoci(layout):
    data = (layout / "index.json").read_bytes()
    index = Index.parse(data)
    assert index.to_bytes() == data
    (entry,) = index.manifests
    assert entry.annotations["org.opencontainers.image.ref.name"] == "x"
    manifest = Manifest.parse(blob(layout, entry.digest), entry.media_type)
    assert manifest.descriptor().digest == entry.digest
    assert manifest.descriptor().size_bytes == entry.size_bytes
    assert [is_layer(layer.media_type) for layer in manifest.layers] == [True]
    config = ImageConfig.parse(blob(layout, manifest.config.digest), manifest.config.media_type)
    assert config.descriptor().digest == manifest.config.digest
    assert config.config == ContainerConfig(
        cmd=("/hello",), env=("A=b",), volumes={"/data": {}}, exposed_ports={"80/tcp": {}},
        labels={"a": "b"}, user="1:2", working_dir="/w",
    )  # fmt: skip
    assert config.author == "me"
    assert len(config.diff_ids) == 1
    assert config.layer_history[0] is not None
    # What nbdock would write itself says the same to any reader of JSON.
    for document in (index, manifest, config):
        rewritten = dataclasses.replace(document).to_bytes()
        meant = json.loads(document.to_bytes())
        assert json.loads(rewritten) | {"mediaType": 0} == meant | {"mediaType": 0}


def test_skopeo_s_other_formats(layout, tmp_path):
    skopeo("copy", f"oci:{layout}:x", f"docker-archive:{tmp_path}/x.tar:redis:7")
    listed = subprocess.run(
        ["tar", "-xOf", f"{tmp_path}/x.tar", "manifest.json"], capture_output=True, check=True
    ).stdout
    (image,) = ArchiveManifest.parse(listed)
    assert image.repo_tags == ("docker.io/library/redis:7",) or image.repo_tags == ("redis:7",)
    assert len(image.layers) == 1
    assert ArchiveManifest.dump([image]) == json.dumps(
        json.loads(listed), separators=(",", ":")
    ).encode()  # fmt: skip

    skopeo("copy", "--format", "v2s2", f"oci:{layout}:x", f"dir:{tmp_path}/docker")
    data = (tmp_path / "docker" / "manifest.json").read_bytes()
    manifest = parse_manifest(data, MediaType.DOCKER_MANIFEST)
    assert isinstance(manifest, Manifest)
    assert manifest.is_docker
    assert manifest.layers[0].media_type == MediaType.DOCKER_LAYER_GZIP
    config_data = (tmp_path / "docker" / manifest.config.digest.hex).read_bytes()
    config = ImageConfig.parse(config_data, manifest.config.media_type)
    assert config.config.cmd == ("/hello",)


@pytest.mark.parametrize("family", ["oci", "docker"])
def test_skopeo_reads_what_nbdock_writes(tmp_path, family):
    config = ImageConfig(
        "arm64",
        variant="v8",
        created="1970-01-01T00:00:01Z",
        config=ContainerConfig(
            cmd=("/bin/é",),
            env=("A=b",),
            labels={"a": "<&>"},
            healthcheck=Healthcheck(test=("CMD", "x"), interval_ns=10**9),
            stop_signal="SIGINT",
        ),
        diff_ids=(Digest.of(EMPTY_TAR),),
        history=(History(created="1970-01-01T00:00:01Z", created_by="nbdock"),),
        media_type=MediaType.OCI_CONFIG if family == "oci" else MediaType.DOCKER_CONFIG,
    )
    layer = Descriptor.of(EMPTY_TAR, MediaType.OCI_LAYER)
    manifest = Manifest(config.descriptor(), (layer,))
    if family == "docker":
        layer = dataclasses.replace(layer, media_type=to_docker(layer.media_type))
        manifest = Manifest(config.descriptor(), (layer,), media_type=MediaType.DOCKER_MANIFEST)
        # skopeo's plain directory: the manifest, and blobs by their hash.
        (tmp_path / "version").write_text("Directory Transport Version: 1.1\n")
        (tmp_path / "manifest.json").write_bytes(manifest.to_bytes())
        place, source = tmp_path, f"dir:{tmp_path}"
    else:
        place, source = tmp_path / "blobs" / "sha256", f"oci:{tmp_path}:x"
        place.mkdir(parents=True)
        entry = dataclasses.replace(
            manifest.descriptor(platform=config.platform),
            annotations={"org.opencontainers.image.ref.name": "x"},
        )
        (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (tmp_path / "index.json").write_bytes(Index((entry,)).to_bytes())
    for data in (config.to_bytes(), manifest.to_bytes(), EMPTY_TAR):
        (place / Digest.of(data).hex).write_bytes(data)

    assert skopeo("inspect", "--raw", source).encode() == manifest.to_bytes()
    seen = json.loads(skopeo("inspect", source))
    assert seen["Digest"] == str(manifest.descriptor().digest)
    assert seen["Created"] == "1970-01-01T00:00:01Z"
    assert seen["Architecture"] == "arm64"
    assert seen["Layers"] == [str(layer.digest)]
    assert seen["Labels"] == {"a": "<&>"}
    assert skopeo("inspect", "--config", "--raw", source).encode() == config.to_bytes()
    # Copied to the other family, every field that it has arrives.
    other = "v2s2" if family == "oci" else "oci"
    out = tmp_path.parent / f"{family}-out"
    skopeo("copy", "--format", other, source, f"dir:{out}")
    copied = parse_manifest((out / "manifest.json").read_bytes())
    assert isinstance(copied, Manifest)
    assert copied.is_docker == (family == "oci")
    read = ImageConfig.parse((out / copied.config.digest.hex).read_bytes())
    assert read.config.cmd == config.config.cmd
    assert read.config.stop_signal == "SIGINT"
    assert read.diff_ids == config.diff_ids
    assert read.history == config.history
