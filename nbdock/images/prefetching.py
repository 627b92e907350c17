"""`prefetch_image`: the arguments of a `pullImage` that will always give the same image.

    >>> found = PrefetchedImage(
    ...     "mysql", Digest("sha256", "ab" * 32), Digest("sha256", "00" * 32), "mysql", "8"
    ... )
    >>> print(found.nix)
    {
      imageName = "mysql";
      imageDigest = "sha256:abababababababababababababababababababababababababababababababab";
      sha256 = "0000000000000000000000000000000000000000000000000000";
      finalImageName = "mysql";
      finalImageTag = "8";
    }

The fields are those of ``nix-prefetch-docker``. Where the digest is that of an index, ``os`` and
``arch`` stand there too: without them, the same text would mean another image on another machine.
"""

from __future__ import annotations

import dataclasses
import json

from nbdock.calling import cell_name, checked
from nbdock.content import BlobStore
from nbdock.errors import NbdockError
from nbdock.images.arguments import expect
from nbdock.images.image import Image
from nbdock.images.pins import archive_digest
from nbdock.images.pulling import fetch_image
from nbdock.images.pullrequest import PullRequest, blame
from nbdock.oci import Digest, Index, Platform
from nbdock.packages import Progress
from nbdock.showing import watched

__all__ = ["PrefetchedImage", "prefetch_image"]


@dataclasses.dataclass(frozen=True, repr=False)
class PrefetchedImage:
    """An image pinned by digest and checksum.

    Attributes
    ----------
    image_name, image_digest
        Where it is, and which one it is.
    digest
        The checksum of its archive, which `sha256` and `hash` write.
    final_image_name, final_image_tag
        What it will be called; the checksum is of the archive with this name.
    platform
        Which image of an index; None where `image_digest` leaves no choice.
    image
        The image itself, which is in the store.
    """

    image_name: str
    image_digest: Digest
    digest: Digest
    final_image_name: str
    final_image_tag: str
    platform: Platform | None = None
    image: Image | None = dataclasses.field(default=None, compare=False)

    @property
    def sha256(self) -> str:
        """The checksum in Nix's base 32."""
        from nbdock.packages import format_hash

        return format_hash(self.digest, prefixed=False)

    @property
    def hash(self) -> str:
        """The checksum as newer expressions write it: ``sha256-...``."""
        from nbdock.packages import format_hash

        return format_hash(self.digest, "sri")

    @property
    def arguments(self) -> dict[str, str]:
        """The arguments for `pull_image`, by their Python names."""
        arguments = {
            "image_name": self.image_name,
            "image_digest": str(self.image_digest),
            "sha256": self.sha256,
            "final_image_name": self.final_image_name,
            "final_image_tag": self.final_image_tag,
        }
        if self.platform is not None:
            arguments |= {"os": self.platform.os, "arch": self.platform.architecture}
            usual = Platform.parse(f"{self.platform.os}/{self.platform.architecture}").variant
            if self.platform.variant != usual:
                arguments["variant"] = self.platform.variant
        return arguments

    @property
    def nix(self) -> str:
        """The arguments as ``nix-prefetch-docker`` prints them, to paste."""
        lines = [f'  {cell_name(name)} = "{value}";' for name, value in self.arguments.items()]
        return "\n".join(["{", *lines, "}"])

    def to_json(self) -> str:
        """The arguments as ``nix-prefetch-docker --json`` prints them."""
        named = {cell_name(name): value for name, value in self.arguments.items()}
        return json.dumps(named, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        return self.nix

    def __repr__(self) -> str:
        return f"<PrefetchedImage {self.image_name}@{self.image_digest}>"


@checked
@watched("Prefetched")
async def prefetch_image(
    image_name: str,
    *,
    image_tag: str | None = None,
    image_digest: str | Digest | None = None,
    os: str = "linux",
    arch: str | None = None,
    variant: str | None = None,
    final_image_name: str | None = None,
    final_image_tag: str | None = None,
    tls_verify: bool = True,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> PrefetchedImage:
    """Find out what to write for `pullImage`, so that it always gives the image of today.

    The image is in the store afterwards: pulling it costs nothing more.

    Parameters
    ----------
    image_name
        ``mysql``, ``nixos/nix``, ``registry.example/team/app``; it may have a tag or digest.
    image_tag, image_digest
        Which image: by default ``latest``.
    os, arch, variant
        Which image of an index: by default Linux on this machine's architecture.
    final_image_name, final_image_tag
        What it will be called: by default `image_name`, and the tag or ``latest``.
    tls_verify, store, progress
        As for `pull_image`.

    Raises
    ------
    NbdockError
        As `pull_image` does.
    """
    request = PullRequest.of(
        image_name, image_digest=image_digest, image_tag=image_tag, os=os, arch=arch,
        variant=variant, final_image_name=final_image_name, final_image_tag=final_image_tag,
    )  # fmt: skip
    expect("tls_verify", tls_verify, bool, what="true or false")
    store = store or BlobStore.default()
    given = {
        "image_tag": image_tag, "image_digest": image_digest, "os": os, "arch": arch,
        "variant": variant,
    }  # fmt: skip
    try:
        image, top = await fetch_image(request, store, tls_verify=tls_verify, progress=progress)
    except NbdockError as error:
        blame(error, {name: value for name, value in given.items() if value is not None})
        raise
    if progress is not None:
        progress("Computing the checksum", 0, 0)
    return PrefetchedImage(
        image_name=request.given_name,
        image_digest=top.descriptor.digest,
        digest=await archive_digest(image),
        final_image_name=image.name,
        final_image_tag=image.tag,
        platform=request.platform if isinstance(top.manifest, Index) else None,
        image=image,
    )
