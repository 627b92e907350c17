"""`build_image` and `build_layered_image`: from contents and a configuration to an `Image`.

    contents -> closure -> plan -> layers in the store -> configuration -> manifest -> Image

Both take dockerTools' arguments. What is built is a function of them alone: same inputs, same
bytes, on any machine, in any locale, as any user.

    >>> import nbdock
    >>> motd = nbdock.text_file("etc/motd", "hello")
    >>> image = nbdock.concurrency.run(nbdock.build_layered_image("motd", contents=[motd]))
    >>> image
    <Image motd:...>
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import cast

from nbdock import settings
from nbdock.concurrency import in_stoppable_worker, in_worker
from nbdock.content import BlobStore, LayerCache, LayerRecord
from nbdock.errors import ArgumentError, ArgumentTypeError, UnavailableError
from nbdock.filetree import Entry, TarPolicy, Tree
from nbdock.images.arguments import (
    EPOCH,
    Contents,
    Moment,
    cell_name,
    checked,
    context_packages,
    expect,
    to_moment,
    to_name,
    to_packages,
)
from nbdock.images.base import base_image
from nbdock.images.commands import run_commands
from nbdock.images.customisation import root_links, set_entries
from nbdock.images.image import Image
from nbdock.images.layer import (
    copied_to_root,
    fetch_packages,
    make_layers,
    package_entries,
    recipe_key,
    write_entries,
)
from nbdock.images.planning import plan_closure
from nbdock.images.tree import (
    absent_from,
    directory_links,
    image_tree,
    link_targets,
    through_links,
)
from nbdock.layering import LayerPlan, check_layer_limit, order_layers
from nbdock.oci import (
    ContainerConfig,
    Descriptor,
    History,
    ImageConfig,
    Manifest,
    MediaType,
    Platform,
    merge_env,
    to_oci,
)
from nbdock.packages import Closure, Package, Progress, resolve_closure

__all__ = ["build_image", "build_layered_image"]

ImageSource = Image | str | os.PathLike[str]

_BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"  # Nix's digits: those that spell no words


@dataclasses.dataclass(frozen=True)
class _Made:
    """A layer that was made for this image, and what its history says."""

    record: LayerRecord
    comment: str


@checked
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
    layering_pipeline: object = None,
    compressor: str | None = None,
    debug: bool = False,
    passthru: object = None,
    meta: object = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
) -> Image:
    """Build an image whose packages lie in many layers, so that images share them.

    Parameters
    ----------
    name, tag
        What the image is called; `tag` is by default a 32-character hash of all that went in.
    from_image
        The image to build on: an `Image`, or the path of one saved by nbdock, Docker or Podman.
    contents
        Packages and paths of directories, one or a list. Store packages get symlinks at ``/``;
        packages at ``/`` (such as APT's) stand there themselves. With all they depend on.
    config
        The container's configuration in Docker's words: ``Cmd``, ``Env``, ``WorkingDir``, ...
    architecture, variant
        Of the image; by default that of the base or the packages, else this machine's.
    created
        Date of the image: ISO 8601, or ``"now"`` (then it is not reproducible).
    mtime, uid, gid, uname, gname
        Date and owner of all files of store packages.
    max_layers
        How many layers at most, the base's included: 100 by default, 125 at most.
    extra_commands
        Shell commands run in the directory of the top layer.
    compressor
        ``"gz"``, ``"none"`` or ``"zstd"``: what `Image.save` uses for a path that does not say.
    store
        Where blobs are kept; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.

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
        `extra_commands` failed.
    """
    arguments = dict(locals())
    for unused in ("store", "progress"):
        del arguments[unused]
    call = _Call(
        name, tag, created, config, architecture, variant, compressor, store, arguments, progress
    )
    expect("extra_commands", extra_commands, str, what="a string of shell commands")
    _refuse_unbuilt(
        fake_root_commands=fake_root_commands, include_nix_db=include_nix_db,
        enable_fakechroot=enable_fakechroot, layering_pipeline=layering_pipeline,
    )  # fmt: skip
    expect("include_store_paths", include_store_paths, bool, what="true or false")
    policy = _policy(mtime, uid, gid, uname, gname)
    roots = to_packages("contents", contents)
    with call:
        base = await base_image(from_image, store=call.store)
        base_layers = len(base.layers) if base else 0
        room = check_layer_limit(max_layers, base_layers)

        call.progress("Resolving packages", 0, 0)
        closure = await resolve_closure([*roots, *context_packages(config)])
        packages = closure.packages if include_store_paths else _without_store(closure)
        plan = plan_closure(dataclasses.replace(closure, packages=packages), room)
        links = {
            **await in_worker(directory_links, base, call.cache),
            **link_targets(set_entries(packages)),
        }
        records = await make_layers(call.store, call.cache, plan.layers, policy, links, progress)
        made = [
            _Made(record, _contents_comment(layer))
            for record, layer in zip(records, plan.layers, strict=True)
        ]
        made.append(await _customisation(call, roots, packages, extra_commands, policy))
        return await in_worker(_finish, call, base, made, plan, closure)


@checked
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
    uid: int = 0,
    gid: int = 0,
    compressor: str | None = None,
    include_nix_db: bool = False,
    meta: object = None,
    store: BlobStore | None = None,
    progress: Progress | None = None,
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
        Packages and paths of directories, one or a list; what is in them is copied to ``/``, with
        what they depend on. (Two names of one argument: today's dockerTools says `copyToRoot`.)
    keep_contents_dirlinks
        Where contents have a directory and an earlier package a symlink to a directory, keep the
        symlink.
    run_as_root
        A script to run as root in a virtual machine. Not built yet.
    extra_commands
        Shell commands run in the directory of the new layer.
    config
        The container's configuration in Docker's words: ``Cmd``, ``Env``, ``WorkingDir``, ...
        ``Env`` is inherited from the base.
    architecture, variant
        Of the image; by default that of the base or the packages, else this machine's.
    disk_size, build_vm_memory_size
        Of the virtual machine for `run_as_root`. MiB.
    created
        Date of the image: ISO 8601, or ``"now"`` (then it is not reproducible).
    uid, gid
        Owner of the files that `contents` brings from directories and stores.
    compressor
        ``"gz"``, ``"none"`` or ``"zstd"``: what `Image.save` uses for a path that does not say.
    store
        Where blobs are kept; by default the store under `settings.home`.
    progress
        Called with what is being done, bytes done and bytes in all.

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
    UnavailableError
        `run_as_root` was given.
    CommandError
        `extra_commands` failed.
    """
    arguments = dict(locals())
    for unused in ("store", "progress"):
        del arguments[unused]
    call = _Call(
        name, tag, created, config, architecture, variant, compressor, store, arguments, progress
    )
    expect("extra_commands", extra_commands, str, what="a string of shell commands")
    expect("disk_size", disk_size, int, what="a number of MiB")
    expect("build_vm_memory_size", build_vm_memory_size, int, what="a number of MiB")
    _refuse_unbuilt(
        run_as_root=run_as_root, include_nix_db=include_nix_db,
        keep_contents_dirlinks=keep_contents_dirlinks,
    )  # fmt: skip
    if contents is not None and copy_to_root is not None:
        raise ArgumentError(
            "contents and copyToRoot are two names of one argument; both were given.",
            argument="contents",
            hint="Keep copyToRoot.",
        )
    argument = "contents" if copy_to_root is None else "copy_to_root"
    roots = to_packages(argument, contents if copy_to_root is None else copy_to_root)
    policy = _policy(EPOCH, uid, gid, "root", "root")
    with call:
        base = await base_image(
            from_image, name=from_image_name, tag=from_image_tag, store=call.store
        )
        # One layer more, where a layered image needs two.
        check_layer_limit(settings.current().max_layers_limit, len(base.layers) - 1 if base else 0)

        call.progress("Resolving packages", 0, 0)
        closure = await resolve_closure([*roots, *context_packages(config)])
        record = await _single_layer(call, base, roots, closure, extra_commands, policy)
        made = [_Made(record, _contents_comment(closure.packages))]
        plan = LayerPlan((closure.packages,), 1, "single")
        return await in_worker(_finish, call, base, made, plan, closure)


class _Call:
    """The arguments that both functions treat alike, checked before anything is read or fetched."""

    def __init__(
        self,
        name: object,
        tag: object,
        created: object,
        config: object,
        architecture: object,
        variant: object,
        compressor: object,
        store: BlobStore | None,
        arguments: Mapping[str, object],
        progress: Progress | None,
    ) -> None:
        self.name, self.tag = to_name(name, tag)
        self.created: Moment = to_moment("created", created)
        if config is not None:
            expect("config", config, Mapping, what="an attribute set")
        self.config = ContainerConfig.from_mapping(cast("Mapping[str, object]", config or {}))
        for argument, value in (("architecture", architecture), ("variant", variant)):
            if value is not None:
                expect(argument, value, str, what="a string or null")
        self.platform = (
            Platform.parse(f"linux/{architecture}" + (f"/{variant}" if variant else ""))
            if architecture
            else None
        )
        if compressor not in (None, "none", "gz", "zstd"):
            raise ArgumentTypeError(
                f"There is no compressor {compressor!r}.",
                argument="compressor",
                hint='Compressors: "gz", "none", "zstd".',
            )
        self.store = store or BlobStore.default()
        self.cache = LayerCache(self.store)  # opens the database at the first use
        self.arguments = {k: v for k, v in arguments.items() if v not in (None, "", (), False)}
        self._progress = progress

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, *_: object) -> None:
        self.cache.close()

    def progress(self, what: str, done: int, total: int) -> None:
        if self._progress:
            self._progress(what, done, total)


