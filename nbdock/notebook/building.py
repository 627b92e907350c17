"""What a build cell does, in the core: read it, build or plan, and deliver the image.

outcome = await build_cell(parse(cell), names, magic="buildImage", flags=parse_flags(...))
outcome.result, outcome.summary
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

from nbdock.calling import called_by_cell, renamed
from nbdock.concurrency import in_worker
from nbdock.errors import ArgumentError, CommandError, NbdockError
from nbdock.images import (
    Image,
    ImageStream,
    MergedImages,
    RootFilesystem,
    check_destination,
    closure,
    context_packages,
    from_cell,
    nix_shell_arguments,
    plan_layers,
    run_as_root,
    to_planner,
)
from nbdock.layering import LayerPlan, check_layer_limit
from nbdock.nixlang import CellArguments, Expression
from nbdock.notebook.errors import in_cell, in_script, without_groups
from nbdock.notebook.flags import BuildFlags, RunFlags
from nbdock.notebook.names import BUILDERS, CellNames
from nbdock.notebook.reading import OnLog, call_builder, read_cell
from nbdock.packages import Progress

__all__ = ["Made", "Outcome", "build_cell", "run_cell"]

Made = Image | ImageStream | MergedImages | RootFilesystem
"""What cells make, if they do not only plan."""

_FLAGS = {
    "name": "--name", "tag": "--tag", "disk_size": "--disk-size",
    "build_vm_memory_size": "--memory",
}  # fmt: skip
"""What arguments of `run_as_root` are called in the line of its magic."""
_DONE = {"mergeImages": "Merged", "exportImage": "Flattened", "pullImage": "Pulled"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a cell.

    Attributes
    ----------
    result
        The image or what else is made of images, or with ``--dry-run`` the plan.
    summary
        What was done, as the beginning of a sentence: ``Built, saved as /home/me/redis.tar.gz``.
    """

    result: Made | LayerPlan
    summary: str


async def build_cell(
    expression: Expression,
    names: CellNames,
    *,
    magic: str | None,
    flags: BuildFlags,
    progress: Progress | None,
    on_log: OnLog | None,
) -> Outcome:
    """Build what a cell says.

    Parameters
    ----------
    magic
        The function whose arguments stand there; None if the cell is a call that names it.

    Raises
    ------
    NbdockError
        What the public function raises, with the place in the cell.
    """
    cell: CellArguments | None = None
    where = f"%%{magic}" if magic else ""
    with called_by_cell():
        try:
            if flags.save:
                check_destination(flags.save)  # now, not after the build
            cell = await read_cell(expression, names, magic=magic, progress=progress, on_log=on_log)
            if magic is None:
                magic = where = cell.function_name or _no_function()
            if flags.dry_run:
                given = from_cell(BUILDERS[magic], cell.arguments, magic=where)
                return Outcome(await _plan(magic, given), "Planned")
            made: Made = await call_builder(
                magic, cell.arguments, progress=progress, on_log=on_log, where=where
            )
            done = [_DONE.get(magic, "Built"), *await _deliver(made, flags, progress)]
            return Outcome(made, ", ".join(done))
        except NbdockError as error:
            failure = in_cell(error, cell, where=where)
    # Outside the handler: what evaluation wrapped must not come back as its own context.
    raise without_groups(failure)


async def run_cell(
    image: Image | str, script: str, *, flags: RunFlags, progress: Progress, on_log: OnLog
) -> Outcome:
    """Run what a cell of ``%%runAsRoot`` says.

    Raises
    ------
    NbdockError
        What `run_as_root` raises, with the line of the script where it stopped.
    """
    try:
        if flags.build.save:
            check_destination(flags.build.save)
        arguments: dict[str, Any] = dict(flags.arguments)
        with renamed(**_FLAGS):
            made = await run_as_root(image, script, **arguments, progress=progress, on_log=on_log)
        done = ["Ran as root", *await _deliver(made, flags.build, progress)]
        return Outcome(made, ", ".join(done))
    except CommandError as error:
        raise in_script(error, script) from None


def _no_function() -> NoReturn:
    raise ArgumentError(
        "It is not said which function these are the arguments of.",
        argument="",
        hint=f"Write one around them: buildLayeredImage {{ … }}; there are {', '.join(BUILDERS)}.",
    )


async def _plan(magic: str, given: dict[str, Any]) -> LayerPlan:
    """Which packages would lie in which layer, without a byte being fetched or read."""
    if magic.endswith("NixShellImage"):
        given = await nix_shell_arguments(**given)
    contents = [given.get("contents"), given.get("copy_to_root")]
    contents += context_packages(given.get("config"))
    if magic == "buildImage":
        return LayerPlan(((await closure(contents)).asked_first,), 1, "single")
    base = given.get("from_image")
    # How many layers an archive has is only known once it is read.
    base_layers = len(base.layers) if isinstance(base, Image) else 0
    room = check_layer_limit(given.get("max_layers"), base_layers)
    strategy = await in_worker(to_planner, given.get("layering"), given.get("layering_pipeline"))
    return await plan_layers(
        contents, max_layers=room + 1, strategy=strategy,
        **{name: given.get(name) for name in ("history", "previous", "layer_cost_bytes")},
    )  # fmt: skip


async def _deliver(made: Made, flags: BuildFlags, progress: Progress | None) -> list[str]:
    done = []
    if flags.save:
        path, here = await made.save(flags.save, progress=progress), Path.cwd()
        # Beside the notebook its name says where it is, on any machine.
        shown_path = path.relative_to(here) if path.is_relative_to(here) else path
        done.append(f"saved as {shown_path}")
    if flags.load:
        names = await made.load(progress=progress)
        shown = names if isinstance(names, str) else " and ".join(names)
        done.append(f"loaded into the engine as {shown}")
    if flags.push and isinstance(made, Image | ImageStream):
        done.append(f"pushed as {await made.push(flags.push, progress=progress)}")
    return done
