"""`Image.run`: a command in the root file system of an image, as a container engine would run it.

The layers are disks of a virtual machine, overlaid by its kernel; what the command writes is gone
with the machine. So an image is tried before it leaves the notebook, without a container engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.images.arguments import expect, expect_mib
from nbdock.jobs import Job, JobReport
from nbdock.oci import ContainerConfig, Platform

if TYPE_CHECKING:
    from nbdock.images.image import Image

__all__ = ["CompletedCommand", "command_line", "run_image"]

_SHELL = ("/bin/sh", "-c")


@dataclasses.dataclass(frozen=True)
class CompletedCommand:
    """A command that has ended.

    Attributes
    ----------
    exit_code
        As a shell has it: 128 and the signal's number for what a signal ended.
    output
        What it wrote to standard output and standard error, the last of it if it was much.
    """

    exit_code: int
    output: str

    def __str__(self) -> str:
        return self.output


def run_image(
    image: Image,
    command: str | Sequence[str] | None,
    *,
    env: Mapping[str, str] | None,
    user: str | None,
    working_dir: str | None,
    entrypoint: str | Sequence[str] | None,
    memory_mib: int,
    disk_mib: int,
    timeout_s: float | None,
) -> Job[CompletedCommand]:
    """Start what `Image.run` describes."""
    config = image.config.config
    arguments = command_line(config, command, entrypoint)
    variables = dict(entry.partition("=")[::2] for entry in config.env)
    if env is not None:
        expect("env", env, Mapping, what="a mapping of names to texts")
        variables.update({str(name): str(value) for name, value in env.items()})
    for argument, value in (("user", user), ("working_dir", working_dir)):
        expect(argument, value, str, type(None), what="a text, or None")
    for argument, number in (("memory_mib", memory_mib), ("disk_mib", disk_mib)):
        expect_mib(argument, number)

    async def work(report: JobReport) -> CompletedCommand:
        from nbdock.images.layerdisks import check_platform, image_disks
        from nbdock.vm import GuestTask, run_guest

        told = image.config
        check_platform(Platform(told.os, told.architecture, told.variant), str(image))
        task = GuestTask(
            layers=await image_disks(image, progress=report),
            command=arguments,
            environment=variables,
            user=config.user if user is None else user,
            working_directory=(config.working_dir if working_dir is None else working_dir) or "/",
            memory_mib=memory_mib, disk_mib=disk_mib, timeout_s=timeout_s,
        )  # fmt: skip
        async with run_guest(task, on_log=report.log, progress=report) as result:
            report.summary = f"Exited with {result.exit_code}"
            return CompletedCommand(result.exit_code, result.output.decode(errors="replace"))

    return Job(f"run {image.name or 'image'}", work)


def command_line(
    config: ContainerConfig,
    command: str | Sequence[str] | None,
    entrypoint: str | Sequence[str] | None,
) -> tuple[str, ...]:
    """What is run: the entrypoint, and the command as its arguments."""
    shell = config.shell or _SHELL
    given = _words("command", command, shell)
    first = _words("entrypoint", entrypoint, shell)
    if first is None:
        first = config.entrypoint or ()
        given = config.cmd or () if given is None else given
    line = (*first, *(given or ()))  # as in Docker, another entrypoint comes without the old Cmd
    if not line:
        raise ArgumentError(
            "The image has neither Entrypoint nor Cmd, so there is nothing to run.",
            argument="command",
            hint='Say what: image.run(["/bin/ls", "/"]).',
        )
    return line


def _words(
    argument: str, value: str | Sequence[str] | None, shell: Sequence[str]
) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return (*shell, value)
    if not isinstance(value, Sequence) or not all(isinstance(word, str) for word in value):
        raise ArgumentTypeError(
            f"{argument} must be a list of texts, or one text for the image's shell, "
            f"not {value!r:.60}.",
            argument=argument,
            hint='For example ["redis-server", "--version"].',
        )
    return tuple(value)
