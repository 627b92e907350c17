"""`file_table`: every entry of every layer of an image as a DataFrame.

>>> import nbdock
>>> motd = nbdock.text_file("etc/motd", "hello")
>>> image = nbdock.concurrency.run(nbdock.build_image("motd", contents=motd))
>>> nbdock.file_table(image)[["layer", "path", "kind", "size_bytes", "change", "visible"]]
   layer       path       kind  size_bytes change  visible
0      0       /etc  directory           0  added     True
1      0  /etc/motd       file           5  added     True

What a container sees is ``table[table.visible]``, and what takes the room in it
``table[table.visible].nlargest(10, "size_bytes")``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.oci import Platform
from nbdock.packages import Progress
from nbdock.tables.arrowtext import to_digests, to_paths, to_text
from nbdock.tables.imagefiles import CHANGES, ImageFiles, read_files
from nbdock.tables.layerentries import KINDS, Kind
from nbdock.tables.marking import table_function
from nbdock.tables.opening import open_image
from nbdock.tables.overlaying import Rows
from nbdock.tables.subjects import Subject

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["file_table"]


@table_function
def file_table(
    image: Subject,
    *,
    hashes: bool = True,
    layers: int | None = None,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    r"""The entries of all layers of an image, the lowest layer first, in the layers' own order.

    A layer is read once, ever: what is in it is kept beside the image store.

    Parameters
    ----------
    image
        An image; the path of an archive or a layout; a name in a registry (``redis:7``), which is
        pulled; or in a running engine (``docker-daemon:redis:7``).
    hashes
        Whether the contents' digests are needed. Without them nothing is hashed; a layer that was
        read without is read again when they are.
    layers
        How many of its layers, from the lowest, as if there were no others: ``visible`` is what a
        container of those sees. By default all.
    platform, tls_verify
        As for `layer_table`.
    progress
        Called with what is being done, how much is done, and how much there is.

    Returns
    -------
    pandas.DataFrame
        One row for each entry, whiteouts among them, with the columns

        - ``layer``: position of its layer, from 0,
        - ``path``: absolute; a byte that is no UTF-8 stands as ``\xff``; for a whiteout the path
          that it hides,
        - ``kind``: file, directory, symlink, hardlink, character device, block device, fifo,
          whiteout (hides the path), opaque whiteout (hides all below it), reserved (AUFS),
        - ``mode``: permission bits with setuid, setgid and sticky, as a number (``0o7777``),
        - ``uid``, ``gid``: of the owner,
        - ``size_bytes``: bytes of a file's content; 0 for all else, hardlinks too,
        - ``mtime``: when it was changed, in UTC, to the microsecond; NaT outside years 1 to 9999,
        - ``link_target``: of a symlink as it stands there, of a hardlink the path,
        - ``digest``: SHA-256 of the content, of a hardlink that of its file if that is in the same
          layer; missing for all else, and without `hashes`,
        - ``change``: added, modified, deleted (whiteouts), or unchanged: the layers below have
          the same there (files only if they were hashed); missing for what changes nothing,
        - ``visible``: whether a container sees it.

    Raises
    ------
    ArgumentTypeError
        Something that is no image.
    ImageNotFoundError, ManifestNotFoundError, PlatformNotFoundError
        There is no such image.
    ArchiveError, DigestMismatchError
        A layer that is damaged; the message names it.
    """
    found = open_image(image, platform=platform, tls_verify=tls_verify, progress=progress)
    files = read_files(found, hashes=hashes, progress=progress)
    return table_of(files if layers is None else files.lowest(layers))


def table_of(files: ImageFiles, rows: Rows | None = None) -> pd.DataFrame:
    """The same for an image that was read; with `rows` only those of the table."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    places: Rows | slice = slice(None) if rows is None else rows

    def column(name: str) -> pa.Array:
        whole = files.column(name)
        return whole if rows is None else whole.take(pa.array(rows))

    targets, kinds = column("link_target"), files.kinds[places]
    linked = pa.array(kinds == Kind.HARDLINK)
    texts = pa.table(
        {
            "path": to_paths(column("path")),
            "link_target": pc.if_else(linked, to_paths(targets), to_text(targets)),
            "digest": to_digests(column("digest")),
            "mtime": column("mtime"),
        }
    ).to_pandas(split_blocks=True)
    return pd.DataFrame(
        {
            "layer": files.layer[places],
            "path": texts["path"].array,
            "kind": pd.Categorical.from_codes(kinds, pd.Index(KINDS)),
            "mode": column("mode").to_numpy(),
            "uid": column("uid").to_numpy(),
            "gid": column("gid").to_numpy(),
            "size_bytes": files.sizes[places],
            "mtime": texts["mtime"].array,
            "link_target": texts["link_target"].array,
            "digest": texts["digest"].array,
            "change": pd.Categorical.from_codes(files.changes[places], pd.Index(CHANGES)),
            "visible": files.laid.visible[places],
        },
        index=pd.RangeIndex(len(kinds)) if rows is None else pd.Index(rows),
        copy=False,
    )
