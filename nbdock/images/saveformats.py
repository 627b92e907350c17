"""Which format an image is saved in: what was asked for, else what the name of the file says.

>>> choose_format(Path("redis.oci.tar"))
SaveFormat(format='oci-archive', compression=None, flavor='nbdock')
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nbdock.content import codec_named, codec_of_name
from nbdock.errors import ArgumentTypeError, nearest

__all__ = ["ARCHIVE_SUFFIXES", "SaveFormat", "choose_format", "refuse_other_format"]

ARCHIVE_SUFFIXES = {"none": ".tar", "gz": ".tar.gz", "zstd": ".tar.zst"}
"""How the archive of a compressor's is called."""

_OTHER_FORMATS = frozenset((
    ".7z", ".br", ".cab", ".cpio", ".deb", ".html", ".img", ".ipynb", ".iso", ".jar", ".jpg",
    ".json", ".lz4", ".lzo", ".md", ".ova", ".parquet", ".pdf", ".png", ".qcow2", ".rar", ".raw",
    ".rpm", ".sif", ".squashfs", ".svg", ".txt", ".vdi", ".vmdk", ".whl", ".xml", ".yaml", ".z",
    ".zip",
))  # fmt: skip
"""What the names of files end in that hold no image of nbdock's."""
_FORMATS = ("docker-archive", "oci-archive", "oci")
_FLAVORS = ("nbdock", "skopeo")


@dataclasses.dataclass(frozen=True)
class SaveFormat:
    """A format's name; what compresses the archive, or an OCI format's layers; whose archive."""

    format: str
    compression: str | None
    flavor: str = "nbdock"


def choose_format(
    path: Path,
    format: str | None = None,  # noqa: A002
    compression: str | None = None,
    flavor: str | None = None,
) -> SaveFormat:
    """The format for the arguments of `Image.save`.

    Raises
    ------
    ArgumentTypeError
        One is unknown, or contradicts another or the name.
    """
    if flavor is not None and flavor not in _FLAVORS:
        raise ArgumentTypeError(
            f"There is no flavor {flavor!r} of archives.",
            argument="flavor",
            hint=f"Flavors: {', '.join(_FLAVORS)}.",
        )
    choice = _by_name(path, format, compression)
    if flavor == "skopeo":
        if choice.format != "docker-archive":
            raise ArgumentTypeError(
                f"Skopeo's flavor is one of docker-archives, not of {choice.format}.",
                argument="flavor",
                hint='Give format="docker-archive", or a name that ends in ".tar".',
            )
        choice = dataclasses.replace(choice, flavor=flavor)
    return choice


def _by_name(
    path: Path,
    format: str | None,  # noqa: A002
    compression: str | None,
) -> SaveFormat:
    if format is not None and format not in _FORMATS:
        close = nearest(format, _FORMATS, count=1)
        raise ArgumentTypeError(
            f"There is no image format {format!r}.",
            argument="format",
            hint=f"Did you mean {close[0]}?" if close else f"Formats: {', '.join(_FORMATS)}.",
        )
    asked = codec_named(compression) if compression is not None else None
    if asked not in (None, "none", "gzip", "zstd"):
        raise ArgumentTypeError(
            f"An image is not compressed with {asked}.",
            argument="compression",
            hint='Compressions: "none", "gz", "zstd".',
        )
    if format is None:
        refuse_other_format(path)
        if ".oci" in path.suffixes:
            format = "oci-archive"  # noqa: A001
        else:
            format = "oci" if not path.suffix or path.is_dir() else "docker-archive"  # noqa: A001
    by_suffix = codec_of_name(path.name)
    if format == "docker-archive":
        if asked and by_suffix != "none" and asked != by_suffix:
            raise ArgumentTypeError(
                f"compression is {compression!r}, but the name ends in {path.suffix!r}.",
                argument="compression",
                hint="Give one of the two, or let them agree.",
            )
        return SaveFormat(format, asked or by_suffix)
    if by_suffix != "none":
        raise ArgumentTypeError(
            f"An OCI archive is not compressed as a whole: {path.name!r}.",
            argument="path",
            hint='Name it ".oci.tar" and give compression="gz": its layers are compressed.',
        )
    return SaveFormat(format, asked)


def refuse_other_format(path: Path) -> None:
    """Refuse a name whose ending stands for a format that images have not.

    Raises
    ------
    ArgumentTypeError
        Says which endings there are.
    """
    if path.suffix.lower() in _OTHER_FORMATS:
        raise ArgumentTypeError(
            f"{path.name!r} is the name of another format: an image is not saved as "
            f"{path.suffix!r}.",
            argument="path",
            hint="Names that end in .tar, .tar.gz or .tar.zst are archives for docker load, those "
            "in .oci.tar are OCI archives, and one without an ending is a directory: an OCI "
            "layout.",
        )
