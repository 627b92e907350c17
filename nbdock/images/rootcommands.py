"""Commands as root: in a virtual machine, over the layers that an image has so far.

The layers are read-only disks for the guest, and what the commands change is written elsewhere and
comes back as the entries of a layer. Store packages whose places stand in the commands are one
more disk, at the very bottom: visible where they belong, and not in the image unless something that
was changed refers to them. Nothing of this needs root on this machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from nbdock.calling import argument_name, renamed
from nbdock.concurrency import in_worker
from nbdock.content import LayerRecord
from nbdock.errors import CommandError
from nbdock.filetree import Entry, TarPolicy, Tree, read_tar
from nbdock.images.arguments import context_packages
from nbdock.images.customisation import set_entries
from nbdock.images.layer import (
    MADE_AT,
    fetch_packages,
    in_store,
    layer_key,
    make_layers,
    package_entries,
    place_of,
    recipe_key,
    write_entries,
)
from nbdock.images.layerdisks import record_disks
from nbdock.images.request import BuildRequest
from nbdock.images.tree import link_targets, through_links
from nbdock.packages import Closure, Package, realise, resolve_closure
from nbdock.vm import GuestResult, GuestTask, LayerDisk, read_changes, run_guest

__all__ = [
    "POLICY",
    "Database",
    "RootCommands",
    "changes_of",
    "disk_of_packages",
    "entries_of",
    "root_commands",
]

POLICY = TarPolicy(mtime=MADE_AT, uid=0, gid=0, uname="root", gname="root")
_SHOWN_LINES = 20
_DPKG = b"var/lib/dpkg/"
_DPKG_LEFTOVERS = (
    b"var/log/dpkg.log", b"var/log/alternatives.log", b"var/cache/ldconfig/aux-cache",
)  # fmt: skip
"""What dpkg leaves behind that tells when it ran, and serves nobody."""


@dataclasses.dataclass(frozen=True)
class RootCommands:
    """A script, what it was written with, and the machine that it runs in.

    Attributes
    ----------
    argument
        What build functions call it: ``"run_as_root"``.
    used
        The packages that were put into its text, with all they need.
    memory_mib, disk_mib
        Of the machine. MiB.
    """

    argument: str
    script: str
    used: Closure
    memory_mib: int = 512
    disk_mib: int = 1024

    @property
    def key(self) -> list[object]:
        """What the layer that the commands leave depends on, besides what they run over."""
        return [self.argument, self.script, [package.key for package in self.used.packages]]

    @property
    def places(self) -> frozenset[bytes]:
        """Where the store packages stand that the script is shown."""
        return frozenset(place_of(p) for p in self.used.packages if in_store(p))


async def root_commands(
    request: BuildRequest, argument: str, script: str, closure: Closure, **machine: int
) -> RootCommands:
    """A script with the packages that it was written with, resolved like those of the image.

    Parameters
    ----------
    closure
        What else is in the image.
    machine
        `RootCommands.memory_mib` and `RootCommands.disk_mib`.
    """
    named = await realise(
        context_packages(script), among=closure.packages, progress=request.progress
    )
    used = await resolve_closure(named, progress=request.progress)
    return RootCommands(argument, script, used, **machine)


async def disk_of_packages(
    request: BuildRequest, packages: Sequence[Package]
) -> tuple[LayerDisk, ...]:
    """A disk on which packages stand at their places; none for no packages."""
    if not packages:
        return ()
    request.progress("Fetching what the script uses")
    quiet = dataclasses.replace(request, layers_to=None)
    if all(map(in_store, packages)):
        records = await make_layers(quiet, [packages], POLICY, {})
    else:
        own = set_entries(packages)
        key = layer_key("tools", recipe_key(packages, POLICY), [repr(e) for e in own.values()])
        known = request.cache.get(key)
        if known is None:
            await fetch_packages(packages, progress=request.progress)
            placed = through_links(package_entries(packages, POLICY), link_targets(own))
            known = await write_entries(quiet, itertools.chain(own.values(), placed))
            request.cache.put(key, known)
        records = [known]
    return await record_disks(request.store, records)


@dataclasses.dataclass(frozen=True)
class Database:
    """dpkg's database for Debian packages that nobody has configured (see `dpkg_database`).

    Attributes
    ----------
    packages, references
        Of a closure, or several.
    """

    packages: Sequence[Package]
    references: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, *closures: Closure | None) -> Database:
        """That of the Debian packages of some closures, the last one's versions."""
        from nbdock.packages import AptPackage

        packages: dict[tuple[str, str], Package] = {}
        references: dict[str, Sequence[str]] = {}
        for closure in closures:
            for package in closure.packages if closure is not None else ():
                if isinstance(package, AptPackage):
                    packages[package.name, package.record.architecture] = package
            references.update(closure.references if closure is not None else {})
        return cls(tuple(packages.values()), references)

    @property
    def key(self) -> list[str]:
        """What its bytes depend on, besides the base: references order what dpkg does first."""
        needs = (f"{key} {' '.join(needed)}" for key, needed in self.references.items())
        return [*(package.key for package in self.packages), "", *sorted(needs)]

    async def write(
        self, request: BuildRequest, base: Tree, layers: Sequence[str]
    ) -> LayerRecord | None:
        """The database as a layer; None if all packages are configured.

        Parameters
        ----------
        base, layers
            What is below it, and the diff IDs of the layers that make it.
        """
        if not self.packages:
            return None
        from nbdock.packages import dpkg_database

        key = layer_key("dpkg-database", self.key, list(layers))
        if (known := request.cache.get(key)) is not None:
            return known
        await fetch_packages(self.packages, progress=request.progress)
        request.progress("Reading what dpkg is to know")
        entries = await in_worker(dpkg_database, self.packages, self.references, base)
        if not entries:
            return None
        record = await write_entries(request, entries)
        request.cache.put(key, record)
        return record

    @staticmethod
    def is_used(changes: Iterable[Entry]) -> bool:
        """Whether commands changed it: then the image has it, and else the records only."""
        return any(entry.path.startswith(_DPKG) for entry in changes)

    @staticmethod
    def helpers() -> frozenset[bytes]:
        """Files that are there for the commands only, or tell when they ran."""
        from nbdock.packages import DPKG_HELPERS

        return DPKG_HELPERS.union(_DPKG_LEFTOVERS)


