"""Cells that pull, prefetch and push, with a real registry; and one that stops half-way."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support import oracles
from support.plain_images import layer
from support.registry import Registry
from support.stalling_registry import stalling_registry

import nbdock
from nbdock import concurrency
from nbdock.errors import (
    ArgumentTypeError,
    DigestMismatchError,
    ManifestNotFoundError,
    MissingArgumentError,
    UnknownArgumentError,
)
from nbdock.images import Image, PrefetchedImage
from nbdock.units import bytes_text

MANUAL = Path(__file__).parent.parent / "nixlang/manual/pull_image.nix"
DIGEST = "sha256:20d9485b25ecfd89204e843a962c1bd70e9cc6858d65d7f5fadc340246e2116b"
SHA256 = "0mqjy3zq2v6rrhizgb9nvhczl87lcfphq9601wcprdika2jz7qh8"

_numbers = itertools.count()


@pytest.fixture
def repository() -> str:
    """A repository that no other test uses."""
    return f"cells/r{next(_numbers)}"


@pytest.fixture
def hub(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A mirror of Docker Hub, so that cells name images as they stand there."""
    monkeypatch.setenv("NBDOCK_REGISTRY_MIRRORS", f"docker.io=http://{registry.host}")
    return registry


def digest_there(name: str) -> str:
    """What skopeo says that a name stands for."""
    return str(
        json.loads(oracles.skopeo("inspect", "--tls-verify=false", f"docker://{name}"))["Digest"]
    )


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class TestPullImage:
    def test_the_manuals_example(self, cells, hub: Registry, tmp_path: Path, capsys) -> None:
        """Its own text; only what no other image can have is this image's."""
        pushed = hub.push("nixos/nix", "whatever", layers=[layer({"a": b"nix"})])
        file = tmp_path / "nix.tar"
        oracles.skopeo(
            "copy", "--src-tls-verify=false", f"docker://{pushed.name}",
            f"docker-archive:{file}:nix:1.11",
        )  # fmt: skip
        sha256 = oracles.call("nix-hash", "--flat", "--type", "sha256", "--base32", file).strip()
        text = MANUAL.read_text("utf-8")
        assert (DIGEST in text, SHA256 in text) == (True, True)
        text = text.replace(DIGEST, pushed.digest).replace(SHA256, sha256)
        image = cells.value(f"%%pullImage -o nix\n{text}")
        assert (image.reference, str(image.digest)) == ("nix:1.11", pushed.digest)
        assert cells.names["nix"] is image
        assert re.fullmatch(r"Pulled in [\d.]+ s\.\n", capsys.readouterr().err)
        by_function = concurrency.run(
            nbdock.pull_image(
                "nixos/nix", image_digest=pushed.digest, final_image_name="nix",
                final_image_tag="1.11", sha256=sha256, os="linux", arch="x86_64",
            )
        )  # fmt: skip
        assert by_function.digest == image.digest
        bindings = text.partition("{")[2].rpartition("}")[0]
        assert cells.value(f"%%pullImage\n{bindings}").digest == image.digest
        saved = cells.value(f"%%pullImage --save {tmp_path}/x.tar\n{text}")
        assert saved.digest == image.digest
        assert oracles.inspect(f"docker-archive:{tmp_path}/x.tar")["Layers"]

    def test_the_manuals_example_to_the_letter(self, cells, monkeypatch) -> None:
        asked: dict[str, Any] = {}

        async def pull_image(image_name: str, *, progress: object, **arguments: object) -> Image:
            asked.update(image_name=image_name, **arguments)
            return await nbdock.build_image("nix")

        builders = dict(nbdock.notebook.names.FUNCTIONS)
        monkeypatch.setattr(
            "nbdock.notebook.reading.FUNCTIONS", {**builders, "pullImage": pull_image}
        )
        monkeypatch.setattr(
            "nbdock.notebook.reading.from_cell",
            lambda _, given, magic: nbdock.images.from_cell(nbdock.pull_image, given, magic=magic),
        )
        cells.value(f"%%pullImage\n{MANUAL.read_text('utf-8')}")
        assert asked == {
            "image_name": "nixos/nix", "image_digest": DIGEST, "final_image_name": "nix",
            "final_image_tag": "1.11", "sha256": SHA256, "os": "linux", "arch": "x86_64",
        }  # fmt: skip

    def test_as_a_value_in_another_cell(self, cells, hub: Registry, repository: str) -> None:
        pushed = hub.push(repository, "1", layers=[layer({"a": b"base"})])
        for call in ("pullImage", "pkgs.dockerTools.pullImage", "dockerTools.pullImage"):
            image = cells.value(
                f'%%buildImage\nname = "on"; fromImage = {call} {{ imageName = "{repository}"; '
                f'imageDigest = "{pushed.digest}"; }};'
            )
            assert concurrency.run(image.file("a")) == b"base"

    def test_all_platforms_are_shown(self, cells, registry: Registry, repository: str) -> None:
        images = {
            "linux/amd64": registry.push(repository, "a"),
            "linux/arm64": registry.push(repository, "b", architecture="arm64"),
        }
        registry.push_index(repository, "1", images)
        image = cells.value(
            f'%%pullImage\nimageName = "{registry.host}/{repository}:1"; platform = "all";'
        )
        bundle, _ = cells.shell.display_formatter.format(image)
        note = "image.images has one for each of linux/amd64, linux/arm64"
        assert bundle["text/plain"].endswith(note)
        assert note in bundle["text/html"]

    @pytest.mark.parametrize(
        ("cell", "kind", "said"),
        [
            ('imageName = "{r}:2";', ManifestNotFoundError, "Some of its tags: 1."),
            ('imageNme = "{r}";', UnknownArgumentError, "Did you mean imageName?"),
            ('imageTag = "1";', MissingArgumentError, "needs the argument imageName"),
            ('imageName = "{r}"; imageDigest = "sha256:12";', ArgumentTypeError,
             "(line 1, column 5"),
            ('imageName = "{r}:1"; arch = "amd46";', ArgumentTypeError, "Did you mean amd64?"),
            ('imageName = "{r}:1"; sha256 = "";', DigestMismatchError, 'write sha256 = "'),
        ],
    )  # fmt: skip
    def test_what_is_wrong(
        self, cells, registry: Registry, repository: str, cell: str, kind: type, said: str
    ) -> None:
        registry.push(repository, "1")
        place = f"{registry.host}/{repository}"
        error = cells.error(f"%%pullImage -o x\n{cell.replace('{r}', place)}")
        assert isinstance(error, kind)
        assert said in cells.rendered(error)
        assert "x" not in cells.names


