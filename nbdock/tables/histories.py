"""`history_of` and `history_table`: when packages changed, from whatever tells.

    history_of(closure)                                     # the changelogs in Debian's packages
    history_of(["redis:7.0", "redis:7.2", "redis:7.4"])     # which packages changed between images
    history_of({"2025-03-01": "https://.../store-paths.xz", "2025-03-08": ...})   # Nix's channels
    history_of(frame)                                       # columns package and date

>>> import pandas as pd
>>> days = pd.to_datetime(["2025-03-01", "2025-03-20"])
>>> history_of(pd.DataFrame({"package": ["curl", "curl"], "date": days}))
<ChangeHistory of 1 package: 2 changes, 2025-03-01 to 2025-03-21>
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from nbdock.calling import checked
from nbdock.concurrency import run
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.images import Contents, Image
from nbdock.images import closure as closure_of
from nbdock.oci import Platform, Reference
from nbdock.packages import (
    AptPackage,
    ChangeHistory,
    Closure,
    Progress,
    changelog_history,
    read_uploads,
)
from nbdock.showing import watched_plain
from nbdock.tables.marking import table_function
from nbdock.tables.opening import open_images
from nbdock.tables.subjects import Subject
from nbdock.tables.versions import (
    SeenVersions,
    Version,
    midnight,
    versions_of_frame,
    versions_of_images,
    versions_of_lists,
)

if TYPE_CHECKING:
    import pandas as pd

    Day: TypeAlias = dt.date | str
    HistorySource: TypeAlias = (
        Contents
        | Closure
        | ChangeHistory
        | pd.DataFrame
        | Sequence[Subject]
        | Mapping[Day, Subject]
    )

__all__ = ["history_of", "history_table", "to_closure", "to_date"]


@checked
@watched_plain("Read")
def history_of(
    x: HistorySource,
    *,
    start: Day | None = None,
    end: Day | None = None,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> ChangeHistory:
    """When packages changed.

    Parameters
    ----------
    x
        What tells it:

        - contents as for `build_layered_image`, or a closure: the changelogs in the .debs, read
          once and kept. They name the versions up to the one that the package sources have now.
          The history starts with the release that these are of, and ends when they were made.
          Packages that are not Debian's have none.
        - images in order, or their names in registries, which are pulled: a package changed when
          an image has another version of it than the one before. Images that were made
          reproducibly have no dates of their own: give a mapping of days to images.
        - a mapping of days to lists of store paths as channels of Nix publish them: URLs or paths
          of ``store-paths.xz``. A rebuild is a change, too.
        - a DataFrame with the columns ``package`` and ``date``, and if you like ``version`` and
          ``source`` (what is of one source changes together). Each row is a change.
        - a `ChangeHistory`.
    start, end
        Only changes from this day on, and before that one. Of a DataFrame they also say since when
        and until when somebody watched; by default that is from its first day to its last.
    platform, tls_verify
        For images, as for `file_table`.
    progress
        Told what is being done.

    Raises
    ------
    ArgumentError
        Fewer than two images, images without dates, a DataFrame without those columns.
    PackageError, TransportError, RegistryError
        What is needed cannot be fetched.
    """
    first = None if start is None else to_date(start, argument="start")
    last = None if end is None else to_date(end, argument="end")
    if isinstance(x, ChangeHistory):
        history = x
    elif (packages := _packages(x)) is not None:
        history = run(changelog_history(packages.packages, progress=progress))
    else:
        history = _seen(x, platform, tls_verify, progress, first, last).history()
    history = history if first is None else history.since(first)
    return history if last is None else history.until(last)


@table_function
def history_table(
    x: HistorySource,
    *,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The versions of packages that are known, and since when.

    Parameters
    ----------
    x, platform, tls_verify, progress
        As for `history_of`. Of contents, all versions that the changelogs name, back to the first.

    Returns
    -------
    pandas.DataFrame
        A row for each package and version, sorted by package and date, with the columns

        - ``package``, ``source``: its name, and the name of what it is built from,
        - ``version``: as whatever tells has it; empty if that says none,
        - ``date``: when it was made or first seen, in UTC,
        - ``origin``: the suite that it was uploaded to (``bookworm-security``), or the image or
          list that had it first.

    Raises
    ------
    ArgumentError, PackageError, TransportError, RegistryError
        As `history_of`.
    """
    import pandas as pd

    rows: Sequence[Version]
    if isinstance(x, ChangeHistory):
        rows = [
            Version(name, x.source_of(name), "", midnight(day), "")
            for name, days in x.changes.items()
            for day in days
        ]
    elif (packages := _packages(x)) is not None:
        rows = _uploaded(packages, progress)
    else:
        rows = _seen(x, platform, tls_verify, progress).rows
    rows = sorted(rows, key=lambda row: (row.package, row.date))
    return pd.DataFrame(
        {
            "package": pd.Series([row.package for row in rows], dtype="str"),
            "source": pd.Series([row.source for row in rows], dtype="str"),
            "version": pd.Series([row.version for row in rows], dtype="str"),
            "date": pd.Series([row.date for row in rows], dtype="datetime64[us, UTC]"),
            "origin": pd.Series([row.origin for row in rows], dtype="str"),
        }
    )


