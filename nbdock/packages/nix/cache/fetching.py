"""Bringing NARs here: fetched in parallel, decompressed and verified once, kept under their hashes.

A NAR that is here is a blob of the image store: uncompressed, under the SHA-256 that its narinfo
announced and a key signed. It got there whole, with that hash, and with names that cannot lead
outside of it; nothing before that point is visible, and nothing after it needs to be decompressed
or verified again. Where no key signed, and the path is to vouch for its content, the NAR is also
compared with the path, once for each path. (Why not verify as a layer is written: a lie would be
found in the middle of a layer, and each layer would decompress again. What it costs: 1.0 to 1.3
times the processor time of decompressing xz alone, and reading the NAR later takes a tenth of that.
The disk holds it uncompressed, as a Nix store does.)

    await fetch_nars(located)
    nar_path(located[0].info)
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from pathlib import Path

from nbdock import settings
from nbdock.concurrency import gather_limited, in_stoppable_worker, in_worker
from nbdock.content import BlobStore, only_one, open_decompressed
from nbdock.errors import (
    ArchiveError,
    BinaryCacheError,
    ContentError,
    DigestMismatchError,
    HttpStatusError,
    PackageNotFoundError,
    SizeMismatchError,
)
from nbdock.oci import Digest
from nbdock.packages.memory import recall, remember
from nbdock.packages.nix.cache.binarycache import open_transport
from nbdock.packages.nix.cache.contentaddress import check_content
from nbdock.packages.nix.cache.lookup import Located, forget_narinfos
from nbdock.packages.nix.narreader import read_nar
from nbdock.packages.nix.storepackage import PathInfo
from nbdock.packages.package import Progress
from nbdock.packages.tally import Tally
from nbdock.transport import TransferProgress, Transport

__all__ = ["fetch_nars", "nar_path"]

_CODECS = ("xz", "zstd", "none", "bzip2", "gzip")
_PROVEN = "nix-content"
# What compression may add to what cannot be compressed.
_SLACK_BYTES = 1 << 16


def nar_path(info: PathInfo) -> Path | None:
    """Where the NAR of a store path lies; None if it is not here."""
    store = BlobStore.default()
    return store.path_of(info.nar_hash) if store.has(info.nar_hash, info.nar_size_bytes) else None


async def fetch_nars(located: Iterable[Located], *, progress: Progress | None = None) -> None:
    """Bring the NARs of store paths here, each verified by its hash and size.

    Parameters
    ----------
    progress
        Told ("Fetching packages", compressed bytes arrived, bytes in all).

    Raises
    ------
    DigestMismatchError, SizeMismatchError, ArchiveError
        A NAR is not what the narinfo announced, or nothing that Nix would have written.
    BinaryCacheError, PackageNotFoundError
        A NAR is compressed in a way that nbdock does not read; or it is not there.
    TransportError, StorageFullError, ContentError
        A NAR cannot be fetched or kept.
    """
    missing, unproven = await in_worker(_sorted_out, list(located))
    if missing:
        await _fetch_all(missing, progress)
    for one in unproven:
        async with _judging(one):
            await _prove(one)


async def _fetch_all(missing: list[Located], progress: Progress | None) -> None:
    sizes = [one.narinfo.file_size_bytes or one.info.nar_size_bytes for one in missing]
    tally = Tally("Fetching packages", progress, total_bytes=sum(sizes))
    limit = settings.current().connections
    async with open_transport() as transport:
        await gather_limited(
            [
                functools.partial(_fetch, transport, one, tally.part(one.info.path.name, size))
                for one, size in zip(missing, sizes, strict=True)
            ],
            limit,
        )


def _sorted_out(located: list[Located]) -> tuple[list[Located], list[Located]]:
    """Those to be fetched, the largest first so that no large one is left for the end.

    And those whose NAR is here, or comes, on another path's account, though nobody but the path
    itself vouches for it: that it has the announced hash does not say that it is the path's.
    """
    store, found, unproven = BlobStore.default(), {}, []
    for one in located:
        nar = (one.info.nar_hash, one.info.nar_size_bytes)
        if nar not in found and not store.has(*nar):
            found[nar] = _checked(one)
        elif not one.is_signed:
            unproven.append(one)
    missing = sorted(found.values(), key=lambda one: (-one.info.nar_size_bytes, one.info.nar_hash))
    return missing, unproven


def _checked(one: Located) -> Located:
    limit = settings.current().nix_nar_limit_bytes
    compression = one.narinfo.compression
    problem = hint = ""
    if compression not in _CODECS:
        problem = f"is compressed with {compression[:40]!r}"
        hint = f"nbdock reads {', '.join(_CODECS)}. Another cache may have it."
    elif one.info.nar_size_bytes > limit:
        problem = f"has {one.info.nar_size_bytes:,} bytes, more than {limit:,}"
        hint = "The largest that is fetched is the setting nix_nar_limit_bytes."
    if problem:
        forget_narinfos([one])
        raise BinaryCacheError(
            f"{one.info.path} in the binary cache {one.cache.shown} {problem}.",
            package=str(one.info.path),
            cache=one.cache.shown,
            hint=hint,
        )
    return one


async def _fetch(transport: Transport, one: Located, progress: TransferProgress) -> None:
    """Fetch one NAR, unless another thread or process does so in the meantime."""
    address, info = one.cache.nar_address(one.narinfo), one.info
    async with _only_one(info), _judging(one):
        if await in_worker(nar_path, info):
            await _prove(one)
            return
        try:
            if one.cache.directory:
                await _keep(one, address)
                progress(one.narinfo.file_size_bytes or info.nar_size_bytes, 0)
                return
            file_hash = one.narinfo.file_hash
            name = file_hash.hex if file_hash else hashlib.sha256(address.encode()).hexdigest()
            file = os.path.join(settings.current().home, "downloads", f"{name}.nar")
            try:
                await transport.download(
                    address,
                    file,
                    sha256=file_hash.hex if file_hash else None,
                    size_bytes=one.narinfo.file_size_bytes,
                    progress=_bounded(one, progress),
                )
                await _keep(one, file)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file)
        except HttpStatusError as error:
            if error.status not in {403, 404, 410}:
                raise
            await in_worker(forget_narinfos, [one])
            raise _gone(one) from error


@contextlib.asynccontextmanager
async def _judging(one: Located) -> AsyncIterator[None]:
    """Where a NAR is not as it should be, its narinfo may be out of date: it is asked for again."""
    try:
        yield
    except (ArchiveError, DigestMismatchError, SizeMismatchError) as error:
        await in_worker(forget_narinfos, [one])
        if str(one.info.path) not in error.message:
            error.message = f"{one.info.path} from {one.cache.shown}: {error.message}"
        raise


def _gone(one: Located) -> PackageNotFoundError:
    return PackageNotFoundError(
        f"The binary cache {one.cache.shown} describes {one.info.path}, but does not have its "
        f"NAR ({one.narinfo.url}).",
        package=str(one.info.path),
        hint="It may have been deleted there a moment ago. Try again, or name another cache.",
    )


def _bounded(one: Located, progress: TransferProgress) -> TransferProgress:
    """Stops a body without an end; where the size is known, the transport does."""
    most = one.info.nar_size_bytes + one.info.nar_size_bytes // 8 + _SLACK_BYTES

    def report(arrived: int, total: int) -> None:
        if arrived > most:
            raise SizeMismatchError(
                f"The compressed NAR has more than {most:,} bytes, and uncompressed it should have "
                f"{one.info.nar_size_bytes:,}.",
                expected_bytes=one.info.nar_size_bytes,
                actual_bytes=arrived,
                hint="The cache lies about it; it was not used.",
            )
        progress(arrived, total)

    return report


async def _keep(one: Located, file: str) -> None:
    stop = threading.Event()
    await in_stoppable_worker(stop, _keep_now, one, file, stop)


def _keep_now(one: Located, file: str, stop: threading.Event) -> None:
    """Decompress a NAR into the store, checking all there is to check on the way."""
    info, codec = one.info, one.narinfo.compression
    if not one.is_signed:
        _prove_now(one, file, codec, stop)
    with (
        BlobStore.default().writer() as blob,
        contextlib.closing(_pieces(one, file, codec, stop)) as pieces,
    ):
        for _ in read_nar(_passed(pieces, blob.write)):
            pass
        try:
            blob.commit(info.nar_hash, expected_size_bytes=info.nar_size_bytes)
        except DigestMismatchError as error:
            raise _other_nar(one, error.actual) from None


def _other_nar(one: Located, actual: object) -> DigestMismatchError:
    return DigestMismatchError(
        f"The NAR of {one.info.path} from {one.cache.shown} has the hash {actual}, "
        f"not {one.info.nar_hash} as announced.",
        digest=str(one.info.nar_hash),
        actual=str(actual),
        hint="It is damaged or forged; it was not used. Another cache may have it.",
    )


def _passed(pieces: Iterable[bytes], sink: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        sink(piece)
        yield piece


async def _prove(one: Located) -> None:
    """Make sure that the NAR that is here is what the path promises, if only the path does."""
    if not one.is_signed:
        stop = threading.Event()
        path = str(BlobStore.default().path_of(one.info.nar_hash))
        await in_stoppable_worker(stop, _prove_now, one, path, "none", stop)


def _prove_now(one: Located, file: str, codec: str, stop: threading.Event) -> None:
    """The same of a file; what has the announced hash need not be looked at again."""
    info = one.info
    key = f"{info.path} {info.content_address} {info.nar_hash}"
    if recall(_PROVEN, [key]):
        return
    hasher = hashlib.sha256()
    with contextlib.closing(_pieces(one, file, codec, stop)) as pieces:
        check_content(info, _passed(pieces, hasher.update))
    actual = Digest.of_hasher(hasher)
    if actual != info.nar_hash:
        raise _other_nar(one, actual)
    remember(_PROVEN, {key: b"1"})


def _pieces(
    one: Located, file: str, codec: str, stop: threading.Event
) -> Generator[bytes, None, None]:
    try:
        stream = open_decompressed(file, codec=codec, limit_bytes=one.info.nar_size_bytes)
    except FileNotFoundError as error:
        raise _gone(one) from error
    except OSError as error:
        raise BinaryCacheError(
            f"{file} cannot be read: {error.strerror}.", cache=one.cache.shown
        ) from error
    with stream:
        for piece in stream.pieces():
            if stop.is_set():
                raise ContentError("Stopped.")
            yield piece


def _only_one(info: PathInfo) -> contextlib.AbstractAsyncContextManager[None]:
    """One thread or process at a time has a NAR in its hands."""
    lock = os.path.join(settings.current().home, "downloads", f"{info.nar_hash.hex}.lock")
    return only_one(lock, "fetch a package")
