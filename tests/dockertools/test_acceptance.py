"""The acceptance list of nixpkgs' dockerTools, case by case, run by a real Docker Engine.

Each test has the name of its case. Cases that run commands as root do so in a virtual machine.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from support.engine import Engine
from support.nix import Nix
from support.workshop import Workshop, load, wait_for_log

from nbdock import concurrency
from nbdock.images import Image

EPOCH = "1970-01-01T00:00:01Z"
HELLO = "Hello, world!\n"


def inspect(engine: Engine, reference: str, template: str) -> str:
    return engine("image", "inspect", "-f", template, reference).stdout.strip()


def layers_of(engine: Engine, reference: str) -> list[str]:
    return list(json.loads(inspect(engine, reference, "{{json .RootFS.Layers}}")))


def paths_of(image: Image) -> set[str]:
    return {
        entry.path.decode()
        for position in range(len(image.layers))
        for entry in image.layer_entries(position)
    }


# The store in the image


def test_store_included_hello_runs(workshop: Workshop, docker_engine: Engine) -> None:
    assert docker_engine.run(workshop.loaded("helloOnRoot", docker_engine)) == HELLO


def test_include_store_paths_false_breaks_hello(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("helloOnRootNoStore", docker_engine)
    done = docker_engine("run", "--rm", "--network", "none", reference, check=False)
    assert done.returncode


def test_include_store_paths_false_has_no_store_paths(workshop: Workshop) -> None:
    paths = paths_of(workshop.image("helloOnRootNoStore"))
    assert not [path for path in paths if path.startswith("nix/store/")]


def test_include_store_paths_false_works_with_a_mounted_store(
    workshop: Workshop, docker_engine: Engine, nix: Nix
) -> None:
    reference = workshop.loaded("helloOnRootNoStore", docker_engine)
    mount = ("--volume", f"{nix.root}/nix/store:/nix/store:ro")
    assert docker_engine.run(reference, options=mount) == HELLO


def test_nix_database_lists_dependencies(
    workshop: Workshop, docker_engine: Engine, nix: Nix
) -> None:
    own = nix.build("nix")
    for name in ("nixImage", "nixLayered"):
        reference = workshop.loaded(name, docker_engine)
        listed = docker_engine.run(reference, "nix-store", "-qR", own).split()
        assert sorted(listed) == nix.closure(own)


def test_store_has_permissions_and_runs_without_root(
    workshop: Workshop, docker_engine: Engine
) -> None:
    reference = workshop.loaded("bashLayeredWithUser", docker_engine)
    said = docker_engine.run(
        reference,
        "/bin/bash",
        "-c",
        "id -u; stat -c %a /nix /nix/store",
        options=("-u", "somebody"),
    )
    assert said.split() == ["999", "755", "755"]


@pytest.mark.parametrize("name", ["nixImage", "nixLayered"])
def test_nix_symlinks_are_intact(
    workshop: Workshop, docker_engine: Engine, nix: Nix, name: str
) -> None:
    link = f"{nix.build('nix')}/bin/nix-daemon"
    said = docker_engine.run(workshop.loaded(name, docker_engine), "readlink", link)
    assert said == "nix\n"


def test_minimal_store_paths(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("noStorePaths", docker_engine)
    assert "bin" in docker_engine.run(reference, "busybox", "ls", "/").split()
    command = ("run", "--rm", "--network", "none", reference, "busybox", "ls", "/nix/store")
    assert docker_engine(*command, check=False).returncode


def test_store_contents_are_unchanged(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("nixLayered", docker_engine)
    docker_engine.run(reference, "nix-store", "--verify", "--check-contents")
    assert docker_engine.run(reference, "myscript") == "some data"


def test_store_path_symlink_is_not_dereferenced(
    workshop: Workshop, docker_engine: Engine, nix: Nix
) -> None:
    reference = workshop.loaded("layeredStoreSymlink", docker_engine)
    link = next(
        p for p in paths_of(workshop["layeredStoreSymlink"])
        if p.startswith("nix/store/") and p.endswith("-symlink")
    )  # fmt: skip
    docker_engine.run(reference, "/bin/bash", "-c", f"test -L /{link} && test -d /{link}/dir")


@pytest.mark.parametrize("name", ["buildImageWithPath", "layeredImageWithPath"])
def test_bare_paths_in_contents(
    workshop: Workshop, docker_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:  # fmt: skip
    (tmp_path / "test-dummy").mkdir()
    (tmp_path / "test-dummy/hello.txt").write_text("Hello there!\n")
    monkeypatch.chdir(tmp_path)
    reference = workshop.loaded(name, docker_engine)
    command = "echo $(</hello.txt); /bin/hello"
    assert docker_engine.run(reference, "/bin/bash", "-c", command) == f"Hello there!\n{HELLO}"


def test_store_owner(workshop: Workshop, docker_engine: Engine, nix: Nix) -> None:
    reference = workshop.loaded("storeOwner", docker_engine)
    own = nix.build("bash")
    said = docker_engine.run(reference, "stat", "-c", "%u:%g", own, f"{own}/bin/bash")
    assert said.split() == ["1000:1000"] * 2


# Names, dates, architectures, compressors


def test_stable_created_date(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("bashImage", docker_engine)
    assert inspect(docker_engine, reference, "{{.Created}}") == EPOCH
    assert "GNU bash" in docker_engine.run(reference, "bash", "--version")


@pytest.mark.parametrize("name", ["unstableDate", "unstableDateLayered"])
def test_created_now(workshop: Workshop, docker_engine: Engine, name: str) -> None:
    reference = workshop.loaded(name, docker_engine)
    assert inspect(docker_engine, reference, "{{.Created}}") != EPOCH


@pytest.mark.parametrize(
    "name", ["bashImage", "bashNoTag", "bashNoTagLayered", "bashNoTagStreamLayered", "nixLayered"]
)
def test_image_tag_matches(workshop: Workshop, docker_engine: Engine, name: str) -> None:
    reference = workshop.loaded(name, docker_engine)
    image = workshop.image(name)
    assert reference == image.reference
    assert reference in json.loads(inspect(docker_engine, reference, "{{json .RepoTags}}"))
    assert reference.endswith(f":{image.tag}")


@pytest.mark.parametrize(
    ("compressor", "suffix"), [("Uncompressed", ".tar"), ("Zstd", ".tar.zst"), ("Gz", ".tar.gz")]
)
@pytest.mark.parametrize("function", ["bash", "bashLayered"])
def test_images_of_every_compressor_load(
    workshop: Workshop, docker_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    function: str, compressor: str, suffix: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    archive = concurrency.run(workshop[f"{function}{compressor}"].save())
    assert "".join(archive.suffixes) == suffix
    if suffix.endswith(".zst"):
        # Docker itself reads zstd from version 23 on.
        subprocess.run(["zstd", "--decompress", "--rm", "--quiet", archive], check=True)
        archive = archive.with_suffix("")
    (reference,) = docker_engine.load(archive)
    assert docker_engine.run(reference, "bash", "-c", "echo $BASH_VERSION").startswith("5.")


@pytest.mark.parametrize("name", ["prefixedImage", "prefixedLayeredImage"])
def test_registry_prefix_in_the_name(workshop: Workshop, docker_engine: Engine, name: str) -> None:
    reference = workshop.loaded(name, docker_engine)
    assert reference.startswith("registry-1.docker.io/")
    assert docker_engine.run(reference) == HELLO


@pytest.mark.parametrize(
    "name", ["buildImageWithArchitecture", "layeredImageWithArchitecture", "crossImage"]
)
def test_architecture(workshop: Workshop, docker_engine: Engine, name: str) -> None:
    reference = workshop.loaded(name, docker_engine)
    assert inspect(docker_engine, reference, "{{.Architecture}}") == "arm64"


# Services and bases


def test_nginx_serves_http(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("nginxImage", docker_engine)
    server = docker_engine("run", "-d", "--network", "none", reference).stdout.strip()
    try:
        wait_for_log(docker_engine, server, "start worker process ")
        page = docker_engine("exec", server, "wget", "-qO-", "http://127.0.0.1/").stdout
    finally:
        docker_engine("rm", "--force", server)
    assert page == "<h1>Hello from NGINX</h1>"


def test_pulled_image_as_base(
    workshop: Workshop, docker_engine: Engine, nix: Nix, tmp_path: Path
) -> None:
    base = tmp_path / "base.tar"
    docker_engine("save", "-o", base, workshop.loaded("bashImage", docker_engine))
    image = workshop.cell(
        """%%buildImage
        name = "onTopOfPulledImage"; tag = "latest"; fromImage = base; contents = [ pkgs.hello ];
        """,
        base=str(base),
    )
    assert docker_engine.run(load(image, docker_engine), "hello") == HELLO


def test_layered_works(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("layeredImage", docker_engine)
    assert docker_engine.run(reference) == HELLO
    assert docker_engine.run(reference, "cat", "extraCommands") == "(extraCommand)\n"


@pytest.mark.parametrize("name", ["layeredOnTop", "layeredOnTopLayered"])
def test_images_on_layered_images(workshop: Workshop, docker_engine: Engine, name: str) -> None:
    assert docker_engine.run(workshop.loaded(name, docker_engine)) == "hello\n"


def test_two_images_share_layers(workshop: Workshop, docker_engine: Engine) -> None:
    one, other = (
        set(layers_of(docker_engine, workshop.loaded(name, docker_engine)))
        for name in ("layeredImage", "anotherLayeredImage")
    )
    assert one & other


def test_layer_order(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("layersOrder", docker_engine)
    said = docker_engine.run(reference, "cat", "/tmp/layer1", "/tmp/layer2", "/tmp/layer3")
    assert said.split() == ["layer1", "layer2", "layer3"]


def test_repeated_base_layers(workshop: Workshop, docker_engine: Engine, tmp_path: Path) -> None:
    """An archive may name one layer twice, as Docker's own do."""
    once = concurrency.run(workshop["layersOrderFirst"].save(tmp_path / "once.tar"))
    twice = tmp_path / "twice.tar"
    with tarfile.open(once) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]
    manifest = json.loads(members["manifest.json"])
    config = json.loads(members[manifest[0]["Config"]])
    manifest[0]["Layers"] *= 3
    config["rootfs"]["diff_ids"] *= 3
    config["history"] *= 3
    members[manifest[0]["Config"]] = json.dumps(config).encode()
    members["manifest.json"] = json.dumps(manifest).encode()
    _write_tar(twice, members)
    image = workshop.cell(
        """%%buildImage
        name = "repeated"; tag = "latest"; fromImage = base; contents = [ pkgs.busybox ];
        """,
        base=str(twice),
    )
    assert len(image.layers) == 4
    assert docker_engine.run(load(image, docker_engine), "cat", "/tmp/layer1") == "layer1\n"


