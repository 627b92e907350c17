"""What the tables are about, checked: images, references, platforms."""

from __future__ import annotations

import dataclasses
import os

from nbdock.errors import ArgumentTypeError, InvalidPlatformError
from nbdock.images import Image
from nbdock.oci import Platform, Reference

__all__ = [
    "EngineImage",
    "Subject",
    "expect_platform",
    "expect_reference",
    "to_subject",
]

Subject = Image | Reference | str | os.PathLike[str]
"""An image, the name of one in a registry or an engine, or the path of an archive."""

_IN_REGISTRY = "docker://"
_IN_ENGINE = "docker-daemon:"
_ARCHIVES = (".tar", ".gz", ".tgz", ".zst")


@dataclasses.dataclass(frozen=True)
class EngineImage:
    """An image of a running engine, by its name there."""

    name: str


def to_subject(value: object) -> Image | Reference | EngineImage | str:
    """What a table is about: an image, a reference, one of an engine, or an archive's path.

    Text is a path if it looks like one, or if there is such a file; ``docker://`` before it says
    that it is not, and ``docker-daemon:``, as skopeo has it, that it is an engine's image.

    Raises
    ------
    ArgumentTypeError
        It is nothing of that.
    InvalidReferenceError
        It is text that means none of them.
    """
    if isinstance(value, Image | Reference):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, str):
        if value.startswith(_IN_REGISTRY):
            return Reference.parse(value.removeprefix(_IN_REGISTRY))
        if value.startswith(_IN_ENGINE):
            return EngineImage(value.removeprefix(_IN_ENGINE))
        return value if _is_path(value) else Reference.parse(value)
    raise ArgumentTypeError(
        f"A table takes an image, not {value!r:.60} (of the type {type(value).__name__}).",
        argument="image",
        hint="Give an image, a name in a registry such as redis:7, or the path of an archive.",
    )


def _is_path(text: str) -> bool:
    if text.startswith(("/", ".", "~")) or text.endswith(_ARCHIVES):
        return True
    return os.path.isfile(text) or os.path.isfile(os.path.join(text, "oci-layout"))


def expect_reference(value: object) -> Reference:
    """A reference, from text too.

    Raises
    ------
    ArgumentTypeError
        It is neither.
    InvalidReferenceError
        It is text that is none.
    """
    if isinstance(value, Reference):
        return value
    if isinstance(value, str):
        return Reference.parse(value.removeprefix(_IN_REGISTRY))
    raise ArgumentTypeError(
        f"This table takes a name in a registry, not {value!r:.60} (of the type "
        f"{type(value).__name__}).",
        argument="reference",
        hint="For example docker.io/library/redis.",
    )


def expect_platform(value: object) -> Platform | None:
    """A platform, from text too; None if none is given.

    Raises
    ------
    ArgumentTypeError
        It is something else, or text that means none.
    """
    if value is None or isinstance(value, Platform):
        return value
    if not isinstance(value, str):
        raise ArgumentTypeError(
            f"platform must be a platform such as linux/arm64, not a {type(value).__name__}.",
            argument="platform",
        )
    try:
        return Platform.parse(value)
    except InvalidPlatformError as error:
        raise ArgumentTypeError(error.message, argument="platform", hint=error.hint) from error
