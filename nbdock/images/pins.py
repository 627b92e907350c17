"""The checksum that dockerTools' `pullImage` asks for: ``sha256``, or the newer ``hash``.

It is that of the docker-archive which skopeo makes of the image under its final name. The archive
is not written for it: its pieces are hashed, once for an image and name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.calling import argument_name
from nbdock.concurrency import in_worker
from nbdock.content import LayerCache
from nbdock.errors import ArgumentTypeError, DigestMismatchError, InvalidDigestError
from nbdock.images.arguments import expect
from nbdock.oci import Digest

if TYPE_CHECKING:
    from nbdock.images.image import Image

__all__ = ["archive_digest", "check_pin", "parse_pin"]

_KIND = "skopeo archive 1"


def parse_pin(sha256: object, hash: object) -> Digest | None:  # noqa: A002 - dockerTools' name
    """What ``sha256`` or ``hash`` pins; None if neither is given.

    An empty text is a pin that nothing fits, as in Nix: the error then says the right one.

    >>> str(parse_pin("", None))[:15]
    'sha256:00000000'

    Raises
    ------
    ArgumentTypeError
        It is no hash, or both are given and differ.
    """
    pins = []
    for argument, value, algorithm in (("sha256", sha256, "sha256"), ("hash", hash, None)):
        if value is None:
            continue
        expect(argument, value, str, what="a hash")
        pins.append(_parse(argument, str(value), algorithm))
    if len(set(pins)) > 1:
        raise ArgumentTypeError(
            "sha256 and hash are both given, and differ.", argument="hash", hint="Give one of them."
        )
    return pins[0] if pins else None


def _parse(argument: str, text: str, algorithm: str | None) -> Digest:
    from nbdock.packages import parse_hash

    if not text:
        return Digest("sha256", "0" * 64)
    try:
        digest = parse_hash(text, algorithm=algorithm)
        digest.hasher()
    except InvalidDigestError as error:
        raise ArgumentTypeError(
            f"{argument} is no hash that an image can be checked against: {error.message}",
            argument=argument,
            hint=error.hint or 'Give the hash in Nix\'s base 32, hexadecimal, or as "sha256-...".',
        ) from error
    return digest


async def archive_digest(image: Image, *, algorithm: str = "sha256") -> Digest:
    """The hash of the archive that skopeo makes of an image under its name."""
    key = f"{algorithm} {image.digest} {image.reference}"

    def recalled() -> Digest | None:
        with LayerCache(image.store) as cache:
            known = cache.recall(_KIND, key)
        return Digest.parse(known.decode()) if known else None

    known = await in_worker(recalled)
    if known is not None:
        return known
    # Here: most pulls have no pin.
    from nbdock.images.saving import skopeo_archive_members
    from nbdock.images.skopeoarchive import skopeo_hash

    members = await skopeo_archive_members(image, image.reference)
    digest = await in_worker(skopeo_hash, image.store, members, algorithm=algorithm)

    def remember() -> None:
        with LayerCache(image.store) as cache:
            cache.remember(_KIND, key, str(digest).encode())

    await in_worker(remember)
    return digest


async def check_pin(image: Image, pin: Digest, *, argument: str) -> None:
    """Compare an image with its pin, which was given as `argument`.

    Raises
    ------
    DigestMismatchError
        The archive has another hash; the hint is the line to paste.
    """
    from nbdock.packages import format_hash

    actual = await archive_digest(image, algorithm=pin.algorithm)
    if actual == pin:
        return
    if pin.algorithm == "sha256":
        line = f'sha256 = "{format_hash(actual, prefixed=False)}";'
    else:
        line = f'hash = "{format_hash(actual, "sri")}";'
    error = DigestMismatchError(
        f"{image} is not the image that was pinned: its archive has the hash "
        f"{format_hash(actual)}, not {format_hash(pin)}.",
        digest=str(pin),
        actual=str(actual),
        hint=f"The hash is that of the image under this name and tag "
        f"({argument_name('final_image_name')}, {argument_name('final_image_tag')}). "
        f"If this is the image you want, write {line}",
    )
    error.argument = argument
    raise error
