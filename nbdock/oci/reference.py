"""References: what people type to name an image.

    >>> redis = Reference.parse("redis:7")
    >>> str(redis), redis.familiar()
    ('docker.io/library/redis:7', 'redis:7')
    >>> Reference.parse("localhost:5000/team/app").registry
    'localhost:5000'

The rules are Docker's: the first part is a registry if it holds a dot or a colon, is ``localhost``
or has a capital in it; without a registry it is Docker Hub, and there a name of one part belongs
to ``library/``. The grammar of names and tags is the same in the OCI's distribution specification.
Docker says "invalid reference format" to nearly everything else; here each fault has its own
reason, and a hint if there is a way out.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from nbdock.errors import InvalidDigestError, InvalidReferenceError
from nbdock.oci.digest import Digest

__all__ = ["Reference"]

_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HOST_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_IMAGE_ID = re.compile(r"[a-f0-9]{64}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|(?:docker-archive|docker-daemon|oci-archive):")

_MAX_REPOSITORY_LENGTH = 255
_MAX_TAG_LENGTH = 128

_HUB = "docker.io"
_HUB_BY_ITS_OLD_NAME = "index.docker.io"
_OFFICIAL = "library/"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")


class _Fault(Exception):  # noqa: N818 - never leaves this module
    """A reason and a hint, on their way to the error that also names the whole reference."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """The name of an image: where it is, and which one of those there.

    Attributes
    ----------
    registry
        Host and optional port, ``docker.io`` for Docker Hub.
    repository
        The name in the registry, with ``library/`` for Docker's official images.
    tag
        A name that may move; None if none was given (Docker then means ``latest``).
    digest
        The manifest itself; wins over the tag if both are given.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        try:
            _check_registry(self.registry)
            _check_repository(self.repository)
            if self.tag is not None:
                _check_tag(self.tag)
        except _Fault as fault:
            raise _invalid(self._joined(f"{self.registry}/{self.repository}"), fault) from None

    @classmethod
    def parse(cls, text: str, *, default_registry: str = _HUB) -> Reference:
        """The reference that `text` is, with what Docker would fill in.

        Parameters
        ----------
        text
            ``[registry/]repository[:tag][@digest]``.
        default_registry
            Where a name without a registry is sought. ``library/`` is only put before names on
            Docker Hub.

        Raises
        ------
        InvalidReferenceError
            `text` names no image; the message says which part of it is wrong, and why.

        Examples
        --------
        >>> Reference.parse("redis").tag is None
        True
        >>> str(Reference.parse("app", default_registry="localhost:5000"))
        'localhost:5000/app'
        """
        try:
            return cls(*_split(text, default_registry))
        except _Fault as fault:
            raise _invalid(text, fault) from None
        except InvalidReferenceError as error:
            # The constructor only saw the parts; the error is about what was typed.
            reason = error.message.partition(" is not an image reference: ")[2]
            raise _invalid(text, _Fault(reason, error.hint)) from None

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """As the value of a cell it is the name, to be read and pasted."""
        printer.text(str(self))

    def familiar(self) -> str:
        """The short form that Docker shows: ``redis:7`` for ``docker.io/library/redis:7``.

        The long form if the short one would name something else (``docker.io/my.team/app``).
        """
        if self.registry != _HUB:
            return str(self)
        short = self.repository.removeprefix(_OFFICIAL)
        text = self._joined(self.repository if "/" in short else short)
        try:
            return text if Reference.parse(text) == self else str(self)
        except InvalidReferenceError:
            return str(self)

    def with_tag(self, tag: str | None) -> Reference:
        """The same name with another tag (or none), without a digest."""
        return Reference(self.registry, self.repository, tag)

    def with_digest(self, digest: Digest | None) -> Reference:
        """The same name and tag, fixed to one manifest (or no longer)."""
        return dataclasses.replace(self, digest=digest)

    def with_default_tag(self, tag: str = "latest") -> Reference:
        """Itself if it says which image it means, else the one with this tag."""
        return self if self.tag or self.digest else self.with_tag(tag)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def _joined(self, name: str) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return f"{name}{tag}@{self.digest}" if self.digest else name + tag

    def __str__(self) -> str:
        return self._joined(self.name)