class TestPrefetchImage:
    def test_gives_the_cell_to_paste(self, cells, hub: Registry) -> None:
        pushed = hub.push("library/my-app", "8", layers=[layer({"a": b"8"})])
        pin = cells.value("%prefetchImage my-app:8 -o pin")
        assert isinstance(pin, PrefetchedImage)
        assert cells.names["pin"] is pin
        bundle, _ = cells.shell.display_formatter.format(pin)
        head, _, cell = bundle["text/plain"].partition("\n\n")
        assert head.splitlines()[0] == "my-app:8"
        assert re.fullmatch(r"linux/amd64, \d+ B, 1 layer", head.splitlines()[1])
        assert cell == "\n".join(
            [
                "%%pullImage -o my_app",
                'imageName = "my-app";',
                f'imageDigest = "{pushed.digest}";',
                f'sha256 = "{pin.sha256}";',
                'finalImageName = "my-app";',
                'finalImageTag = "8";',
            ]
        )
        assert "<pre" in bundle["text/html"]
        before = len(hub.requests)
        image = cells.value(cell)
        assert (image.reference, str(image.digest)) == ("my-app:8", pushed.digest)
        assert cells.names["my_app"] is image
        assert hub.requests[before:] == []

    def test_the_line_of_nix_prefetch_docker(self, cells, hub: Registry) -> None:
        hub.push("library/prefetched", "5")
        line = (
            "--image-name prefetched --image-tag 5 --arch x86_64 --os linux "
            "--final-image-name eu.gcr.io/my-project/prefetched --final-image-tag prod"
        )
        pin = cells.value(f"%prefetchImage {line}")
        assert pin.arguments["final_image_name"] == "eu.gcr.io/my-project/prefetched"
        cells.value("tag = '5'")
        assert cells.value("%prefetchImage prefetched:{tag}").image_digest == pin.image_digest

    def test_as_a_value_in_a_cell(self, cells, registry: Registry, repository: str) -> None:
        tar = layer({"a": b"1"})
        pushed = registry.push(repository, "1", layers=[tar])
        name = f"{registry.host}/{repository}"
        cells.run(f"%prefetchImage {name}:1 -o pin")
        for text in (
            f'pullImage (prefetchImage {{ imageName = "{name}"; imageTag = "1"; }})',
            f'prefetchImage {{ imageName = "{name}:1"; }}',
            "pin",
            "pullImage pin",
            'pin // { finalImageName = "other"; sha256 = null; }',
            "inherit (pin) imageName imageDigest sha256 finalImageTag;",
        ):
            assert str(cells.value(f"%%pullImage\n{text}").digest) == pushed.digest
        image = cells.value('%%buildImage\nname = "on"; fromImage = pullImage pin;')
        assert str(image.layers[0].diff_id) == digest_of(tar)

    def test_a_wrong_line_fails_the_cell(self, cells, capsys) -> None:
        assert cells.run("%prefetchImage mysql 8").error_in_exec is not None
        assert "such as mysql:8" in capsys.readouterr().err
        assert isinstance(cells.error("%prefetchImage a --arch amd46"), ArgumentTypeError)

    @pytest.mark.parametrize(
        ("name", "bound"),
        [
            ("a/b", "b"),
            ("my.app-2", "my_app_2"),
            ("7zip", "image_7zip"),
            ("import", "image_import"),
        ],
    )
    def test_the_name_to_bind(self, name: str, bound: str) -> None:
        from nbdock.notebook.display import _python_name

        assert _python_name(name) == bound