def _write_tar(path: Path, members: dict[str, bytes]) -> None:
    import io

    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("name", ["environmentVariables", "environmentVariablesLayered"])
def test_environment_is_inherited(workshop: Workshop, docker_engine: Engine, name: str) -> None:
    said = docker_engine.run(workshop.loaded(name, docker_engine), "env").splitlines()
    assert {"FROM_PARENT=true", "FROM_CHILD=true", "LAST_LAYER=child"} <= set(said)


def test_overridden_variables_are_unique(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("environmentVariablesLayered", docker_engine)
    environment = json.loads(inspect(docker_engine, reference, "{{json .Config.Env}}"))
    assert sum(entry.startswith("LAST_LAYER") for entry in environment) == 1


# Limits


def test_two_layers_load(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("twoLayeredImage", docker_engine)
    assert len(layers_of(docker_engine, reference)) == 2
    assert docker_engine.run(reference) == HELLO


def test_bulk_layer_is_complete(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("bulkLayer", docker_engine)
    assert docker_engine.run(reference, "ls", "/bin/hello") == "/bin/hello\n"


def test_base_and_max_layers_give_exactly_four(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("layeredBulkLayer", docker_engine)
    assert docker_engine.run(reference, "ls", "/bin/hello") == "/bin/hello\n"
    assert len(layers_of(docker_engine, reference)) == 4


# Merging and exporting


def _loaded_all(workshop: Workshop, engine: Engine, name: str, tmp_path: Path) -> list[str]:
    return sorted(engine.load(concurrency.run(workshop[name].save(tmp_path / "merged.tar"))))


def test_merged_images_all_load(workshop: Workshop, docker_engine: Engine, tmp_path: Path) -> None:
    references = _loaded_all(workshop, docker_engine, "mergedBashAndRedis", tmp_path)
    assert references == ["bash:latest", "redis:latest"]
    assert "GNU bash" in docker_engine.run(references[0], "bash", "--version")
    assert "redis-cli" in docker_engine.run(references[1], "redis-cli", "--version")


def test_merged_images_load_with_a_missing_tag(
    workshop: Workshop, docker_engine: Engine, tmp_path: Path
) -> None:
    references = _loaded_all(workshop, docker_engine, "mergedBashNoTagAndRedis", tmp_path)
    assert references == [workshop["bashNoTag"].reference, "redis:latest"]
    assert "GNU bash" in docker_engine.run(references[0], "bash", "--version")


def test_merged_images_preserve_owners(
    workshop: Workshop, docker_engine: Engine, nix: Nix, tmp_path: Path
) -> None:
    references = _loaded_all(workshop, docker_engine, "mergedBashAndOwned", tmp_path)
    assert references == ["bash:latest", "store-owner:latest"]
    own = nix.build("coreutils")
    assert docker_engine.run(references[1], "stat", "-c", "%u:%g", own) == "1000:1000\n"


def test_merged_images_of_mixed_compressors(
    workshop: Workshop, docker_engine: Engine, tmp_path: Path
) -> None:
    references = _loaded_all(workshop, docker_engine, "mergeVaryingCompressor", tmp_path)
    assert len(references) == 3
    for reference in references:
        assert "GNU bash" in docker_engine.run(reference, "bash", "--version")


def test_export_is_a_valid_tar(workshop: Workshop, docker_engine: Engine, tmp_path: Path) -> None:
    archive = concurrency.run(workshop["exportBash"].save(tmp_path / "flat.tar"))
    with tarfile.open(archive) as opened:
        names = [name.removeprefix("./") for name in opened.getnames()]
    assert "bin/bash" in names
    docker_engine("import", archive, "exported-bash")
    assert "GNU bash" in docker_engine.run("exported-bash", "bash", "--version")


# Helpers


def test_ca_files_are_readable(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("imageWithCerts", docker_engine)
    for path in (
        "/etc/ssl/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ):  # fmt: skip
        assert docker_engine.run(reference, "test", "-r", path) == ""


# Commands as root, in a virtual machine


def test_redis_run_as_root(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("redisRunAsRoot", docker_engine)
    server = docker_engine("run", "-d", "--network", "none", reference).stdout.strip()
    try:
        wait_for_log(docker_engine, server, "Ready to accept connections")
        assert docker_engine("exec", server, "/bin/redis-cli", "ping").stdout == "PONG\n"
    finally:
        docker_engine("rm", "--force", "--volumes", server)
    image = workshop.image("redisRunAsRoot")
    base = workshop.image("bashImage")
    assert len(image.layers) == len(base.layers) + 1
    assert "data" in {entry.path.decode() for entry in image.layer_entries(len(base.layers))}


def test_run_as_root_and_extra_commands_quoting(workshop: Workshop, docker_engine: Engine) -> None:
    """#34779."""
    reference = workshop.loaded("runAsRootExtraCommands", docker_engine)
    assert docker_engine.run(reference, "cat", "runAsRoot") == "(runAsRoot)\n"
    assert docker_engine.run(reference, "cat", "extraCommands") == "(extraCommand)\n"


def test_run_as_root_on_a_parent_image(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("runAsRootParentImage", docker_engine)
    said = docker_engine.run(reference, "/bin/bash", "-c", "cd /example-directory && pwd")
    assert said == "/example-directory\n"


def test_layers_unpack_order(workshop: Workshop, docker_engine: Engine) -> None:
    """What lower layers have is there, in their order, when a script runs."""
    reference = workshop.loaded("layersUnpackOrderC", docker_engine)
    assert docker_engine.run(reference, "cat", "/layer-order") == "abc"


def test_fake_root_commands_chown(workshop: Workshop, docker_engine: Engine) -> None:
    reference = workshop.loaded("layeredImageWithFakeRootCommands", docker_engine)
    assert docker_engine.run(reference, "busybox", "stat", "-c", "%u", "/home/jane") == "1000\n"


def test_chown_persists(workshop: Workshop) -> None:
    image = workshop.image("layeredImageWithChown")
    owners = {
        (entry.uid, entry.gid)
        for entry in image.layer_entries(len(image.layers) - 1)
        if entry.path == b"bin/bash"
    }
    assert owners == {(12345, 12345)}


def test_fake_root_commands_references_are_included(
    workshop: Workshop, docker_engine: Engine
) -> None:
    reference = workshop.loaded("fakeRootCommandsReferences", docker_engine)
    assert docker_engine.run(reference, "/bin/hello") == HELLO


def test_fakechroot_commands_work(workshop: Workshop, docker_engine: Engine) -> None:
    assert docker_engine.run(workshop.loaded("imageViaFakeChroot", docker_engine)) == HELLO


def test_no_store_paths_with_fakechroot(
    workshop: Workshop, docker_engine: Engine, nix: Nix
) -> None:
    paths = paths_of(workshop.image("helloOnRootNoStoreFakechroot"))
    assert not [path for path in paths if path.startswith("nix/store/")]
    reference = workshop.loaded("helloOnRootNoStoreFakechroot", docker_engine)
    mount = ("--volume", f"{nix.root}/nix/store:/nix/store:ro")
    assert docker_engine.run(reference, options=mount) == HELLO
