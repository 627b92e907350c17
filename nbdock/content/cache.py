"""The layer cache: what was made from what, so that nothing is read, hashed or written twice.

    cache = LayerCache(store)
    record = cache.get(key)
    if record is None:
        ...                                     # write the layer's tar into the store
        cache.put(key, LayerRecord(digest, size_bytes, entry_count))

A key is text that stands for everything that went into a layer (the packages' own keys, the tar
policy); whoever makes keys sees to that. Besides layers, the cache knows the compressed forms of
a layer, and small derived data by kind and key (the list of files of a package, say).

It is one SQLite database, ``nbdock.sqlite`` in the store's home, shared by threads and processes. A
cache may be lost at any time: so a database that is damaged is moved aside, one that a newer
nbdock wrote is left alone and not used, a disk that is full or read-only stops the remembering,
each with one logged warning; no operation raises because of the database. And a cache may be wrong
about what still exists: a record counts only while its blob is in the store, with its size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType

from nbdock.content.codecs import codec_named
from nbdock.content.compress import default_level, encoder_version
from nbdock.content.database import Database
from nbdock.content.store import BlobStore
from nbdock.errors import NbdockError
from nbdock.oci import Descriptor, Digest

__all__ = ["LayerCache", "LayerRecord"]

_log = logging.getLogger(__name__)

# SQLite's own limit on variables in one statement was 999 for long.
_AT_A_TIME = 500
_DIFF_ID = "diff ID"


@dataclasses.dataclass(frozen=True, slots=True)
class LayerRecord:
    """A layer that was made: the blob of its uncompressed tar.

    Attributes
    ----------
    diff_id
        The digest of the tar, which is the blob's digest too.
    size_bytes
        The size of the tar.
    entry_count
        How many entries it has.
    """

    diff_id: Digest
    size_bytes: int
    entry_count: int


class LayerCache:
    """What was made from what, for the blobs of one store.

    Guarantees: any number of threads and processes may use one database; no method raises because
    the database is damaged, locked, full or read-only (then nothing is remembered); a record that
    is returned has its blob in the store.

    Parameters
    ----------
    store
        Whose blobs the records are about; the database stands in its home.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._database = Database(str(store.home / "nbdock.sqlite"))

    def __repr__(self) -> str:
        return f"LayerCache({self._store!r})"

    # Layers

    def get(self, key: str) -> LayerRecord | None:
        """The layer that was made for `key`, if its blob is still in the store."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> Mapping[str, LayerRecord]:
        """The layers that are known and in the store, of those asked for."""
        found: dict[str, LayerRecord] = {}
        for part in _parts(dict.fromkeys(keys)):
            rows = self._database.rows(
                "SELECT key, diff_id, size_bytes, entry_count FROM layers "  # noqa: S608
                f"WHERE key {_among(part)}",
                part,
            )
            for key, diff_id, size_bytes, entry_count in rows:
                try:
                    record = LayerRecord(Digest.parse(diff_id), int(size_bytes), int(entry_count))
                except (NbdockError, TypeError, ValueError, AttributeError):
                    continue
                if self._store.has(record.diff_id, record.size_bytes):
                    found[key] = record
            _log.debug("%d of %d layers are in the cache", sum(k in found for k in part), len(part))
        return found

    def put(self, key: str, record: LayerRecord) -> None:
        """Remember the layer that was made for `key`."""
        self.put_many({key: record})

    def put_many(self, records: Mapping[str, LayerRecord]) -> None:
        """Remember several layers in one transaction."""
        self._database.write(
            "INSERT OR REPLACE INTO layers (key, diff_id, size_bytes, entry_count) "
            "VALUES (?, ?, ?, ?)",
            [(k, str(r.diff_id), r.size_bytes, r.entry_count) for k, r in records.items()],
        )

    # Compressed forms of a layer

    def compressed(
        self, diff_id: Digest, algorithm: str, level: int | None = None
    ) -> Descriptor | None:
        """The blob that this layer was compressed into, if it is still in the store.

        Only what the installed libraries would make again counts, so that an image's bytes do not
        depend on what an older installation left here.
        """
        codec, chosen = codec_named(algorithm), _level(algorithm, level)
        rows = self._database.rows(
            "SELECT descriptor FROM compressed WHERE diff_id = ? AND algorithm = ? AND level = ? "
            "AND encoder = ?",
            (str(diff_id), codec, chosen, encoder_version(codec)),
        )
        for (text,) in rows:
            try:
                descriptor = Descriptor.from_json(json.loads(text))
            except (NbdockError, TypeError, ValueError, RecursionError):
                continue
            if self._store.has(descriptor.digest, descriptor.size_bytes):
                return descriptor
        return None

    def put_compressed(
        self, diff_id: Digest, algorithm: str, descriptor: Descriptor, level: int | None = None
    ) -> None:
        """Remember the blob that a layer was compressed into by `compressor`."""
        codec, chosen = codec_named(algorithm), _level(algorithm, level)
        text = json.dumps(descriptor.to_json(), default=dict)
        self._database.write(
            "INSERT OR REPLACE INTO compressed (diff_id, algorithm, level, encoder, descriptor) "
            "VALUES (?, ?, ?, ?, ?)",
            [(str(diff_id), codec, chosen, encoder_version(codec), text)],
        )

    # What compressed blobs hold

    def diff_ids(self, digests: Iterable[Digest]) -> Mapping[Digest, Digest]:
        """The diff IDs of compressed layers, of those that were once verified."""
        wanted = {str(digest): digest for digest in digests}
        found: dict[Digest, Digest] = {}
        for key, value in self.recall_many(_DIFF_ID, wanted).items():
            with contextlib.suppress(NbdockError, UnicodeDecodeError):
                found[wanted[key]] = Digest.parse(value.decode())
        return found

    def put_diff_id(self, digest: Digest, diff_id: Digest) -> None:
        """Remember that the blob `digest` was decompressed, and what came was `diff_id`."""
        self.remember(_DIFF_ID, str(digest), str(diff_id).encode())

    def forget_missing(self) -> int:
        """Forget the layers and compressed forms whose blobs are gone; how many there were."""
        rows = self._database.rows("SELECT key, diff_id FROM layers", ())
        layers = [(key,) for key, diff_id in rows if not self._exists(diff_id)]
        self._database.write("DELETE FROM layers WHERE key = ?", layers)
        rows = self._database.rows(
            "SELECT diff_id, algorithm, level, encoder, descriptor FROM compressed", ()
        )
        forms = [tuple(form) for *form, text in rows if not self._exists(_digest_in(text))]
        self._database.write(
            "DELETE FROM compressed "
            "WHERE diff_id = ? AND algorithm = ? AND level = ? AND encoder = ?",
            forms,
        )
        return len(layers) + len(forms)

    def _exists(self, digest: object) -> bool:
        # Not by `BlobStore.has`, which is asked by who wants to use a blob.
        with contextlib.suppress(NbdockError, OSError):
            return self._store.path_of(Digest.parse(str(digest))).exists()
        return False

    # Small derived data

    def recall(self, kind: str, key: str) -> bytes | None:
        """What was remembered under `kind` and `key`."""
        return self.recall_many(kind, [key]).get(key)

    def recall_many(self, kind: str, keys: Iterable[str]) -> Mapping[str, bytes]:
        """What was remembered, of the keys asked for."""
        found: dict[str, bytes] = {}
        for part in _parts(dict.fromkeys(keys)):
            rows = self._database.rows(
                "SELECT key, value FROM derived "  # noqa: S608
                f"WHERE kind = ? AND key {_among(part)}",
                (kind, *part),
            )
            found.update((key, value) for key, value in rows if isinstance(value, bytes))
        return found

    def remember(self, kind: str, key: str, value: bytes) -> None:
        """Keep `value` (kilobytes, not megabytes) under `kind` and `key`."""
        self.remember_many(kind, {key: value})

    def remember_many(self, kind: str, values: Mapping[str, bytes]) -> None:
        """Keep several values of one kind in one transaction."""
        self._database.write(
            "INSERT OR REPLACE INTO derived (kind, key, value) VALUES (?, ?, ?)",
            [(kind, key, bytes(value)) for key, value in values.items()],
        )

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        self._database.close()

    def __enter__(self) -> LayerCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _digest_in(descriptor: object) -> object:
    try:
        return json.loads(str(descriptor))["digest"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _level(algorithm: str, level: int | None) -> int:
    return default_level(algorithm) if level is None else level


def _parts(keys: Iterable[str]) -> Iterator[list[str]]:
    wanted = list(keys)
    for start in range(0, len(wanted), _AT_A_TIME):
        yield wanted[start : start + _AT_A_TIME]


def _among(values: Sequence[str]) -> str:
    """As many question marks as values: the values themselves never stand in a statement."""
    return f"IN ({','.join('?' * len(values))})"
