"""What a tar says of its entries, as an Arrow table: every field, a digest of every content.

    table = collect(read_tar(stream), hashes=True)
    table["path"], table["digest"]

Names in a layer are any bytes, so here they are binary; `nbdock.tables.text` shows them as text.
Whiteouts are rows like any other, under the path that they hide.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from math import floor
from typing import TYPE_CHECKING, Any, Final

from nbdock.filetree import Entry, EntryKind, WhiteoutKind, parse_whiteout

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "KINDS", "VERSION", "Kind", "collect", "schema"]

VERSION: Final = 1
"""Of the files' form and meaning: files of another version are not looked at."""

KINDS: Final = (
    "file", "directory", "symlink", "hardlink", "character device", "block device", "fifo",
    "whiteout", "opaque whiteout", "reserved",
)  # fmt: skip
"""What the numbers of the column ``kind`` mean. A whiteout's path is the path that it hides."""


class Kind:
    """The numbers that code speaks of by name."""

    FILE: Final = 0
    DIRECTORY: Final = 1
    HARDLINK: Final = 3
    WHITEOUT: Final = 7
    OPAQUE: Final = 8
    RESERVED: Final = 9


_CODE_OF_KIND = {kind: KINDS.index(kind.value) for kind in EntryKind}
_CODE_OF_WHITEOUT = {
    WhiteoutKind.NAME: Kind.WHITEOUT,
    WhiteoutKind.OPAQUE: Kind.OPAQUE,
    WhiteoutKind.RESERVED: Kind.RESERVED,
}

COLUMNS: Final = (
    "path", "kind", "mode", "uid", "gid", "uname", "gname", "size_bytes", "mtime", "link_target",
    "link_row", "device_major", "device_minor", "xattrs", "digest", "content",
)  # fmt: skip
"""``link_row`` is where in the layer the file stands that a hardlink is bound to; ``xattrs`` is
JSON, values in hexadecimal; ``content`` is kept of what package managers write down."""

_BATCH_ROWS = 1 << 16
_INT64 = (1 << 63) - 1
# Years 1 to 9999: what Python and pandas can show.
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799

_RECORDS = re.compile(
    rb"(?:usr/)?(?:"
    rb"var/lib/dpkg/(?:status|status\.d/[^/]+)"
    rb"|lib/apk/db/installed"
    rb"|(?:var/lib/rpm|lib/sysimage/rpm)/(?:rpmdb\.sqlite|Packages|Packages\.db)"
    rb"|nix/var/nix/db/db\.sqlite"
    rb")\Z"
    rb"|(?:.*/)?[^/]+\.(?:dist-info/(?:METADATA|RECORD)|egg-info(?:/PKG-INFO)?)\Z",
    re.DOTALL,
)
_RECORD_ENDS = (
    b"/status", b"/installed", b"/rpmdb.sqlite", b"/Packages", b"/Packages.db", b"/db.sqlite",
    b"/METADATA", b"/RECORD", b"/PKG-INFO", b".egg-info",
)  # fmt: skip
_RECORD_LIMIT_BYTES = 128 << 20
_RECORDS_LIMIT_BYTES = 512 << 20


def schema() -> pa.Schema:
    """The types of all `COLUMNS`."""
    import pyarrow as pa

    names = pa.dictionary(pa.int32(), pa.binary())
    kinds = {
        "path": pa.large_binary(), "kind": pa.int8(), "mode": pa.uint16(), "uid": pa.int64(),
        "gid": pa.int64(), "uname": names, "gname": names, "size_bytes": pa.int64(),
        "mtime": pa.timestamp("us", tz="UTC"), "link_target": pa.large_binary(),
        "link_row": pa.int64(), "device_major": pa.int64(), "device_minor": pa.int64(),
        "xattrs": pa.string(), "digest": pa.binary(32), "content": pa.large_binary(),
    }  # fmt: skip
    return pa.schema([(name, kinds[name]) for name in COLUMNS])


