"""Small files that appear whole or not at all.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     write_atomically(f"{folder}/new/state", b"1")
...     os.listdir(f"{folder}/new")
['state']
"""

from __future__ import annotations

import os
import tempfile

from nbdock.content import storage_error

__all__ = ["write_atomically"]


def write_atomically(path: str, data: bytes) -> None:
    """Write a file that appears whole or not at all, with the directories it is in.

    Raises
    ------
    StorageFullError, ContentError
        It cannot be written; nothing is left.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd, temporary = tempfile.mkstemp(dir=os.path.dirname(path), suffix=".new")
        try:
            with open(fd, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise storage_error(error, "write a file", path) from error
