"""`run_as_root`: a script on an image, and the image with one layer more that it gives.

>>> import inspect, nbdock
>>> [*inspect.signature(nbdock.run_as_root).parameters][:4]
['image', 'script', 'name', 'tag']
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import datetime

from nbdock import settings
from nbdock.calling import checked, renamed
from nbdock.concurrency import in_worker
from nbdock.content import BlobStore
from nbdock.errors import ArgumentTypeError
from nbdock.images.arguments import EPOCH, expect, expect_mib
from nbdock.images.assembly import MadeLayer, assemble
from nbdock.images.base import base_image
from nbdock.images.image import Image
from nbdock.images.request import BuildRequest
from nbdock.layering import LayerPlan, check_layer_limit
from nbdock.packages import Closure, Progress
from nbdock.showing import watched

__all__ = ["run_as_root"]

_NOTHING = Closure((), {}, ())


@checked
@watched("Run")
async def run_as_root(
    image: Image | str | os.PathLike[str],
    script: str,
    *,
    name: str | None = None,
    tag: str | None = None,
    disk_size: int = 1024,
    build_vm_memory_size: int = 512,
    created: str | datetime = EPOCH,
    store: BlobStore | None = None,
    progress: Progress | None = None,
    on_log: Callable[[str], object] | None = None,
) -> Image:
    """Run a script as root on an image, in a virtual machine.

    Parameters
    ----------
    image
        An `Image`, or the path of one saved by nbdock, Docker or Podman.
    script
        As `run_as_root` of `build_image`. A script that was run before on this image is not run
        again: the layer is found by the script's text and the layers it ran on.
    name, tag
        What the new image is called: by default as `image`, and a hash of all that went in.
    disk_size, build_vm_memory_size
        Of the virtual machine. MiB.
    created
        Date of the new layer and image: ISO 8601, or ``"now"``.
    store
        Where blobs are kept; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.
    on_log
        Called with each line that the script writes.

    Returns
    -------
    Image
        With the configuration of `image`, and one layer more.

    Raises
    ------
    CommandError
        The script failed; there is no new image.
    VmError, UnavailableError
        The virtual machine failed, or this machine lacks what it takes.
    ArgumentError
        An argument that is unknown, missing, of the wrong type or out of range.

    Examples
    --------
    ::

        await nbdock.run_as_root(redis, "chown -R redis:redis /data", name="redis", tag="2")
    """
    from nbdock.images.rootcommands import Database, root_commands
    from nbdock.images.rootlayer import RootLayer

    expect("script", script, str, what="a script")
    expect_mib("disk_size", disk_size)
    expect_mib("build_vm_memory_size", build_vm_memory_size)
    with renamed(from_image="image"):
        base = await base_image(image, store=store or BlobStore.default())
    if base is None:
        raise ArgumentTypeError(
            "No image is given to run the script on.",
            argument="image",
            hint='Give an image, for example nbdock.load_image("base.tar").',
        )
    check_layer_limit(settings.current().max_layers_limit, len(base.layers) - 1)
    given = {
        "name": name or base.name or "image", "tag": tag, "created": created, "config": None,
        "compressor": None, "extra_commands": "", "architecture": None, "variant": None,
        "store": base.store, "progress": progress, "on_log": on_log,
    }  # fmt: skip
    request = dataclasses.replace(BuildRequest.of(given), config=base.config.config)
    known = image.closure if isinstance(image, Image) else None
    with request:
        root = await root_commands(
            request, "script", script, known or _NOTHING,
            memory_mib=build_vm_memory_size, disk_mib=disk_size,
        )  # fmt: skip
        record, left = await RootLayer(base, root, Database.of(known)).make(request)
        made = MadeLayer(record, "runAsRoot")
        plan = LayerPlan((tuple(left),), 1, "single")
        return await in_worker(assemble, request, base, [made], plan, known or _NOTHING)
