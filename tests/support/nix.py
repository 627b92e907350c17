"""A real Nix with a store, a small nixpkgs and a signed binary cache of its own.

The store is a chroot store: its paths are ``/nix/store/...`` as everyone's, and it lies below a
directory of the test run. The machine's own ``/nix`` is never read or written. Packages
(`nixpkgs/default.nix`) are made of Debian's by real derivations in Nix's sandbox, whose programs
run in a container that has nothing else. What was built once is there for all workers of a run.

    def test_something(nix: Nix) -> None:
        hello = nix.build("hello")                      # "/nix/store/...-hello-2.10"
        nix.path(hello) / "bin/hello"                   # where it lies on this machine
        nix.run("nix-store", "-qR", hello).split()      # any command of Nix
        nix.build_expression("pkgs.writeText \\"a\\" \\"b\\"")

    async def test_without_nix(nix_cache: NixCache) -> None:
        nbdock.nixpkgs(cache=nix_cache.url, channel=nix_cache.channel_url,
                       trusted_keys=[nix_cache.public_key])

Cost: .debs are kept between runs in the user's cache directory (40 MB, 3 s to fetch); ``hello``
takes a second to build, everything some ten; the binary cache two more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import lzma
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support import nix_debs
from support.components import require

SOURCES = Path(__file__).parent / "nixpkgs"
CHANNEL = "nixos-23.05"
TIMEOUT_S = 280.0

# The builders use the machine's programs, so the sandbox shows them. It has no network.
CONFIGURATION = """\
build-users-group =
sandbox = true
sandbox-fallback = false
sandbox-paths = /usr /bin=/usr/bin /lib=/usr/lib /lib64=/usr/lib64?
substituters =
experimental-features = nix-command flakes
extra-platforms = x86_64-linux aarch64-linux
fsync-metadata = false
max-jobs = auto
log-lines = 50
warn-dirty = false
"""

# What each compression of the binary cache is tried on; the rest is zstd, which takes no time.
COMPRESSIONS = {
    "zstd": ("glibc",),
    "xz": ("hello", "oddities.deep", "oddities.modes", "zlib", "zlib.dev"),
    "bzip2": ("iana-etc", "oddities.file"),
    "none": ("cacert", "oddities.symlink"),
}


@dataclasses.dataclass(frozen=True)
class Nix:
    """Nix with its own store.

    Attributes
    ----------
    root
        Below it lies the store: ``<root>/nix/store`` and ``<root>/nix/var/nix/db``.
    nixpkgs
        The directory of the small nixpkgs; also a flake.
    environment
        What makes Nix, started by anyone, use this store and this nixpkgs.
    """

    root: Path
    nixpkgs: Path
    environment: Mapping[str, str]
    _built: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)

    def run(self, program: str, *arguments: str | os.PathLike[str], stdin: bytes = b"") -> str:
        """Run a command of Nix; what it wrote to standard output."""
        return self.run_bytes(program, *arguments, stdin=stdin).decode()

    def run_bytes(
        self, program: str, *arguments: str | os.PathLike[str], stdin: bytes = b""
    ) -> bytes:
        """The same for output that is not text, such as that of ``nix-store --dump``."""
        done = subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, check=False,
            env={**os.environ, **self.environment}, timeout=TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            said = done.stderr.decode(errors="replace")
            raise AssertionError(f"{program} ended with {done.returncode}:\n{said}")
        return done.stdout

    def build(self, attribute: str) -> str:
        """Build an attribute of the small nixpkgs, such as ``ncurses.dev``; its store path."""
        if attribute not in self._built:
            (self._built[attribute],) = self.build_all(attribute)
        return self._built[attribute]

    def build_all(self, *attributes: str) -> list[str]:
        """Build several attributes at once."""
        chosen = [word for attribute in attributes for word in ("-A", attribute)]
        return self.run("nix-build", "<nixpkgs>", "--no-out-link", *chosen).split()

    def build_expression(self, expression: str) -> str:
        """Build the derivation that an expression over ``pkgs`` gives; its store path."""
        text = f"let pkgs = import <nixpkgs> {{ }}; in {expression}"
        return self.run("nix-build", "--no-out-link", "-E", text).strip()

    def build_everything(self) -> list[str]:
        """Build every output of every package but Nix itself."""
        return self.run("nix-build", "--no-out-link", self.nixpkgs / "everything.nix").split()

    def closure(self, *store_paths: str) -> list[str]:
        """The paths with all they refer to, sorted."""
        return sorted(self.run("nix-store", "--query", "--requisites", *store_paths).split())

    def path(self, store_path: str) -> Path:
        """Where a store path, or a file in it, lies on this machine."""
        return self.root / store_path.removeprefix("/")


@dataclasses.dataclass(frozen=True)
class NixCache:
    """A binary cache that Nix wrote and signed, and a channel's list of what is in it.

    Attributes
    ----------
    url, channel_url
        Where a plain server on loopback has the cache, and the channel's ``store-paths.xz``.
    directory, channel_directory
        The same on disk. Tests copy them before they break them.
    public_key, secret_key_file
        ``name:base64``, and the file with the other half.
    store_paths
        Every path in the cache, sorted.
    """

    url: str
    channel_url: str
    directory: Path
    channel_directory: Path
    public_key: str
    secret_key_file: Path
    store_paths: tuple[str, ...]


def open_nix(shared: Path) -> Nix:
    """Nix with its store in a directory that all workers of a test run share."""
    require("nix-build", "nix-store", "patchelf", "dpkg-deb", root=True)
    with _locked(shared / "nix"):
        nixpkgs = shared / "nixpkgs"
        if not nixpkgs.exists():
            coming = shared / "nixpkgs-coming"
            shutil.copytree(SOURCES, coming)
            shutil.copytree(_debs(), coming / "debs")
            (shared / "nix.conf").write_text(CONFIGURATION)
            coming.rename(nixpkgs)
    root = shared / "root"
    nix = Nix(
        root,
        nixpkgs,
        {
            "NIX_REMOTE": f"local?root={root}",
            "NIX_PATH": f"nixpkgs={nixpkgs}",
            "NIX_CONF_DIR": f"{shared}",
            "NIX_USER_CONF_FILES": "",
            "NIX_CONFIG": "",
            "XDG_CACHE_HOME": f"{shared / 'user-cache'}",
        },
    )
    # Two that open a new store at once both try to make its directories.
    with _locked(shared / "nix"):
        nix.run("nix-store", "--init")
    return nix


@contextlib.contextmanager
def open_cache(nix: Nix, shared: Path) -> Iterator[NixCache]:
    """The binary cache of everything, written once for all workers, and a server of it."""
    site, secret, public = shared / "site", shared / "cache.secret", shared / "cache.public"
    with _locked(shared / "cache"):
        if not site.exists():
            _write_cache(nix, shared / "site-coming", secret, public)
            (shared / "site-coming").rename(site)
    paths = lzma.decompress((site / CHANNEL / "store-paths.xz").read_bytes()).decode().split()
    handler = functools.partial(_QuietHandler, directory=os.fspath(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield NixCache(
                f"{url}/cache", f"{url}/{CHANNEL}", site / "cache", site / CHANNEL,
                public.read_text().strip(), secret, tuple(sorted(paths)),
            )  # fmt: skip
        finally:
            server.shutdown()
            thread.join()


def _write_cache(nix: Nix, site: Path, secret: Path, public: Path) -> None:
    everything = nix.build_everything()
    nix.run("nix-store", "--generate-binary-cache-key", "nbdock-tests-1", secret, public)
    for compression, attributes in COMPRESSIONS.items():
        _copy(nix, site / "cache", secret, compression, nix.build_all(*attributes))
    _copy(nix, site / "cache", secret, "zstd", everything)
    (site / CHANNEL).mkdir()
    lines = "".join(f"{path}\n" for path in nix.closure(*everything))
    (site / CHANNEL / "store-paths.xz").write_bytes(lzma.compress(lines.encode()))


def _copy(nix: Nix, cache: Path, secret: Path, compression: str, paths: list[str]) -> None:
    url = f"file://{cache}?secret-key={secret}&compression={compression}"
    nix.run("nix", "copy", "--to", url, *paths)


class _QuietHandler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def _debs() -> Path:
    """The directory of the .debs, from an earlier run if there was one."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if not os.access(cache, os.W_OK) and not os.access(os.path.dirname(cache), os.W_OK):
        cache = tempfile.gettempdir()
    system = platform.freedesktop_os_release()
    what = [
        *nix_debs.ROOTS, *nix_debs.EXCLUDED, platform.machine(),
        system.get("ID", ""), system.get("VERSION_ID", ""),
    ]  # fmt: skip
    digest = hashlib.sha256("\n".join(what).encode()).hexdigest()
    parent = Path(cache) / "nbdock-tests"
    parent.mkdir(parents=True, exist_ok=True)
    directory = parent / f"nix-debs-{digest[:16]}"
    # Test runs side by side share it.
    with _locked(parent / "nix-debs"):
        if not directory.exists():
            with tempfile.TemporaryDirectory(dir=parent) as temporary:
                coming = Path(temporary) / "debs"
                coming.mkdir()
                done = subprocess.run(
                    [sys.executable, nix_debs.__file__, coming],
                    capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
                )  # fmt: skip
                assert done.returncode == 0, done.stderr
                coming.rename(directory)
    return directory


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(f"{path.name}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
