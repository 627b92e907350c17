"""Packages themselves: .deb files, fetched in parallel, verified, kept under their digests.

A file in ``<home>/downloads/`` has the name of its SHA-256 and got it only after it was verified;
it is never hashed or fetched again. Archives on local disks are read where they are, after one look
at their digest that is remembered as long as the file does not change.

    await fetch_debs(records)
    deb_path(records[0])        # a file that has exactly the announced content
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from nbdock import settings
from nbdock.concurrency import gather_limited, in_worker
from nbdock.errors import (
    DigestMismatchError,
    HttpStatusError,
    PackageError,
    PackageNotFoundError,
    SizeMismatchError,
)
from nbdock.packages.atomically import write_atomically
from nbdock.packages.debian.access import local_path, open_transport
from nbdock.packages.debian.configuration import AptConfiguration, host_configuration
from nbdock.packages.debian.record import PackageRecord
from nbdock.packages.package import Progress
from nbdock.packages.tally import Tally
from nbdock.transport import Transport

__all__ = ["deb_path", "fetch_debs"]


def _downloads() -> str:
    return os.path.join(settings.current().home, "downloads")


def deb_path(record: PackageRecord) -> Path:
    """Where the .deb of a record lies once `fetch_debs` has returned.

    Raises
    ------
    PackageError
        The package list gives no SHA-256 for it.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", record.sha256):
        raise PackageError(
            f"The package list has no SHA-256 for {record}.",
            package=record.name,
            hint="Its archive is too old to be verified; use another.",
        )
    local = local_path(record.url)
    return Path(local or os.path.join(_downloads(), f"{record.sha256}.deb"))


async def fetch_debs(
    records: Iterable[PackageRecord],
    *,
    progress: Progress | None = None,
    configuration: AptConfiguration | None = None,
) -> None:
    """Bring the .debs of `records` here, each verified by size and SHA-256.

    What is here already is not fetched; with all of them here, nothing is opened at all.

    Parameters
    ----------
    progress
        Told ("Fetching packages", bytes arrived, bytes in all).
    configuration
        Whose proxies and logins to use; default: this machine's.

    Raises
    ------
    PackageNotFoundError
        The archive no longer has one of them.
    DigestMismatchError, SizeMismatchError
        A file is not the one that the signed lists announce.
    TransportError, StorageFullError, PackageError
        A file cannot be had.
    """
    missing = await in_worker(_missing, list(records))
    if not missing:
        return
    tally = Tally(
        "Fetching packages", progress, total_bytes=sum(record.size_bytes for record in missing)
    )
    if configuration is None:
        configuration = await in_worker(host_configuration)
    async with open_transport(configuration) as transport:
        await gather_limited(
            [functools.partial(_fetch, transport, record, tally) for record in missing],
            settings.current().connections,
        )


def _missing(records: list[PackageRecord]) -> list[PackageRecord]:
    """Those not here yet, the largest first so that no large one is left for the end."""
    found: dict[str, PackageRecord] = {}
    for record in records:
        path = deb_path(record)
        if local_path(record.url) is not None:
            _check_in_place(record, path)
            continue
        try:
            size = path.stat().st_size
            with contextlib.suppress(PermissionError):
                os.utime(path)  # what has not been used for long is pruned
        except FileNotFoundError:
            size = -1
        # The size guards against a disk that lost what it had promised to keep.
        if size != record.size_bytes:
            found.setdefault(record.sha256, record)
    return sorted(found.values(), key=lambda record: (-record.size_bytes, record.sha256))


async def _fetch(transport: Transport, record: PackageRecord, tally: Tally) -> None:
    try:
        await transport.download(
            record.url,
            deb_path(record),
            sha256=record.sha256,
            size_bytes=record.size_bytes,
            progress=tally.part(record.name, record.size_bytes),
        )
    except HttpStatusError as error:
        if error.status not in {404, 410}:
            raise
        raise PackageNotFoundError(
            f"The archive no longer has {record} ({error.url}).",
            package=record.name,
            hint="Its package list is newer than what is remembered here: ask again with "
            "apt(refresh=True).",
        ) from error


def _check_in_place(record: PackageRecord, path: Path) -> None:
    """Verify a file of a local archive, unless it was and has not changed since."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise PackageNotFoundError(
            f"The archive has no file for {record}: {path} ({error.strerror}).",
            package=record.name,
            hint="Its package list is out of date; make it anew.",
        ) from error
    with file:
        facts = os.fstat(file.fileno())
        if facts.st_size != record.size_bytes:
            raise SizeMismatchError(
                f"{path} has {facts.st_size:,} bytes, not {record.size_bytes:,} as announced.",
                expected_bytes=record.size_bytes,
                actual_bytes=facts.st_size,
                path=str(path),
                hint="The archive's package list is out of date; make it anew.",
            )
        stamp = f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}".encode()
        note = os.path.join(_downloads(), f"{record.sha256}.verified")
        try:
            if Path(note).read_bytes() == stamp:
                return
        except OSError:
            pass
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != record.sha256:
        raise DigestMismatchError(
            f"{path} has the SHA-256 {actual}, not {record.sha256} as announced.",
            digest=f"sha256:{record.sha256}",
            actual=f"sha256:{actual}",
            path=str(path),
            hint="The archive is damaged or its package list out of date; it was not used.",
        )
    write_atomically(note, stamp)
