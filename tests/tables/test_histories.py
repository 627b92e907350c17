"""`history_of` and `history_table`: images in order, Nix's lists, a DataFrame."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from support.fleets import dpkg_layer
from support.registry import Registry

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.packages import ChangeHistory
from nbdock.tables import history_of, history_table

pytestmark = pytest.mark.usefixtures("nbdock_home")

DTYPES = {
    "package": "str", "source": "str", "version": "str", "date": "datetime64[us, UTC]",
    "origin": "str",
}  # fmt: skip
FIRST, SECOND, THIRD = dt.date(2025, 3, 1), dt.date(2025, 3, 8), dt.date(2025, 3, 15)


def kinds(table: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


@pytest.fixture
def images(registry: Registry) -> list[str]:
    """Three images: one package changes, then another comes and one is gone."""
    tars = [
        [dpkg_layer(curl="7.1", tzdata="2024a")],
        [dpkg_layer(curl="7.2", tzdata="2024a")],
        [dpkg_layer(curl="7.2", new="1")],
    ]
    return [registry.push("history/app", str(n), layers=each).name for n, each in enumerate(tars)]


def test_what_changed_between_images(images: list[str]) -> None:
    days = dict(
        zip(("2025-03-01", SECOND, dt.datetime(2025, 3, 15, 7, tzinfo=dt.UTC)), images, strict=True)
    )
    history = history_of(days)  # type: ignore[arg-type]
    assert history.changes == {"curl": (SECOND,), "tzdata": (), "new": (THIRD,)}
    assert (history.start, history.end) == (dt.date(2025, 3, 2), dt.date(2025, 3, 16))
    assert history.sources == {
        "curl": "curl-source",
        "tzdata": "tzdata-source",
        "new": "new-source",
    }
    table = history_table(days)  # type: ignore[arg-type]
    assert kinds(table) == DTYPES
    assert table[["package", "version"]].to_numpy().tolist() == [
        ["curl", "7.1"], ["curl", "7.2"], ["new", "1"], ["tzdata", "2024a"]
    ]  # fmt: skip
    assert table.origin.tolist()[:2] == images[:2]


def test_images_without_a_date_need_one(images: list[str]) -> None:
    with pytest.raises(ArgumentError, match="does not say when it was made"):
        history_of(images)
    with pytest.raises(ArgumentError, match="two images"):
        history_of(images[0])


def test_images_that_say_when_they_were_made(tmp_path: Path) -> None:
    async def build(version: str, created: str) -> nbdock.Image:
        text = nbdock.text_file(
            "var/lib/dpkg/status.d/curl", f"Package: curl\nVersion: {version}\n"
        )
        image = await nbdock.build_image("curl", tag=version, contents=text, created=created)
        return await nbdock.load_image(await image.save(tmp_path / f"{version}.tar"))

    made = [
        nbdock.concurrency.run(build(version, f"2025-03-0{version}T00:00:00Z"))
        for version in ("1", "2")
    ]
    history = history_of(made)
    assert history.changes["curl"] == (dt.date(2025, 3, 2),)
    with pytest.raises(ArgumentError, match="no place in the order"):
        history_of(made[::-1])


def test_what_changed_in_a_channel(tmp_path: Path) -> None:
    one, two, three = ("a" * 32, "b" * 32, "c" * 32)
    first, second = tmp_path / "1" / "store-paths", tmp_path / "2" / "list.txt"
    for path, names in (
        (first, [f"{one}-hello-2.10", f"{two}-hello-2.10-man", f"{one}-redis-7.0"]),
        (second, [f"{three}-hello-2.12", f"{two}-hello-2.12-man", f"{one}-redis-7.0"]),
    ):
        path.parent.mkdir()
        path.write_text("".join(f"/nix/store/{name}\n" for name in names))
    lists = {FIRST: first, "2025-03-08": str(second)}
    assert history_of(lists).changes == {"hello": (SECOND,), "redis": ()}  # type: ignore[arg-type]
    table = history_table(lists)  # type: ignore[arg-type]
    assert table[["package", "version"]].to_numpy().tolist() == [
        ["hello", "2.10"], ["hello", "2.12"], ["redis", "7.0"]
    ]  # fmt: skip
    with pytest.raises(ArgumentTypeError, match="both images and lists"):
        history_of({**lists, THIRD: "redis:7"})  # type: ignore[dict-item]


def test_a_dataframe_of_ones_own() -> None:
    frame = pd.DataFrame(
        {
            "package": ["numpy", "scipy", "numpy"],
            "date": pd.to_datetime(["2025-03-08", "2025-03-01", "2025-03-15"]),
            "version": ["1.1", "0.9", None],
            "source": ["numpy", None, "numpy"],
        }
    )
    history = history_of(frame)
    assert history.changes == {"numpy": (SECOND, THIRD), "scipy": (FIRST,)}
    assert (history.start, history.end) == (FIRST, dt.date(2025, 3, 16))
    watched = history_of(frame, start="2025-01-01", end=SECOND)
    assert (watched.start, watched.end) == (dt.date(2025, 1, 1), SECOND)
    assert watched.changes == {"numpy": (), "scipy": (FIRST,)}
    table = history_table(frame)
    assert kinds(table) == DTYPES
    assert table.version.tolist() == ["1.1", "", "0.9"]
    assert history_of(table).changes == history.changes
    for empty in (frame.iloc[:0], ChangeHistory({}, {}, FIRST, FIRST)):
        assert kinds(history_table(empty)) == DTYPES
        assert not history_of(empty).changes


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"package": ["a"]}, "no column 'date'"),
        ({"package": ["a"], "date": ["soon"]}, "holds no dates"),
        ({"package": ["a", "b"], "date": ["2025-01-01", None]}, "no date in row 1"),
    ],
)
def test_wrong_dataframes(frame: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ArgumentTypeError, match=message):
        history_of(pd.DataFrame(frame))


def test_contents_without_debian_packages_have_no_history() -> None:
    files = [nbdock.text_file("etc/motd", "hi")]
    assert not history_of(files).changes
    assert kinds(history_table(files)) == DTYPES
