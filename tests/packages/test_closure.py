"""Closures of packages that come from several sets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

import pytest

from nbdock.errors import PackageError
from nbdock.filetree import Entry, EntryKind
from nbdock.oci import Digest
from nbdock.packages import Closure, Package, PackageSet, Progress, resolve_closure
from nbdock.packages.nix import PathInfo, StorePackage, StorePath


class Stored(StorePackage):
    def __init__(self, package_set: PackageSet, name: str, content: bytes = b"") -> None:
        super().__init__(PathInfo(StorePath("0" * 32, name), Digest.sha256(content), 1))
        self.package_set = package_set

    def entries(self) -> Iterator[Entry]:
        yield Entry(b"", EntryKind.DIRECTORY)


class SomeSet(PackageSet):
    """Each package by itself."""

    def __getitem__(self, name: str) -> Package:
        return Stored(self, name)

    def __dir__(self) -> list[str]:
        return []

    async def closure(self, packages: Sequence[Package]) -> Closure:
        keys = tuple(package.key for package in packages)
        return Closure(tuple(packages), dict.fromkeys(keys, ()), keys)

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        """Nothing."""


async def test_where_one_set_fails_the_others_are_stopped() -> None:
    begun = asyncio.Event()
    stopped: list[bool] = []

    class Endless(SomeSet):
        async def closure(self, packages: Sequence[Package]) -> Closure:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(True)
            raise AssertionError

    class Failing(SomeSet):
        async def closure(self, packages: Sequence[Package]) -> Closure:
            await begun.wait()
            raise PackageError("It fails.", package="x")

    with pytest.raises(PackageError, match="It fails"):
        await resolve_closure([Endless()["a"], Failing()["b"]])
    assert stopped == [True]


async def test_a_store_path_has_one_content() -> None:
    first, second = SomeSet(), SomeSet()
    mixed = Stored(first, "a", b"1"), Stored(second, "a", b"2")
    with pytest.raises(PackageError, match=r"-a would be in the image with two contents"):
        await resolve_closure(mixed)
    same = Stored(first, "a", b"1"), Stored(second, "a", b"1"), Stored(second, "b", b"1")
    assert len(await resolve_closure(same)) == 2
