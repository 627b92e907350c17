"""Fetching blobs: large ones into the blob store, small ones into memory.

    await pull_blob(hosts, reference, descriptor, store)

A blob arrives beside the store (`nbdock.content.landing`) and is hashed as it comes. A broken body
is taken up with ``Range``, by this process or, if it was killed, by the next; of several tasks and
processes that want one blob, one fetches it. Only a blob whose size and digest are those of its
descriptor gets a name in the store, and a layer only if it holds the tar that its image promises.
"""

from __future__ import annotations

import os
import threading

from nbdock.concurrency import in_stoppable_worker, in_worker
from nbdock.content import BlobStore, LayerCheck, landing
from nbdock.errors import (
    ArchiveError,
    DigestMismatchError,
    RegistryError,
    SizeMismatchError,
    TransportError,
    UnsafeDestinationError,
)
from nbdock.oci import Descriptor, Digest, Reference
from nbdock.registry.answers import is_missing
from nbdock.registry.host import BlobRequests
from nbdock.registry.hosts import Hosts
from nbdock.registry.repository import Repository
from nbdock.transport import TransferProgress, download, redacted

__all__ = ["blob_bytes", "pull_blob"]

_FOREIGN_PLACES = 5


async def pull_blob(
    hosts: Hosts,
    reference: Reference,
    descriptor: Descriptor,
    store: BlobStore,
    *,
    check: LayerCheck | None = None,
    progress: TransferProgress | None = None,
) -> None:
    """Put a blob into the store; see `RegistryClient.pull_blob`."""
    digest, size_bytes = descriptor.digest, descriptor.size_bytes
    if descriptor.data is not None:
        if check is not None:
            check.restart()
            await in_worker(check.update, memoryview(descriptor.data))
            await in_worker(check.finish)
        await in_worker(store.add, descriptor.data, algorithm=digest.algorithm)
    else:
        async with landing(store, digest, size_bytes) as path:
            if path is not None:
                await hosts.first(
                    reference, lambda where: _fetch(where, descriptor, path, check, progress)
                )
                if check is not None:
                    await _finish(check, path)
            elif check is not None:
                stop = threading.Event()
                await in_stoppable_worker(stop, check.read, store, stop)
    if progress is not None:
        progress(size_bytes, size_bytes)


async def _finish(check: LayerCheck, path: str) -> None:
    try:
        await in_worker(check.finish)
    except (ArchiveError, DigestMismatchError):
        # Its own digest is right: whoever found it there would go on from it.
        os.unlink(path)
        raise


async def _fetch(
    repository: Repository,
    descriptor: Descriptor,
    path: str,
    check: LayerCheck | None,
    progress: TransferProgress | None,
) -> None:
    """Download a blob to a path: from the registry or, if it may be elsewhere, from there."""
    digest, size_bytes = descriptor.digest, descriptor.size_bytes
    host = repository.host
    requests = BlobRequests(host, repository.access("pull"), _what(repository, digest))
    url = await repository.url(f"blobs/{digest}")
    try:
        await download(requests, url, path, digest, size_bytes, progress, check)
        return
    except RegistryError as error:
        if not is_missing(error) or not descriptor.urls:
            raise
        if not host.limits.registry_foreign_layers:
            error.hint = (
                f"Its bytes are not in the registry but at {redacted(descriptor.urls[0])}, says "
                "the image. They are fetched from there if the setting registry_foreign_layers "
                "is True."
            )
            raise
    for url in descriptor.urls[:_FOREIGN_PLACES]:
        # By the transport itself, which knows no login: these places are the image's choice.
        try:
            url = host.led_to(url)
            await download(host.transport, url, path, digest, size_bytes, progress, check)
            return
        except (TransportError, UnsafeDestinationError) as error:
            last = error
    raise last


async def blob_bytes(repository: Repository, descriptor: Descriptor, limit_bytes: int) -> bytes:
    """The bytes of a small blob; see `RegistryClient.blob_bytes`."""
    digest, size_bytes = descriptor.digest, descriptor.size_bytes
    what = _what(repository, digest)
    if size_bytes > limit_bytes:
        raise SizeMismatchError(
            f"The document {digest} of {repository.name} has {size_bytes:,} bytes, more than "
            f"{limit_bytes:,}.",
            expected_bytes=limit_bytes,
            actual_bytes=size_bytes,
            digest=str(digest),
            hint="If it is meant to be so large, raise the setting json_limit_bytes.",
        )
    if descriptor.data is not None:
        return descriptor.data
    answer = await repository.host.fetch(
        "GET",
        await repository.url(f"blobs/{digest}"),
        limit_bytes=limit_bytes,
        what=what,
        access=repository.access("pull"),
    )
    if len(answer.body) != size_bytes:
        raise SizeMismatchError(
            f"The registry sent {len(answer.body):,} bytes as {what}, not {size_bytes:,}.",
            expected_bytes=size_bytes,
            actual_bytes=len(answer.body),
            digest=str(digest),
            hint="The registry's copy is damaged or was replaced; it was not used.",
        )
    actual = Digest.of(answer.body, algorithm=digest.algorithm)
    if actual != digest:
        raise DigestMismatchError(
            f"The registry sent {actual} as {what}.",
            digest=str(digest),
            actual=str(actual),
            hint="The registry's copy is damaged or was replaced; it was not used.",
        )
    return answer.body


def _what(repository: Repository, digest: Digest) -> str:
    return f"the blob {digest} of {repository.name}"