def collect(entries: Iterator[Entry], *, hashes: bool) -> pa.Table:
    """All entries of an archive; with `hashes`, every file is read."""
    import pyarrow as pa

    sha256 = hashlib.sha256
    form = schema()
    batches: list[pa.RecordBatch] = []
    rows: list[tuple[Any, ...]] = []

    def flush() -> None:
        columns = zip(*rows, strict=True) if rows else ((),) * len(form)
        arrays = [
            pa.array(values, type=field.type) for values, field in zip(columns, form, strict=True)
        ]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=form))
        rows.clear()

    encoded = _Encoded()
    row_of: dict[bytes, int] = {}
    file_of: dict[int, int | None] = {}
    room_bytes = _RECORDS_LIMIT_BYTES
    file_kind, hardlink_kind = EntryKind.FILE, EntryKind.HARDLINK
    for row, entry in enumerate(entries):
        path, kind = entry.path, entry.kind
        digest = content = target = link_row = None
        code = Kind.FILE if kind is file_kind else _CODE_OF_KIND[kind]
        whiteout = parse_whiteout(path) if b".wh." in path else None
        if whiteout is not None:
            path, code = whiteout.path, _CODE_OF_WHITEOUT[whiteout.kind]
        elif kind is file_kind:
            size = entry.size_bytes
            if (
                (path.endswith(_RECORD_ENDS) or b"/status.d/" in path)
                and size <= min(_RECORD_LIMIT_BYTES, room_bytes)
                and _RECORDS.match(path)
            ):
                content = entry.read()
                room_bytes -= size
                if hashes:
                    digest = sha256(content).digest()
            elif hashes:
                hasher = sha256()
                if size:
                    assert entry.content is not None
                    for piece in entry.content.chunks():
                        hasher.update(piece)
                digest = hasher.digest()
        elif entry.linkname:
            target = entry.linkname
            if kind is hardlink_kind:
                # A hardlink to a hardlink is one to the same file.
                found = row_of.get(target)
                link_row = file_of[row] = file_of.get(found, found) if found is not None else None
        if whiteout is None:
            row_of[path] = row
        mtime = entry.mtime
        uid, gid, xattrs = entry.uid, entry.gid, entry.xattrs
        if not (0 <= uid <= _INT64 and 0 <= gid <= _INT64):
            # No system has such owners, but a header can name them.
            uid, gid = (max(-_INT64, min(number, _INT64)) for number in (uid, gid))
        rows.append((
            path, code, entry.mode, uid, gid, encoded[entry.uname], encoded[entry.gname],
            entry.size_bytes if code == Kind.FILE else 0,
            floor(mtime * 1_000_000) if _FIRST_S <= mtime <= _LAST_S else None, target, link_row,
            entry.device_major, entry.device_minor,
            _as_json(xattrs) if xattrs else None, digest, content,
        ))  # fmt: skip
        if row % _BATCH_ROWS == _BATCH_ROWS - 1:
            flush()
    flush()
    table = pa.Table.from_batches(batches, schema=form).unify_dictionaries()
    if file_of and hashes:
        import pyarrow.compute as pc

        # The digest of a hardlink is that of the file that it is bound to.
        linked = pc.take(table["digest"].combine_chunks(), table["link_row"].combine_chunks())
        merged = pc.coalesce(table["digest"].combine_chunks(), linked)
        table = table.set_column(COLUMNS.index("digest"), form.field("digest"), merged)
    return table


class _Encoded(dict[str, bytes]):
    """Owners' names as bytes; few are in a layer, each many times."""

    def __missing__(self, name: str) -> bytes:
        self[name] = name.encode("utf-8", "surrogateescape")
        return self[name]


def _as_json(xattrs: Mapping[str, bytes]) -> str:
    return json.dumps({name: value.hex() for name, value in xattrs.items()}, sort_keys=True)
