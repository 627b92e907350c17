"""`ca_certificates`: the authorities that programs trust, where programs look for them.

    contents = [ apt.curl caCertificates ];

From nixpkgs it is what dockerTools has: links to cacert's bundle in three places. Debian makes its
bundle when its package ca-certificates is installed, by a script that no unpacked package has run;
so nbdock makes the same bundle from the same package, byte for byte, and leaves out the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from nbdock.errors import PackageError
from nbdock.filetree import Entry, EntryKind
from nbdock.packages.closure import Closure
from nbdock.packages.environment.helper import DerivedSet, Helper, look_up
from nbdock.packages.files import FilesPackage, regular, symlink
from nbdock.packages.package import Package, PackageSet, Progress

__all__ = ["ca_certificates"]

_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_PLACES = ("etc/ssl/certs/ca-bundle.crt", _BUNDLE, "etc/pki/tls/certs/ca-bundle.crt")
"""Of old NixOS; of Debian, Ubuntu, Arch, Gentoo and NixOS; of CentOS and Fedora."""

_CERTIFICATES = b"usr/share/ca-certificates/"


class CaCertificates(Helper):
    """The bundle of certificates, at ``/etc/ssl/certs`` and ``/etc/pki/tls/certs``."""

    name = "ca-certificates"

    async def in_debian(self, packages: PackageSet) -> Package:
        """The bundle that ``update-ca-certificates`` makes of Debian's package."""
        return DebianBundle(await look_up(packages, "ca-certificates"))

    async def in_nixpkgs(self, packages: PackageSet) -> Package:
        """Links to the bundle of cacert."""
        cacert = await look_up(packages, "cacert", "nss-cacert")
        bundle = f"{cacert}/etc/ssl/certs/ca-bundle.crt"
        return FilesPackage(self.name, [symlink(p, bundle) for p in _PLACES], needs=(cacert,))


class DebianBundle(Package):
    """The certificates of Debian's package ca-certificates in one file, as Debian would have it."""

    name = "ca-certificates-bundle"
    root = "/"

    def __init__(self, package: Package) -> None:
        assert package.package_set is not None
        self.package = package
        self.version = package.version
        self.package_set = _BundleSet(package.package_set)

    @property
    def key(self) -> str:
        """The identity of the package that the certificates come from."""
        return f"ca-bundle:{self.package.key}"

    @property
    def size_bytes(self) -> int:
        """What Debian's package takes, which is little more than its certificates."""
        return self.package.size_bytes

    def entries(self) -> Iterator[Entry]:
        """The bundle, and links to it."""
        bundle = regular(_BUNDLE, b"".join(_certificates(self.package.entries())))
        if not bundle.size_bytes:
            raise PackageError(
                f"{self.package} {self.version} holds no certificates.", package=self.package.name
            )
        links = [symlink(path, f"/{_BUNDLE}") for path in _PLACES if path != _BUNDLE]
        # Where OpenSSL looks on Debian: the package openssl has this link, its library does not.
        links.append(symlink("usr/lib/ssl/cert.pem", f"/{_BUNDLE}"))
        return FilesPackage(self.name, [bundle, *links]).entries()


def _certificates(entries: Iterable[Entry]) -> list[bytes]:
    """Every certificate in the order of names, each ending with a newline."""
    found = {
        entry.path: entry.read()
        for entry in entries
        if entry.kind is EntryKind.FILE
        and entry.path.startswith(_CERTIFICATES)
        and entry.path.endswith(b".crt")
    }
    return [data if data.endswith(b"\n") else data + b"\n" for _, data in sorted(found.items())]


@dataclasses.dataclass(frozen=True)
class _BundleSet(DerivedSet):
    """Fetches what a bundle is made of; what that package depends on is not needed."""

    def __getitem__(self, name: str) -> Package:
        return DebianBundle(self.packages[name])

    def __dir__(self) -> list[str]:
        return []

    async def closure(self, packages: Sequence[Package]) -> Closure:
        keys = tuple(dict.fromkeys(package.key for package in packages))
        by_key = {package.key: package for package in packages}
        return Closure(tuple(by_key[k] for k in sorted(keys)), dict.fromkeys(keys, ()), keys)

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        needed = [one.package for one in packages if isinstance(one, DebianBundle)]
        await self.packages.fetch(needed, progress=progress)


ca_certificates = CaCertificates()
"""The certificates of the authorities that Mozilla trusts, from nixpkgs' cacert or Debian."""
