"""The command line: what it prints where, how it ends, and how quick it is."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pty
import re
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support import oracles
from support.plain_images import layer, write_docker_archive
from support.registry import Registry
from support.stalling_registry import stalling_registry
from support.terminal import screen

import nbdock
from nbdock import cli
from nbdock.content import BlobStore
from nbdock.oci import Digest
from nbdock.requirements import Finding, Requirement, State
from nbdock.tables import checkup

LIMIT_S = 0.3
HEAVY = {"IPython", "pandas", "numpy", "networkx", "httpx", "sqlite3", "zstandard", "asyncio"}
PROGRAM = [sys.executable, "-c", "from nbdock.cli import main; main(prog_name='nbdock')"]

_numbers = itertools.count()
pytestmark = pytest.mark.usefixtures("nbdock_home")


@pytest.fixture
def repository() -> str:
    """A repository that no other test uses."""
    return f"cli/r{next(_numbers)}"


def nbdock_(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(each) for each in arguments], prog_name="nbdock")


def printed(*arguments: object) -> str:
    """What a command prints that ends well."""
    result = nbdock_(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


class TestPrefetch:
    def test_the_manuals_commands(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """As they stand there; a mirror has what they name."""
        pushed = registry.push("library/mysql", "5", layers=[layer({"a": b"mysql"})])
        monkeypatch.setenv("NBDOCK_REGISTRY_MIRRORS", f"docker.io=http://{registry.host}")
        sha256 = {}
        for final in ("mysql:5", "eu.gcr.io/my-project/mysql:prod"):
            file = tmp_path / f"{len(sha256)}.tar"
            oracles.skopeo(
                "copy", "--src-tls-verify=false", f"docker://{pushed.name}",
                f"docker-archive:{file}:{final}",
            )  # fmt: skip
            call = ("nix-hash", "--flat", "--type", "sha256", "--base32", file)
            sha256[final] = oracles.call(*call).strip()

        def text(final: str) -> str:
            name, _, tag = final.rpartition(":")
            return (
                f'{{\n  imageName = "mysql";\n  imageDigest = "{pushed.digest}";\n'
                f'  sha256 = "{sha256[final]}";\n  finalImageName = "{name}";\n'
                f'  finalImageTag = "{tag}";\n}}\n'
            )

        asked = ["prefetch", "--image-name", "mysql", "--image-tag", "5"]
        assert printed(*asked) == text("mysql:5")
        assert printed(*asked, "--arch", "x86_64", "--os", "linux") == text("mysql:5")
        final = ("--final-image-name", "eu.gcr.io/my-project/mysql", "--final-image-tag", "prod")
        assert printed(*asked, *final) == text("eu.gcr.io/my-project/mysql:prod")
        result = nbdock_(*asked, "--json", "--quiet")
        assert result.stderr == ""
        by_nix = oracles.call(
            "nix-instantiate", "--eval", "--strict", "--json", "-E", text("mysql:5")
        )
        assert json.loads(result.stdout) == json.loads(by_nix)
        assert list(json.loads(result.stdout)) == [
            "imageName", "imageDigest", "sha256", "finalImageName", "finalImageTag",
        ]  # fmt: skip

    def test_a_name_alone(self, registry: Registry, repository: str) -> None:
        one = registry.push(repository, "1", layers=[layer({"a": b"1"})])
        latest = registry.push(repository, "latest", layers=[layer({"a": b"2"})])
        name = f"{registry.host}/{repository}"
        assert latest.digest in printed("prefetch", name)
        assert one.digest in printed("prefetch", name, "1")
        assert one.digest in printed("prefetch", f"{name}:1")
        by_digest = printed("prefetch", name, one.digest)
        assert one.digest in by_digest
        assert 'finalImageTag = "latest";' in by_digest
        assert printed("prefetch", name, "--image-digest", one.digest) == by_digest

    def test_another_platform(self, registry: Registry, repository: str) -> None:
        arm = registry.push(repository, "a", architecture="arm64")
        registry.push_index(repository, "1", {"linux/arm64": arm})
        name = f"{registry.host}/{repository}"
        assert 'arch = "arm64";' in printed("prefetch", name, "1", "--arch", "aarch64")
        result = nbdock_("prefetch", name, "1", "--arch", "s390x")
        assert result.exit_code == 1
        assert "It is there for linux/arm64/v8." in result.stderr

    def test_what_it_says_beside(self, registry: Registry, repository: str) -> None:
        registry.push(repository, "1")
        result = nbdock_("prefetch", f"{registry.host}/{repository}", "1")
        assert re.fullmatch(
            rf"Prefetched {registry.host}/{repository}:1 in [\d.]+ s\.\n", result.stderr
        )


class TestPull:
    def test_into_the_store_and_a_file(
        self, registry: Registry, repository: str, tmp_path: Path
    ) -> None:
        pushed = registry.push(repository, "1")
        path = tmp_path / "x.tar"
        result = nbdock_("pull", pushed.name, "--save", path, "--final-image-name", "mine")
        assert (result.stdout, result.exit_code) == (f"{pushed.digest}\n", 0)
        assert result.stderr.startswith(f"Pulled mine:1, saved as {path} in ")
        assert BlobStore.default().get_image("mine:1") is not None
        assert oracles.inspect(f"docker-archive:{path}")["Architecture"] == "amd64"

    def test_pins(self, registry: Registry, repository: str) -> None:
        pushed = registry.push(repository, "1")
        found = json.loads(printed("prefetch", pushed.name, "--json"))
        assert printed("pull", pushed.name, "--sha256", found["sha256"]) == f"{pushed.digest}\n"
        result = nbdock_("pull", pushed.name, "--sha256", "0" * 52)
        assert result.exit_code == 1
        assert f'sha256 = "{found["sha256"]}";' in result.stderr


class TestPush:
    def test_an_archive(self, registry: Registry, repository: str, tmp_path: Path) -> None:
        path = write_docker_archive(tmp_path / "x.tar", name="x:1", layers=[layer({"a": b"1"})])
        name = f"{registry.host}/{repository}:1"
        pushed = printed("push", path, name, "--compression", "zstd").strip()
        theirs = json.loads(
            oracles.skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{name}")
        )
        assert theirs["layers"][0]["mediaType"].endswith("+zstd")
        inspected = oracles.skopeo("inspect", "--tls-verify=false", f"docker://{name}")
        assert pushed == f"{name}@{json.loads(inspected)['Digest']}"

    def test_all_platforms_of_a_layout(
        self, registry: Registry, repository: str, tmp_path: Path
    ) -> None:
        images = {
            "linux/amd64": registry.push(repository, "a", layers=[layer({"a": b"1"})]),
            "linux/arm64": registry.push(repository, "b", architecture="arm64"),
        }
        digest = registry.push_index(repository, "all", images)
        name = f"{registry.host}/{repository}"
        oracles.skopeo(
            "copy", "--all", "--src-tls-verify=false", f"docker://{name}:all",
            f"oci-archive:{tmp_path / 'x.oci'}:x:1",
        )  # fmt: skip
        assert printed("push", tmp_path / "x.oci", f"{name}/copy:1") == (
            f"{name}/copy:1@{digest}\n"
        )
        printed("push", tmp_path / "x.oci", f"{name}/zstd:1", "--compression", "zstd")
        for image in asyncio.run(nbdock.pull_image(f"{name}/zstd:1", platform="all")).images:
            assert all(blob.media_type.endswith("+zstd") for blob in image.manifest.layers)
        # From a registry, only the image for this machine is copied.
        assert images["linux/amd64"].digest in printed(
            "push", f"docker://{name}:all", f"{name}/one:1"
        )

    def test_from_one_registry_to_another_place(self, registry: Registry, repository: str) -> None:
        pushed = registry.push(repository, "1")
        copy = f"{registry.host}/{repository}-copy:2"
        printed_ = printed("push", f"docker://{pushed.name}", copy, "--tls-verify=false")
        assert printed_ == f"{copy}@{pushed.digest}\n"


class TestWhatGoesWrong:
    def test_what_where_and_next(self, registry: Registry, repository: str) -> None:
        registry.push(repository, "1.11")
        place = f"{registry.host}/{repository}"
        result = nbdock_("prefetch", place, "1.12")
        assert (result.stdout, result.exit_code) == ("", 1)
        assert result.stderr == (
            f"nbdock: There is no {place}:1.12 in the registry.\n"
            f"  http://{registry.host}/v2/{repository}/manifests/1.12\n"
            "  Did you mean 1.11?\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["prefetch"], "Which image? Give its name, such as mysql:8."),
            (["prefetch", "a", "--image-name", "b"], "give one of them"),
            (["prefetch", "a", "1", "--image-tag", "2"], "1 and --image-tag 2: give one of them"),
            (["prefetch", "a", "sha256:12", "--image-digest", "x"], "give one of them"),
            (["prefetch", "a:1", "2"], "nbdock: image_name says 1, image_tag says 2."),
            (["prefetch", "UP"], "Write 'up'."),
            (["prefetch", "a", "--arch", "amd46"], "Did you mean amd64?"),
            (["prefetch", "a", "--arch", "amd46"], "\n  --arch\n"),
            (["prefetch", "a", "--final-image-name", "b:1"], "\n  --final-image-name\n"),
            (["prefetch", "a", "--image-nam", "b"], "--image-name"),
            (["prefetch", "a", "--tls-verify", "maybe"], "not a valid boolean"),
            (["pull", "a", "--sha256", "x"], "\n  --sha256\n"),
            (["push", "a"], "Missing argument 'REFERENCE'"),
            (["fetch"], "prefetch"),
        ],
    )
    def test_what_is_asked_wrongly(self, arguments: list[str], said: str) -> None:
        result = nbdock_(*arguments)
        assert (result.stdout, result.exit_code) == ("", 2)
        assert said in result.stderr

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        result = nbdock_("push", tmp_path / "none.tar", "localhost:1/x")
        assert result.exit_code == 1
        assert "Check the path." in result.stderr


class TestProcess:
    """As a process of its own."""

    def test_help_is_quick_and_imports_nothing_heavy(self) -> None:
        def once() -> float:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, check=True)
            assert "prefetch" in done.stdout
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        # The best of several: the machine is busy with other tests, the import is what is judged.
        assert min(once() for _ in range(10)) < LIMIT_S
        code = "import sys, nbdock.cli; print(*{m.partition('.')[0] for m in sys.modules})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert not set(done.stdout.split()) & HEAVY

    def test_it_is_installed_as_a_script(self) -> None:
        from importlib.metadata import entry_points

        (found,) = entry_points(group="console_scripts", name="nbdock")
        assert found.load() is cli.main

    def test_the_version(self) -> None:
        assert printed("--version") == f"nbdock, version {nbdock.__version__}\n"

    def test_an_interrupt(self, tmp_path: Path) -> None:
        with stalling_registry() as registry:
            command = [*PROGRAM, "pull", f"{registry.host}/slow:1", "--arch", "amd64"]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                assert registry.stalled.wait(240)
                process.send_signal(signal.SIGINT)
                out, said = process.communicate(timeout=240)
            finally:
                process.kill()
            assert (out, process.returncode) == (b"", 130)
            assert said.endswith(b"nbdock: stopped.\n")
            assert b"Traceback" not in said
            store = BlobStore.default()
            assert list(store.verify()) == []
            assert store.get_image(f"{registry.host}/slow:1") is None
            # What has arrived is there for the next time.
            registry.go_on.set()
            assert printed(*command[3:]) == f"{registry.digest}\n"

    def test_progress_on_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NBDOCK_PROGRESS_DELAY_S", "0.01")
        main, terminal = pty.openpty()
        seen: list[bytes] = []
        half_way = threading.Event()

        def take(data: bytes) -> None:
            seen.append(data)
            if b" MB of 3.0 MB" in b"".join(seen):
                half_way.set()

        read = threading.Thread(target=_collect, args=(main, take))
        with stalling_registry() as registry:
            process = subprocess.Popen(
                [*PROGRAM, "pull", f"{registry.host}/slow:1", "--arch", "amd64"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=terminal,
            )  # fmt: skip
            os.close(terminal)
            read.start()
            try:
                assert registry.stalled.wait(240)
                assert half_way.wait(240)
                registry.go_on.set()
                out, _ = process.communicate(timeout=240)
            finally:
                process.kill()
                read.join()
                os.close(main)
        assert out.decode() == f"{registry.digest}\n"
        lines = b"".join(seen).decode().replace("\r\n", "\n")
        assert f"\r\x1b[JPulling {registry.host}/slow:1  " in lines
        [last, empty] = screen(lines)
        assert re.fullmatch(rf"Pulled {registry.host}/slow:1 in [\d.]+ s\.", last)
        assert empty == ""


class TestDoctor:
    def test_what_is_not_here_and_what_adds_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parts = (
            Requirement("one", "all", lambda: Finding(State.OK, "here"), is_needed=True),
            Requirement("another", "some", lambda: Finding(State.ABSENT, "gone", "add it")),
            Requirement("more", "speed", lambda: Finding(State.SLOWER, "weak")),
        )
        monkeypatch.setattr(checkup, "REQUIREMENTS", parts)
        assert printed("doctor").splitlines() == [
            "ok        one      here",
            "optional  another  gone",
            "                   for some",
            "                   $ add it",
            "slower    more     weak",
            "                   for speed",
        ]

    def test_what_everything_needs_is_not_here(self, monkeypatch: pytest.MonkeyPatch) -> None:
        parts = (Requirement("one", "all", lambda: Finding(State.ABSENT, "x"), is_needed=True),)
        monkeypatch.setattr(checkup, "REQUIREMENTS", parts)
        result = nbdock_("doctor")
        assert result.exit_code == 1
        assert result.stdout.startswith("missing   one  x\n")

    def test_it_imports_nothing_heavy(self, tmp_path: Path) -> None:
        code = (
            "import sys; from nbdock.cli import main\n"
            "try: main(['doctor'])\n"
            "except SystemExit as end: print(end.code, *sys.modules)"
        )
        said = subprocess.check_output([sys.executable, "-c", code], text=True)
        exit_code, *modules = said.splitlines()[-1].split()
        assert exit_code == "0"
        assert not {"pandas", "IPython", "httpx"} & set(modules)


def _collect(fd: int, take: Callable[[bytes], Any]) -> None:
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:
            return
        if not data:
            return
        take(data)


MOTD = 'buildImage { name = "motd"; copyToRoot = [ (textFile "etc/motd" "hello") ]; }'


@pytest.fixture
def motd(tmp_path: Path) -> Path:
    """An archive that ``nbdock build`` made."""
    (tmp_path / "motd.nix").write_text(MOTD)
    printed("build", tmp_path / "motd.nix", "--save", tmp_path / "motd.tar")
    return tmp_path / "motd.tar"


class TestBuild:
    def test_what_the_manual_shows(self, tmp_path: Path) -> None:
        file = tmp_path / "motd.nix"
        file.write_text(f"{{ pkgs, ... }}:\npkgs.dockerTools.{MOTD}")
        digest = printed("build", file, "--save", tmp_path / "x.tar").strip()
        assert BlobStore.default().has(Digest.parse(digest))
        assert oracles.inspect(f"docker-archive:{tmp_path / 'x.tar'}")["Architecture"] == "amd64"

    def test_a_whole_cell_and_its_flags(self, tmp_path: Path) -> None:
        file, saved, other = (tmp_path / name for name in ("cell.nix", "a.tar", "b.tar"))
        file.write_text(f"%%buildImage --save {saved}\n{MOTD}")
        printed("build", file)
        assert saved.exists()
        saved.unlink()
        printed("build", file, "--save", other)
        assert (saved.exists(), other.exists()) == (False, True)

    def test_standard_input(self) -> None:
        result = CliRunner().invoke(cli.main, ["build", "-"], input=MOTD)
        assert result.exit_code == 0
        assert re.search(r"^sha256:[0-9a-f]{64}$", result.stdout, re.MULTILINE)

    def test_a_plan(self, tmp_path: Path, nbdock_home: Path) -> None:
        (tmp_path / "x.nix").write_text(
            'buildLayeredImage { name = "x"; contents = [ (textFile "etc/a" "12345") ]; }'
        )
        assert printed("build", tmp_path / "x.nix", "--dry-run").split() == ["0", "5", "B", "a"]
        assert not (nbdock_home / "blobs").exists()

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                '%%buildImage\nname = "x";\nconfig.Cmdd = 3;',
                "  line 3, column 8:\n    config.Cmdd = 3;\n           ^\n  Did you mean Cmd?\n",
            ),
            ('buildImage { nme = "x"; }', "Did you mean name?"),
            ("buildImage {", "line 1"),
            ('name = "x";', "Write one around them: buildLayeredImage {"),
            ("%%buildImage --saev x\nname = 1;", "--save"),
            ("%%time\nx", "%%time builds nothing; there are: buildImage"),
        ],
    )
    def test_errors_say_where(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "x.nix").write_text(text)
        result = nbdock_("build", tmp_path / "x.nix")
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr


class TestTables:
    def test_text_is_for_people(self, motd: Path) -> None:
        text = printed("layers", motd)
        assert text.startswith("Layers\n1 row\n\nposition")
        assert "10 kB" in text
        assert "efficiency 100.0 %" in printed("waste", motd)
        assert "dive efficiency" in printed("waste", motd, "--dive")
        assert "0 rows" in printed("packages", oracle_image(motd))

    def test_json_and_csv_are_the_table(self, motd: Path) -> None:
        table = nbdock.file_table(str(motd))
        rows = json.loads(printed("files", motd, "--format", "json"))
        assert [row["path"] for row in rows] == ["/etc", "/etc/motd"]
        assert rows[1]["digest"] == table.digest[1]
        assert (rows[0]["digest"], rows[1]["visible"], rows[1]["size_bytes"]) == (None, True, 5)
        assert rows[1]["mtime"] == "1970-01-01T00:00:01Z"
        head, first, *_ = printed("files", motd, "--format", "csv").splitlines()
        assert head.split(",") == list(table.columns)
        assert first.startswith("0,/etc,directory,493,0,0,0,1970-01-01T00:00:01.000000Z,")

    def test_several_images(self, motd: Path, tmp_path: Path) -> None:
        (tmp_path / "x.nix").write_text(MOTD.replace("hello", "bye"))
        other = tmp_path / "other.tar"
        printed("build", tmp_path / "x.nix", "--save", other)
        (row,) = json.loads(printed("sharing", motd, motd, "--format", "json"))
        assert (row["images"], row["in_images"]) == (2, [str(motd), str(motd)])
        assert len(json.loads(printed("layers", motd, other, "--format", "json"))) == 2
        matrix = printed("sharing", motd, other, "--measure", "missing", "--format", "csv")
        assert len(matrix.splitlines()) == 3
        assert nbdock_("compare", motd, other).exit_code == 0
        result = nbdock_("compare", motd, other, "--exit-code", "--format", "json")
        assert result.exit_code == 3
        assert "/etc/motd" in result.stdout
        assert nbdock_("compare", motd, motd, "--exit-code").exit_code == 0

    def test_what_was_built_or_pulled_has_a_name(
        self, registry: Registry, repository: str, tmp_path: Path
    ) -> None:
        (tmp_path / "x.nix").write_text(MOTD.replace('"motd";', '"motd"; tag = "1";', 1))
        built = nbdock_("build", tmp_path / "x.nix")
        assert built.stderr.startswith("Built motd:1 in ")
        (row,) = json.loads(printed("layers", "motd:1", "--format", "json"))
        assert row["contents"] == ["motd"]
        printed("export", "motd:1", tmp_path / "root.tar")
        assert "./etc/motd" in oracles.call("tar", "tf", tmp_path / "root.tar").split()
        copy = f"{registry.host}/{repository}:1"
        assert printed("push", "motd:1", copy).startswith(f"{copy}@sha256:")
        # It is what was pulled, whatever the registry has now, unless that is asked for.
        printed("pull", copy)
        other = registry.push(repository, "1", layers=[layer({"a": b"1"})])
        assert other.digest not in printed("push", copy, f"{copy}2")
        assert len(json.loads(printed("files", copy, "--format", "json"))) == 2
        assert len(json.loads(printed("files", f"docker://{copy}", "--format", "json"))) == 1
        assert nbdock_("layers", "motd:1", "--platform", "linux/amd46").exit_code == 2

    def test_what_is_no_image(self, tmp_path: Path) -> None:
        result = nbdock_("layers", tmp_path / "none.tar")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "There is no file" in result.stderr

    def test_export(self, motd: Path, tmp_path: Path) -> None:
        assert printed("export", motd, tmp_path / "root.tar") == f"{tmp_path / 'root.tar'}\n"
        names = oracles.call("tar", "tf", tmp_path / "root.tar").split()
        assert names == ["./", "./etc/", "./etc/motd"]


def oracle_image(archive: Path) -> str:
    """The same image as a layout that another tool wrote."""
    layout = archive.with_suffix(".oci")
    oracles.skopeo("copy", f"docker-archive:{archive}", f"oci:{layout}:x")
    return str(layout)


class TestRoom:
    def test_usage_is_the_table(self, motd: Path) -> None:
        text = printed("usage")
        assert text.startswith("On the disk\n")
        assert f"in {BlobStore.default().home}" in text
        rows = json.loads(printed("usage", "--format", "json"))
        table = nbdock.usage_table().reset_index()
        assert rows[0]["file_count"] == 3
        assert [row["kind"] for row in rows] == table["kind"].tolist()
        assert printed("usage", "--format", "csv").startswith("kind,place,file_count,size_bytes,")

    def test_prune(self, motd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NBDOCK_PRUNE_GRACE_S", "60")
        store = BlobStore.default()
        long_ago = time.time() - 3600
        for path in (store.home / "blobs" / "sha256").iterdir():
            os.utime(path, (long_ago, long_ago))
        assert printed("prune").splitlines() == ["      0 B       0  in all"]
        for stored in store.images():
            store.remove_image(stored.name)
        assert printed("prune", "--older-than", "2h", "--format", "json") == "[]\n"
        dry = printed("prune", "--dry-run").splitlines()
        assert [line.split()[2:] for line in dry] == [["3", "blobs"], ["3", "in", "all"]]
        rows = json.loads(printed("prune", "--older-than", "30min", "--format", "json"))
        assert {row["kind"] for row in rows} == {"blobs"}
        assert list((store.home / "blobs" / "sha256").iterdir()) == []

    def test_a_time_that_is_none(self) -> None:
        result = nbdock_("prune", "--older-than", "3 fortnights")
        assert result.exit_code == 2
        assert "write for example 45min" in result.stderr


@pytest.fixture
def named(nbdock_home: Path) -> Path:
    """A home with names of images; how they got there is not what is asked."""
    manifests = [
        {"annotations": {"org.opencontainers.image.ref.name": name}, "digest": "", "size": 1}
        for name in ("redis:7.2", "redis:7.4", "localhost:5000/motd:1")
    ]
    nbdock_home.mkdir(exist_ok=True)
    (nbdock_home / "index.json").write_text(json.dumps({"manifests": [*manifests, {}, 3]}))
    (nbdock_home / "index.json").write_text(json.dumps({"manifests": [*manifests, {}]}))
    return nbdock_home


class TestCompletion:
    """As shells ask for it."""

    def test_in_bash(self, named: Path, tmp_path: Path) -> None:
        """What bash is told to put in place of the last word as it sees it: after a colon."""
        (tmp_path / "cells").mkdir()
        (tmp_path / "cells" / "a b.nix").touch()
        lines = {
            "nbdock pre": ["prefetch"],
            "nbdock layers --form": ["--format"],
            "nbdock layers --format=j": ["json"],
            "nbdock layers redis": ["redis:7.2", "redis:7.4"],
            "nbdock layers redis:7.4": ["7.4"],
            "nbdock compare redis:7.2 local": ["localhost:5000/motd:1"],
            "nbdock push redis:7.2 localhost:5": ["5000/motd:1"],
            "nbdock push redis:7.2 localhost:5000/motd:": ["1"],
            "nbdock layers cel": ["cells"],
            "nbdock build cells/": ["cells/a b.nix"],
            "nbdock completion z": ["zsh"],
        }
        program = f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n'
        (tmp_path / "nbdock").write_text(program)
        (tmp_path / "nbdock").chmod(0o755)
        asked = "".join(
            f"COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}}; _nbdock_completion "
            f"{tmp_path}/nbdock; printf '%s\\n' \"${{COMPREPLY[@]}}\" ==\n"
            for line in lines
        )
        # Without a terminal there is nothing to set options of.
        script = f"compopt() {{ :; }}\n{printed('completion', 'bash')}\n{asked}"
        said = subprocess.check_output(["bash", "-c", script], cwd=tmp_path, text=True)
        answers = [answer.split("\n")[:-1] for answer in said.split("==\n")[:-1]]
        assert dict(zip(lines, answers, strict=True)) == lines

    def test_in_zsh_and_fish(self, named: Path) -> None:
        """What their scripts, which are click's, ask nbdock."""
        asked = {"COMP_WORDS": "nbdock layers redis:", "COMP_CWORD": "2"}
        zsh = answer({"_NBDOCK_COMPLETE": "zsh_complete", **asked})
        assert zsh.split("\n")[:6] == ["plain", "redis:7.2", "_", "plain", "redis:7.4", "_"]
        asked = {"COMP_WORDS": "nbdock layers redis:", "COMP_CWORD": "redis:"}
        fish = answer({"_NBDOCK_COMPLETE": "fish_complete", **asked})
        assert fish.split()[:2] == ["plain,redis:7.2", "plain,redis:7.4"]
        asked = {"COMP_WORDS": "nbdock layers --format=j", "COMP_CWORD": "2"}
        assert answer({"_NBDOCK_COMPLETE": "zsh_complete", **asked}).split()[1] == "--format=json"
        asked = {"COMP_WORDS": "nbdock layers --format=j", "COMP_CWORD": "--format=j"}
        fish = answer({"_NBDOCK_COMPLETE": "fish_complete", **asked})
        assert fish.split()[0] == "plain,--format=json"
        assert printed("completion", "zsh").startswith("#compdef nbdock\n")
        assert "complete --no-files --command nbdock" in printed("completion", "fish")

    @pytest.mark.parametrize("text", [None, "", "[]", '{"manifests": [3, {"annotations": 1}]}'])
    def test_a_store_that_is_not_there_or_damaged(
        self, nbdock_home: Path, text: str | None
    ) -> None:
        if text is not None:
            nbdock_home.mkdir(exist_ok=True)
            (nbdock_home / "index.json").write_text(text)
        asked = {"_NBDOCK_COMPLETE": "bash_complete", "NBDOCK_LINE": "nbdock layers re"}
        assert answer(asked).split() == ["file,re"]
        assert (nbdock_home / "index.json").exists() == (text is not None)

    def test_it_imports_no_more_than_it_must(self, named: Path) -> None:
        code = (
            "import sys; from nbdock.cli import main\n"
            "try: main(prog_name='nbdock')\n"
            "except SystemExit: print('\\n', *{m.partition('.')[0] for m in sys.modules})"
        )
        asked = {"_NBDOCK_COMPLETE": "bash_complete", "NBDOCK_LINE": "nbdock layers re"}
        *_, modules = answer(asked, [sys.executable, "-c", code]).splitlines()
        assert not set(modules.split()) & HEAVY


def answer(asked: dict[str, str], program: list[str] = PROGRAM) -> str:
    return subprocess.check_output(program, env={**os.environ, **asked}, text=True)
