"""``fakeRootCommands``: commands as root on the top layer of a layered image, after it is made.

They start in the directory of that layer, and relative paths lead to it; with ``enableFakechroot``
the root directory is the whole image. Owners and modes that they set stay, which ``extraCommands``
cannot do. dockerTools pretends to be root for this; here they are, in a virtual machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence

from nbdock.concurrency import in_worker
from nbdock.content import LayerRecord
from nbdock.filetree import Entry, TarPolicy, Tree, overlay, squash
from nbdock.images.assembly import MadeLayer, platform_of
from nbdock.images.base import layers_below
from nbdock.images.customisation import Customisation
from nbdock.images.image import Image
from nbdock.images.layer import (
    MADE_AT,
    in_store,
    layer_key,
    make_layers,
    place_of,
    write_entries,
)
from nbdock.images.layerdisks import check_platform, image_disks, record_disks
from nbdock.images.planning import plan_closure
from nbdock.images.references import left_in, with_references
from nbdock.images.request import BuildRequest
from nbdock.images.rootcommands import (
    Database,
    RootCommands,
    changes_of,
    disk_of_packages,
    entries_of,
)
from nbdock.images.tree import image_tree
from nbdock.layering import LayerPlan, planners
from nbdock.packages import Closure, Package
from nbdock.vm import GuestTask

__all__ = ["FakeRoot", "lower_layers"]

_STORE = b"nix/store"


@dataclasses.dataclass(frozen=True)
class FakeRoot:
    """A top layer that commands are run on, before it is made.

    Attributes
    ----------
    layer
        The layer without them.
    base, lower
        What is below it: the base, and what makes the layers of packages.
    root
        The commands.
    chroot
        Whether their root directory is the whole image.
    with_store
        Whether the image holds its store packages; the commands see them anyway.
    policy
        Owners and times of store packages, which the commands may look at and copy.
    """

    layer: Customisation
    base: Image | None
    lower: Callable[[], Awaitable[Sequence[LayerRecord]]]
    root: RootCommands
    chroot: bool
    with_store: bool
    policy: TarPolicy

    @property
    def _packages(self) -> Sequence[Package]:
        return self.layer.closure.packages

    async def make(self, request: BuildRequest) -> tuple[MadeLayer, list[Package]]:
        """The layer, and the packages that all commands left references to in it."""
        inner, left_before = await self.layer.make(request)
        database = Database.of(self.layer.closure) if self.chroot else Database((), {})
        key = layer_key(
            "fake-root", str(inner.record.diff_id), self.root.key, self.chroot, self.with_store,
            [p.key for p in self._packages], dataclasses.astuple(self.policy), database.key,
            layers_below(self.base),
        )  # fmt: skip
        comment = f"{inner.comment} and fakeRootCommands"
        record, packages = await with_references(
            request, key, self.root.used.packages,
            lambda: self._write(request, inner.record, database),
        )  # fmt: skip
        return MadeLayer(record, comment), [*left_before, *packages]

    async def _write(
        self, request: BuildRequest, inner: LayerRecord, database: Database
    ) -> tuple[LayerRecord, list[Package]]:
        platform = request.platform or platform_of(self.base, self.layer.closure)
        check_platform(platform, "The image")
        lower = await self.lower()
        below = await in_worker(self._tree, request, lower) if self.chroot else overlay([])
        under = [*layers_below(self.base), *(str(record.diff_id) for record in lower)]
        told = await database.write(request, below, under) if self.chroot else None
        around = (
            *await disk_of_packages(request, self.root.used.packages),
            *await image_disks(self.base if self.chroot else None, progress=request.progress),
            *await record_disks(request.store, lower, progress=request.progress),
        )
        made = [record for record in (inner, told) if record is not None]
        own = await record_disks(request.store, made)
        task = (
            GuestTask(
                layers=(*around, *own),
                environment={"DEBIAN_FRONTEND": "noninteractive"} if told else {},
            )
            if self.chroot
            else GuestTask(layers=own, around=around, root="changes")
        )
        # What is shown to the commands only is none of the image's.
        without = set(self.root.places - {place_of(p) for p in self._packages if in_store(p)})
        without |= Database.helpers() if told else frozenset()
        without |= set() if self.with_store else {_STORE}
        async with changes_of(request, self.root, task, without=without) as changes:
            if told is not None and not Database.is_used(changes):
                made.remove(told)
            layers = [*await in_worker(entries_of, request, made), changes]
            kept = await in_worker(self._squashed, layers, below, without)
            left = await in_worker(left_in, changes, self.root.used)
            return await write_entries(request, kept), left

    def _tree(self, request: BuildRequest, lower: Sequence[LayerRecord]) -> Tree:
        """What is below the layer in the image."""
        base = list(image_tree(self.base).entries()) if self.base else []
        layers = entries_of(request, lower)
        if not self.with_store:
            layers = [[e for e in layer if not _is_in_store(e.path)] for layer in layers]
        return overlay([base, *layers])

    @staticmethod
    def _squashed(
        layers: Sequence[Sequence[Entry]], below: Tree, without: set[bytes]
    ) -> list[Entry]:
        return [e for e in squash(layers, base=below, mtime=MADE_AT) if e.path not in without]


def _is_in_store(path: bytes) -> bool:
    return path == _STORE or path.startswith(_STORE + b"/")


async def lower_layers(
    request: BuildRequest, closure: Closure, room: int,
    planner: Callable[[Closure, int], LayerPlan], policy: TarPolicy, links: Mapping[bytes, bytes],
) -> Sequence[LayerRecord]:  # fmt: skip
    """The layers of packages as they mostly are in the end, for commands to run over."""
    if not closure.packages:
        return []
    if planner is planners()["auto"]:
        planner = planners()["popularity"]  # the other one wants to know the top layer's size
    plan = await in_worker(plan_closure, closure, room, planner)
    quiet = dataclasses.replace(request, layers_to=None)
    return await make_layers(quiet, plan.layers, policy, links)
