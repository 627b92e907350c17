"""The code of the how-to guides and of the README, run as a reader would: with real registries,
archives, engines and Nix.

Each page runs in a process and a directory of its own. Pages that build of the machine's packages
share one NBDOCK_HOME: what it costs to fetch, pack and boot is paid once. Any of them runs alone.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from support import guide
from support.apt_archive import Archive, Signer
from support.certificates import Authority
from support.components import require
from support.engine import Engine
from support.machines import as_other_user
from support.nix import Nix, NixCache
from support.registry import Registry, docker_registry, login_config, tls_config

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "how-to"
PAGES = {path.stem: path for path in GUIDES.glob("*.md")} | {"README": ROOT / "README.md"}
LIMIT_S = 240


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's home with nothing in it, nbdock's commands, and no one's settings."""
    for name in [*os.environ]:
        if name.startswith(("NBDOCK_", "XDG_", "DOCKER_", "REGISTRY_")) and name != "NBDOCK_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    (tmp_path / "home").mkdir()


@pytest.fixture
def shared_home(apt_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One NBDOCK_HOME for the pages that build of the machine's packages, in all workers."""
    home = apt_files.parent / "nbdock-guides"
    home.mkdir(exist_ok=True)
    for part in apt_files.iterdir():
        try:
            (home / part.name).symlink_to(part)
        except FileExistsError:
            continue
    monkeypatch.setenv("NBDOCK_HOME", str(home))
    return home


def follow(
    page: str,
    directory: Path,
    replaced: Mapping[str, str] | None = None,
    *,
    within: Sequence[str] = (),
    apart: bool = False,
) -> str:
    """Run a page's code in a directory, by a command if one is given; what it printed."""
    changes = [f"{old}={new}" for old, new in (replaced or {}).items()]
    options = ["--apart"] if apart else []
    done = subprocess.run(
        [*within, sys.executable, guide.__file__, *options, str(PAGES[page]), *changes],
        cwd=directory, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_block_is_run_or_says_why_not() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    calls = re.findall(r'follow\(\s*"([\w-]+)"([^\n]*)', text)
    followed = {name for name, _ in calls}
    apart = {name for name, rest in calls if "apart=True" in rest}
    for name, path in PAGES.items():
        # An error for a block that is neither run nor has a reason.
        blocks = list(guide.blocks(path.read_text(encoding="utf-8")))
        assert not blocks or name in followed, name
        assert name in apart or guide.APART not in {block.mark for block in blocks}, name


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```yaml\na: 1\n```\n", "does not say why"),
        ("```\nls\n```\n", "does not say why"),
        ("<!-- skipped: no -->\n```sh\nls\n```\n", "what does"),
    ],
)
def test_a_block_that_nobody_answers_for_is_an_error(page: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(guide.blocks(page))


def test_what_a_line_says_is_compared(capfd: pytest.CaptureFixture[str]) -> None:
    guide.run_guide("```console\n$ echo sha256:1234 && echo b\nsha256:...\nb\n```\n")
    with pytest.raises(SystemExit, match="instead of"):
        guide.run_guide("```console\n$ echo a\nb\n```\n")


def test_readme(
    tmp_path: Path, shared_home: Path, local_nix: Nix, registry: Registry,
    docker_engine: Engine, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DOCKER_HOST", f"unix://{docker_engine.socket}")
    follow("README", tmp_path, {"localhost:5000": registry.host})
    docker_engine("load", "-i", str(tmp_path / "redis.tar.gz"))


def test_ci(tmp_path: Path, shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_USER", "robot")
    monkeypatch.setenv("REGISTRY_PASSWORD", "secret")
    config = login_config(tmp_path, "robot", "secret")
    login = ("robot", "secret")
    with docker_registry(tmp_path / "registry", config=config, login=login) as registry:
        follow("ci", tmp_path, {"registry.example": registry.host})
        digest = registry.request(
            "HEAD", "/v2/team/hello/manifests/1",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )[1]["docker-content-digest"]  # fmt: skip
        assert (tmp_path / "pushed.txt").read_text().strip().endswith(f"@{digest}")

        # A push that is refused fails the job.
        monkeypatch.setenv("REGISTRY_PASSWORD", "wrong")
        refused = subprocess.run(["sh", "ci.sh"], cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "auth.json" in refused.stderr

    # YAML 1.1 reads `on` as true; GitHub does not.
    workflow = yaml.safe_load((tmp_path / ".github/workflows/image.yml").read_text())
    assert workflow[True] == "push"
    steps = workflow["jobs"]["image"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    install, build = (step for step in steps if "run" in step)
    assert shlex.split(install["run"])[:2] == ["pip", "install"]
    assert build["run"] == "sh ci.sh"
    assert set(build["env"]) == {"REGISTRY_USER", "REGISTRY_PASSWORD"}


def test_private_registries(tmp_path: Path, nbdock_home: Path, registry: Registry) -> None:
    authority = Authority(tmp_path / "authority")
    (tmp_path / "ca.pem").write_bytes(authority.ca_file.read_bytes())
    config = tls_config(authority, "127.0.0.1") | login_config(tmp_path, "me", "secret")
    registry.push("hub/library/redis", "7")
    with docker_registry(
        tmp_path / "registry", config=config, scheme="https", login=("me", "secret"),
        ca_file=authority.ca_file,
    ) as private:  # fmt: skip
        follow(
            "private-registries", tmp_path,
            {"registry.lan:5000": private.host, "mirror.lan:5000": registry.host},
        )  # fmt: skip


def test_without_the_internet(
    tmp_path: Path, nbdock_home: Path, registry: Registry, nix_cache: NixCache
) -> None:
    (tmp_path / "app" / "bin").mkdir(parents=True)
    (tmp_path / "app" / "bin" / "app").write_text("#!/bin/sh\n")
    with Signer() as signer:
        archive = Archive(tmp_path / "mirror", signer)
        archive.add("hello", "1.0", files={"usr/bin/hello": b"#!/bin/sh\n"})
        archive.publish("stable")
        signer.export(tmp_path / "mirror.gpg")
    follow(
        "air-gapped", tmp_path,
        {"/srv/mirror": str(archive.root), "localhost:5000": registry.host,
         "/srv/cache": str(nix_cache.directory), "/srv/channel": str(nix_cache.channel_directory),
         "cache.example-1:KEY": nix_cache.public_key},
    )  # fmt: skip


def test_big_images(tmp_path: Path, nbdock_home: Path, registry: Registry) -> None:
    for name in ("weights", "code"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_bytes(os.urandom(1 << 20))
    follow("big-images", tmp_path, {"localhost:5000": registry.host})


def test_registries(tmp_path: Path, nbdock_home: Path, registry: Registry) -> None:
    for tag in ("6", "7", "8"):
        images = {
            f"linux/{name}": registry.push("hub/library/redis", f"{tag}-{name}", architecture=name)
            for name in ("amd64", "arm64")
        }
        registry.push_index("hub/library/redis", tag, images)
    registry.push("quay/team/app", "1", architecture="arm64")
    mirrors = f"docker.io=http://{registry.host}/hub quay.io=http://{registry.host}/quay"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NBDOCK_REGISTRY_MIRRORS", mirrors)
        follow("registries", tmp_path, {"localhost:5000": registry.host})


def test_fleets(tmp_path: Path, nbdock_home: Path, registry: Registry) -> None:
    for app in ("shop", "search", "mail"):
        registry.push(f"team/{app}", "latest")
    # Processes would show no more than threads do, and take seconds to start.
    follow(
        "fleets", tmp_path,
        {"registry.example": registry.host, "/shared/fleet": str(tmp_path / "fleet"),
         "n_workers": "processes=False, dashboard_address=None, n_workers"},
    )  # fmt: skip


def test_explore(tmp_path: Path, shared_home: Path) -> None:
    # A database and all it needs would be fetched for no more than its name.
    follow("explore", tmp_path, {"apt.postgresql": "apt.hello"})


def test_logging(tmp_path: Path, nbdock_home: Path) -> None:
    follow("logging", tmp_path)


def test_dockerfile(tmp_path: Path, shared_home: Path) -> None:
    require("qemu-system-x86_64")
    assert "hello world from /data of 1000" in follow("dockerfile", tmp_path)


def test_saving(tmp_path: Path, shared_home: Path) -> None:
    follow("saving", tmp_path)


def test_packages_of_nixpkgs(
    tmp_path: Path, nbdock_home: Path, local_nix: Nix, nix_cache: NixCache
) -> None:
    follow(
        "nix", tmp_path,
        {"https://cache.example/channel": nix_cache.channel_url, "cache.example-1:KEY":
         nix_cache.public_key, "https://cache.example": nix_cache.url},
    )  # fmt: skip


def test_root(tmp_path: Path, shared_home: Path) -> None:
    require("qemu-system-x86_64")
    follow("root", tmp_path)


def test_without_root(
    tmp_path: Path,
    shared_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    require("qemu-system-x86_64")
    (tmp_path / "nbdock").symlink_to(shared_home)
    # In a namespace in which nobody is root: no capability, and no user but one's own.
    nobody = ("unshare", "--user") if os.geteuid() == 0 and as_other_user() else ()
    follow("without-root", tmp_path, within=nobody)

    # Whoever is not root has followed the page by now, up to the engine that a test can start.
    engine: Engine = request.getfixturevalue("podman_engine")
    podman = tmp_path / "bin" / "podman"
    podman.parent.mkdir()
    options = shlex.join(engine.command[1:])
    podman.write_text(f'#!/bin/sh\nexec {shutil.which("podman")} {options} "$@"\n')
    podman.chmod(0o755)
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{podman.parent}:{os.environ['PATH']}")
    follow("without-root", tmp_path, {"run --rm": "run --network none --rm"}, apart=True)
