"""Which images are in the store: the ``index.json`` of the image layout.

An image is known by name: the annotation ``org.opencontainers.image.ref.name`` of its entry, as the
OCI image layout specification says, so skopeo, umoci and podman find it under the same name. What
other tools wrote there (entries without a name, fields nbdock does not know) stays as it is.

Writers take turns by a lock on a file beside it (the index itself is replaced, so it cannot carry
the lock), across threads and processes; readers need none, because a rename is atomic. The new
index is on the disk before it takes the old one's place: it is small, it is the one file that
cannot be made again, and the wait is about a millisecond. Setting what is set writes nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from nbdock.content.faults import storage_error
from nbdock.content.temporary import TemporaryFile
from nbdock.errors import ContentError, InvalidReferenceError, NbdockError
from nbdock.oci import Descriptor, MediaType

__all__ = ["ImageIndex", "StoredImage"]

_log = logging.getLogger(__name__)

_REF_NAME = "org.opencontainers.image.ref.name"


@dataclasses.dataclass(frozen=True, slots=True)
class StoredImage:
    """An image in the store: its name, and the descriptor of its manifest or index."""

    name: str
    descriptor: Descriptor


class ImageIndex:
    """The ``index.json`` in `home`; `temporary` is where it is written before it is renamed."""

    def __init__(self, home: str, temporary: str, *, limit_bytes: int) -> None:
        self._path = os.path.join(home, "index.json")
        self._lock_path = os.path.join(home, "index.lock")
        self._temporary = temporary
        self._limit_bytes = limit_bytes

    def create(self) -> None:
        """Write an empty index if there is none."""
        if not os.path.exists(self._path):
            with self.locked():
                if not os.path.exists(self._path):
                    self._write(_empty())

    def images(self) -> tuple[StoredImage, ...]:
        """Every named image, in the order of the index."""
        found: dict[str, StoredImage] = {}
        for entry in self._read()["manifests"]:
            name = _name_of(entry)
            if name is not None:
                try:
                    found[name] = StoredImage(name, _descriptor_of(entry))
                except NbdockError as error:
                    _log.warning("%s: the entry %r is not valid: %s", self._path, name, error)
        return tuple(found.values())

    def digests(self) -> set[str]:
        """What the entries stand for, also those of other tools.

        Raises
        ------
        ContentError
            The index is damaged: what it named is not known.
        """
        document = self._parsed(self._bytes(), strict=True)
        return {str(e.get("digest")) for e in document["manifests"] if isinstance(e, dict)}

    def touch(self, path: str) -> bool:
        """Note that a blob is used, which keeps it for a time; False if it is not there."""
        try:
            with self.locked(shared=True):
                os.utime(path)
        except FileNotFoundError:
            return False
        except (OSError, ContentError):
            # A store that cannot be written: then nobody removes anything either.
            pass
        return True

    def get(self, name: str) -> Descriptor | None:
        """The descriptor that `name` stands for."""
        for entry in reversed(self._read()["manifests"]):
            if _name_of(entry) == name:
                return _descriptor_of(entry)
        return None

    def set(self, name: str, descriptor: Descriptor) -> None:
        """Let `name` stand for `descriptor` from now on."""
        _check_name(name)
        # As it will come back from the file, so that what is set already is recognised.
        new = json.loads(json.dumps(descriptor.to_json(), default=dict))
        new["annotations"] = {**(new.get("annotations") or {}), _REF_NAME: name}

        def put(entries: list[Any]) -> list[Any]:
            places = [i for i, entry in enumerate(entries) if _name_of(entry) == name]
            if not places:
                return [*entries, new]
            return [
                new if i == places[0] else entry
                for i, entry in enumerate(entries)
                if i == places[0] or i not in places
            ]

        self._update(put)

    def remove(self, name: str) -> bool:
        """Forget `name`; whether it was known."""
        return self._update(lambda entries: [e for e in entries if _name_of(e) != name])

    def _update(self, change: Callable[[list[Any]], list[Any]]) -> bool:
        before = self._bytes()
        document = self._parsed(before)
        if change(document["manifests"]) == document["manifests"]:
            return False
        with self.locked():
            data = self._bytes()
            # An empty list may be a damaged file's: parse again, to set that aside.
            if data != before or not document["manifests"]:
                document = self._parsed(data, heal=True)
            entries = change(document["manifests"])
            if entries == document["manifests"]:
                return False
            self._write({**document, "manifests": entries})
            return True

    def _read(self) -> dict[str, Any]:
        return self._parsed(self._bytes())

    def _bytes(self) -> bytes | None:
        """The file as it is now; None if there is none."""
        try:
            with open(self._path, "rb") as file:
                # Not the limit itself: as many bytes would be set aside for a small file.
                size = os.fstat(file.fileno()).st_size
                return file.read(min(size, self._limit_bytes) + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(error, "read the index of images", self._path) from error

    def _parsed(
        self, data: bytes | None, *, heal: bool = False, strict: bool = False
    ) -> dict[str, Any]:
        if data is None:
            return _empty()
        try:
            if len(data) > self._limit_bytes:
                raise ValueError("it is larger than the setting json_limit_bytes")
            document = json.loads(data)
            if not isinstance(document, dict) or not isinstance(document.get("manifests"), list):
                raise ValueError("it holds no list of manifests")
        except (ValueError, RecursionError) as error:
            if strict:
                raise ContentError(
                    f"{self._path} is damaged ({error}); which images there are is not known.",
                    path=self._path,
                    hint="Build or pull an image: the damaged file is then set aside.",
                ) from error
            if heal:
                self._set_aside(error)
            else:
                _log.warning("%s is damaged (%s); no image names are known.", self._path, error)
            return _empty()
        return document

    def _set_aside(self, error: Exception) -> None:
        aside = f"{self._path}.damaged-{secrets.token_hex(4)}"
        _log.warning("%s is damaged (%s); it is kept as %s.", self._path, error, aside)
        try:
            os.rename(self._path, aside)
        except OSError as trouble:
            raise storage_error(trouble, "set aside a damaged index", aside) from trouble

    def _write(self, document: dict[str, Any]) -> None:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        try:
            with TemporaryFile(self._temporary) as file:
                file.write(text.encode("utf-8", "surrogatepass"))
                file.publish(self._path, mode=0o644, durable=True)
        except OSError as error:
            raise storage_error(error, "write the index of images", self._path) from error

    @contextlib.contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Keep all others from changing what images there are; with `shared` only from collecting.

        Raises
        ------
        ContentError
            The place cannot be written.
        """
        try:
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise storage_error(error, "change the index of images", self._lock_path) from error
        try:
            # Held for milliseconds, by whoever holds it; the kernel frees it if that process dies.
            fcntl.flock(fd, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _empty() -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": MediaType.OCI_INDEX, "manifests": []}


def _name_of(entry: Any) -> str | None:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    name = annotations.get(_REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else None


def _descriptor_of(entry: dict[str, Any]) -> Descriptor:
    # The name is the store's; what comes back is the descriptor that was set.
    annotations = {k: v for k, v in entry["annotations"].items() if k != _REF_NAME}
    bare = {k: v for k, v in entry.items() if k != "annotations"}
    return Descriptor.from_json({**bare, "annotations": annotations} if annotations else bare)


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or " " in name:
        raise InvalidReferenceError(
            f"{name!r} cannot name an image in the store: it is empty or holds blanks.",
            value=name,
            hint="Use a name such as redis:latest.",
        )
