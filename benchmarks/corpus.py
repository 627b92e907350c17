"""What the benchmarks build from: about 150 Debian packages, 1 GB unpacked, fetched once.

Below the benchmark directory (`bench/`, not in git):

    debs/                     the packages as the machine's own sources have them
    store/<hash>-<name>-<version>/   each unpacked with ``dpkg-deb -x``, standing as a store path
    repository/               the same packages as a small signed APT repository (``file:``)

    python benchmarks/corpus.py --directory bench
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOTS = ("python3", "git", "redis-server", "nginx", "g++", "golang-go", "gdb")
"""The packages whose closure, from nothing, is the corpus."""

NIX_ALPHABET = "0123456789abcdfghijklmnpqrsvwxyz"


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The packages in both forms, and how much they are."""

    directory: Path
    debs: tuple[Path, ...]
    store_paths: tuple[Path, ...]
    entry_count: int
    size_bytes: int

    @property
    def repository(self) -> Path:
        """The signed repository; its key is ``keyring.gpg`` in it."""
        return self.directory / "repository"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _closure() -> list[str]:
    """APT's own closure of `ROOTS` on an empty system, as ``name=version``."""
    with tempfile.NamedTemporaryFile() as empty:
        done = subprocess.run(
            ["apt-get", "-o", f"Dir::State::status={empty.name}", "-s",
             "--no-install-recommends", "install", *ROOTS],
            env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"apt-get cannot resolve {', '.join(ROOTS)}:\n{done.stderr}")
    # Inst redis-server (5:7.0.15-1~deb12u1 Debian:12/stable [amd64])
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("Inst ")]
    return sorted(f"{row[1].split(':')[0]}={row[2].lstrip('(')}" for row in rows)


def _download(directory: Path) -> tuple[Path, ...]:
    complete = directory / ".complete"
    if not complete.exists():
        wanted = _closure()
        _say(f"downloading {len(wanted)} packages from the machine's own sources ...")
        directory.mkdir(parents=True, exist_ok=True)
        # APT's sandbox user may not write here; root downloads as root, in silence.
        command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *wanted]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"apt-get download failed:\n{done.stderr}")
        complete.touch()
    return tuple(sorted(directory.glob("*.deb")))


def _store_name(deb: Path) -> str:
    """Make ``<32 characters>-<name>-<version>`` as a store path has it."""
    digest = hashlib.sha256(deb.name.encode()).digest()
    hashed = "".join(NIX_ALPHABET[byte % 32] for byte in digest)
    name, version = deb.name.split("_")[:2]
    return f"{hashed}-{name}-{version.replace('%3a', '-').replace('~', '-')}"


def _unpack(debs: tuple[Path, ...], store: Path) -> tuple[Path, ...]:
    def one(deb: Path) -> Path:
        target = store / _store_name(deb)
        if not target.exists():
            partial = target.with_name(f".{target.name}")
            shutil.rmtree(partial, ignore_errors=True)
            subprocess.run(["dpkg-deb", "-x", deb, partial], check=True)
            partial.rename(target)
        return target

    store.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        return tuple(sorted(pool.map(one, debs)))


def _index(debs: tuple[Path, ...], repository: Path) -> None:
    """Make the debs an APT repository, signed with a key that exists only for it."""
    if (repository / "dists/bench/InRelease").exists():
        return
    _say("making a signed repository of them ...")
    shutil.rmtree(repository, ignore_errors=True)
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    binary = repository / f"dists/bench/main/binary-{architecture}"
    binary.mkdir(parents=True)
    (repository / "pool").mkdir()
    for deb in debs:
        os.link(deb, repository / "pool" / deb.name)

    def archive(*arguments: str) -> bytes:
        return subprocess.check_output(["apt-ftparchive", *arguments], cwd=repository)

    (binary / "Packages").write_bytes(archive("packages", "pool"))
    fields = {
        "Suite": "bench", "Codename": "bench", "Components": "main", "Architectures": architecture
    }  # fmt: skip
    options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
    release = archive(*options, "release", "dists/bench")
    (repository / "dists/bench/Release").write_bytes(release)
    with tempfile.TemporaryDirectory(prefix="nbdock-gpg-") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--yes"]
        key = [
            "--passphrase",
            "",
            "--quick-gen-key",
            "nbdock benchmark",
            "ed25519",
            "sign",
            "never",
        ]
        subprocess.run([*gpg, *key], check=True, stderr=subprocess.DEVNULL)
        subprocess.run([*gpg, "--output", repository / "keyring.gpg", "--export"], check=True)
        signed = repository / "dists/bench/InRelease"
        clear = ["--output", signed, "--clearsign", repository / "dists/bench/Release"]
        subprocess.run([*gpg, *clear], check=True)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def _measure(store_paths: tuple[Path, ...]) -> tuple[int, int]:
    entries = size = 0
    pending = [os.fspath(path) for path in store_paths]
    entries += len(pending)
    while pending:
        with os.scandir(pending.pop()) as found:
            for entry in found:
                entries += 1
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    size += entry.stat(follow_symlinks=False).st_size
    return entries, size


def prepare(directory: Path) -> Corpus:
    """Fetch, unpack and index what is missing below `directory`."""
    directory = directory.resolve()
    debs = _download(directory / "debs")
    store_paths = _unpack(debs, directory / "store")
    _index(debs, directory / "repository")
    entries, size = _measure(store_paths)
    return Corpus(directory, debs, store_paths, entries, size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, default=Path("bench"))
    corpus = prepare(parser.parse_args().directory)
    print(
        f"{len(corpus.debs)} packages, {corpus.entry_count:,} entries, "
        f"{corpus.size_bytes / 1e9:.2f} GB unpacked, "
        f"{sum(d.stat().st_size for d in corpus.debs) / 1e6:.0f} MB as .debs"
    )
