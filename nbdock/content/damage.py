"""Files among the blobs that are not what their names say.

problem_of(digest, "blobs/sha256/1f0a...")      # "" if its bytes have this digest
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nbdock import settings
from nbdock.errors import InvalidDigestError
from nbdock.oci import Digest

__all__ = ["BadBlob", "problem_of"]


@dataclasses.dataclass(frozen=True, slots=True)
class BadBlob:
    """A file among the blobs that is not what its name says."""

    path: Path
    digest: Digest | None
    """What the name says; None if it is not the name of a blob."""
    problem: str


def problem_of(digest: Digest | None, path: str) -> str:
    """What is wrong with a file among the blobs; nothing if it is what its name says."""
    if digest is None:
        return "Its name is not a digest."
    try:
        hasher = digest.hasher()
        with open(path, "rb", buffering=0) as file:
            buffer = memoryview(bytearray(settings.current().io_buffer_bytes))
            while count := file.readinto(buffer):
                hasher.update(buffer[:count])
    except InvalidDigestError as error:
        return error.message
    except FileNotFoundError:
        return "It is missing."
    except OSError as error:
        return f"It cannot be read: {error.strerror}."
    actual = Digest.of_hasher(hasher)
    return "" if actual == digest else f"Its bytes are {actual}."