class TestPush:
    CELL = 'name = "hello"; tag = "1"; contents = [ (textFile "etc/motd" "hi") ];'

    @pytest.mark.parametrize("magic", ["buildImage", "buildLayeredImage", "streamLayeredImage"])
    def test_an_image_goes_where_the_cell_says(
        self, cells, registry: Registry, repository: str, magic: str, capsys
    ) -> None:
        name = f"{registry.host}/{repository}:2"
        made = cells.value(f"%%{magic} --push {name}\n{self.CELL}")
        digest = digest_there(name)
        assert f"Built, pushed as {name}@{digest} in " in capsys.readouterr().err
        assert made.name == "hello"
        pulled = concurrency.run(nbdock.pull_image(name, image_digest=digest))
        assert concurrency.run(pulled.file("etc/motd")) == b"hi"

    def test_a_copy_into_another_registry(
        self, cells, registry: Registry, repository: str, tmp_path: Path, capsys
    ) -> None:
        pushed = registry.push(repository, "1")
        copy = f"{registry.host}/{repository}-copy:1"
        cells.run(
            f'%%pullImage --push {copy} --save {tmp_path}/x.tar\nimageName = "{pushed.name}";'
        )
        said = capsys.readouterr().err
        assert said.startswith(
            f"Pulled, saved as {tmp_path}/x.tar, pushed as {copy}@{pushed.digest}"
        )
        assert digest_there(copy) == pushed.digest

    def test_a_registry_that_refuses(self, cells, registry: Registry) -> None:
        error = cells.error(f"%%buildImage -o x --push 127.0.0.1:1/x\n{self.CELL}")
        assert isinstance(error, nbdock.errors.ConnectionFailedError)
        assert "x" not in cells.names


def test_unloading_takes_the_magics_away(cells) -> None:
    cells.shell.run_line_magic("unload_ext", "nbdock")
    assert "prefetchImage" not in cells.shell.magics_manager.magics["line"]
    assert "pullImage" not in cells.shell.magics_manager.magics["cell"]
    cells.shell.run_line_magic("load_ext", "nbdock")


def test_help_is_what_can_be_copied(cells, capsys) -> None:
    for name in ("%%pullImage", "%prefetchImage"):
        cells.run(f"{name}?")
    shown = capsys.readouterr().out
    assert 'imageName = "mysql";' in shown
    assert "%prefetchImage mysql:8" in shown


# In a real kernel


def of_kind(messages: list[dict[str, Any]], kind: str) -> list[Any]:
    return [m["content"] for m in messages if m["msg_type"] == kind]


CELL = '%%pullImage -o slow\nimageName = "{}/slow:1"; arch = "amd64";'


def test_bytes_are_shown_and_one_line_stays(kernel) -> None:
    with stalling_registry() as registry:
        request = kernel.send(CELL.format(registry.host))
        messages = []
        for message in kernel.messages(request):
            messages.append(message)
            if " MB of 3.0 MB" in str(message["content"]):
                registry.go_on.set()
    [first] = of_kind(messages, "display_data")
    updates = of_kind(messages, "update_display_data")
    lines = [content["data"]["text/plain"] for content in (first, *updates)]
    states = [content["data"].get("state", {}) for content in of_kind(messages, "comm_msg")]
    live = [state["shown"]["text"] for state in states if "shown" in state]
    assert any(line.startswith(f"Pulling {registry.host}/slow:1  ") for line in [*lines, *live])
    assert re.fullmatch(r"Pulled in [\d.]+ s\.", lines[-1])
    assert {u["transient"]["display_id"] for u in updates} == {first["transient"]["display_id"]}
    [result] = of_kind(messages, "execute_result")
    assert result["data"]["text/plain"].startswith(f"{registry.host}/slow:1\nlinux/amd64, 3.0 MB")


def test_interrupt_stops_a_pull(kernel) -> None:
    with stalling_registry() as registry:
        request = kernel.send(CELL.format(registry.host).replace("-o slow", "-o other"))
        assert registry.stalled.wait(240)
        kernel.manager.interrupt_kernel()
        messages = list(kernel.messages(request))
        [error] = of_kind(messages, "error")
        assert error["ename"] == "KeyboardInterrupt"
        registry.go_on.set()
        [there] = of_kind(kernel.run("'other' in globals()"), "execute_result")
        assert there["data"]["text/plain"] == "False"
        [result] = of_kind(kernel.run(CELL.format(registry.host)), "execute_result")
        assert registry.digest in result["data"]["text/plain"]


def test_a_table_asks_for_no_layer(kernel) -> None:
    with stalling_registry() as registry:
        messages = kernel.run(f"nbdock.layer_table('{registry.host}/slow:1', platform='amd64')")
        # The layer was not asked for.
        assert not registry.stalled.is_set()
        [result] = of_kind(messages, "execute_result")
        assert f" {bytes_text(registry.layer_bytes)} " in result["data"]["text/plain"]
        assert f"{registry.layer_bytes:,} bytes" in result["data"]["text/html"]
