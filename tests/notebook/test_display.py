"""What is shown under a cell: text and HTML that say the same, with everything escaped."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import nbdock
from nbdock import concurrency
from nbdock.content import BlobStore
from nbdock.layering import LayerPlan
from nbdock.notebook.views import ROWS_SHOWN, Cell, Column, View, plural, share
from nbdock.oci import Descriptor, Digest, History, ImageConfig, Manifest, MediaType
from nbdock.tables.waste import Efficiency

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)"> \x1b[31m& \' "'
SHOWN = EVIL.replace("\x1b", "\ufffd")
ALLOWED = {"div", "span", "strong", "pre", "table", "thead", "tbody", "tr", "th", "td"}


class Checker(HTMLParser):
    """Collects the text; refuses elements and attributes that no table needs."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert {name for name, _ in attrs} <= {"style", "title", "aria-hidden"}
        for name, value in attrs:
            assert name != "style" or not re.search(r"url|expression|import|[<>\"]", value or "")
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def checked(html: str) -> str:
    """The text of HTML that is nothing but harmless, well-formed tables."""
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert not checker.open
    return "|".join(checker.texts)


def bundle(cells: Any, value: object) -> tuple[str, str]:
    data, _ = cells.shell.display_formatter.format(value)
    return data["text/plain"], data["text/html"]


def make_image(layers: int = 2, comment: str = "", created_by: str = "", name: str = "x") -> Any:
    """An image in the store whose layers are empty blobs of many sizes."""
    store = BlobStore.default()
    made = []
    for i in range(layers):
        data = bytes(10240 * (i % 3 + 1) + i)
        made.append(Descriptor(MediaType.OCI_LAYER, store.add(data), len(data)))
    config = ImageConfig(
        "amd64", "linux", diff_ids=tuple(layer.digest for layer in made),
        history=tuple(History(comment=comment, created_by=created_by) for _ in made),
    )  # fmt: skip
    data = config.to_bytes()
    manifest = Manifest(
        config=Descriptor(MediaType.OCI_CONFIG, store.add(data), len(data)), layers=tuple(made)
    )
    store.add(manifest.to_bytes())
    return nbdock.Image(store, manifest.descriptor(), name, "1")


def test_an_image(cells) -> None:
    cells.run(
        '%%buildLayeredImage -o x\nname = "hello"; tag = "1"; architecture = "amd64";\n'
        'contents = [ (textFile "etc/motd" "hi") ];'
    )
    image = cells.names["x"]
    text, html = bundle(cells, image)
    below, top = (str(layer.descriptor.digest.hex[:12]) for layer in image.layers)
    assert text == "\n".join(
        [
            "hello:1",
            "linux/amd64, 20 kB, 2 layers",
            str(image.digest),
            "",
            "layer   size  share             digest        contents",
            f"    0  10 kB   50 % █████       {below}  motd",
            f"    1  10 kB   50 % █████       {top}  nothing at the root",
        ]
    )
    said = checked(html)
    for part in ("hello|:1", "linux/amd64 · 20 kB · 2 layers", str(image.digest), below, "motd"):
        assert part in said
    # Digests are short in the table, whole under the mouse.
    assert f'title="{image.layers[0].descriptor.digest}"' in html


def test_a_plan(cells, packages) -> None:
    plan = cells.value(
        '%%buildLayeredImage --dry-run\nname = "x"; contents = [ apt.redis-server ];'
    )
    text, html = bundle(cells, plan)
    assert text.startswith("Plan by popularity\n2 packages, 17 B, 2 layers\n\n")
    assert "    0   5 B   29 % ███                1  libc6\n" in text
    assert text.endswith("The build adds a layer on top: links at / and extraCommands.")
    assert "redis-server" in checked(html)


def test_a_plan_of_one_layer(cells) -> None:
    plan = cells.value(
        '%%buildImage --dry-run\nname = "x"; contents = [ (textFile "etc/motd" "hi") ];'
    )
    assert bundle(cells, plan)[0] == "\n".join(
        [
            "Plan",
            "1 package, 2 B, 1 layer",
            "",
            "layer  size  share             packages  contents",
            "    0   2 B  100 % ██████████         1  motd",
        ]
    )


def test_a_closure(cells, packages) -> None:
    text, html = bundle(cells, cells.value("await nbdock.closure([apt['redis-server']])"))
    assert text.startswith("Closure\n2 packages, 17 B\n\n")
    assert re.search(r"redis-server +1\.0 +12 B +71 % +\S+ +libc6$", text, re.MULTILINE)
    checked(html)


@pytest.mark.parametrize("where", ["comment", "created_by"])
def test_hostile_history_is_only_text(cells, where) -> None:
    for evil in (EVIL, f"packages: {EVIL}", f"store paths: ['{EVIL}']"):
        text, html = bundle(cells, make_image(**{where: evil}))
        assert "alert(1)" in checked(html)
        assert "\x1b" not in text


@pytest.mark.parametrize(
    ("created_by", "comment", "shown"),
    [
        ("nbdock", "nothing at the root", "nothing at the root"),
        ("", "a remark", "a remark"),
        ("/bin/sh -c #(nop) ADD file:5aa in / ", "", "ADD file:5aa in /"),
        ("/bin/sh -c apt-get update", "", "RUN apt-get update"),
        ("RUN /bin/sh -c make # buildkit", "buildkit.dockerfile.v0", "RUN make"),
        ("COPY a /b # buildkit", "buildkit.dockerfile.v0", "COPY a /b"),
    ],
)
def test_what_made_a_layer(cells, created_by, comment, shown) -> None:
    text, html = bundle(cells, make_image(1, comment=comment, created_by=created_by))
    assert text.endswith(f"  {shown}")
    assert shown in checked(html)


