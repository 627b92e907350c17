"""A cell's arguments, read while the package sets that it names load their indexes.

Looking a package up needs its set's index, which may be a download away. Evaluation is plain code:
it runs in a thread, and when it comes to the name of a set it waits there until the set has loaded
on the core's loop, where progress is reported and an interrupt stops it. A set that the cell does
not name, or names only in a comment or a text, is never loaded.

    arguments = await read_cell(parse(cell), CellNames(shell.user_ns), magic="buildImage")
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from nbdock.nixlang import CellArguments, Expression, read_arguments
from nbdock.notebook.names import BUILDERS, CellNames
from nbdock.packages import PackageSet, Progress

__all__ = ["read_cell"]


async def read_cell(
    expression: Expression, names: CellNames, *, magic: str, progress: Progress | None = None
) -> CellArguments:
    """The arguments that a build cell gives.

    Raises
    ------
    CellError
        The cell has no such value; or what a package set raises when it cannot load.
    """
    loading = _LoadingNames(names, asyncio.get_running_loop(), progress)
    others = {name: f"Begin the cell with %%{name}." for name in BUILDERS if name != magic}
    # Not one of the core's workers: those are few, and loading an index needs them.
    reading = asyncio.ensure_future(
        asyncio.to_thread(
            read_arguments, expression, loading, function_names=(magic,), other_functions=others
        )
    )
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        loading.stop()
        # What stopped the evaluation is known; looking at it keeps asyncio from reporting it.
        await asyncio.gather(reading, return_exceptions=True)
        raise


class _LoadingNames(Mapping[str, object]):
    """The names of a cell; a package set that is looked up is loaded before it is handed over."""

    def __init__(
        self, names: CellNames, loop: asyncio.AbstractEventLoop, progress: Progress | None
    ) -> None:
        self._names = names
        self._loop = loop
        self._progress = progress
        self._stopped = False
        self._load: asyncio.Task[object] | None = None

    def __getitem__(self, name: str) -> object:
        value = self._names[name]
        if isinstance(value, PackageSet):
            asyncio.run_coroutine_threadsafe(self._loaded(value), self._loop).result()
        return value

    async def _loaded(self, packages: PackageSet) -> None:
        if self._stopped:
            raise asyncio.CancelledError
        self._load = asyncio.current_task()
        await packages.load(progress=self._progress)

    def stop(self) -> None:
        """Cancel a load that evaluation waits for, and refuse another. Called on the loop."""
        self._stopped = True
        # The task, not the future that the thread waits for: that one would end before the load
        # has cleaned up.
        if self._load is not None:
            self._load.cancel()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
