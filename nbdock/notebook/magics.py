"""``%%buildImage`` and ``%%buildLayeredImage``: a cell of dockerTools' own text builds an image.

    %%buildLayeredImage -o redis
    name = "redis";
    contents = [ apt.redis-server ];
    config = { Cmd = [ "/usr/bin/redis-server" ]; };

A magic parses, calls the public function and displays; whatever a cell does, the function does
identically.
"""

from __future__ import annotations

import re
from typing import Any

from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand

from nbdock.concurrency import in_worker
from nbdock.errors import ArgumentError, UnavailableError
from nbdock.images import Image, from_cell, plan_layers
from nbdock.layering import LayerPlan
from nbdock.nixlang import parse, read_arguments
from nbdock.notebook.errors import at_its_place
from nbdock.notebook.flags import BuildFlags, parse_flags
from nbdock.notebook.jobs import Job
from nbdock.notebook.names import BUILDERS, CellNames
from nbdock.notebook.progress import ProgressLine, run_with_progress
from nbdock.packages import PackageSet, Progress

__all__ = ["BuildMagics"]


@magics_class
class BuildMagics(Magics):
    """The build magics of a shell.

    A ``;`` at the end of a cell does not silence its output, as it does elsewhere in IPython: it
    is how bindings end.
    """

    @no_var_expand
    @cell_magic
    def buildImage(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Build an image with one new layer: contents at /, on a base if there is one.

            %%buildImage -o hello
            name = "hello";
            contents = [ (script "hello" "echo hello") apt.busybox-static ];
            config.Cmd = [ "/bin/hello" ];

        Flags: -o NAME (bind the result), --dry-run (only the plan), --save PATH, --load (into a
        Docker or Podman engine), --push REFERENCE, --background (a job).
        """
        return self._build("buildImage", line, cell)

    @no_var_expand
    @cell_magic
    def buildLayeredImage(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Build an image whose packages lie in many layers, so that images share them.

            %%buildLayeredImage -o redis
            name = "redis";
            contents = [ apt.redis-server ];
            config.Cmd = [ "/usr/bin/redis-server" ];

        Flags: -o NAME (bind the result), --dry-run (only the plan), --save PATH, --load (into a
        Docker or Podman engine), --push REFERENCE, --background (a job).
        """
        return self._build("buildLayeredImage", line, cell)

    def _build(self, magic: str, line: str, cell: str) -> object:
        flags = parse_flags(magic, line)
        if flags.push:
            raise UnavailableError(
                "--push is not in this version of nbdock.",
                hint="Save the image with --save PATH, and push it with skopeo copy.",
            )
        namespace = self.shell.user_ns
        names = CellNames(namespace)
        others = {name: f"Begin the cell with %%{name}." for name in BUILDERS if name != magic}
        function = BUILDERS[magic]
        expression = parse(cell)

        async def work(report: Progress) -> Image | LayerPlan:
            await _load_package_sets(cell, names, report)
            arguments = await in_worker(
                read_arguments, expression, names, function_names=(magic,), other_functions=others
            )
            try:
                given: dict[str, Any] = from_cell(function, arguments.arguments, magic=f"%%{magic}")
                if flags.dry_run:
                    return await _plan(magic, given)
                image: Image = await function(**given, progress=report)
            except ArgumentError as error:
                raise at_its_place(error, arguments, cell) from error
            await _deliver(image, flags, report)
            return image

        def bind(value: object) -> None:
            if flags.output:
                namespace[flags.output] = value

        if flags.background:
            job = Job(flags.output or magic, work, on_result=bind)
            bind(job)
            return job

        def start(progress: ProgressLine) -> Any:
            return work(progress.report)

        result = run_with_progress(start, done="Planned" if flags.dry_run else "Built")
        bind(result)
        return result


async def _load_package_sets(cell: str, names: CellNames, report: Progress) -> None:
    """Load the indexes of the sets that a cell names, where it can be watched and interrupted."""
    words = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", cell))
    for value in (names[word] for word in words if word in names.defined()):
        if isinstance(value, PackageSet):
            await value.load(progress=report)


async def _plan(magic: str, given: dict[str, Any]) -> LayerPlan:
    contents = given.get("contents", given.get("copy_to_root", ()))
    # buildImage makes one layer of everything.
    limit = given.get("max_layers") if magic == "buildLayeredImage" else 2
    return await plan_layers(contents, max_layers=limit)


async def _deliver(image: Image, flags: BuildFlags, report: Progress) -> None:
    if flags.save:
        await image.save(flags.save, progress=report)
    if flags.load:
        await image.load(progress=report)
