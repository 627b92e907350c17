"""A real package archive, made with Debian's own tools and a throw-away key, in a directory.

with Signer() as signer:
    archive = Archive(tmp_path / "archive", signer)
    archive.add("hello", "1.0", files={"usr/bin/hello": b"#!/bin/sh\\n"})
    archive.publish("stable")
    signer.export(tmp_path / "key.gpg")
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Self


class Signer:
    """A key of its own, in a GnuPG home of its own."""

    def __init__(self, user: str = "tester@example.org", kind: str = "ed25519") -> None:
        self.user = user
        # Short: GnuPG's sockets stand in it, and their paths have a limit.
        self._home = tempfile.mkdtemp(prefix="gpg-")
        self._run("--quick-gen-key", user, kind, "sign", "0")
        listing = self._run("--with-colons", "--list-keys", user).decode()
        self.fingerprint = next(
            line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        subprocess.run(
            ["gpgconf", "--homedir", self._home, "--kill", "all"], check=False, capture_output=True
        )
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self, *arguments: str, data: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", self._home, "--batch", "--yes", "--passphrase", "",
                   "--pinentry-mode", "loopback", *arguments]  # fmt: skip
        return subprocess.run(command, input=data, check=True, capture_output=True).stdout

    def public_key(self, *, armour: bool = False) -> bytes:
        return self._run(*(["--armor"] if armour else []), "--export", self.user)

    def export(self, path: Path, *, armour: bool = False) -> Path:
        path.write_bytes(self.public_key(armour=armour))
        return path

    def clearsign(self, text: bytes, *options: str) -> bytes:
        return self._run("--local-user", self.user, *options, "--clearsign", data=text)

    def detach(self, text: bytes, *, armour: bool = True) -> bytes:
        return self._run("--local-user", self.user, *(["--armor"] if armour else []),
                         "--detach-sign", data=text)  # fmt: skip


class Archive:
    """Packages in a pool, and suites that list them."""

    def __init__(self, root: Path, signer: Signer | None = None) -> None:
        self.root = root
        self.signer = signer
        (root / "pool").mkdir(parents=True)

    def add(
        self,
        name: str,
        version: str,
        *,
        architecture: str = "amd64",
        component: str = "main",
        files: Mapping[str, bytes] | None = None,
        **fields: str,
    ) -> Path:
        """Build a package; `fields` are control fields with ``_`` for ``-``."""
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch, "tree")
            (tree / "DEBIAN").mkdir(parents=True)
            tree.chmod(0o755)
            for path, data in (files or {}).items():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).write_bytes(data)
                (tree / path).chmod(0o755 if data.startswith(b"#!") else 0o644)
            control = {
                "Package": name, "Version": version, "Architecture": architecture,
                "Maintainer": "T <t@example.org>", "Description": f"{name} for tests",
                **{key.replace("_", "-").title(): value for key, value in fields.items()},
            }  # fmt: skip
            lines = "".join(f"{key}: {value}\n" for key, value in control.items())
            (tree / "DEBIAN" / "control").write_text(lines)
            pool = self.root / "pool" / component
            pool.mkdir(exist_ok=True)
            deb = pool / f"{name}_{version.replace(':', '%3a')}_{architecture}.deb"
            subprocess.run(
                ["dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, deb],
                check=True, capture_output=True,
            )  # fmt: skip
        return deb

    def packages(self, component: str = "main", architecture: str = "amd64") -> bytes:
        """The index of a component, by apt-ftparchive."""
        return subprocess.run(
            ["apt-ftparchive", "--arch", architecture, "packages", f"pool/{component}"],
            cwd=self.root, check=True, capture_output=True,
        ).stdout  # fmt: skip

    def publish(
        self,
        suite: str = "stable",
        *,
        components: Sequence[str] = ("main",),
        architectures: Sequence[str] = ("amd64",),
        suffixes: Sequence[str] = ("", ".xz", ".gz"),
        by_hash: bool = True,
        plain: bool = True,
        date_s: float | None = None,
        extra: Mapping[str, str] | None = None,
        packages: bytes | None = None,
    ) -> Path:
        """Write a suite, signed if there is a signer; the directory of its Release file."""
        dist = self.root / "dists" / suite
        shutil.rmtree(dist, ignore_errors=True)
        listed = []
        for component in components:
            for architecture in architectures:
                folder = dist / component / f"binary-{architecture}"
                folder.mkdir(parents=True)
                text = packages if packages is not None else self.packages(component, architecture)
                for suffix in ("", *(s for s in suffixes if s)):
                    data = compressed(text, suffix)
                    sha256 = hashlib.sha256(data).hexdigest()
                    path = folder / f"Packages{suffix}"
                    listed.append((sha256, len(data), path.relative_to(dist)))
                    if suffix not in suffixes:
                        continue
                    if plain:
                        path.write_bytes(data)
                    if by_hash:
                        (folder / "by-hash/SHA256").mkdir(parents=True, exist_ok=True)
                        (folder / "by-hash/SHA256" / sha256).write_bytes(data)
        fields = {
            "Origin": "Tests", "Label": "Tests", "Suite": suite, "Codename": f"{suite}-name",
            "Version": "1.0", "Date": formatdate(date_s, usegmt=True).replace("GMT", "UTC"),
            "Architectures": " ".join(architectures), "Components": " ".join(components),
            **({"Acquire-By-Hash": "yes"} if by_hash else {}), **(extra or {}),
        }  # fmt: skip
        lines = [f"{name}: {value}" for name, value in fields.items()]
        lines += ["SHA256:", *(f" {sha256} {size:>8} {path}" for sha256, size, path in listed)]
        self.sign(dist, ("\n".join(lines) + "\n").encode())
        return dist

    def sign(self, folder: Path, release: bytes, *, detached: bool = False) -> None:
        """Write the Release file of a directory, with what vouches for it."""
        for name in ("InRelease", "Release", "Release.gpg"):
            (folder / name).unlink(missing_ok=True)
        (folder / "Release").write_bytes(release)
        if self.signer is None:
            return
        if detached:
            (folder / "Release.gpg").write_bytes(self.signer.detach(release))
        else:
            (folder / "InRelease").write_bytes(self.signer.clearsign(release))


def compressed(data: bytes, suffix: str) -> bytes:
    if suffix == ".xz":
        return lzma.compress(data, preset=0)
    if suffix == ".gz":
        return gzip.compress(data, mtime=0)
    if suffix == ".zst":
        command = ["zstd", "-q", "-c"]
        return subprocess.run(command, input=data, check=True, capture_output=True).stdout
    assert suffix == ""
    return data


def apt_root(path: Path, *, sources: str = "", name: str = "test.list") -> dict[str, str]:
    """An empty machine for APT's own tools at `path`; the environment to call them with."""
    for folder in ("etc/apt/sources.list.d", "etc/apt/apt.conf.d", "etc/apt/preferences.d",
                   "etc/apt/trusted.gpg.d", "etc/apt/auth.conf.d", "var/lib/apt/lists/partial",
                   "var/cache/apt/archives/partial", "var/lib/dpkg"):  # fmt: skip
        (path / folder).mkdir(parents=True, exist_ok=True)
    (path / "var/lib/dpkg/status").touch()
    if sources:
        (path / "etc/apt/sources.list.d" / name).write_text(sources)
    configuration = path / "root.conf"
    configuration.write_text(
        f'Dir "{path}"; Dir::State::status "{path}/var/lib/dpkg/status"; '
        'APT::Architecture "amd64"; APT::Architectures { "amd64"; }; '
        'APT::Sandbox::User "root"; Acquire::Languages "none";\n'
    )
    return {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
