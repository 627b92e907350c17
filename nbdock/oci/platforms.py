"""Platforms: what an image runs on.

    >>> str(Platform.parse("linux/aarch64"))
    'linux/arm64/v8'
    >>> Platform.parse("armhf")
    Platform(os='linux', architecture='arm', variant='v7')

People write Docker's names (``linux/amd64``), the kernel's (``x86_64``) or Debian's (``armhf``,
``ppc64el``); images carry Go's. `Platform.parse` takes all of them and writes Go's, with the
variant that is meant when none is given (``arm64`` is v8, ``arm`` is v7). What a document says is
kept as it stands; `matches` compares what is meant.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from nbdock.errors import InvalidPlatformError, nearest
from nbdock.oci.document import Node
from nbdock.oci.frozen import FrozenMap, freeze

__all__ = ["Platform"]

_ALIASES: dict[str, tuple[str, str]] = {
    # Every other name: Go's name and the variant that the name implies.
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "x64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "x86": ("386", ""),
    "aarch64": ("arm64", ""),
    "aarch64_be": ("arm64be", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv5": ("arm", "v5"),
    "armv5l": ("arm", "v5"),
    "armv5tel": ("arm", "v5"),
    "armv6": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "armv7": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv8l": ("arm", "v8"),
    "ppc64el": ("ppc64le", ""),
    "powerpc64le": ("ppc64le", ""),
    "powerpc64": ("ppc64", ""),
    "loongarch64": ("loong64", ""),
    "mipsel": ("mipsle", ""),
    "mips64el": ("mips64le", ""),
}
_ARCHITECTURES = (
    "amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "loong64", "mips64le", "mips64",
    "mipsle", "mips", "ppc64", "ppc", "riscv", "s390", "sparc64", "sparc", "arm64be", "armbe",
    "amd64p32", "mips64p32", "mips64p32le", "wasm", "unknown",
)  # fmt: skip
_SYSTEMS = (
    "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly", "solaris", "illumos",
    "aix", "android", "hurd", "ios", "js", "nacl", "plan9", "wasip1", "zos", "unknown",
)  # fmt: skip
_SYSTEM_ALIASES = {"macos": "darwin"}
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_NO_EXTRA: FrozenMap[Any] = FrozenMap()


@dataclasses.dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor.

    Attributes
    ----------
    os, architecture, variant
        Go's names, as the image specification wants them; the variant may be empty.
    os_version, os_features
        For Windows.
    extra
        Fields of a parsed document that nbdock does not know.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = dataclasses.field(default="", kw_only=True)
    os_features: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    extra: Mapping[str, Any] = dataclasses.field(default=_NO_EXTRA, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extra", freeze(self.extra))
        object.__setattr__(self, "os_features", tuple(self.os_features))

    @classmethod
    def parse(cls, text: str) -> Platform:
        """The platform that `text` means: ``os/architecture[/variant]``, or one of the first two.

        Raises
        ------
        InvalidPlatformError
            A part that is not known; the hint names the nearest.

        Examples
        --------
        >>> str(Platform.parse("x86_64")), str(Platform.parse("linux/arm/v6"))
        ('linux/amd64', 'linux/arm/v6')
        """
        parts = text.split("/")
        if len(parts) > 3 or not all(_PART.fullmatch(part) for part in parts):
            raise InvalidPlatformError(
                f"{text[:80]!r} is not a platform.",
                value=text,
                hint="Write os/architecture or os/architecture/variant, for example linux/arm64.",
            )
        lowered = [part.lower() for part in parts]
        if len(lowered) == 1:
            word = _SYSTEM_ALIASES.get(lowered[0], lowered[0])
            if word in _SYSTEMS and word != "unknown":
                return dataclasses.replace(cls.host(), os=word)
            lowered = ["linux", lowered[0]]
        system = _SYSTEM_ALIASES.get(lowered[0], lowered[0])
        if system not in _SYSTEMS:
            raise _unknown("operating system", parts[0], text, _SYSTEMS)
        variant = lowered[2] if len(lowered) == 3 else ""
        architecture, variant = _normalised(lowered[1], variant)
        if architecture not in _ARCHITECTURES:
            names = (*_ARCHITECTURES, *_ALIASES, *(_SYSTEMS if len(parts) == 1 else ()))
            raise _unknown("architecture", parts[-1 if len(parts) < 3 else 1], text, names)
        return cls(system, architecture, variant)

    @classmethod
    def host(cls) -> Platform:
        """Linux on this machine's processor: what containers here run as."""
        machine = (os.uname().machine if hasattr(os, "uname") else _windows_machine()).lower()
        if machine in ("mips", "mips64", "ppc64") and sys.byteorder == "little":
            machine += "le"
        return cls("linux", *_normalised(machine, ""))

    @classmethod
    def from_json(cls, node: Node | Mapping[str, Any]) -> Platform:
        """The platform of a descriptor, as it stands there."""
        fields = Node.of(node, "platform").fields()
        return cls(
            os=fields.required("os").string(),
            architecture=fields.required("architecture").string(),
            variant=fields.text("variant"),
            os_version=fields.text("os.version"),
            os_features=fields.strings("os.features"),
            extra=fields.extra(),
        )

    def to_json(self) -> dict[str, Any]:
        """The object that stands in a document, in the specification's order."""
        document: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            document["os.version"] = self.os_version
        if self.os_features:
            document["os.features"] = self.os_features
        if self.variant:
            document["variant"] = self.variant
        return document | dict(self.extra)

    def normalised(self) -> Platform:
        """The same platform under Go's names, with the variant that is meant."""
        system = _SYSTEM_ALIASES.get(self.os.lower(), self.os.lower())
        architecture, variant = _normalised(self.architecture.lower(), self.variant.lower())
        return dataclasses.replace(self, os=system, architecture=architecture, variant=variant)

    def matches(self, other: Platform) -> bool:
        """Whether both mean the same system, processor and variant."""
        mine, theirs = self.normalised(), other.normalised()
        return (mine.os, mine.architecture, mine.variant) == (
            theirs.os, theirs.architecture, theirs.variant,
        )  # fmt: skip

    def __str__(self) -> str:
        parts = (self.os, self.architecture, self.variant)
        return "/".join(part for part in parts if part)

    def __repr__(self) -> str:
        shown = [f"os={self.os!r}", f"architecture={self.architecture!r}"]
        for name in ("variant", "os_version", "os_features", "extra"):
            value = getattr(self, name)
            if value:
                shown.append(f"{name}={value!r}")
        return f"Platform({', '.join(shown)})"


def _normalised(architecture: str, variant: str) -> tuple[str, str]:
    architecture, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = implied or variant
    if architecture in _DEFAULT_VARIANTS and variant.isdecimal():
        variant = f"v{variant}"
    if architecture == "amd64" and variant == "v1":
        variant = ""
    if architecture == "386":
        variant = ""
    return architecture, variant or _DEFAULT_VARIANTS.get(architecture, "")


def _windows_machine() -> str:
    return os.environ.get("PROCESSOR_ARCHITECTURE", "amd64")


def _unknown(what: str, part: str, text: str, known: tuple[str, ...]) -> InvalidPlatformError:
    close = nearest(part, known)
    whole = f" in {text!r}" if part != text else ""
    return InvalidPlatformError(
        f"{part!r}{whole} is not a known {what}.",
        value=text,
        hint=f"Did you mean {close[0]}?" if close else f"For example {', '.join(known[:4])}.",
    )
