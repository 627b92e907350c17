"""What a pull is asked for: which image, for which platform, and what it is to be called.

>>> request = PullRequest.of("nixos/nix", image_tag="1.11", arch="x86_64")
>>> str(request.reference), str(request.platform), request.name, request.tag
('docker.io/nixos/nix:1.11', 'linux/amd64', 'nixos/nix', '1.11')
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from nbdock.calling import argument_name
from nbdock.errors import (
    ArgumentTypeError,
    DigestMismatchError,
    InvalidDigestError,
    InvalidManifestError,
    InvalidPlatformError,
    InvalidReferenceError,
    ManifestNotFoundError,
    NbdockError,
    PlatformNotFoundError,
    RegistryError,
    RepositoryNotFoundError,
    SizeMismatchError,
    TransportError,
    UnsupportedManifestError,
)
from nbdock.images.arguments import expect
from nbdock.oci import Digest, Platform, Reference

__all__ = ["PullRequest", "blame"]


@dataclasses.dataclass(frozen=True)
class PullRequest:
    """Which image is to be pulled, and what it is to be called here.

    Attributes
    ----------
    reference
        With a digest if one was given, else with a tag.
    platform
        What the image is to run on, if there is a choice.
    is_platform_given
        Whether somebody asked for this platform, or it is this machine's.
    given_name
        The image's name as it was given, without tag and digest.
    name, tag
        The final ones.
    """

    reference: Reference
    platform: Platform
    is_platform_given: bool
    given_name: str
    name: str
    tag: str

    @classmethod
    def of(
        cls,
        image_name: object,
        *,
        image_digest: object = None,
        image_tag: object = None,
        os: object = "linux",
        arch: object = None,
        variant: object = None,
        platform: object = None,
        final_image_name: object = None,
        final_image_tag: object = None,
    ) -> PullRequest:
        """The request that `pull_image` was called with.

        Raises
        ------
        ArgumentTypeError
            An argument of another type, or none that means an image or platform.
        """
        expect("image_name", image_name, str, what="the name of an image")
        reference = _reference("image_name", str(image_name))
        typed = str(image_name).partition("@")[0].removesuffix(f":{reference.tag}")
        if image_digest is not None:
            given = _digest(image_digest)
            if reference.digest not in (None, given):
                raise _contradiction("image_digest", reference.digest, given)
            reference = reference.with_digest(given)
        if image_tag is not None:
            expect("image_tag", image_tag, str, what="a tag")
            if reference.tag not in (None, image_tag):
                raise _contradiction("image_tag", reference.tag, image_tag)
            tagged = _reference("image_tag", f"{reference.name}:{image_tag}")
            reference = tagged.with_digest(reference.digest)
        name = typed if final_image_name is None else final_image_name
        expect("final_image_name", name, str, what="the name of an image")
        tag = final_image_tag if final_image_tag is not None else reference.tag or "latest"
        expect("final_image_tag", tag, str, what="a tag")
        final = _reference("final_image_name", str(name))
        if final.tag or final.digest:
            raise ArgumentTypeError(
                f"{argument_name('final_image_name')} holds a tag or a digest: {str(name)!r}.",
                argument="final_image_name",
                hint=f"Give the tag as {argument_name('final_image_tag')}.",
            )
        _reference("final_image_tag", f"{final.name}:{tag}")
        return cls(
            reference.with_default_tag(),
            _platform(os, arch, variant, platform),
            arch is not None or platform is not None,
            typed,
            str(name),
            str(tag),
        )


def _reference(argument: str, text: str) -> Reference:
    try:
        return Reference.parse(text)
    except InvalidReferenceError as error:
        raise ArgumentTypeError(error.message, argument=argument, hint=error.hint) from error


def _digest(value: object) -> Digest:
    if isinstance(value, Digest):
        return value
    expect("image_digest", value, str, what="a digest")
    try:
        return Digest.parse(str(value))
    except InvalidDigestError as error:
        raise ArgumentTypeError(error.message, argument="image_digest", hint=error.hint) from error


def _platform(os: object, arch: object, variant: object, platform: object) -> Platform:
    if isinstance(platform, Platform):
        return platform
    if platform is not None and platform != "all":
        expect("platform", platform, str, what='a platform such as "linux/arm64", or "all"')
        return _parse_platform("platform", str(platform))
    host = Platform.host()
    expect("os", os, str, what="an operating system")
    parts = [str(os), host.architecture if arch is None else arch]
    expect("arch", parts[1], str, what="an architecture")
    if variant is not None:
        expect("variant", variant, str, what="a variant such as v7")
        parts.append(variant)
    elif arch is None and host.variant:
        parts.append(host.variant)
    return _parse_platform("arch", "/".join(map(str, parts)))


def _parse_platform(argument: str, text: str) -> Platform:
    try:
        return Platform.parse(text)
    except InvalidPlatformError as error:
        raise ArgumentTypeError(error.message, argument=argument, hint=error.hint) from error


def _contradiction(argument: str, in_name: object, given: object) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{argument_name('image_name')} says {in_name}, {argument_name(argument)} says {given}.",
        argument=argument,
        hint="Give it in one place only.",
    )


def blame(error: NbdockError, given: Mapping[str, object]) -> None:
    """Say in an error of a pull which argument it is about, of those that were given."""
    which: tuple[str, ...] = ()
    if isinstance(error, PlatformNotFoundError):
        is_other_os = all(there.partition("/")[0] != given["os"] for there in error.available)
        # Linux is what is meant if nobody says so.
        of_os = ("os",) if is_other_os and given["os"] != "linux" else ()
        which = ("platform", *of_os, "arch", "variant")
    elif isinstance(error, RepositoryNotFoundError):
        pass
    elif isinstance(
        error,
        ManifestNotFoundError | UnsupportedManifestError | InvalidManifestError
        | DigestMismatchError | SizeMismatchError,
    ):  # fmt: skip
        which = ("image_digest", "image_tag")
    elif not isinstance(error, RegistryError | TransportError):
        return
    error.argument = next((name for name in which if name in given), "image_name")
