"""What every test can ask for: real engines, other tools, a clean home and environment.

Fixtures
--------
docker_engine, podman_engine
    A running engine (`support.engine.Engine`), one per test worker and session.
nbdock_home
    An empty NBDOCK_HOME of this test alone.
apt_home
    The same, but what another test of the run fetched or booted is there, package indexes,
    packages and guests: the machine's sources are asked for each file once.
nix, nix_cache
    A real Nix with a store and a small nixpkgs of its own (`support.nix.Nix`), and a binary cache
    that it signed, served on loopback (`support.nix.NixCache`): once per run, for all workers.
local_nix
    The same Nix, and it is this machine's as far as the test and nbdock see.
registry
    A real docker-registry on loopback, plain http, with deletion; once per worker: tests keep to
    repositories of their own names.
configured
    A function that changes settings for this test.
clean_environment
    No variables but PATH and the few that name certificates and proxies.

Nothing ever touches the user's own NBDOCK_HOME: the run as a whole has a temporary one.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest
from support import components, engine, guests, no_skips
from support import nix as nix_support
from support.registry import Registry, docker_registry

from nbdock import settings

SHARED = "NBDOCK_TEST_SHARED"

# How long an example takes says more of what else the machine does than of the code.
hypothesis.settings.register_profile("nbdock", deadline=None)
hypothesis.settings.load_profile("nbdock")
KEPT_VARIABLES = ("PATH", "TMPDIR", "NBDOCK_HOME", SHARED)
KEPT_SUFFIXES = ("_proxy", "_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "_CA_BUNDLE")


def pytest_configure(config: pytest.Config) -> None:
    # As in `notebooks/run.py`: who reads notebooks needs not the grammar that jsonschema compiles.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background of a shell; then Python does not interrupt what is interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    skips = no_skips.NoSkips() if no_skips.in_ci() else components.SkipsWhatIsMissing()
    config.pluginmanager.register(skips, "nbdock-skips")
    # dockerd and runc stand where a user's PATH does not lead.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    home = tempfile.mkdtemp(prefix="nbdock-test-home-")
    os.environ["NBDOCK_HOME"] = home
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    if "PYTEST_XDIST_WORKER" not in os.environ:
        # What all workers share: they inherit the variable.
        _remove_runs_that_were_killed()
        shared = tempfile.mkdtemp(prefix=f"nbdock-test-run-{os.getpid()}-")
        os.environ[SHARED] = shared
        config.add_cleanup(lambda: shutil.rmtree(shared, ignore_errors=True))


def _remove_runs_that_were_killed() -> None:
    for left in Path(tempfile.gettempdir()).glob("nbdock-test-run-*-*"):
        pid = left.name.split("-")[3]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def no_guest_is_left() -> Iterator[None]:
    """After all tests of a worker: no virtual machine, and no temporary file of one."""
    yield
    assert not guests.machines()
    left = Path(os.environ["NBDOCK_HOME"], "vm", "tmp")
    assert not left.exists() or not list(left.iterdir())


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[engine.Engine]:
    with engine.docker_engine() as running:
        yield running


@pytest.fixture(scope="session")
def podman_engine() -> Iterator[engine.Engine]:
    with engine.podman_engine() as running:
        yield running


@pytest.fixture(scope="session")
def nix() -> nix_support.Nix:
    return nix_support.open_nix(Path(os.environ[SHARED]))


@pytest.fixture(scope="session")
def nix_cache(nix: nix_support.Nix) -> Iterator[nix_support.NixCache]:
    with nix_support.open_cache(nix, Path(os.environ[SHARED])) as cache:
        yield cache


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def local_nix(nix: nix_support.Nix, monkeypatch: pytest.MonkeyPatch) -> nix_support.Nix:
    for name, value in nix.environment.items():
        monkeypatch.setenv(name, value)
    return nix


@pytest.fixture
def nbdock_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "nbdock-home"
    monkeypatch.setenv("NBDOCK_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def apt_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests of the run fetched and booted, whichever test asks for it: parts of a home."""
    base = tmp_path_factory.getbasetemp()
    # Each worker of pytest-xdist has its own base below the run's.
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "nbdock-apt"
    for name in ("apt", "downloads", "vm"):
        (shared / name).mkdir(parents=True, exist_ok=True)
    return shared


@pytest.fixture
def apt_home(nbdock_home: Path, apt_files: Path) -> Path:
    nbdock_home.mkdir()
    for part in apt_files.iterdir():
        (nbdock_home / part.name).symlink_to(part)
    return nbdock_home


@pytest.fixture
def configured() -> Iterator[Callable[..., None]]:
    changed: set[str] = set()

    def configure(**changes: Any) -> None:
        changed.update(changes)
        settings.configure(**changes)

    yield configure
    settings.configure(**dict.fromkeys(changed))


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name not in KEPT_VARIABLES and not name.endswith(KEPT_SUFFIXES):
            monkeypatch.delenv(name)
