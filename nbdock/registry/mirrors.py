"""Mirrors: what to ask instead of a registry, before it.

>>> mirrors_of("docker.io", ["docker.io=http://mirror.lan:5000/hub", "quay.io=m.example"])
(Mirror(registry='mirror.lan:5000', prefix='hub', is_http=True),)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from nbdock.errors import ArgumentTypeError, InvalidReferenceError
from nbdock.oci import Reference

__all__ = ["Mirror", "mirrors_of"]


@dataclasses.dataclass(frozen=True, slots=True)
class Mirror:
    """Where a mirror is: a registry, and what stands there before the repositories' names."""

    registry: str
    prefix: str = ""
    is_http: bool = False

    @classmethod
    def parse(cls, text: str) -> Mirror:
        """The mirror that ``[http[s]://]host[:port][/prefix]`` means.

        Raises
        ------
        ArgumentTypeError
            It means none.
        """
        scheme, separator, rest = text.strip().partition("://")
        place = rest if separator else scheme
        registry, _, prefix = place.partition("/")
        prefix = prefix.strip("/")
        try:
            if separator and scheme not in {"http", "https"}:
                raise InvalidReferenceError(f"{scheme} is not http or https.")
            # A mirror's name and prefix are those of a registry and a repository.
            Reference(registry, f"{prefix}/x" if prefix else "x")
        except InvalidReferenceError as error:
            raise ArgumentTypeError(
                f"{text!r} is not a mirror: {error.message}",
                argument="mirrors",
                hint="Write host, host:port or host/prefix.",
            ) from error
        return cls(registry, prefix, separator != "" and scheme == "http")

    def repository(self, path: str) -> str:
        """What the mirror calls the repository that the registry calls `path`."""
        return f"{self.prefix}/{path}" if self.prefix else path


def mirrors_of(registry: str, texts: Iterable[str]) -> tuple[Mirror, ...]:
    """The mirrors of a registry among lines ``registry=mirror``, in their order.

    Raises
    ------
    ArgumentTypeError
        A line that is none.
    """
    found = []
    for text in texts:
        name, equals, mirror = text.partition("=")
        if not equals:
            raise ArgumentTypeError(
                f"{text!r} is not a mirror of a registry.",
                argument="registry_mirrors",
                hint="Write registry=mirror, for example docker.io=mirror.example/hub.",
            )
        if name.strip() == registry:
            found.append(Mirror.parse(mirror))
    return tuple(found)
