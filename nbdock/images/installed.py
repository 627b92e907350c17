"""The packages that the layers of an image say they hold, for images that nbdock did not build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.images.image import Image
from nbdock.packages import Closure

if TYPE_CHECKING:
    from nbdock.packages import InstalledPackage

__all__ = ["installed_closure"]

_STATUS = b"var/lib/dpkg/status"
_STATUS_D = b"var/lib/dpkg/status.d/"


def installed_closure(image: Image) -> tuple[Closure, dict[str, int]]:
    """The packages of an image with their needs, and the layer that brought each (by key).

    Read from dpkg's records; a package is of the lowest layer whose records name it. A
    ``status`` file in a higher layer replaces those below it, so what it no longer names is gone.
    """
    # Only images from elsewhere need what reads dpkg's records.
    from nbdock.packages import installed_from_records, records_closure

    in_status: dict[str, InstalledPackage] = {}
    in_status_d: dict[str, InstalledPackage] = {}
    layer_of: dict[str, int] = {}
    for position in range(len(image.layers)):
        for entry in image.layer_entries(position):
            if entry.content is None:
                continue
            if entry.path == _STATUS:
                in_status = {p.key: p for p in installed_from_records(entry.read())}
                for key in in_status:
                    layer_of.setdefault(key, position)
            elif entry.path.startswith(_STATUS_D) and not entry.path.endswith(b".md5sums"):
                for package in installed_from_records(entry.read()):
                    in_status_d[package.key] = package
                    layer_of.setdefault(package.key, position)
    packages = {**in_status_d, **in_status}
    return records_closure(packages.values()), {k: layer_of[k] for k in packages}
