"""``nbdock prefetch``, ``pull`` and ``push``: images between registries, files and engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

import nbdock
from nbdock.cli.completion import ImageName
from nbdock.cli.running import COMMON, examples, run_command, with_options
from nbdock.cli.sources import open_source

if TYPE_CHECKING:
    from nbdock.packages import Progress

__all__ = ["prefetch", "pull", "push"]

_IMAGE = (
    click.argument("image", required=False, type=ImageName()),
    click.argument("tag_or_digest", required=False),
    click.option("--image-name", metavar="NAME", help="The same as IMAGE."),
    click.option("--image-tag", metavar="TAG", help="The same as TAG; default: latest."),
    click.option("--image-digest", metavar="DIGEST", help="The same as DIGEST."),
    click.option("--os", default="linux", show_default=True, help="Operating system."),
    click.option("--arch", help="Architecture, such as x86_64; default: this machine's."),
    click.option("--variant", help="Variant of the architecture, such as v7."),
    click.option("--final-image-name", metavar="NAME", help="What the image is called here."),
    click.option("--final-image-tag", metavar="TAG", help="Its tag here."),
)


@click.command(
    short_help="Find out what to write for pullImage.",
    epilog=examples(
        "nbdock prefetch mysql 8",
        "nbdock prefetch --image-name mysql --image-tag 8 --arch x86_64 --os linux",
    ),
)
@with_options(*_IMAGE, click.option("--json", "as_json", is_flag=True, help="Print JSON."), *COMMON)
def prefetch(*, as_json: bool, quiet: bool, **options: Any) -> None:
    """Print the arguments of pullImage that always give the image of today."""
    given = _image_arguments(options)

    found = run_command(
        lambda report: nbdock.prefetch_image(**given, progress=report),
        lambda found: f"Prefetched {found.final_image_name}:{found.final_image_tag}",
        quiet=quiet,
    )
    click.echo(found.to_json() if as_json else found.nix)


@click.command(
    short_help="Fetch an image from a registry.",
    epilog=examples(
        "nbdock pull redis:7 --save redis.tar.gz",
        "nbdock pull quay.io/team/app 1 --arch arm64 --load",
    ),
)
@with_options(
    *_IMAGE,
    click.option("--sha256", help="The checksum that it must have, as prefetch says it."),
    click.option("--hash", help='The same as "sha256-...".'),
    click.option(
        "--save", metavar="PATH", type=click.Path(), help="Write it to a file or an OCI layout."
    ),
    click.option("--load", is_flag=True, help="Load it into a running Docker or Podman engine."),
    *COMMON,
)
def pull(*, save: str | None, load: bool, quiet: bool, **options: Any) -> None:
    """Fetch an image into nbdock's store, and print its digest."""
    given = _image_arguments(options)

    async def work(report: Progress | None) -> tuple[nbdock.Image, list[str]]:
        image = await nbdock.pull_image(**given, progress=report)
        done = [f"Pulled {image}"]
        if save:
            done.append(f"saved as {await image.save(save, progress=report)}")
        if load:
            done.append(f"loaded as {await image.load(progress=report)}")
        return image, done

    image, _ = run_command(work, lambda made: ", ".join(made[1]), quiet=quiet)
    click.echo(image.digest)


@click.command(
    short_help="Put an image into a registry.",
    epilog=examples(
        "nbdock push redis.tar.gz localhost:5000/team/redis:7",
        "nbdock push docker://redis:7 localhost:5000/team/redis:7",
    ),
)
@click.argument("source", type=ImageName())
@click.argument("reference", type=ImageName())
@click.option("--compression", metavar="KIND", help="gz, zstd or none; default: as they are.")
@with_options(*COMMON)
def push(
    source: str, reference: str, *, compression: str | None, tls_verify: bool, quiet: bool
) -> None:
    """Put an image into a registry, and print its name with its digest.

    SOURCE is the path of an archive or an OCI layout, the name of an image that was built or pulled
    here, docker:// and a name in a registry, or the name of an image in a running engine. If an
    archive or a layout has the image for several platforms, all of them are pushed.
    """
    from nbdock.images import MultiPlatformImage

    async def work(report: Progress | None) -> object:
        # From a registry it is the image for this machine: the others need not be fetched.
        platform = None if source.startswith("docker://") else "all"
        image = await open_source(source, platform=platform, progress=report)
        how: dict[str, Any] = {"tls_verify": tls_verify, "progress": report}
        if compression is not None and isinstance(image, MultiPlatformImage):
            return await nbdock.push_index(image.images, reference, compression=compression, **how)
        return await image.push(reference, compression=compression, **how)

    click.echo(run_command(work, lambda pushed: f"Pushed {pushed}", quiet=quiet))


def _image_arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `pull_image` in a command's options; the image may stand alone, too."""
    image, second = options.pop("image"), options.pop("tag_or_digest")
    kind = "image_digest" if second and ":" in second else "image_tag"
    for name, value in (("image_name", image), (kind, second)):
        if value is None:
            continue
        if options[name] is not None:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{value} and {option} {options[name]}: give one of them.")
        options[name] = value
    if options["image_name"] is None:
        raise click.UsageError("Which image? Give its name, such as mysql:8.")
    return {name: value for name, value in options.items() if value is not None}
