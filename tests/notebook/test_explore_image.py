"""`explore(image)` without a browser: its answers, its static twin, what it says is wrong."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import layers
from support.front_end import WIDGET

import nbdock
from nbdock import settings
from nbdock.errors import ArgumentTypeError
from nbdock.notebook.explore import frontend
from nbdock.notebook.explore.frontend import Explorer, Twin, view_class
from nbdock.notebook.explore.image import ImageExplorer
from nbdock.notebook.explore.preview import preview_of
from nbdock.notebook.explore.svg import PALETTE, Drawing, fitted, width_of
from nbdock.notebook.explore.treemap import Box, squarified
from nbdock.tables import FileFilter, FileTree, read_files

HOSTILE = ["<script>alert(1)</script>", '" onload="alert(1)', "a\u202eb", "new\nline", "日本 &amp;"]
MD5SUMS = b"0  usr/bin/tool\n0  ./usr/lib/libx.so\n"
STATUS = b"Package: tools\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n"
BASE = [
    layers.directory("etc"), layers.file("etc/motd", b"hello" * 100),
    layers.hardlink("etc/again", "etc/motd"), layers.symlink("etc/link", "../etc/motd"),
    layers.file("usr/lib/libx.so", b"\x7fELF\0" + b"x" * 9000),
    layers.file("usr/bin/tool", b"#!/bin/sh\n" * 300, mode=0o4755, uid=7, uname="games"),
    layers.file("var/cache/a", b"y" * 5000), layers.file(b"bad\xff name", b"z"),
    layers.file("var/lib/dpkg/status.d/tools", STATUS),
    layers.file("var/lib/dpkg/status.d/tools.md5sums", MD5SUMS),
    layers.file("var/lib/dpkg/info/caches:amd64.list", b"/.\n/var/cache/a\n/etc\n"),
    *(layers.file(f"odd/{name}", b"odd") for name in HOSTILE),
]  # fmt: skip
TOP = [
    layers.file("etc/motd", b"bye" * 100), layers.whiteout("var/cache"), layers.opaque("odd"),
    layers.file("usr/lib/copy.so", b"\x7fELF\0" + b"x" * 9000),
]  # fmt: skip


def explorer_of(*tars: list[layers.Member], **how: bool) -> ImageExplorer:
    return nbdock.explore(layers.make_image([layers.tar(tar) for tar in tars], **how))


@pytest.fixture
def explorer(nbdock_home) -> ImageExplorer:
    return explorer_of(BASE, TOP)


def answer(explorer: Explorer, what: str, **question: object):
    found = explorer.answer(json.loads(json.dumps({"id": "1", "what": what, **question})))
    assert found is not None
    assert found["id"] == "1"
    assert "error" not in found, found
    return json.loads(json.dumps(found["answer"]))


def keys(explorer: Explorer, **question: object) -> dict[str, str]:
    question = {"from": 0, "to": 400, **question}
    return {line["name"]: line["key"] for line in answer(explorer, "lines", **question)["lines"]}


class TestAnswers:
    def test_lines_of_open_directories(self, explorer) -> None:
        top = keys(explorer)
        assert list(top) == ["etc", "usr", "var", "bad\\xff name"]
        opened = [int(top["etc"][1:])]
        found = answer(explorer, "lines", **{"from": 0, "to": 10, "open": opened})
        names = [(line["depth"], line["name"]) for line in found["lines"]]
        assert names[:4] == [(0, "etc"), (1, "again"), (1, "link"), (1, "motd")]
        motd = found["lines"][3]
        assert (motd["layer"], motd["change"], motd["size"], motd["waste"]) == (
            1,
            "modified",
            300,
            "",
        )

    def test_selecting_a_directory_selects_what_is_in_it(self, explorer) -> None:
        told = answer(explorer, "select", keys=[keys(explorer)["usr"]])
        files = nbdock.file_table(explorer.image)
        rows = files[files.visible & files.path.str.startswith("/usr/")]
        assert explorer.selection.index.tolist() == rows.index.tolist()
        assert told["rows"] == len(rows)
        assert told["bytes"] == rows.size_bytes.sum()

    @pytest.mark.parametrize(
        "filter_",
        [
            {}, {"change": "wasted"}, {"change": "deleted"}, {"layer": 0}, {"search": "o"},
            {"layer": 1, "only": True}, {"layer": 0, "search": "*.so"},
            {"layer": 1, "change": "added"},
        ],
    )  # fmt: skip
    def test_the_python_gives_what_is_selected(self, explorer, filter_) -> None:
        everything = list(range(100))
        found = keys(explorer, filter=filter_, open=everything)
        assert found
        for some in ([], *([key] for key in found.values()), list(found.values())):
            told = answer(explorer, "select", keys=some, filter=filter_)
            names = {"nbdock": nbdock, "image": explorer.image}
            first, second = told["code"].split("\n")
            exec(first, names)
            given = eval(second, names)
            if some:
                assert given.equals(explorer.selection), (some, told["code"])
            else:
                assert len(explorer.selection) == 0

    def test_details_say_why_something_is_wasted(self, explorer) -> None:
        wasted = keys(explorer, filter={"change": "wasted"}, open=list(range(100)))
        why = {
            name: answer(explorer, "details", key=key, filter={"change": "wasted"})["waste"]
            for name, key in wasted.items() if key[0] == "r"
        }  # fmt: skip
        assert "motd" not in why  # its other name is still seen
        assert why["a"] == "Layer 1 deletes the directory /var/cache."
        assert why["copy.so"] == "/usr/lib/libx.so in layer 0 has the same content."

    def test_facts(self, explorer) -> None:
        key = keys(explorer, filter={"search": "tool"})["/usr/bin/tool"]
        facts = dict(answer(explorer, "details", key=key)["facts"])
        assert facts["mode"] == "4755 rwsr-xr-x"
        assert facts["owner"] == "games:0 (7:0)"
        assert answer(explorer, "owner", key=key) == "tools"

    def test_owners_by_lists_that_are_no_records(self, explorer) -> None:
        key = keys(explorer, filter={"layer": 0, "search": "cache/a"})["/var/cache/a"]
        assert answer(explorer, "owner", key=key) == "caches"

    @pytest.mark.parametrize("plain", [True, False])
    def test_previews(self, nbdock_home, plain) -> None:
        explorer = explorer_of(BASE, TOP, plain=plain, compressed=not plain)
        found = keys(explorer, filter={"layer": 0}, open=list(range(100)))
        text = answer(explorer, "preview", key=found["tool"])
        assert (text["kind"], text["text"]) == ("text", "#!/bin/sh\n" * 300)
        # What an upper layer hides is shown all the same, and a link as what it is bound to.
        assert answer(explorer, "preview", key=found["motd"])["text"] == "hello" * 100
        assert answer(explorer, "preview", key=found["again"])["text"] == "hello" * 100
        binary = answer(explorer, "preview", key=found["libx.so"])
        assert binary["kind"] == "binary"
        assert binary["text"].startswith("00000000  7f 45 4c 46 00 78")

    def test_a_preview_is_no_longer_than_the_setting_says(self, explorer, monkeypatch) -> None:
        short = dataclasses.replace(settings.current(), explore_preview_bytes=100)
        monkeypatch.setattr(settings, "current", lambda: short)
        key = keys(explorer, filter={"search": "tool"})["/usr/bin/tool"]
        found = answer(explorer, "preview", key=key)
        assert (found["text"], found["shown_bytes"], found["size_bytes"]) == (
            "#!/bin/sh\n" * 10, 100, 3000,
        )  # fmt: skip

    def test_tiles_fill_the_directory(self, explorer) -> None:
        found = answer(explorer, "tiles", width=800, height=300, shade="package")
        tiles = [tile for tile in found["tiles"] if tile["depth"] == 0]
        assert sum(tile["size"] for tile in tiles) == found["size"]
        area = sum(tile["box"][2] * tile["box"][3] for tile in tiles)
        assert area == pytest.approx(800 * 300, rel=1e-3)
        assert {each["name"] for each in found["legend"]} == {"tools"}

    def test_reveal_and_find(self, explorer) -> None:
        key = keys(explorer, filter={"search": "tool"})["/usr/bin/tool"]
        found = answer(explorer, "reveal", key=key)
        lines = answer(explorer, "lines", **{"from": 0, "to": 100, "open": found["open"]})["lines"]
        assert lines[found["line"]]["key"] == key
        assert answer(explorer, "find", text="u", at=0) == list(keys(explorer)).index("usr")
        assert answer(explorer, "find", text="nothing", at=0) is None

    @pytest.mark.parametrize(
        "question",
        [
            {"what": "no such"}, {"what": "__init__"}, {"what": "lines", "filter": {"layer": 9}},
            {"what": "lines", "filter": {"change": "x"}}, {"what": "details", "key": "r999"},
            {"what": "details", "key": "n-1"}, {"what": "tiles", "width": "x", "height": 1},
            {"what": "keys", "from": 0, "to": 10**6}, {"what": "preview", "key": "n1"},
            {"what": "tiles", "width": 9, "height": 9, "shade": "x"}, {"what": "details"},
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_told_in_the_view(self, explorer, question) -> None:
        found = explorer.answer({"id": 7, **question})
        assert found is not None
        assert found["id"] == 7
        assert found["error"]["message"]

    def test_what_is_no_question(self, explorer) -> None:
        assert explorer.answer("x") is None
        assert explorer.answer({"id": 1}) is None

    def test_what_is_no_image(self, nbdock_home) -> None:
        with pytest.raises(ArgumentTypeError):
            nbdock.explore(7)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def checked(html: str) -> None:
    """No scripts, and nothing but what a twin is made of."""
    parser = _Tags()
    parser.feed(html)
    assert not parser.tags & {"script", "img", "iframe", "link", "style", "a", "foreignobject"}
    assert not {name for name in parser.attributes if name.startswith("on")}
    for part in html.split("<svg")[1:]:
        ET.fromstring("<svg" + part.split("</svg>")[0] + "</svg>")


class TestTwin:
    def test_it_says_what_is_there(self, explorer) -> None:
        twin = explorer.twin()
        checked(twin.html)
        for text in (
            "/usr/lib",
            "duplicate",
            "/usr/lib/libx.so in layer 0",
            "nbdock.explore(image)",
        ):
            assert text in twin.text
        assert "coloured by layer" in twin.html

    def test_hostile_names_are_only_text(self, nbdock_home) -> None:
        explorer = explorer_of([layers.file(name, b"x" * 5000) for name in HOSTILE])
        twin = explorer.twin()
        checked(twin.html)
        assert "\u202e" not in twin.html + twin.text
        assert "&lt;script&gt;" in twin.html

    def test_an_image_without_files(self, nbdock_home) -> None:
        for tars in ([], [[]], [[layers.directory("a")]], [[layers.file("empty")]]):
            explorer = explorer_of(*tars)
            checked(explorer.twin().html)
            assert answer(explorer, "tiles", width=100, height=100)["tiles"] == []
            assert answer(explorer, "lines", **{"from": 0, "to": 9})["bytes"] == 0

    def test_many_files_and_layers_stay_small(self, nbdock_home) -> None:
        many = [[layers.file(f"{'long' * 40}/{n}/{i}-{'x' * 100}", b"%d" % i * 99)
                 for i in range(150)] for n in range(45)]  # fmt: skip
        explorer = explorer_of(*many)
        bundle = explorer._repr_mimebundle_()
        start = json.dumps(explorer.start())
        assert len(json.dumps(bundle)) + len(start) < 300_000

    def test_without_a_kernel_there_is_only_the_twin(self, explorer) -> None:
        assert set(explorer._repr_mimebundle_()) == {"text/plain", "text/html"}

    def test_without_widgets_a_line_says_how_to_get_them(self, explorer, monkeypatch) -> None:
        monkeypatch.setattr(frontend, "updates_displays", lambda: True)
        monkeypatch.setattr(frontend, "can_widgets", lambda: False)
        bundle = explorer._repr_mimebundle_()
        assert 'pip install "nbdock[widgets]"' in bundle["text/plain"]
        assert WIDGET not in bundle
        checked(bundle["text/html"])


class _Slow(Explorer):
    name = "image"

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def start(self) -> dict[str, object]:
        return {}

    def twin(self) -> Twin:
        return Twin("text", "<p>html</p>")

    def answer_wait(self, question) -> str:
        assert self.gate.wait(240)
        return "waited"

    def answer_soon(self, question) -> str:
        return "soon"


class TestFrontend:
    def test_answers_come_in_the_order_asked_and_not_in_the_kernels_thread(
        self, monkeypatch
    ) -> None:
        monkeypatch.setattr(frontend, "updates_displays", lambda: True)
        slow, sent = _Slow(), []
        bundle = slow._repr_mimebundle_()
        assert bundle[WIDGET]["model_id"] == slow._view.model_id
        monkeypatch.setattr(slow._view, "send", sent.append)
        slow._heard(slow._view, {"id": 1, "what": "wait"}, [])
        slow._heard(slow._view, {"id": 2, "what": "soon"}, [])
        assert sent == []
        slow.gate.set()
        deadline = time.monotonic() + 240
        while len(sent) < 2 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert sent == [{"id": 1, "answer": "waited"}, {"id": 2, "answer": "soon"}]
        slow.close()
        assert slow._repr_mimebundle_()[WIDGET]["model_id"]
        slow.close()

    def test_scripts_and_styles_are_joined(self) -> None:
        made = view_class("image")
        assert view_class("image") is made
        assert "openFrame" in str(made._esm)
        assert sum(row.startswith("export") for row in str(made._esm).splitlines()) == 1
        style = str(made._css)
        assert all(colour in style for colour in PALETTE)
        # All styles are of the view alone, but for names of animations.
        rules = [
            line
            for line in style.splitlines()
            if line.endswith(("{", ",")) and line[:1] not in " @"
        ]
        assert all(".nbdock-" in rule for rule in rules), rules


class TestPictures:
    @given(st.lists(st.integers(1, 10**9), max_size=40), st.floats(1, 2000), st.floats(1, 2000))
    def test_boxes_fill_their_box(self, sizes, width, height) -> None:
        sizes.sort(reverse=True)
        boxes = squarified(sizes, Box(5, 7, width, height))
        assert len(boxes) == len(sizes)
        total = sum(sizes)
        for size, box in zip(sizes, boxes, strict=True):
            assert box.width * box.height == pytest.approx(width * height * size / total, rel=1e-6)
            assert box.x >= 5 - 1e-6
            assert box.y >= 7 - 1e-6
            assert box.x + box.width <= 5 + width + 1e-6 * width
            assert box.y + box.height <= 7 + height + 1e-6 * height

    def test_boxes_do_not_lie_on_each_other(self) -> None:
        boxes = squarified([50, 20, 10, 9, 5, 3, 2, 1], Box(0, 0, 300, 200))
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                wide = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
                high = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
                assert wide < 1e-6 or high < 1e-6

    @given(st.text(max_size=60), st.floats(0, 400))
    def test_texts_fit(self, text, width) -> None:
        shown = fitted(text, width)
        assert width_of(shown) <= width or not shown
        picture = Drawing(100, 50, text)
        picture.rect(0, 0, 10, 10, fill="#123456", title=text)
        with picture.group(text):
            picture.text(0, 10, text)
        ET.fromstring(str(picture))

    @given(st.binary(max_size=3000), st.integers(0, 3000))
    def test_previews_hold_nothing_that_is_not_seen(self, data, cut) -> None:
        preview = preview_of(data[:cut], len(data))
        assert all(c.isprintable() or c in "\n\t" for c in preview.text)
        assert preview.shown_bytes <= max(len(data[:cut]), 0)


def test_a_directory_of_directories_is_one_box(nbdock_home) -> None:
    image = layers.make_image(
        [layers.tar([layers.file("a/b/c/d", b"x" * 9), layers.file("e", b"y")])]
    )
    tree = FileTree(read_files(image))
    from nbdock.notebook.explore.imagetiles import tiles_of

    tiles = tiles_of(
        tree, FileFilter(), 0, Box(0, 0, 400, 300), lambda rows: len(np.atleast_1d(rows))
    )
    assert [tile.name for tile in tiles] == [b"a/b/c", b"e", b"d"]


def test_magic(cells) -> None:
    cells.names["redis"] = layers.make_image([layers.tar(BASE)])
    made = cells.value("%explore redis -o found")
    assert isinstance(made, ImageExplorer)
    assert cells.names["found"] is made
    assert made.start()["code"].startswith("files = nbdock.file_table(redis)\n")
    assert "takes one image" in str(cells.error("%explore redis redis"))
    assert "Did you mean --closure?" in str(cells.error("%explore redis --closur"))
