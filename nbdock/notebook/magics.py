"""``%%buildImage`` and its like: a cell of dockerTools' own text makes an image.

    %%buildLayeredImage -o redis
    name = "redis";
    contents = [ apt.redis-server ];
    config = { Cmd = [ "/usr/bin/redis-server" ]; };

A magic parses, calls the public function and displays; whatever a cell does, the function does
identically.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from nbdock.images import PrefetchedImage, prefetch_image
from nbdock.jobs import Job, JobReport
from nbdock.layering import LayerPlan
from nbdock.nixlang import parse
from nbdock.notebook.advising import advise_later
from nbdock.notebook.building import Made, build_cell, run_cell
from nbdock.notebook.flags import BuildFlags, parse_flags, parse_prefetch, parse_run
from nbdock.notebook.jobdisplay import run_job
from nbdock.notebook.names import CellNames, image_named
from nbdock.notebook.progress import run_with_progress

__all__ = ["BuildMagics"]

_Work = Callable[[JobReport], Coroutine[Any, Any, Made | LayerPlan]]


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

    @no_var_expand
    @cell_magic
    def streamLayeredImage(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Describe a layered image that is built when its bytes are asked for.

            %%streamLayeredImage -o redis
            name = "redis";
            contents = [ apt.redis-server ];
            config.Cmd = [ "/usr/bin/redis-server" ];

        Then `async for piece in redis`, `await redis.save("redis.tar")`, `await redis.load()`,
        `await redis.push("localhost:5000/team/redis:1")`.

        Flags: -o NAME (bind the result), --dry-run (only the plan), --save PATH, --load (into a
        Docker or Podman engine), --push REFERENCE, --background (a job).
        """
        return self._build("streamLayeredImage", line, cell)

    @no_var_expand
    @cell_magic
    def mergeImages(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Put images together, for one archive that an engine loads all of.

            %%mergeImages --save both.tar.gz
            [ redis hello ]

        Flags: -o NAME (bind the result), --save PATH, --load (into a Docker or Podman engine),
        --background (a job).
        """
        return self._build("mergeImages", line, cell)

    @no_var_expand
    @cell_magic
    def exportImage(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Flatten an image: the files of all its layers, for a tar that `docker import` takes.

            %%exportImage --save rootfs.tar
            fromImage = redis;

        Flags: -o NAME (bind the result), --save PATH, --load (import it into a Docker or Podman
        engine), --background (a job).
        """
        return self._build("exportImage", line, cell)

    @no_var_expand
    @cell_magic
    def buildNixShellImage(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Build an image with the environment of a derivation, as nix-shell sets it up.

            %%buildNixShellImage --load
            drv = pkgs.hello;
            tag = "latest";

        Flags: -o NAME (bind the result), --dry-run (only the plan), --save PATH, --load (into a
        Docker or Podman engine), --push REFERENCE, --background (a job).
        """
        return self._build("buildNixShellImage", line, cell)

    @no_var_expand
    @cell_magic
    def streamNixShellImage(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Describe the image that %%buildNixShellImage builds; its bytes are made when asked for.

            %%streamNixShellImage -o shell
            drv = pkgs.hello;

        Flags: -o NAME (bind the result), --dry-run (only the plan), --save PATH, --load (into a
        Docker or Podman engine), --push REFERENCE, --background (a job).
        """
        return self._build("streamNixShellImage", line, cell)

    @no_var_expand
    @cell_magic
    def pullImage(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Pull an image from a registry, Docker Hub by default.

            %%pullImage -o mysql
            imageName = "mysql";
            imageTag = "8";

        `%prefetchImage mysql:8` gives a cell that always pulls the image of today.

        Flags: -o NAME (bind the result), --save PATH, --load (into a Docker or Podman engine),
        --push REFERENCE (a copy into another registry), --background (a job).
        """
        return self._build("pullImage", line, cell)

    @no_var_expand
    @cell_magic
    def runAsRoot(self, line: str, cell: str) -> object:  # noqa: N802 - dockerTools' name
        """Run a script as root on an image, in a virtual machine: the image with what it changed.

            %%runAsRoot redis -o prepared --tag prepared
            groupadd -r redis
            useradd -r -g redis redis
            mkdir /data
            chown redis:redis /data

        The cell is the script itself, for the image's shell or the interpreter that its first line
        names; it stops at the first command that fails, and nothing in it is Nix. The image is a
        name in the notebook, or the path of an archive.

        Flags: -o NAME (bind the result), --name NAME and --tag TAG (of the new image), --disk-size
        MIB (what the script may write, 1024), --memory MIB (512), --save PATH, --load (into a
        Docker or Podman engine), --push REFERENCE, --background (a job).
        """
        flags = parse_run(line)
        image = image_named(flags.image, self.shell.user_ns)
        if not cell.strip():
            raise UsageError("%%runAsRoot: the cell has no script. Write one below the first line.")

        async def work(report: JobReport) -> Made | LayerPlan:
            outcome = await run_cell(image, cell, flags=flags, progress=report, on_log=report.log)
            report.summary = outcome.summary
            return outcome.result

        return self._run(work, flags.build, name=flags.build.output or "runAsRoot")

    @line_magic
    def prefetchImage(self, line: str) -> PrefetchedImage:  # noqa: N802 - as the function in cells
        """Find out what to write for `%%pullImage`, so that it always pulls the image of today.

            %prefetchImage mysql:8
            %prefetchImage --image-name mysql --image-tag 8 --arch x86_64 --os linux

        Flags: those of nix-prefetch-docker (--image-name, --image-tag, --image-digest, --os,
        --arch, --final-image-name, --final-image-tag), --variant, -o NAME (bind the result).
        """
        flags = parse_prefetch(line)
        given: dict[str, Any] = dict(flags.arguments)
        found = run_with_progress(
            lambda report: prefetch_image(**given, progress=report), done=lambda _: "Prefetched"
        )
        if flags.output:
            self.shell.user_ns[flags.output] = found
        return found

    def _build(self, magic: str, line: str, cell: str) -> object:
        flags = parse_flags(magic, line)
        expression = parse(cell)
        names = CellNames(self.shell.user_ns)

        async def work(report: JobReport) -> Made | LayerPlan:
            outcome = await build_cell(
                expression, names, magic=magic, flags=flags, progress=report, on_log=report.log
            )
            report.summary = outcome.summary
            return outcome.result

        return self._run(work, flags, name=flags.output or magic, always=magic == "pullImage")

    def _run(self, work: _Work, flags: BuildFlags, *, name: str, always: bool = False) -> object:
        """Wait for the work of a cell and bind what it makes, or start it as a job."""
        if flags.background:
            return self._start(work, flags.output, name=name)
        made = run_job(name, work, always=always or flags.delivers)
        if flags.output:
            self.shell.user_ns[flags.output] = made
        advise_later(made)
        return made

    def _start(self, work: _Work, output: str | None, name: str) -> Job[Made | LayerPlan]:
        """Start a job; `output` is bound to it, and to what it makes if it still is by then."""
        namespace = self.shell.user_ns
        binding = threading.Lock()

        def bind(made: object) -> None:
            with binding:
                if output and namespace.get(output) is job:
                    namespace[output] = made

        with binding:
            job = Job(name, work, on_result=bind)
            if output:
                namespace[output] = job
        return job