def _refuse_unbuilt(**arguments: object) -> None:
    reasons = {
        "run_as_root": "needs a virtual machine, which this version of nbdock does not have yet",
        "fake_root_commands": "needs a virtual machine, which this version does not have yet",
        "enable_fakechroot": "needs a virtual machine, which this version does not have yet",
        "include_nix_db": "needs a Nix store, which this version cannot read yet",
        "keep_contents_dirlinks": "is not built yet",
        "layering_pipeline": "is not built yet",
    }
    for argument, value in arguments.items():
        if value:
            hint = None
            if argument in ("run_as_root", "fake_root_commands"):
                hint = "extraCommands runs commands without root, in the layer's directory."
            raise UnavailableError(f"{cell_name(argument)} {reasons[argument]}.", hint=hint)


def _policy(mtime: object, uid: object, gid: object, uname: object, gname: object) -> TarPolicy:
    for argument, value in (("uid", uid), ("gid", gid)):
        expect(argument, value, int, what="a number")
        if not 0 <= cast("int", value) < 1 << 32:
            raise ArgumentTypeError(
                f"{argument} must be from 0 to 4294967295, not {value}.", argument=argument
            )
    for argument, value in (("uname", uname), ("gname", gname)):
        expect(argument, value, str, what="a string")
    return TarPolicy(
        mtime=to_moment("mtime", mtime).seconds,
        uid=cast("int", uid), gid=cast("int", gid),
        uname=cast("str", uname), gname=cast("str", gname),
    )  # fmt: skip


