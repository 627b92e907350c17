"""The layer that a script run as root leaves: contents, then what it changed, merged into one.

Contents are in place when the script runs, as a layer of their own; so is dpkg's database, if there
are Debian packages that nobody has configured. What the script changed comes over them, and all of
it becomes one layer that has the same effect on the base. The layer is known by its recipe like any
other: a script that was run before over the same layers is not run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

from nbdock.concurrency import in_worker
from nbdock.content import LayerRecord
from nbdock.filetree import Entry, Tree, overlay, squash
from nbdock.images.assembly import platform_of
from nbdock.images.base import layers_below
from nbdock.images.commandstore import after_commands
from nbdock.images.image import Image
from nbdock.images.layer import (
    MADE_AT,
    fetch_packages,
    in_store,
    layer_key,
    package_entries,
    place_of,
    write_entries,
)
from nbdock.images.layerdisks import check_platform, image_disks, record_disks
from nbdock.images.references import left_in, with_references
from nbdock.images.request import BuildRequest
from nbdock.images.rootcommands import (
    POLICY,
    Database,
    RootCommands,
    changes_of,
    disk_of_packages,
    entries_of,
)
from nbdock.images.singlelayer import SingleLayer, absent_packages
from nbdock.images.tree import image_tree
from nbdock.packages import Closure, Package, resolve_closure
from nbdock.vm import GuestTask

__all__ = ["RootLayer"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class RootLayer:
    """The layer, before it is made.

    Attributes
    ----------
    base
        The image below it.
    contents
        What is copied to ``/`` first, with all it needs; its own commands run last, over all.
    root
        The script that is run as root.
    database
        Of the Debian packages that it may want to configure.
    """

    base: Image | None
    root: RootCommands
    database: Database
    contents: SingleLayer | None = None

    async def make(self, request: BuildRequest) -> tuple[LayerRecord, list[Package]]:
        """The layer, from the cache if it is known, and what the script left references to."""
        inner = None
        commands, used = "", Closure((), {}, ())
        if self.contents is not None:
            commands, used = self.contents.commands, self.contents.used
            if self.contents.closure.packages:
                inner = await self._without_commands(self.contents).make(request)
        key = layer_key(
            "root", MADE_AT, self.root.key, self.database.key,
            str(inner.diff_id) if inner else "", commands, self._owner,
            [p.key for p in used.packages], layers_below(self.base),
        )  # fmt: skip
        return await with_references(
            request, key, (*self.root.used.packages, *used.packages),
            lambda: self._write(request, inner, commands, used),
        )  # fmt: skip

    @property
    def _owner(self) -> tuple[int, int]:
        """Of what ``extraCommands`` make."""
        return (self.contents.uid or 0, self.contents.gid or 0) if self.contents else (0, 0)

    @staticmethod
    def _without_commands(contents: SingleLayer) -> SingleLayer:
        return dataclasses.replace(contents, commands="", used=Closure((), {}, ()))

    async def _write(
        self, request: BuildRequest, inner: LayerRecord | None, commands: str, used: Closure
    ) -> tuple[LayerRecord, list[Package]]:
        closure = self.contents.closure if self.contents else self.root.used
        check_platform(request.platform or platform_of(self.base, closure), "The image")
        # Read while the guest starts and works: of a large base it takes as long as that.
        async with _meanwhile(in_worker(self._tree)) as reading:
            return await self._write_over(request, reading, inner, commands, used)

    def _tree(self) -> Tree:
        return image_tree(self.base) if self.base else overlay([])

    async def _write_over(
        self,
        request: BuildRequest,
        reading: Awaitable[Tree],
        inner: LayerRecord | None,
        commands: str,
        used: Closure,
    ) -> tuple[LayerRecord, list[Package]]:
        database = None
        if self.database.packages:
            below = layers_below(self.base)
            database = await self.database.write(request, await reading, below)
        made = [record for record in (inner, database) if record is not None]
        task = GuestTask(
            layers=(
                *await disk_of_packages(request, self.root.used.packages),
                *await image_disks(self.base, progress=request.progress),
                *await record_disks(request.store, made),
            ),
            environment={"DEBIAN_FRONTEND": "noninteractive"} if database else {},
        )
        there = {place_of(p) for p in self.contents.closure.packages} if self.contents else set()
        without = {*(self.root.places - there), *(Database.helpers() if database else ())}
        async with changes_of(request, self.root, task, without=without) as changes:
            if database is not None and not Database.is_used(changes):
                made.remove(database)
            tree = await reading
            layers = [*await in_worker(entries_of, request, made), changes]
            entries = await in_worker(lambda: list(squash(layers, base=tree, mtime=MADE_AT)))
            if database in made:
                entries = [e for e in entries if e.path not in Database.helpers()]
            left = await in_worker(left_in, changes, self.root.used)
            uid, gid = self._owner
            async with after_commands(
                request, entries, commands, used.packages, uid=uid, gid=gid
            ) as changed:
                if used.packages:
                    left += await in_worker(left_in, changed, used)
                more = await resolve_closure(left)
                wanted = [p for p in more.packages if in_store(p) and place_of(p) not in there]
                missing = await in_worker(absent_packages, tree, wanted)
                await fetch_packages(missing, progress=request.progress)
                request.progress("Writing the layer")
                record = await write_entries(
                    request, _in_order(changed, package_entries(missing, POLICY))
                )
        return record, left


@contextlib.asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Something that goes on beside the block, and has ended when that has."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _in_order(changed: Iterable[Entry], packages: Iterator[Entry]) -> Iterator[Entry]:
    """What was changed, then store packages; directories on the way to a store only once."""
    seen: set[bytes] = set()
    for entry in itertools.chain(changed, packages):
        if entry.path not in seen:
            seen.add(entry.path)
            yield entry
