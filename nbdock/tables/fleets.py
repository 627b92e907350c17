"""`fleet_table`: the layers and packages of thousands of images, and what they share.

    fleet = nbdock.fleet_table(references, packages=True)
    fleet.sharing().head()                  # the layers whose sharing saves most
    fleet.table("images")                   # one row for each, and why some cannot be read
    duckdb.sql(f"SELECT * FROM read_parquet({fleet.files('layers')})")

The images are scanned in batches, each of which leaves Parquet files in a directory; a scan that
was interrupted, or killed, goes on where it was. Threads of this process work on the batches, or
the workers of any `dask.distributed.Client`, which give the same rows.

What comes back is no DataFrame but a `Fleet`, a handle on those files: of ten thousand images there
may be tens of millions of rows, and most questions need a few columns of them.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nbdock import settings
from nbdock.calling import checked
from nbdock.errors import ArgumentError, ArgumentTypeError, nearest
from nbdock.oci import Platform, Reference
from nbdock.packages import Progress
from nbdock.showing import watched_plain
from nbdock.tables.fleetscan import (
    Batch,
    LayerBatch,
    part_path,
    part_schema,
    read_layers,
    read_packages,
    read_part,
    scan_images,
)
from nbdock.tables.marking import mark
from nbdock.tables.subjects import expect_platform, expect_reference

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

__all__ = ["Fleet", "fleet_table"]

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 2
_LOOK_AGAIN_S = 0.2
_LAYERS_A_BATCH = 32
_CHANGED_IN_WORKERS: Final = frozenset({"workers", "progress_delay_s"})


@dataclasses.dataclass(frozen=True)
class Fleet:
    """Images that were scanned: a handle on Parquet files.

    Attributes
    ----------
    directory
        Where the files are.
    parts
        For each kind (``images``, ``layers``, ``packages``) the names of this scan's parts, in the
        order of the references.
    """

    directory: str
    parts: Mapping[str, tuple[str, ...]]

    def __repr__(self) -> str:
        return f"<Fleet of {self.dataset('images').count_rows()} images in {self.directory}>"

    def files(self, kind: str) -> list[str]:
        """The Parquet files with the rows of one kind, for DuckDB and its like.

        Raises
        ------
        ArgumentError
            There is no such kind, or it was not asked for.
        """
        if kind not in self.parts:
            close = nearest(kind, self.parts)
            raise ArgumentError(
                f"The fleet has no {kind!r}.",
                argument="kind",
                hint="Scan it with packages=True." if kind == "packages"
                else f"Did you mean {close[0]!r}?" if close
                else f"There are: {', '.join(self.parts)}.",
            )  # fmt: skip
        return [part_path(self.directory, kind, name) for name in self.parts[kind]]

    def dataset(self, kind: str) -> ds.Dataset:
        """The rows of one kind as a dataset of pyarrow, which reads what a question needs."""
        import pyarrow.dataset as ds

        return ds.dataset(self.files(kind), schema=part_schema(kind), format="parquet")

    def table(self, kind: str = "layers") -> pd.DataFrame:
        """All rows of one kind.

        Returns
        -------
        pandas.DataFrame
            In the order of the references. The columns of ``images`` are ``image`` (as it was
            given), ``digest`` (of its manifest), ``platform``, ``created`` (in UTC), ``layers`` and
            ``size_bytes`` (as they are transferred), and ``error``: why nothing is known of it;
            of ``layers``, one row for each layer of each image, those of `layer_table`; of
            ``packages``, one row for each package of each image, ``manager``, ``package``,
            ``version``, ``size_bytes`` and ``layer`` as in `package_table`, or an ``error``.
        """
        found = self.dataset(kind).to_table()
        return mark(found.to_pandas(types_mapper=_frame_type), "fleet_table")

    def sharing(self, by: str = "layer") -> pd.DataFrame:
        """What images have in common, what sharing saves most first.

        Parameters
        ----------
        by
            ``"layer"``: layers by diff ID, in bytes as they are transferred; ``"package"``:
            packages by manager, name and version.

        Returns
        -------
        pandas.DataFrame
            Indexed by ``diff_id`` or ``package``, with the columns ``name``, ``size_bytes``,
            ``images`` and ``saved_bytes`` of `sharing_table`.
        """
        import pandas as pd

        if by not in ("layer", "package"):
            raise ArgumentError(
                f"There is no by={by!r}.", argument="by", hint="There are: layer, package."
            )
        keys = ["diff_id"] if by == "layer" else ["manager", "package", "version"]
        label = "created_by" if by == "layer" else "package"
        columns = dict.fromkeys(["image", *keys, label, "size_bytes"])
        rows = self.dataset(f"{by}s").to_table(columns=list(columns)).to_pandas()
        rows = rows[rows["size_bytes"].notna()].drop_duplicates(["image", *keys])
        grouped = rows.groupby(keys, sort=False, observed=True)
        found = grouped.agg(
            name=(label, "first"), size_bytes=("size_bytes", "max"), images=("image", "size")
        )
        index = found.index if by == "layer" else [" ".join(filter(None, k)) for k in found.index]
        sizes = found["size_bytes"].to_numpy("int64")
        images = found["images"].to_numpy("int64")
        table = pd.DataFrame(
            {
                "name": pd.Series(found["name"].to_list(), dtype="str"),
                "size_bytes": sizes,
                "images": images,
                "saved_bytes": sizes * (images - 1),
            }
        ).set_axis(pd.Index(index, name="diff_id" if by == "layer" else "package", dtype="str"))
        return table.sort_values(["saved_bytes", "size_bytes"], ascending=False, kind="stable")


def _frame_type(kind: pa.DataType) -> Any:
    """Counts that may be missing stay whole numbers."""
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_int64(kind):
        return pd.Int64Dtype()
    return pd.StringDtype(na_value=float("nan")) if pa.types.is_string(kind) else None


@checked
@watched_plain("Scanned")
def fleet_table(
    references: Iterable[str | Reference],
    *,
    client: Any = None,
    directory: str | os.PathLike[str] | None = None,
    packages: bool = False,
    batch_size: int = 50,
    platform: str | Platform | None = None,
    tls_verify: bool = True,
    progress: Progress | None = None,
) -> Fleet:
    """The layers of many images in registries, and if you like their packages.

    The documents of each image are fetched, and with `packages` each layer, once however many
    images have it. An image that cannot be read has a row with its error, and ends nothing.

    Parameters
    ----------
    references
        Names in registries.
    client
        A `dask.distributed.Client` whose workers scan (extra ``fleet``). They use the directory
        and, for layers, this process's ``NBDOCK_HOME``: on several machines both must be shared.
        By default threads of this process scan.
    directory
        Where the parts go, and are found again: by default below ``tables`` of ``NBDOCK_HOME``.
    packages
        Also fetch and read the layers, for the packages that images say they have.
    batch_size
        Images of a part. What is not finished when a scan is killed is done again, a batch is not.
        Count.
    platform, tls_verify
        As for `layer_table`.
    progress
        Called with what is being done, how many are done, and how many there are.

    Returns
    -------
    Fleet
        A handle: `Fleet.table`, `Fleet.sharing`, `Fleet.dataset`, `Fleet.files`.

    Raises
    ------
    ArgumentTypeError
        Something that names no image.
    """
    if isinstance(references, str | bytes | Reference) or not isinstance(references, Iterable):
        raise ArgumentTypeError(
            f"A fleet is several images: give a list, not {references!r:.60}.",
            argument="references",
        )
    if batch_size < 1:
        raise ArgumentError(f"A batch has images, not {batch_size}.", argument="batch_size")
    names = [_checked(reference) for reference in dict.fromkeys(references)]
    home = settings.current().home
    place = os.path.abspath(os.fspath(directory) if directory else home / "tables" / "fleets")
    asked = expect_platform(platform)
    base = Batch((), place, str(asked or Platform.host()), tls_verify, _changes(client))
    batches = [
        dataclasses.replace(base, references=tuple(names[i : i + batch_size]))
        for i in range(0, len(names), batch_size)
    ]
    run_all = _on_threads if client is None else _on_cluster(client)

    def told(what: str, items: Sequence[Any]) -> Callable[[int], None]:
        return lambda done: progress(what, done, len(items)) if progress is not None else None

    parts = run_all(scan_images, [(b,) for b in batches], told("Scanning images", batches))
    found = {"images": tuple(parts), "layers": tuple(parts)}
    if packages:
        layers = list(_layer_batches(base, parts))
        failures = run_all(read_layers, [(b,) for b in layers], told("Reading layers", layers))
        failed = {key: text for each in failures for key, text in each.items()}
        jobs = [(b, name, failed) for b, name in zip(batches, parts, strict=True)]
        found["packages"] = tuple(run_all(read_packages, jobs, told("Reading packages", jobs)))
    return Fleet(place, found)


def _checked(reference: str | Reference) -> str:
    expect_reference(reference)
    return str(reference)


def _changes(client: Any) -> dict[str, Any]:
    """The settings that workers of other processes are to have: those that are not the default."""
    if client is None:
        return {}
    now, default = settings.current(), settings.Settings()
    changed = {
        field.name: getattr(now, field.name)
        for field in dataclasses.fields(now)
        if getattr(now, field.name) != getattr(default, field.name)
    }
    return {k: v for k, v in changed.items() if k not in _CHANGED_IN_WORKERS} | {"home": now.home}


def _layer_batches(base: Batch, parts: Sequence[str]) -> Iterator[LayerBatch]:
    """All layers of a scan, each once, the largest first so that none is left for the end."""
    layers: dict[str, tuple[str, str, str, str, int]] = {}
    columns = ["image", "diff_id", "digest", "media_type", "size_bytes"]
    for name in parts:
        for row in read_part(base.directory, "layers", name, columns).to_pylist():
            layers.setdefault(row["diff_id"], tuple(row.values()))
    ordered = sorted(layers.values(), key=lambda layer: (-layer[4], layer[1]))
    count = -(-len(ordered) // _LAYERS_A_BATCH)
    for number in range(count):
        yield LayerBatch(tuple(ordered[number::count]), base.tls_verify, base.changes)


def _on_threads(
    work: Callable[..., R], jobs: Sequence[tuple[Any, ...]], told: Callable[[int], None]
) -> list[R]:
    """The results of some work, in the order of the jobs; the first failure ends it."""
    stop = threading.Event()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="nbdock-fleet")
    futures: list[Future[R]] = [pool.submit(work, *job, stop=stop) for job in jobs]
    waiting = set(futures)
    try:
        while waiting:
            # Now and then, so that an interrupt comes through.
            done, waiting = wait(waiting, timeout=_LOOK_AGAIN_S, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            told(len(futures) - len(waiting))
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(
    client: Any,
) -> Callable[[Callable[..., R], Sequence[tuple[Any, ...]], Callable[[int], None]], list[R]]:
    """The same by the workers of a Dask client."""

    def run_all(
        work: Callable[..., R], jobs: Sequence[tuple[Any, ...]], told: Callable[[int], None]
    ) -> list[R]:
        from distributed import as_completed

        futures = [client.submit(work, *job, pure=False) for job in jobs]
        try:
            for number, future in enumerate(as_completed(futures)):  # type: ignore[no-untyped-call]
                future.result()
                told(number + 1)
            return [future.result() for future in futures]
        finally:
            client.cancel(futures)

    return run_all
