"""Binary caches made by hand, so that they can lie: signed by whoever has the key.

cache = HandmadeCache(tmp_path / "cache")
path = cache.add("hello-1.0", nar_of_file(b"hi"))
cache.add("liar-1.0", nar, NarSize=1, sign=False)
CachePackageSet(cache.directory, trusted_keys=[cache.public_key])
"""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import lzma
from collections.abc import Callable, Iterable
from pathlib import Path

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nbdock.oci import Digest
from nbdock.packages.nix import StorePath, format_hash
from nbdock.packages.nix.base32 import encode

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "xz": lzma.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": zstandard.compress,
}


def text(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data + bytes(-len(data) % 8)


def nar_of(node: bytes) -> bytes:
    return text(b"nix-archive-1") + node


def file_node(content: bytes, *, executable: bool = False) -> bytes:
    words = [b"(", b"type", b"regular"]
    words += [b"executable", b""] if executable else []
    return b"".join(map(text, [*words, b"contents", content, b")"]))


def directory_node(nodes: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A directory with any names in any order: no check is made."""
    inside = b"".join(
        b"".join(map(text, (b"entry", b"(", b"name", name, b"node"))) + node + text(b")")
        for name, node in nodes
    )
    return b"".join(map(text, (b"(", b"type", b"directory"))) + inside + text(b")")


def nar_of_file(content: bytes) -> bytes:
    return nar_of(file_node(content))


class HandmadeCache:
    """Writes narinfos and NARs into a directory."""

    def __init__(
        self, directory: Path, *, key_name: str = "liar-1", store_dir: str = "/nix/store",
        priority: int = 40, compression: str = "none",
    ) -> None:  # fmt: skip
        self.directory = directory
        self.key_name = key_name
        self.store_dir = store_dir
        self.compression = compression
        self.key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(key_name.encode()).digest())
        (directory / "nar").mkdir(parents=True)
        (directory / "nix-cache-info").write_text(
            f"StoreDir: {store_dir}\nWantMassQuery: 1\nPriority: {priority}\n"
        )

    @property
    def public_key(self) -> str:
        data = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"{self.key_name}:{base64.b64encode(data).decode()}"

    def path(self, name: str) -> StorePath:
        """A store path for a name: always the same."""
        return StorePath(encode(hashlib.sha1(name.encode()).digest()), name, self.store_dir)

    def add(
        self, name: str | StorePath, nar: bytes, *, references: Iterable[StorePath] = (),
        compression: str = "", sign: bool = True, file: bytes | None = None, **fields: object,
    ) -> StorePath:  # fmt: skip
        """Add a path. `fields` replace what is true, and are what is signed; None leaves out."""
        path = name if isinstance(name, StorePath) else self.path(name)
        compression = compression or self.compression
        data = COMPRESS[compression](nar) if file is None else file
        url = f"nar/{path.hash_part}.nar"
        (self.directory / url).write_bytes(data)
        said: dict[str, object] = {
            "StorePath": str(path),
            "URL": url,
            "Compression": compression,
            "FileHash": format_hash(Digest.sha256(data)),
            "FileSize": len(data),
            "NarHash": format_hash(Digest.sha256(nar)),
            "NarSize": len(nar),
            "References": " ".join(sorted(reference.base_name for reference in references)),
            **fields,
        }
        if sign:
            said.setdefault("Sig", self.signature(said, references))
        lines = [f"{key}: {value}\n" for key, value in said.items() if value is not None]
        self.narinfo(path).write_text("".join(lines))
        return path

    def narinfo(self, path: StorePath) -> Path:
        return self.directory / f"{path.hash_part}.narinfo"

    def nar(self, path: StorePath) -> Path:
        return self.directory / f"nar/{path.hash_part}.nar"

    def signature(self, said: dict[str, object], references: Iterable[StorePath]) -> str:
        listed = ",".join(map(str, sorted(references)))
        signed = f"1;{said['StorePath']};{said['NarHash']};{said['NarSize']};{listed}"
        return f"{self.key_name}:{base64.b64encode(self.key.sign(signed.encode())).decode()}"


def files_of(home: Path) -> dict[str, int]:
    """What stands in a home but the database of what was said: names and sizes."""
    return {
        str(file.relative_to(home)): file.stat().st_size
        for file in sorted(home.rglob("*"))
        if file.is_file() and not file.name.startswith("nbdock.sqlite")
    }
