"""Where the room keeps what it makes: ``<home>/vm``, every file there whole or not at all.

with arriving(vm_path("kernels", "6.1.0-amd64", "vmlinuz")) as file:
    file.write(b"...")
# here it stands at its place; after an error it would not, and nothing would be left
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from nbdock import settings
from nbdock.content import TemporaryFile, storage_error, sweep

__all__ = ["arriving", "vm_path"]


def vm_path(*parts: str) -> str:
    """A path under ``<home>/vm``."""
    return os.path.join(settings.current().home, "vm", *parts)


@contextlib.contextmanager
def arriving(target: str, *, mode: int = 0o444, replaces: bool = True) -> Iterator[TemporaryFile]:
    """Give a temporary file that gets its name when the block ends without an error.

    Its `path` may be handed to another program to write to. What processes that were killed left
    is removed on the way.

    Parameters
    ----------
    mode
        Permission bits.
    replaces
        Whether it takes the place of a file that is there by then; else that stays as it is.

    Raises
    ------
    StorageFullError, ContentError
        It cannot be written; nothing is left.
    """
    folder = vm_path("tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        sweep(folder)
        with TemporaryFile(folder) as file:
            yield file
            if replaces or not os.path.exists(target):
                file.publish(target, mode=mode)
    except OSError as error:
        raise storage_error(error, "keep a part of a virtual machine", target) from error
