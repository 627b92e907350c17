"""A cell's arguments, read while the package sets that it names load their indexes.

Looking a package up needs its set's index, which may be a download away. Evaluation is plain code:
it runs in a thread, and when it comes to the name of a set it waits there until the set has loaded
on the core's loop, where progress is reported and an interrupt stops it. A set that the cell does
not name, or names only in a comment or a text, is never loaded. A function that the cell calls, as
in ``fromImage = pullImage { ... };``, is waited for in the same way.

    arguments = await read_cell(parse(cell), CellNames(shell.user_ns), magic="buildImage")
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

from nbdock.calling import cell_name
from nbdock.concurrency import in_worker
from nbdock.errors import ArgumentTypeError
from nbdock.images import PrefetchedImage, from_cell
from nbdock.nixlang import CellArguments, Expression, read_arguments, takes_keywords
from nbdock.notebook.names import BUILDERS, FUNCTIONS, LISTS, CellNames, DockerTools, open_nixpkgs
from nbdock.packages import PackageSet, Progress

__all__ = ["OnLog", "call_builder", "read_cell"]

T = TypeVar("T")
OnLog = Callable[[str], object]
"""Called with each line of a log."""


async def read_cell(
    expression: Expression,
    names: CellNames,
    *,
    magic: str | None,
    progress: Progress | None = None,
    on_log: OnLog | None = None,
) -> CellArguments:
    """The arguments that a build cell gives.

    Parameters
    ----------
    magic
        The function that it gives them to; None if the cell is a call that names it.

    Raises
    ------
    CellError
        The cell has no such value; or what a package set raises when it cannot load.
    """
    core = _Core(asyncio.get_running_loop(), progress, on_log)
    loading = _LoadingNames(names, core, with_tools="dockerTools" in expression.text)
    own = tuple(BUILDERS) if magic is None else (magic,)
    others = {name: f"Begin the cell with %%{name}." for name in BUILDERS if name not in own}
    # Not one of the core's workers: those are few, and loading an index needs them.
    reading = asyncio.ensure_future(
        asyncio.to_thread(
            read_arguments, expression, loading, function_names=own, other_functions=others,
            list_name=LISTS.get(magic or ""),
        )
    )  # fmt: skip
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        core.stop()
        # What stopped the evaluation is known; looking at it keeps asyncio from reporting it.
        await asyncio.gather(reading, return_exceptions=True)
        raise


async def call_builder(
    magic: str,
    arguments: Mapping[str, object],
    *,
    progress: Progress | None,
    on_log: OnLog | None,
    where: str,
) -> Any:
    """What a function makes of a cell's arguments; `where` is its name in errors."""
    function = FUNCTIONS[magic]
    given: dict[str, Any] = from_cell(function, arguments, magic=where)
    if "on_log" in inspect.signature(function).parameters:
        given["on_log"] = on_log
    if inspect.iscoroutinefunction(inspect.unwrap(function)):
        return await function(**given, progress=progress)
    # A description of what is built later, when this progress line is gone.
    return await in_worker(function, **given)


class _Core:
    """What evaluation in a thread needs of the core's loop: to wait, until it is stopped."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, progress: Progress | None, on_log: OnLog | None
    ) -> None:
        self.progress = progress
        self.on_log = on_log
        self._loop = loop
        self._stopped = False
        self._task: asyncio.Task[object] | None = None

    def wait(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run work of the core and wait for it, in the thread of the evaluation."""
        return asyncio.run_coroutine_threadsafe(self._run(work), self._loop).result()

    async def _run(self, work: Callable[[], Awaitable[T]]) -> T:
        if self._stopped:
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        return await work()

    def stop(self) -> None:
        """Cancel what evaluation waits for, and refuse more. Called on the loop."""
        self._stopped = True
        # The task, not the future that the thread waits for: that one would end before the work
        # has cleaned up.
        if self._task is not None:
            self._task.cancel()


class _LoadingNames(Mapping[str, object]):
    """Names of a cell; what the core must load or build is waited for when it is looked up."""

    nix_called = "the set dockerTools"

    def __init__(self, names: Mapping[str, object], core: _Core, *, with_tools: bool) -> None:
        self._names = names
        self._core = core
        self._with_tools = with_tools

    def __getitem__(self, name: str) -> object:
        value = self._names[name]
        if isinstance(value, DockerTools):
            return _LoadingNames(value, self._core, with_tools=False)
        if isinstance(value, PackageSet):
            return self._packages(value)
        if value is open_nixpkgs:
            return self._nixpkgs()
        if name in FUNCTIONS and value is FUNCTIONS[name]:
            return self._function(name)
        return _in_cell(value)

    def _nixpkgs(self) -> Callable[..., object]:
        @takes_keywords
        def nixpkgs(**given: object) -> object:
            return self._packages(open_nixpkgs(**given))

        nixpkgs.__dict__["nix_attributes_of"] = "pkgs"
        return nixpkgs

    def _packages(self, packages: PackageSet) -> object:
        # What `pkgs.dockerTools` gives needs no package, so no index either.
        return _PackagesAndTools(packages, self) if self._with_tools else self.loaded(packages)

    def loaded(self, packages: PackageSet) -> PackageSet:
        """The set, its index loaded."""
        self._core.wait(lambda: packages.load(progress=self._core.progress))
        return packages

    def tools(self) -> object:
        """``dockerTools``, whatever the notebook calls so."""
        return _LoadingNames(DockerTools(), self._core, with_tools=False)

    def _function(self, name: str) -> Callable[[Any], object]:
        def build(argument: Any) -> object:
            given = argument
            if name in LISTS and isinstance(argument, list):
                given = {LISTS[name]: argument}
            if not isinstance(given, dict):
                raise ArgumentTypeError(
                    f"{name} takes {'a list' if name in LISTS else 'a set of arguments'}, "
                    f"not a {type(given).__name__}.",
                    argument="",
                )
            core = self._core
            made = core.wait(
                lambda: call_builder(
                    name, given, progress=core.progress, on_log=core.on_log, where=name
                )
            )
            return _in_cell(made)

        build.__name__ = name
        return build

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _in_cell(value: object) -> object:
    """A value as cells have it: a pin is the set of arguments that it is in Nix."""
    if isinstance(value, PrefetchedImage):
        return {cell_name(name): argument for name, argument in value.arguments.items()}
    return value


class _PackagesAndTools:
    """A package set in a cell that says ``pkgs.dockerTools``."""

    def __init__(self, packages: PackageSet, names: _LoadingNames) -> None:
        self._packages = packages
        self._names = names

    def __getitem__(self, name: str) -> object:
        if name == "dockerTools":
            return self._names.tools()
        return self._names.loaded(self._packages)[name]

    def __getattr__(self, name: str) -> object:
        return getattr(self._names.loaded(self._packages), name)

    def __dir__(self) -> list[str]:
        return ["dockerTools", *dir(self._packages)]