def test_hostile_names_are_only_text(cells, packages) -> None:
    image = make_image()
    _, html = bundle(cells, dataclasses.replace(image, name=EVIL, tag=EVIL))
    assert SHOWN in checked(html)
    package = packages["libc6"]
    package.name = package.version = EVIL
    _, html = bundle(cells, LayerPlan(((package,),), 99, EVIL))
    assert SHOWN in checked(html)
    closure = nbdock.Closure((package,), {}, (package.key,))
    text, html = bundle(cells, closure)
    assert "<script>" in checked(html)
    assert "\x1b" not in text


def test_a_hostile_view() -> None:
    view = View(
        EVIL, EVIL, facts=[EVIL], code=EVIL, columns=[Column(EVIL)],
        rows=[[Cell(EVIL, title=EVIL)], [EVIL]], note=EVIL, block=f"{EVIL}\n{EVIL}",
    )  # fmt: skip
    assert checked(view.html()).count("alert(1)") == 10
    assert "\x1b" not in view.text()


def test_long_images_show_the_first_rows_and_say_how_to_get_the_rest(cells) -> None:
    image = make_image(100)
    text, html = bundle(cells, image)
    rows = text.split("\n\n")[1].splitlines()[1:]
    assert len(rows) == ROWS_SHOWN + 1
    assert rows[-1].split()[0] == "…"
    assert rows[-1].endswith("60 more layers: nbdock.layer_table(image)")
    assert checked(html).count("%") == ROWS_SHOWN + 1
    # A notebook with a thousand such cells is still one that opens.
    assert len(html) + len(text) < 40_000
    assert len(nbdock.layer_table(image)) == 100


def test_many_names_in_a_layer_are_few_in_the_table(cells) -> None:
    names = " ".join(f"package-{i}=1.0-{i}" for i in range(5000))
    text, html = bundle(cells, make_image(1, comment=f"packages: {names}"))
    assert "package-0 1.0-0, package-1 1.0-1" in text
    assert "and 4995 more" in text
    assert len(html) < 6000


def test_store_paths_are_shown_by_name(cells) -> None:
    path = "/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8"
    text, _ = bundle(cells, make_image(1, comment=f"store paths: ['{path}']"))
    assert text.endswith("  glibc-2.37-8")


def test_an_image_without_a_name_or_layers(cells) -> None:
    text, html = bundle(cells, dataclasses.replace(make_image(0, name=""), tag=""))
    assert text.startswith("unnamed image\nlinux/amd64, 0 B, 0 layers\nsha256:")
    checked(html)


def test_a_score_is_a_sentence(cells) -> None:
    score = Efficiency(0.7488, 9_392_774, 37_397_323, 25.18, "nbdock")
    text, html = bundle(cells, score)
    facts = ["9.4 MB of 37 MB wasted", "25.2 % of the layers above the lowest"]
    assert text == "\n".join(["Efficiency 74.9 %", ", ".join(facts)])
    assert checked(html) == "|".join(["Efficiency 74.9 %", " \u00b7 ".join(facts)])
    assert bundle(cells, dataclasses.replace(score, method="dive"))[0].startswith("dive efficiency")


def test_inside_a_list_the_line_stands(cells) -> None:
    image = make_image()
    assert cells.shell.display_formatter.format([image])[0]["text/plain"] == "[<Image x:1>]"


def test_an_image_that_has_left_the_store(cells, capsys, nbdock_home: Path) -> None:
    image = nbdock.Image(
        BlobStore.default(),
        Descriptor(MediaType.OCI_MANIFEST, Digest.sha256(b"gone"), 4), "gone", "1",
    )  # fmt: skip
    data, _ = cells.shell.display_formatter.format(image)
    assert "text/html" not in data
    assert "BlobNotFoundError" in capsys.readouterr().out


def test_a_search(cells) -> None:
    from nbdock.packages.debian import AptSearchResult

    text, html = bundle(cells, AptSearchResult(EVIL, []))
    assert text.startswith("0 packages for '<script>")
    checked(html)


def test_a_job_shows_where_it_stands(cells, packages, capsys) -> None:
    packages.waits = True
    cells.run('%%buildImage --background -o x\nname = "x"; contents = [ apt.libc6 ];')
    job = cells.names["x"]
    capsys.readouterr()
    cells.run("x")
    assert capsys.readouterr().out.startswith("Out[0]: ▶ x: ")
    job.cancel()
    with pytest.raises(BaseException):  # noqa: B017 - CancelledError is not an Exception
        job.result(timeout_s=240)
    cells.run("x")
    assert capsys.readouterr().out.startswith("Out[0]: ■ x: cancelled after ")


def test_bars_and_shares() -> None:
    assert share(1, 1).text.strip() == "100 %"
    assert share(1, 1000).text.strip() == "<1 %"
    assert share(0, 1000).text.strip() == "0 %"
    assert share(0, 0).text.strip() == "0 %"
    sliver = View("x", columns=[Column("a")], rows=[[share(1, 10**9)]]).text()
    assert "▏" in sliver
    assert plural(1, "layer") == "1 layer"


def test_wide_characters_keep_columns_straight() -> None:
    view = View("x", columns=[Column("a"), Column("b")], rows=[["日本", "1"], ["e\u0301a", "2"]])
    lines = view.text().splitlines()[-2:]
    assert lines == ["日本  1", "e\u0301a    2"]


def test_remembered_images_come_back_the_same(cells) -> None:
    image = concurrency.run(nbdock.build_image("x", contents=nbdock.text_file("a", "b")))
    assert bundle(cells, image) == bundle(cells, image)
