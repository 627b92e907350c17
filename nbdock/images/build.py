"""`build_image` and `build_layered_image`: from contents and a configuration to an `Image`.

    contents -> closure -> plan -> layers in the store -> configuration -> manifest -> Image

Both take dockerTools' arguments. What is built is a function of them alone: same inputs, same
bytes, on any machine, in any locale, as any user.

    >>> import nbdock
    >>> motd = nbdock.text_file("etc/motd", "hello")
    >>> image = nbdock.concurrency.run(nbdock.build_layered_image("motd", tag="1", contents=[motd]))
    >>> image
    <Image motd:1>
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from nbdock import settings
from nbdock.calling import argument_name, checked
from nbdock.concurrency import gather_all, in_thread, in_worker
from nbdock.content import BlobStore
from nbdock.errors import ArgumentError
from nbdock.images.arguments import (
    EPOCH,
    Contents,
    context_packages,
    expect,
    expect_mib,
    packages_as_text,
    to_packages,
)
from nbdock.images.assembly import MadeLayer, assemble
from nbdock.images.base import base_image
from nbdock.images.customisation import Customisation, set_entries
from nbdock.images.image import Image, ImageLayer
from nbdock.images.layer import contents_comment, make_layers
from nbdock.images.planning import (
    image_roots,
    informed,
    part_of,
    plan_closure,
    store_part,
    to_planner,
    without_store,
)
from nbdock.images.references import command_closure, resolve_contents
from nbdock.images.request import BuildRequest, to_policy
from nbdock.images.tree import directory_links, link_targets
from nbdock.layering import LayerPlan, Strategy, check_layer_limit, planners
from nbdock.packages import Progress, realise, resolve_closure
from nbdock.showing import watched

if TYPE_CHECKING:
    from nbdock.images.fakeroot import FakeRoot
    from nbdock.packages import ChangeHistory

__all__ = ["build_image", "build_layered_image"]

ImageSource = Image | str | os.PathLike[str]


@checked
@watched("Built")
async def build_layered_image(
    name: str,
    *,
    tag: str | None = None,
    from_image: ImageSource | None = None,
    contents: Contents = (),
    config: Mapping[str, object] | None = None,
    architecture: str | None = None,
    variant: str | None = None,
    created: str | datetime = EPOCH,
    mtime: str | datetime = EPOCH,
    uid: int = 0,
    gid: int = 0,
    uname: str = "root",
    gname: str = "root",
    max_layers: int | None = None,
    extra_commands: str = "",
    fake_root_commands: str = "",
    enable_fakechroot: bool = False,
    include_store_paths: bool = True,
    include_nix_db: bool = False,
    layering: Strategy | None = None,
    layering_pipeline: Strategy | None = None,
    history: ChangeHistory | None = None,
    previous: Image | LayerPlan | None = None,
    layer_cost_bytes: int | None = None,
    compressor: str | None = None,
    debug: bool = False,
    passthru: object = None,
    meta: object = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
    on_log: Callable[[str], object] | None = None,
    on_layer: Callable[[ImageLayer], object] | None = None,
) -> Image:
    """Build an image whose packages lie in many layers, so that images share them.

    Parameters
    ----------
    name, tag
        What the image is called; `tag` is by default a 32-character hash of all that went in.
    from_image
        The image to build on: an `Image`, or the path of one saved by nbdock, Docker or Podman.
    contents
        Packages and paths of directories, one or a list. Store packages get symlinks at ``/``, the
        first one's where two have the same name; packages at ``/`` (such as APT's) stand there
        themselves, and so does what is in a directory. With all they depend on.
    config
        The container's configuration in Docker's words: ``Cmd``, ``Env``, ``WorkingDir``, ...
        Packages and store paths that its strings name are in the image.
    architecture, variant
        Of the image; by default that of the base or the packages, else this machine's.
    created
        Date of the image: ISO 8601, or ``"now"`` (then it is not reproducible).
    mtime, uid, gid, uname, gname
        Date and owner of all files of store packages; the top layer is root's, of 1980.
    max_layers
        How many layers at most, the base's included: 100 by default, 125 at most.
    extra_commands
        Shell commands run in the directory of the top layer. They find the store packages they
        were written with; those that what they leave refers to are in the image.
    include_store_paths
        False leaves all store packages out, for a container that has the store mounted.
    include_nix_db
        Whether there is a database with which Nix in a container knows the image's store paths.
    fake_root_commands, enable_fakechroot
        Shell commands run as root in the directory of the top layer, after `extra_commands`, in a
        virtual machine: owners that they set stay. With `enable_fakechroot` their root directory
        is the whole image.
    layering, layering_pipeline
        Which packages share a layer; one of the two. `layering` is the name of a planner
        (``"popularity"``, the default, ``"history"``, ``"auto"``, ...), a pipeline, or a function
        as for `plan_layers`. `layering_pipeline` is a list of operations, or the path of a JSON
        file.
    history, previous, layer_cost_bytes
        What the planner ``"history"`` goes by, as for `plan_layers`: when packages changed, the
        image that is being rebuilt, and what one more layer costs (bytes).
    compressor
        ``"gz"``, ``"none"`` or ``"zstd"``: what `Image.save` uses for a path that does not say.
    store
        Where blobs are kept; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.
    on_log
        Called with each line that `extra_commands` and `fake_root_commands` write.
    on_layer
        Called with every layer but the top one once it is in the store, the base's first; from
        any thread. `stream_layered_image` is made of it.

    Returns
    -------
    Image
        In the store, and named there.

    Raises
    ------
    ArgumentError
        An argument that is unknown, missing, of the wrong type or out of range.
    PackageError
        Contents that cannot be found, resolved or fetched.
    CommandError
        `extra_commands` or `fake_root_commands` failed.
    VmError, UnavailableError
        The virtual machine failed, or this machine lacks what it takes.
    """
    config = await in_thread(packages_as_text, config)
    request = BuildRequest.of(locals())
    expect("fake_root_commands", fake_root_commands, str, what="a string of commands")
    expect("enable_fakechroot", enable_fakechroot, bool, what="true or false")
    planner = await in_worker(to_planner, layering, layering_pipeline)
    expect("include_store_paths", include_store_paths, bool, what="true or false")
    expect("include_nix_db", include_nix_db, bool, what="true or false")
    policy = to_policy(mtime, uid, gid, uname, gname)
    roots = to_packages("contents", contents)
    with request:
        base = await base_image(from_image, store=request.store)
        base_layers = len(base.layers) if base else 0
        room = check_layer_limit(max_layers, base_layers)
        if base and on_layer:
            for layer in base.layers:
                on_layer(layer)

        roots, closure = await resolve_contents(request, roots, config, base)
        planner = await informed(
            planner, closure, history=history, previous=previous,
            layer_cost_bytes=layer_cost_bytes, progress=request.progress,
        )  # fmt: skip
        used = await command_closure(request, extra_commands, closure)
        own = set_entries(closure.packages)
        links = {**await in_worker(directory_links, base, request.cache), **link_targets(own)}
        plain = Customisation(
            roots, closure, own, links, extra_commands, used, with_database=include_nix_db
        )
        customisation: Customisation | FakeRoot = plain
        if fake_root_commands:
            from nbdock.images.fakeroot import FakeRoot, lower_layers
            from nbdock.images.rootcommands import root_commands

            customisation = FakeRoot(
                plain, base,
                functools.partial(
                    lower_layers, request,
                    closure if enable_fakechroot else store_part(closure), room, planner, policy,
                    links,
                ),
                await root_commands(request, "fake_root_commands", fake_root_commands, closure),
                chroot=enable_fakechroot, with_store=include_store_paths, policy=policy,
            )  # fmt: skip
        if used.packages or fake_root_commands:
            # What the commands leave references to is only known when they have run.
            _, left = await customisation.make(request)
            asked = [closure[key] for key in closure.roots]
            closure = await resolve_closure([*asked, *left], progress=request.progress)
        packages = closure.packages if include_store_paths else without_store(closure)
        if planner is planners()["auto"]:
            # In nixpkgs the top layer takes part in the plan, so it is made first; once.
            from nbdock.layering import auto_plan

            made_top, left = await customisation.make(request)
            around = image_roots(
                contents=[*roots, *left],
                configured=await realise(context_packages(config), among=closure.packages),
                config=config,
                architecture=request.platform.architecture if request.platform else "amd64",
                top_layer_bytes=made_top.record.size_bytes,
            )
            planner = functools.partial(auto_plan, image_roots=around)
        plan = await in_worker(plan_closure, part_of(closure, packages), room, planner)
        records, (top, _) = await gather_all(
            make_layers(request, plan.layers, policy, links, base_layers=base_layers),
            customisation.make(request),
        )
        made = [
            MadeLayer(record, contents_comment(layer))
            for record, layer in zip(records, plan.layers, strict=True)
        ]
        made.append(top)
        return await in_worker(assemble, request, base, made, plan, closure)


@checked
@watched("Built")
async def build_image(
    name: str,
    *,
    tag: str | None = None,
    from_image: ImageSource | None = None,
    from_image_name: str | None = None,
    from_image_tag: str | None = None,
    contents: Contents = None,
    copy_to_root: Contents = None,
    keep_contents_dirlinks: bool = False,
    run_as_root: str | None = None,
    extra_commands: str = "",
    config: Mapping[str, object] | None = None,
    architecture: str | None = None,
    variant: str | None = None,
    disk_size: int = 1024,
    build_vm_memory_size: int = 512,
    created: str | datetime = EPOCH,
    uid: int | None = None,
    gid: int | None = None,
    compressor: str | None = None,
    include_nix_db: bool = False,
    meta: object = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
    on_log: Callable[[str], object] | None = None,
) -> Image:
    """Build an image with one new layer: contents at ``/``, on top of a base if there is one.

    Only files that the base does not already have, with the same content, are in the layer.

    Parameters
    ----------
    name, tag
        What the image is called; `tag` is by default a 32-character hash of all that went in.
    from_image, from_image_name, from_image_tag
        The image to build on: an `Image`, or the path of an archive and, if it holds several,
        the name and tag of the one that is meant.
    contents, copy_to_root
        Packages and paths of directories, one or a list; what is in them is copied to ``/``, that
        of the later over that of the earlier. What they depend on stands in the store, and so do
        they. (Two names of one argument: today's dockerTools says `copyToRoot`.)
    keep_contents_dirlinks
        Keep the symlinks to directories that contents have, and put later contents through them.
        Otherwise such a symlink becomes the directory it leads to.
    run_as_root
        A script to run as root, in a virtual machine, when all else is in place. It has ``set -e``,
        or the interpreter that its first line names, a blank environment, and the programs of the
        image and of the packages it was written with. Debian packages are there as unpacked ones,
        for ``dpkg --configure -a``, which needs `AptPackageSet.essential` in the contents. It is
        run once: the layer is found again by the script's text and what it ran on.
    extra_commands
        Shell commands run in the directory of the new layer, before store packages are added. They
        find those they were written with; those that what they leave refers to are in the image.
    config
        The container's configuration in Docker's words: ``Cmd``, ``Env``, ``WorkingDir``, ...
        ``Env`` is inherited from the base. Packages and store paths that its strings name are in
        the image.
    architecture, variant
        Of the image; by default that of the base or the packages, else this machine's.
    disk_size, build_vm_memory_size
        Of the virtual machine for `run_as_root`. MiB.
    created
        Date of the image: ISO 8601, or ``"now"`` (then it is not reproducible).
    uid, gid
        Owner of what is copied to ``/`` and of what `extra_commands` make, not of the store; by
        default as the package says, which is root unless ``directory(..., owner="keep")``.
    include_nix_db
        Whether there is a database with which Nix in a container knows the image's store paths.
    compressor
        ``"gz"``, ``"none"`` or ``"zstd"``: what `Image.save` uses for a path that does not say.
    store
        Where blobs are kept; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.
    on_log
        Called with each line that `extra_commands` and `run_as_root` write.

    Returns
    -------
    Image
        In the store, and named there.

    Raises
    ------
    ArgumentError
        An argument that is unknown, missing, of the wrong type or out of range.
    PackageError
        Contents that cannot be found, resolved or fetched.
    ImageNotFoundError
        The base archive does not hold the image that is meant.
    CommandError
        `extra_commands` or `run_as_root` failed; there is no new image.
    VmError, UnavailableError
        The virtual machine failed, or this machine lacks what it takes.
    """
    config = await in_thread(packages_as_text, config)
    request = BuildRequest.of(locals())
    expect_mib("disk_size", disk_size)
    expect_mib("build_vm_memory_size", build_vm_memory_size)
    expect("keep_contents_dirlinks", keep_contents_dirlinks, bool, what="true or false")
    expect("run_as_root", run_as_root, str, type(None), what="a script, or null")
    expect("include_nix_db", include_nix_db, bool, what="true or false")
    if contents is not None and copy_to_root is not None:
        copied = argument_name("copy_to_root")
        raise ArgumentError(
            f"contents and {copied} are two names of one argument; both were given.",
            argument="contents",
            hint=f"Keep {copied}.",
        )
    from nbdock.images.singlelayer import SingleLayer

    argument = "contents" if copy_to_root is None else "copy_to_root"
    roots = to_packages(argument, contents if copy_to_root is None else copy_to_root)
    policy = to_policy(EPOCH, uid, gid, None, None)
    with request:
        base = await base_image(
            from_image, name=from_image_name, tag=from_image_tag, store=request.store
        )
        # One layer more, where a layered image needs two.
        check_layer_limit(settings.current().max_layers_limit, len(base.layers) - 1 if base else 0)

        roots, closure = await resolve_contents(request, roots, config, base)
        used = await command_closure(request, extra_commands, closure)
        layer = SingleLayer(
            base, roots, closure, extra_commands, used, uid=policy.uid, gid=policy.gid,
            keep_dirlinks=keep_contents_dirlinks, with_database=include_nix_db,
        )  # fmt: skip
        if run_as_root:
            from nbdock.images.rootcommands import Database, root_commands
            from nbdock.images.rootlayer import RootLayer

            root = await root_commands(
                request, "run_as_root", run_as_root, closure,
                memory_mib=build_vm_memory_size, disk_mib=disk_size,
            )  # fmt: skip
            unconfigured = from_image.closure if isinstance(from_image, Image) else None
            record, left = await RootLayer(
                base, root, Database.of(unconfigured, closure), layer
            ).make(request)
        else:
            record, left = await layer.make(request), []
        below = {name for one in base.layers for name in one.contents} if base else set()
        # What was asked for comes first: people see the beginning of a long list.
        told = dict.fromkeys([*roots, *closure.packages, *left])
        made = [MadeLayer(record, contents_comment([p for p in told if p.root not in below]))]
        plan = LayerPlan((closure.asked_first,), 1, "single")
        return await in_worker(assemble, request, base, made, plan, closure)