def to_date(value: object, *, argument: str) -> dt.date:
    """A day, from text such as ``2025-03-01`` too.

    Raises
    ------
    ArgumentTypeError
        It is neither.
    """
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError:
        raise ArgumentTypeError(
            f"{argument} must be a day such as 2025-03-01, not {value!r:.40}.", argument=argument
        ) from None


def to_closure(contents: Contents | Closure | Image) -> Closure:
    """The closure of contents, or of an image that was built of them; a closure as it is.

    Raises
    ------
    ArgumentError
        An image whose packages are not known.
    """
    if isinstance(contents, Image):
        if contents.closure is None:
            raise ArgumentError(
                f"Of what packages {contents} was built is not known.",
                argument="contents",
                hint="It is for images that this session built. Give the contents.",
            )
        return contents.closure
    return run(closure_of(contents))


def _packages(x: Any) -> Closure | None:
    """The packages that tell themselves when they changed; None if it is something else."""
    if isinstance(x, Closure):
        return x
    if isinstance(x, Image):
        return x.closure
    is_images = isinstance(x, Mapping | str | Reference | os.PathLike) or hasattr(x, "columns")
    if not is_images and isinstance(x, Sequence):
        is_images = any(isinstance(each, Image | Reference | str | os.PathLike) for each in x)
    return None if is_images else run(closure_of(x))


def _uploaded(packages: Closure, progress: Progress | None) -> list[Version]:
    debs = [package for package in packages.packages if isinstance(package, AptPackage)]
    uploads = run(read_uploads(debs, progress=progress))
    return [
        Version(package.name, package.record.source, upload.version, upload.date, upload.suite)
        for package in debs
        for upload in uploads[package.key]
    ]


def _seen(
    x: Any,
    platform: str | Platform | None,
    tls_verify: bool,
    progress: Progress | None,
    start: dt.date | None = None,
    end: dt.date | None = None,
) -> SeenVersions:
    """What images, lists or a DataFrame tell."""
    if hasattr(x, "columns"):
        return versions_of_frame(x, start=start, end=end)
    given: list[tuple[dt.date | None, Any]]
    if isinstance(x, Mapping):
        given = sorted(((to_date(day, argument="x"), each) for day, each in x.items()), key=_day)
    else:
        given = [
            (None, each)
            for each in (x if isinstance(x, Sequence) and not isinstance(x, str) else [x])
        ]
    if len(given) < 2:
        raise ArgumentError(
            "What changed shows between two images or lists at least; there is one.",
            argument="x",
            hint="Give several, in order; or the packages themselves, if they are Debian's.",
        )
    lists = [(day, str(each)) for day, each in given if day is not None and _is_list(each)]
    if lists:
        if len(lists) < len(given):
            raise ArgumentTypeError("There are both images and lists of store paths.", argument="x")
        return versions_of_lists(lists, progress=progress)
    opened = open_images(
        [each for _, each in given], platform=platform, tls_verify=tls_verify, progress=progress
    )
    pairs = [(day, image) for (day, _), image in zip(given, opened, strict=True)]
    return versions_of_images(pairs, progress=progress)


def _day(pair: tuple[dt.date | None, Any]) -> dt.date:
    assert pair[0] is not None
    return pair[0]


def _is_list(value: object) -> bool:
    """Whether it is the place of a list of store paths, and not of an image."""
    if not isinstance(value, str | os.PathLike):
        return False
    text = os.fspath(value)
    if "store-paths" in os.path.basename(text) or text.startswith(("https://", "http://")):
        return True
    try:
        with open(text, "rb") as file:
            return file.read(11) == b"/nix/store/"
    except OSError:
        return False