def _without_store(closure: Closure) -> tuple[Package, ...]:
    return tuple(p for p in closure.packages if p.root == "/")


def _contents_comment(packages: Sequence[Package]) -> str:
    stores = [p.root for p in packages if p.root != "/"]
    if len(stores) == len(packages):
        return f"store paths: {stores}" if stores else ""
    names = " ".join(f"{p.name}={p.version}" if p.version else p.name for p in packages)
    return f"packages: {names}"


def _digest_of(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _link_facts(links: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
    return sorted((a.decode("latin-1"), b.decode("latin-1")) for a, b in links.items())


async def _customisation(
    call: _Call,
    roots: Sequence[Package],
    packages: Sequence[Package],
    commands: str,
    policy: TarPolicy,
) -> _Made:
    """The top layer of a layered image."""
    linked = [p for p in roots if p.root != "/"]
    entries = set_entries(packages)
    key = _digest_of(
        "customisation", recipe_key(linked, policy), commands, [repr(e) for e in entries.values()]
    )
    parts = ["links at the root"] * bool(linked or entries) + ["extraCommands"] * bool(commands)
    comment = " and ".join(parts) or "nothing at the root"
    if (known := call.cache.get(key)) is not None:
        return _Made(known, comment)
    mtime = cast("int", policy.mtime)
    await fetch_packages(linked)
    entries = {**await in_worker(root_links, linked, mtime=mtime), **entries}
    record = await _write(call, [entries[path] for path in sorted(entries)], commands, mtime)
    call.cache.put(key, record)
    return _Made(record, comment)


async def _write(
    call: _Call, entries: Iterable[Entry], commands: str, mtime: int, base: Tree | None = None
) -> LayerRecord:
    """Write a layer of entries, after commands have run over them, less what a base has."""

    def write(entries: Iterable[Entry], stop: threading.Event) -> LayerRecord:
        kept = absent_from(base, iter(entries)) if base is not None else entries
        return write_entries(call.store, kept, stop=stop)

    stop = threading.Event()
    if not commands:
        return await in_stoppable_worker(stop, write, entries, stop)
    call.progress("Running extraCommands", 0, 0)
    async with run_commands(entries, commands, mtime=mtime) as changed:
        return await in_stoppable_worker(stop, write, changed, stop)


async def _single_layer(
    call: _Call,
    base: Image | None,
    roots: Sequence[Package],
    closure: Closure,
    commands: str,
    policy: TarPolicy,
) -> LayerRecord:
    """The layer of `build_image`: everything in one, less what the base has."""
    needed = [*(p.key for p in roots), *(p.key for p in closure.packages)]
    packages = [closure.by_key[key] for key in dict.fromkeys(needed)]
    whole = LayerPlan((tuple(packages),), 1, "single")
    packages = list(order_layers(whole, closure.overrides).layers[0]) if packages else []
    own = set_entries(packages)
    below = [str(layer.diff_id) for layer in base.layers] if base else []
    key = _digest_of(
        "single", recipe_key(packages, policy), [p.key for p in roots], commands, below,
        [repr(e) for e in own.values()],
    )  # fmt: skip
    if (known := call.cache.get(key)) is not None:
        return known
    await fetch_packages(packages, progress=call.progress)
    tree = await in_worker(image_tree, base) if base else None
    links = {**await in_worker(directory_links, base, call.cache), **link_targets(own)}

    def entries() -> Iterator[Entry]:
        seen = set(own)
        yield from own.values()
        copied = copied_to_root(roots, policy)
        rest = package_entries(packages, policy)
        for entry in through_links(itertools.chain(copied, rest), links):
            if entry.path not in seen:
                seen.add(entry.path)
                yield entry

    call.progress("Writing the layer", 0, 0)
    record = await _write(call, entries(), commands, cast("int", policy.mtime), tree)
    call.cache.put(key, record)
    return record


def _finish(
    call: _Call,
    base: Image | None,
    made: Sequence[_Made],
    plan: LayerPlan,
    closure: Closure,
) -> Image:
    """The configuration, the manifest and the name of an image whose layers are in the store."""
    platform = call.platform or _platform_of(base, closure)
    env = merge_env(base.config.config.env if base else (), call.config.env)
    config = ImageConfig(
        platform.architecture, platform.os, variant=platform.variant,
        created=call.created,
        config=dataclasses.replace(call.config, env=env),
        diff_ids=(*(base.config.diff_ids if base else ()), *(m.record.diff_id for m in made)),
        history=(
            *(_base_history(base) if base else ()),
            *(
                History(created=call.created, created_by="nbdock", comment=m.comment or None)
                for m in made
            ),
        ),
    )  # fmt: skip
    data = config.to_bytes()
    layers = [
        *(_as_oci(blob) for blob in (base.manifest.layers if base else ())),
        *(Descriptor(MediaType.OCI_LAYER, m.record.diff_id, m.record.size_bytes) for m in made),
    ]
    manifest = Manifest(
        config=Descriptor(MediaType.OCI_CONFIG, call.store.add(data), len(data)),
        layers=tuple(layers),
    )
    call.store.add(manifest.to_bytes())
    tag = call.tag or _tag_of(call.name, data)
    image = Image(
        call.store, manifest.descriptor(), call.name, tag,
        plan=plan, closure=closure, arguments=call.arguments,
    )  # fmt: skip
    call.store.set_image(image.reference, image.descriptor)
    return image


def _as_oci(blob: Descriptor) -> Descriptor:
    return dataclasses.replace(blob, media_type=to_oci(blob.media_type))


def _base_history(base: Image) -> Sequence[History]:
    """The base's history, one step for each layer at least: tools refuse any other count."""
    config = base.config
    if sum(not step.empty_layer for step in config.history) == len(config.diff_ids):
        return config.history
    return [History(created=config.created, comment="a layer of the base") for _ in config.diff_ids]


def _platform_of(base: Image | None, closure: Closure) -> Platform:
    if base is not None:
        config = base.config
        return Platform(config.os, config.architecture, config.variant)
    words = {p.package_set.architecture for p in closure.packages if p.package_set is not None}
    known = sorted(word for word in words if word)
    return Platform.parse(f"linux/{known[0]}") if known else Platform.host()


def _tag_of(name: str, config: bytes) -> str:
    """A tag that says what went in: 160 bits in Nix's digits, as the hash of a store path is."""
    number = int.from_bytes(hashlib.sha256(name.encode() + b"\0" + config).digest()[:20], "big")
    return "".join(_BASE32[number >> shift & 31] for shift in range(155, -1, -5))
