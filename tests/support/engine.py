"""A real Docker Engine and a real Podman, each in a directory of its own.

Every engine here keeps its images, sockets, locks and process ids below one directory, so any
number of them run side by side (one per test worker) and none touches an engine of the machine.
Leaving the context ends every process, unmounts whatever was mounted, and removes the directory.

    with docker_engine() as engine:
        engine.load("redis.tar.gz")
        assert engine.run("redis:latest", "/usr/bin/redis-server", "--version").startswith("Redis")

What a machine without systemd, possibly itself a container, needs to run containers:

- dockerd: ``--iptables=false --bridge=none``, and ``--network none`` per run.
- both: overlays where they can be mounted, else vfs, which copies the whole tree for every layer.
- podman: cgroupfs, no journal; locks in files (its default is one shared memory segment for
  all podmans of the machine); default ulimits that root without CAP_SYS_RESOURCE may set.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
from support.components import require
from support.oracles import without_gzip

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 20.0
COMMAND_TIMEOUT_S = 240.0

PODMAN_CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
"""


@dataclasses.dataclass(frozen=True)
class Engine:
    """A running engine: `command` is its command-line client, `socket` its HTTP API."""

    name: str
    directory: Path
    socket: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]

    def __call__(
        self, *arguments: str | os.PathLike[str], stdin: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Call the client, as in ``engine("image", "inspect", name)``."""
        done = subprocess.run(
            [*self.command, *(os.fspath(a) for a in arguments)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=dict(self.environment),
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        result = subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )
        if check and result.returncode:
            raise AssertionError(
                f"{self.name} {' '.join(map(str, arguments))} ended with {result.returncode}:\n"
                f"{result.stderr}{result.stdout}"
            )
        return result

    @property
    def url(self) -> str:
        """What DOCKER_HOST or CONTAINER_HOST would say."""
        return f"unix://{self.socket}"

    def load(self, archive: str | os.PathLike[str]) -> list[str]:
        """Load an image archive; the references the engine says it loaded."""
        with without_gzip(archive) if self.name == "podman" else nullcontext(archive) as path:
            lines = self("load", "-i", path).stdout.splitlines()
        return [line.split(": ", 1)[1].strip() for line in lines if line.startswith("Loaded image")]

    def run(self, image: str, *command: str, options: tuple[str, ...] = ()) -> str:
        """Run a container to its end; what it wrote to standard output."""
        return self("run", "--rm", "--network", "none", *options, image, *command).stdout


@contextlib.contextmanager
def _own_directory(prefix: str) -> Iterator[Path]:
    # A Unix socket's path has at most 107 bytes, so a deep TMPDIR will not do.
    parent = tempfile.gettempdir()
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent if len(parent) < 40 else "/tmp"))
    try:
        yield directory
    finally:
        _kill_users_of(directory)
        _unmount_below(directory)
        shutil.rmtree(directory)


def _kill_users_of(directory: Path) -> None:
    """End what names the directory in its command: conmon leaves the tree of its podman."""
    left = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(directory) in " ".join(process.info["cmdline"] or ())
    ]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _unmount_below(directory: Path) -> None:
    own = f"{directory}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    for point in sorted((p for p in points if p.startswith(own)), reverse=True):
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


def _driver(directory: Path, overlay: str) -> str:
    """The storage driver that works below a directory: mounting an overlay there tells."""
    trial = directory / "trial"
    for name in ("lower", "upper", "work", "merged"):
        (trial / name).mkdir(parents=True, exist_ok=True)
    options = ",".join(f"{name}dir={trial / name}" for name in ("lower", "upper", "work"))
    command = ["mount", "-t", "overlay", "overlay", "-o", options, str(trial / "merged")]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    _unmount_below(trial)
    shutil.rmtree(trial, ignore_errors=True)
    return overlay if mounted else "vfs"


def _answers_ping(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(os.fspath(path))
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return connection.recv(64).split()[1:2] == [b"200"]
        except OSError:
            return False


@contextlib.contextmanager
def _service(
    command: list[str], *, api: Path, log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a service, wait until its socket answers, and at the end stop it and its children."""
    # pdeathsig: a test run that is killed outright takes its engines with it.
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_DEADLINE_S
        while not _answers_ping(api):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
            if process.returncode is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace").splitlines()[-20:]
                pytest.fail("\n".join([f"{command[0]} did not become ready:", *tail]))
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # containerd leads a session of its own and its shims leave the tree, so note them first.
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(alive, timeout=5)


@contextlib.contextmanager
def docker_engine() -> Iterator[Engine]:
    """Run Debian's dockerd, with its own containerd, and the ``docker`` client for it."""
    require("dockerd", "docker", "containerd", "runc", "setpriv", root=True)
    with _own_directory("nbdock-dockerd-") as directory:
        api = directory / "docker.sock"
        environment = {**os.environ, "DOCKER_CONFIG": f"{directory}/client", "HOME": f"{directory}"}
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "NOTIFY_SOCKET"):
            environment.pop(name, None)
        command = [
            "dockerd", "--iptables=false", "--bridge=none",
            "--storage-driver", _driver(directory, "overlay2"),
            f"--data-root={directory}/data", f"--exec-root={directory}/exec",
            f"--pidfile={directory}/docker.pid", f"--config-file={directory}/daemon.json",
            "--host", f"unix://{api}",
        ]  # fmt: skip
        (directory / "daemon.json").write_text("{}")
        with _service(command, api=api, log=directory / "log", environment=environment):
            engine = Engine(
                "docker", directory, api, ("docker", "-H", f"unix://{api}"), environment
            )
            try:
                yield engine
            finally:
                # A dockerd that is told to stop gives each container a quarter of a minute.
                left = engine("ps", "--quiet", check=False).stdout.split()
                if left:
                    engine("kill", *left, check=False)


@contextlib.contextmanager
def podman_engine() -> Iterator[Engine]:
    """Run Podman's API service, and the ``podman`` client on the same storage."""
    require("podman", "runc", "conmon", "setpriv", root=True)
    with _own_directory("nbdock-podman-") as directory:
        api = directory / "podman.sock"
        (directory / "containers.conf").write_text(PODMAN_CONFIGURATION)
        (directory / "run").mkdir(mode=0o700)
        environment = {
            **os.environ,
            "CONTAINERS_CONF": f"{directory}/containers.conf",
            "HOME": f"{directory}",
            "TMPDIR": f"{directory}",
            "XDG_RUNTIME_DIR": f"{directory}/run",
        }
        for name in ("CONTAINER_HOST", "NOTIFY_SOCKET", "CONTAINERS_STORAGE_CONF"):
            environment.pop(name, None)
        client = (
            "podman", "--root", f"{directory}/storage", "--runroot", f"{directory}/runroot",
            "--tmpdir", f"{directory}/tmp", "--storage-driver", _driver(directory, "overlay"),
        )  # fmt: skip
        service = [*client, "system", "service", "--time", "0", f"unix://{api}"]
        with _service(service, api=api, log=directory / "log", environment=environment):
            engine = Engine("podman", directory, api, client, environment)
            try:
                yield engine
            finally:
                engine("rm", "--all", "--force", "--time", "0", check=False)