@contextlib.asynccontextmanager
async def changes_of(
    request: BuildRequest,
    commands: RootCommands,
    task: GuestTask,
    *,
    without: Iterable[bytes] = (),
) -> AsyncIterator[list[Entry]]:
    """Run commands, and have what they changed: ``async with changes_of(...) as changes:``.

    Parameters
    ----------
    task
        What they run over, and how; the rest of it comes from `commands`.
    without
        Paths whose changes do not count.

    Yields
    ------
    list of Entry
        Those of a layer. Contents are read from a file that the ``async with`` removes.

    Raises
    ------
    CommandError
        They failed.
    VmError
        The machine did.
    """
    request.progress(f"Running {argument_name(commands.argument)}")
    environment = {"SOURCE_DATE_EPOCH": str(MADE_AT), **task.environment}
    task = dataclasses.replace(
        task,
        script=commands.script.encode("utf-8", "surrogateescape"),
        environment=environment, send="changes",
        memory_mib=commands.memory_mib, disk_mib=commands.disk_mib,
    )  # fmt: skip
    names = {"memory_mib": "build_vm_memory_size", "disk_mib": "disk_size"}
    with renamed(**names):
        async with run_guest(task, on_log=request.log, progress=request.progress_to) as result:
            if result.exit_code or result.tar_path is None:
                raise _failure(commands, result)
            path = result.tar_path
            changes = await in_worker(
                lambda: list(read_changes(path, created=MADE_AT, without=without))
            )
            yield changes


def _failure(commands: RootCommands, result: GuestResult) -> CommandError:
    name = "The script" if commands.argument == "script" else argument_name(commands.argument)
    output = result.output.decode(errors="replace")
    lines = output.splitlines()[-_SHOWN_LINES:]
    shown = "\n".join(f"  {line}" for line in lines) or "  (no output)"
    text = commands.script.splitlines()
    line = result.failed_line
    source = text[line - 1].strip() if line is not None and 0 < line <= len(text) else ""
    where = f" at line {line} of the script ({source})" if source else ""
    return CommandError(
        f"{name} failed with exit code {result.exit_code}{where}:\n{shown}",
        exit_code=result.exit_code,
        output=output,
        argument=commands.argument,
        line=line,
        source_line=source,
        hint=result.hint or _advice(commands, result.exit_code, output),
    )


def _advice(commands: RootCommands, exit_code: int, output: str) -> str:
    if "dpkg" in commands.script and (exit_code == 127 or "not found in PATH" in output):
        return (
            "dpkg comes with the image: put apt.essential into contents, which has it and all "
            "that packages rely on when they are configured."
        )
    if "not found" in output or exit_code == 127:
        return (
            "It finds the programs of the image, and those whose packages stand in its text, "
            "such as ${pkgs.coreutils}/bin/install."
        )
    how = "by the program of its first line" if commands.script[:2] == "#!" else "with set -e"
    return f"It runs as root, {how}; nothing was added to the image."


def entries_of(request: BuildRequest, records: Iterable[LayerRecord | None]) -> list[list[Entry]]:
    """The entries of layers that were made here; contents stay readable. Blocking."""
    return [
        list(read_tar(request.store.path_of(record.diff_id)))
        for record in records
        if record is not None
    ]