def _invalid(text: str, fault: _Fault) -> InvalidReferenceError:
    return InvalidReferenceError(
        f"{_shown(text)} is not an image reference: {fault.reason}", value=text, hint=fault.hint
    )


def _split(text: str, default_registry: str) -> tuple[str, str, str | None, Digest | None]:
    _check_text(text)
    name, at, digest_text = text.partition("@")
    digest = _parse_digest(digest_text) if at else None
    if not name:
        raise _Fault("there is no name before the digest.", "Write name@sha256:<hex>.")
    # A colon after the last slash starts the tag; one before it belongs to the registry's port.
    slash = name.rfind("/")
    colon = name.find(":", slash + 1)
    if slash < 0 and name.startswith("["):
        raise _Fault("it is a registry without a repository.", "Write registry/name:tag.")
    tag = name[colon + 1 :] if colon >= 0 else None
    path = name[:colon] if colon >= 0 else name
    if not path:
        raise _Fault("there is no name before the tag.", "Write name:tag.")
    first, slashed, rest = path.partition("/")
    if slashed and _is_registry(first):
        registry, repository = first, rest
    else:
        registry, repository = default_registry, path
    if registry == _HUB_BY_ITS_OLD_NAME:
        registry = _HUB
    if not repository:
        raise _Fault(f"there is no repository after {first + '/'!r}.", "Write registry/name:tag.")
    if registry == _HUB and "/" not in repository:
        repository = _OFFICIAL + repository
    return registry, repository, tag, digest


def _is_registry(first: str) -> bool:
    marked = "." in first or ":" in first or first.startswith("[")
    return marked or first == "localhost" or first != first.lower()


def _check_text(text: str) -> None:
    """What is wrong with the text as a whole, before it is taken apart."""
    if not text:
        raise _Fault("it is empty.", "Write name:tag, for example redis:7.")
    if text != text.strip():
        raise _Fault("there is a blank around it.", f"Write {_shown(text.strip())}.")
    scheme = _SCHEME.match(text)
    if scheme:
        raise _Fault(
            f"a reference has no {scheme[0]!r} before it.",
            f"Write {_shown(text[scheme.end() :].lstrip('/'))}.",
        )
    if _IMAGE_ID.fullmatch(text):
        raise _Fault(
            "64 hexadecimal digits are an image ID, and an ID says nothing of a repository.",
            f"Write name@sha256:{text}.",
        )
    algorithm, colon, encoded = text.partition(":")
    if (
        colon
        and algorithm in ("sha256", "sha384", "sha512")
        and re.fullmatch("[0-9a-f]{64,}", encoded)
    ):
        raise _Fault("a digest alone names no repository.", f"Write name@{text}.")
    for position, character in enumerate(text):
        if not character.isascii() or not character.isprintable() or character == " ":
            what = "a blank" if character == " " else repr(character)
            raise _Fault(
                f"there is {what} in it (character {position + 1}).",
                "Only ASCII letters, digits and . _ - / : @ can stand in a reference.",
            )


def _parse_digest(text: str) -> Digest:
    if not text:
        raise _Fault("there is no digest after the @.", "Write name@sha256:<hex>, or leave @ out.")
    if "@" in text:
        raise _Fault("there is more than one @ in it.", "Write name:tag@sha256:<hex>.")
    if text.count(":") > 1 and not text.endswith(":"):
        raise _Fault("a tag stands after the digest.", "Write name:tag@sha256:<hex>.")
    try:
        digest = Digest.parse(text)
    except InvalidDigestError as error:
        raise _Fault(error.message.rstrip(".") + ".", error.hint) from None
    if not digest.is_computable:
        raise _Fault(
            f"the digest algorithm {digest.algorithm!r} cannot be verified.",
            "Use the image's sha256 digest.",
        )
    return digest


