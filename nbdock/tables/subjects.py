"""What the tables are about, checked: an image, not the name of one."""

from __future__ import annotations

from nbdock.errors import ArgumentTypeError
from nbdock.images import Image

__all__ = ["expect_image"]


def expect_image(value: object) -> Image:
    """The value, if it is an image.

    Raises
    ------
    ArgumentTypeError
        It is something else; for text the hint says how to get the image.
    """
    if isinstance(value, Image):
        return value
    hint = "Build one with %%buildImage, or load one with await nbdock.load_image(path)."
    raise ArgumentTypeError(
        f"A table takes an image, not a {type(value).__name__}: {value!r:.60}",
        argument="image",
        hint=hint,
    )
