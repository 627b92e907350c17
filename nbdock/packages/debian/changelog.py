r"""Changelogs of Debian packages: which versions there were, and when.

Every .deb has the changelog of its source under ``usr/share/doc``, newest entry first:

    >>> data = b'''hello (2.10-3) unstable; urgency=medium
    ...
    ...   * Fix CVE-2025-0001 and CVE-2025-0002.
    ...
    ...  -- A. Maintainer <a@example.org>  Mon, 26 Dec 2022 16:30:00 +0100
    ... '''
    >>> (upload,) = parse_changelog(data)
    >>> upload.version, upload.suite, f"{upload.date:%Y-%m-%d %H:%M}", upload.vulnerabilities
    ('2.10-3', 'unstable', '2022-12-26 15:30', 2)

What is no entry is passed over, for changelogs go back to 1993, and were written by hand.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import itertools
import logging
import os
import re
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime

from nbdock import settings
from nbdock.content import open_decompressed
from nbdock.errors import ArchiveError
from nbdock.filetree import Entry, EntryKind, read_tar
from nbdock.packages.debian.debmembers import deb_members, member_content

__all__ = ["Upload", "deb_uploads", "parse_changelog"]

_log = logging.getLogger(__name__)

UPLOADS_LIMIT = 5_000
"""The most entries that are taken of one changelog, the newest. Count."""

# Header and trailer of an entry (deb-changelog(5)), laxly; lines are long only in hostile ones.
_LINES = re.compile(
    rb"^(?:(?P<source>[0-9A-Za-z][0-9A-Za-z+.-]{0,200})[ \t]+\((?P<version>[^()\s]{1,200})\)"
    rb"(?P<suites>[^;\n]{0,200});"
    rb"| --[ \t][^\n]{0,1000}>[ \t]*(?P<date>[^\n]{0,100}))",
    re.MULTILINE,
)
_VULNERABILITY = re.compile(rb"CVE-[12][0-9]{3}-[0-9]{4,9}")


@dataclasses.dataclass(frozen=True, slots=True)
class Upload:
    """One entry of a changelog: a version of a source.

    Attributes
    ----------
    source, version
        The source and its version; a rebuild without changes has ``+b1`` behind it.
    suite
        Where it was sent to, such as ``unstable`` or ``bookworm-security``; may be empty.
    date
        When the entry was signed, in UTC.
    vulnerabilities
        How many CVE numbers its text names. Count.
    """

    source: str
    version: str
    suite: str
    date: dt.datetime
    vulnerabilities: int = 0


def parse_changelog(data: bytes) -> Iterator[Upload]:
    """The entries of a changelog, in its order, at most `UPLOADS_LIMIT`."""
    return itertools.islice(_uploads(data), UPLOADS_LIMIT)


def _uploads(data: bytes) -> Iterator[Upload]:
    header: re.Match[bytes] | None = None
    for line in _LINES.finditer(data):
        if line["source"]:
            header = line
            continue
        if header is None:
            continue
        date = _date(line["date"])
        if date is not None:
            found = _VULNERABILITY.findall(data, header.end(), line.start())
            yield Upload(
                header["source"].decode(),
                header["version"].decode("utf-8", "replace"),
                (header["suites"].split() or [b""])[0].decode("utf-8", "replace"),
                date,
                len(set(found)),
            )
        header = None


def _date(text: bytes) -> dt.datetime | None:
    try:
        date = parsedate_to_datetime(text.decode("ascii").strip())
        date = date if date.tzinfo else date.replace(tzinfo=dt.UTC)
        return date.astimezone(dt.UTC)
    except (ValueError, TypeError, IndexError, OverflowError, UnicodeDecodeError):
        return None


def deb_uploads(path: str | os.PathLike[str], name: str) -> tuple[Upload, ...]:
    """The entries of the changelog in a .deb. Blocking: reads the archive as far as needed.

    Of a changelog that is very long, those at its beginning (`settings.deb_changelog_limit_bytes`).

    Parameters
    ----------
    name
        The name of the package.

    Returns
    -------
    tuple of Upload
        Rebuilds of the package alone among them. None if it has no changelog of its own: packages
        of one source may share a directory, which all but one of them have as a symlink.

    Raises
    ------
    ArchiveError
        The .deb is damaged.
    """
    where = b"usr/share/doc/" + name.encode() + b"/changelog"
    found: dict[bytes, tuple[Upload, ...]] = {}
    try:
        with open(path, "rb", buffering=0) as file:
            _, data = deb_members(file)
            for entry in read_tar(member_content(file, data)):
                if not entry.path.startswith(where) or entry.kind is not EntryKind.FILE:
                    continue
                ending = entry.path[len(where) :].removesuffix(b".gz")
                # ``changelog.Debian.amd64`` has what concerns this architecture's build alone;
                # of a source that is Debian's own, ``changelog`` is the changelog.
                if ending in {b"", b".Debian"} or re.fullmatch(rb"\.Debian\.[a-z0-9-]+", ending):
                    found[ending] = tuple(parse_changelog(_text(entry)))
                if ending == b".Debian":
                    break
    except OSError as error:
        raise ArchiveError(
            f"The package {os.path.basename(path)!r} cannot be read: {error.strerror}.",
            hint="Fetch it again.",
        ) from error
    if len(found) > 1:
        found.pop(b"", None)
    return tuple(upload for ending in sorted(found, reverse=True) for upload in found[ending])


def _text(entry: Entry) -> bytes:
    """The content of a changelog, decompressed, up to the limit; what follows is older."""
    limit = settings.current().deb_changelog_limit_bytes
    assert entry.content is not None
    raw = _first(entry.content.chunks(), limit)
    if not entry.path.endswith(b".gz"):
        return raw
    text: list[bytes] = []
    try:
        _first(open_decompressed(io.BytesIO(raw), codec="gzip").pieces(), limit, text)
    except ArchiveError as error:
        # Nobody needs it to install the package: what can be read of it is read.
        _log.warning("%s: %s", os.fsdecode(entry.path), error)
    return b"".join(text)[:limit]


def _first(
    pieces: Iterable[bytes | memoryview], limit: int, text: list[bytes] | None = None
) -> bytes:
    """As many pieces as make up `limit` bytes, which `text` has also if there is an error."""
    found = [] if text is None else text
    length = 0
    for piece in pieces:
        found.append(bytes(piece))
        length += len(piece)
        if length >= limit:
            break
    return b"".join(found)[:limit]