def _check_registry(registry: str) -> None:
    if not registry:
        raise _Fault("the registry is empty.", "Write registry/name:tag, or name:tag.")
    if "/" in registry:
        raise _Fault(f"the registry {registry!r} has a slash in it.", "Give host or host:port.")
    if registry.startswith("["):
        host, bracket, port = registry.partition("]")
        _check_ipv6(host[1:], closed=bool(bracket))
        if port and not port.startswith(":"):
            raise _Fault(f"something other than a port follows the address in {registry!r}.")
        colon, port = port[:1], port[1:]
    else:
        host, colon, port = registry.partition(":")
        for part in host.split("."):
            if not _HOST_PART.fullmatch(part):
                raise _Fault(
                    f"{registry!r} is not a registry's host name.",
                    "An IPv6 address stands in brackets: [::1]:5000/name."
                    if registry.count(":") > 1
                    else "The parts of a host name are letters, digits and inner hyphens.",
                )
    if colon and not (port.isdecimal() and port.isascii() and len(port) <= 5):
        raise _Fault(f"{port!r} is not a port.", "Write registry:5000/name:tag.")
    if colon and not 0 < int(port) < 65536:
        raise _Fault(f"there is no port {port}; ports end at 65535.")


def _check_ipv6(address: str, *, closed: bool) -> None:
    if not closed:
        raise _Fault("the bracket of the registry's IPv6 address is not closed.")
    if "%" in address:
        raise _Fault("the registry's IPv6 address has a zone.", "Leave out % and what follows.")
    import ipaddress  # only here: a few milliseconds that most processes never need

    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise _Fault(f"{address!r} is not an IPv6 address.") from None
    if "." in address:
        raise _Fault(f"the IPv6 address {address!r} is written with an IPv4 part.")


def _check_repository(repository: str) -> None:
    if not repository:
        raise _Fault("there is no repository in it.", "Write registry/name:tag.")
    if len(repository) > _MAX_REPOSITORY_LENGTH:
        raise _Fault(
            f"the repository has {len(repository)} characters; "
            f"{_MAX_REPOSITORY_LENGTH} are the most."
        )
    for component in repository.split("/"):
        if _COMPONENT.fullmatch(component):
            continue
        if not component:
            raise _Fault("a part between two slashes is empty.", "Write name/name:tag.")
        if component != component.lower() and _COMPONENT.fullmatch(component.lower()):
            raise _Fault(
                f"there are capitals in the repository ({component!r}).",
                f"Write {component.lower()!r}.",
            )
        if ":" in component:
            raise _Fault(
                f"there is a colon in the middle of the repository ({component!r}).",
                "The tag comes after the last slash; a port comes before the first.",
            )
        odd = re.search(r"[^A-Za-z0-9._-]", component)
        if odd:
            raise _Fault(
                f"there is {odd[0]!r} in the repository.",
                "Only lower-case letters, digits and . _ - can stand there.",
            )
        if not component[0].isalnum() or not component[-1].isalnum():
            raise _Fault(
                f"the part {component!r} of the repository does not begin and end with a letter "
                f"or digit."
            )
        raise _Fault(
            f"the separators in the part {component!r} of the repository are not allowed.",
            "Between letters and digits stands one dot, one or two underscores, or hyphens.",
        )


def _check_tag(tag: str) -> None:
    if not tag:
        raise _Fault("there is no tag after the colon.", "Write name:tag, or leave the colon out.")
    if len(tag) > _MAX_TAG_LENGTH:
        raise _Fault(f"the tag has {len(tag)} characters; {_MAX_TAG_LENGTH} are the most.")
    if tag[0] in ".-":
        raise _Fault(f"the tag {tag!r} begins with {tag[0]!r}.", "Begin it with a letter or digit.")
    if not _TAG.fullmatch(tag):
        odd = re.search(r"[^A-Za-z0-9_.-]", tag)
        raise _Fault(
            f"there is {odd[0] if odd else ''!r} in the tag {tag!r}.",
            "Only letters, digits and . _ - can stand in a tag.",
        )
