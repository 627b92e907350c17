"""`compare_table`, `reproducibility_table` and `closure_graph`: known differences, found again."""

from __future__ import annotations

import dataclasses

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.layers import directory, file, hardlink, make_image, symlink, tar, whiteout

import nbdock
from nbdock import concurrency
from nbdock.filetree import differences, overlay
from nbdock.images import Image
from nbdock.oci import ContainerConfig, History

COMPARED = {
    "part": "category", "name": "str", "change": "category", "why": "category", "before": "str",
    "after": "str", "before_bytes": "Int64", "after_bytes": "Int64",
}  # fmt: skip
REPRODUCED = {
    "layer": "Int64", "path": "str", "field": "category", "before": "str", "after": "str",
}  # fmt: skip


def kinds(table) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in table.dtypes.items()}


def why(one, other) -> dict[str, tuple[str, str]]:
    table = nbdock.compare_table(one, other)
    assert kinds(table) == COMPARED
    return {row.name_: (row.change, row.why) for row in table.rename(columns={"name": "name_"})
            .itertuples()}  # fmt: skip


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (file("f", b"22"), "content"),
        (file("f", b"2"), "content"),
        (file("f", b"1", mode=0o600), "mode"),
        (file("f", b"1", uid=5), "owner"),
        (file("f", b"1", gid=5, mode=0o600, mtime=4), "mode, owner"),
        (file("f", b"1", mtime=4), "time"),
        (file("f", b"1", pax_headers={"SCHILY.xattr.user.a": "b"}), "attributes"),
        (directory("f", mode=0o644), "kind, content"),
        (symlink("f", "g"), "kind, content, link target"),
        (file("f", b"1"), None),
    ],
)
def test_why_a_file_differs(nbdock_home, member, expected) -> None:
    one, other = make_image([tar([file("f", b"1")])]), make_image([tar([member])])
    found = why(one, other)
    assert found == ({"/f": ("changed", expected)} if expected else {})


def test_layers_and_names_of_one_file_do_not_matter(nbdock_home) -> None:
    one = make_image([tar([file("a", b"1"), hardlink("b", "a"), file("x")])])
    other = make_image([tar([file("b", b"1"), hardlink("a", "b")]), tar([file("x"), file("gone")]),
                        tar([whiteout("gone")])])  # fmt: skip
    table = nbdock.compare_table(one, other)
    assert len(table) == 0
    assert kinds(table) == COMPARED
    assert len(nbdock.reproducibility_table(one, other)) > 0


def test_files_packages_and_configuration(nbdock_home) -> None:
    def image(version: str, env: tuple[str, ...], *files):
        text = f"P:musl\nV:{version}\nI:10\n\n" + (f"P:only{version}\nV:1\nI:5\n\n")
        config = {"config": ContainerConfig(env=env)}
        return make_image(
            [tar([file("lib/apk/db/installed", text.encode()), *files])], config=config
        )

    one = image("1", ("PATH=/bin", "A=1"), file("gone", b"1234"))
    other = image("2", ("PATH=/bin:/usr/bin",), file("new", b"12"))
    table = nbdock.compare_table(one, other).set_index(["part", "name"])
    assert table.loc[("file", "/gone")].tolist()[:2] == ["removed", ""]
    assert table.loc[("file", "/gone"), "before_bytes"] == 4
    assert table.loc[("file", "/new"), "after_bytes"] == 2
    assert table.loc[("package", "apk musl"), ["why", "before", "after"]].tolist() == [
        "version", "1", "2",
    ]  # fmt: skip
    assert table.loc[("package", "apk only1"), "change"] == "removed"
    assert table.loc[("configuration", "Env.PATH"), "after"] == "/bin:/usr/bin"
    assert table.loc[("configuration", "Env.A"), "change"] == "removed"


NAMES = st.sampled_from(["a", "b", "d", "d/a", "d/b"])
MEMBERS = st.one_of(
    st.builds(file, NAMES, st.sampled_from([b"", b"1", b"2"]), mode=st.sampled_from([0, 0o644])),
    st.builds(directory, st.sampled_from(["d", "e"]), mtime=st.sampled_from([0, 1])),
    st.builds(symlink, NAMES, st.sampled_from(["x", "y"])),
    st.builds(whiteout, NAMES),
)
LAYERS = st.lists(st.lists(MEMBERS, max_size=4), max_size=3)


@settings(max_examples=60)
@given(LAYERS, LAYERS)
def test_files_against_the_differences_of_trees(left, right) -> None:
    images = [make_image([tar(layer) for layer in layers]) for layers in (left, right)]
    trees = [overlay(i.layer_entries(n) for n in range(len(i.layers))) for i in images]
    # Parents that no layer names are in trees, but are nobody's entries.
    implied = [{b""} | _implied(i, t) for i, t in zip(images, trees, strict=True)]
    expected = {}
    for found in differences(*trees, ignore=("uname", "gname")):
        if found.path in implied[0] & implied[1]:
            continue
        change = found.kind.value
        if found.path in implied[0]:
            change = "added"
        elif found.path in implied[1]:
            change = "removed"
        expected["/" + found.path.decode()] = change
    for path in implied[0] ^ implied[1]:
        if path in trees[0] and path in trees[1]:
            expected["/" + path.decode()] = "added" if path in implied[0] else "removed"
        elif (path in trees[0]) == (path in implied[0]):
            expected.pop("/" + path.decode(), None)
    table = nbdock.compare_table(*images)
    files = table[table.part == "file"]
    assert dict(zip(files["name"], files["change"], strict=True)) == expected


def _implied(image: Image, tree) -> set[bytes]:
    table = nbdock.file_table(image)
    seen = {path.encode().lstrip(b"/") for path in table[table.visible].path}
    return set(tree) - seen


def differing(one, other) -> set[tuple]:
    table = nbdock.reproducibility_table(one, other)
    assert kinds(table) == REPRODUCED
    return {tuple(None if v != v else v for v in row) for row in table.astype(object)
            .where(table.notna(), None).itertuples(index=False)}  # fmt: skip


def test_the_same_image_has_no_differences(nbdock_home) -> None:
    image = make_image([tar([file("a")])])
    assert differing(image, image) == set()


def test_fields_of_entries(nbdock_home) -> None:
    one = make_image([tar([file("same"), file("a", b"1", mtime=1, uname="me"), file("x")])])
    other = make_image([tar([file("same"), file("a", b"2", mtime=2, mode=0o600), file("y")])])
    found = {row for row in differing(one, other) if row[1] == "/a"}
    assert {row[2:] for row in found if row[2] != "digest"} == {
        ("mtime", "1970-01-01T00:00:01+00:00", "1970-01-01T00:00:02+00:00"),
        ("mode", "0644", "0600"),
        ("uname", "me", ""),
    }  # fmt: skip
    assert {row[2] for row in found} == {"mtime", "mode", "uname", "digest"}
    entries = {row for row in differing(one, other) if row[2] == "entry"}
    assert entries == {(0, "/x", "entry", "present", None), (0, "/y", "entry", None, "present")}


def test_order_encoding_compression_and_layers(nbdock_home) -> None:
    a, b = file("a", b"1"), file("b", b"2")
    plain = make_image([tar([a, b])])
    assert (0, None, "order", "/a", "/b") in differing(plain, make_image([tar([b, a])]))
    (row,) = (r for r in differing(plain, make_image([tar([a, b]) + bytes(10240)])) if r[0] == 0)
    assert row[2] == "encoding"
    (row,) = (r for r in differing(plain, make_image([tar([a, b])], compressed=True)) if r[0] == 0)
    assert row[2] == "compression"
    longer = make_image([tar([a, b]), tar([b])])
    (row,) = (r for r in differing(plain, longer) if r[0] == 1)
    assert row[2:] == ("layer", None, str(longer.layers[1].diff_id))
    twice = differing(make_image([tar([a, a])]), make_image([tar([a, a, b])]))
    assert {row for row in twice if row[0] == 0} == {(0, "/b", "entry", None, "present")}


def test_documents(nbdock_home) -> None:
    layer = tar([file("a")])
    one = make_image([layer], config={"created": "2020-01-01T00:00:00Z"})
    history = (History(created="2021-01-01T00:00:00Z", created_by="x"),)
    other = make_image([layer], config={"created": "2021-01-01T00:00:00Z", "history": history})
    found = {(path, before, after) for _, path, _, before, after in differing(one, other)}
    assert ("config.created", "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z") in found
    assert ("config.history[0].created_by", None, "x") in found


def test_the_graph_of_a_closure(nbdock_home) -> None:
    text = "P:a\nV:1\nI:1\nD:b\n\nP:b\nV:2\nI:2\n\n"
    image = make_image([tar([file("lib/apk/db/installed", text.encode())])])
    graph = nbdock.closure_graph(image)
    assert list(graph.edges) == [("a", "b")]
    assert graph.nodes["b"] == {"version": "2", "size_bytes": 2, "manager": "apk", "layer": 0}
    files = [nbdock.text_file("etc/a", "1"), nbdock.text_file("etc/b", "2")]
    closure = concurrency.run(nbdock.closure(files))
    assert nx.utils.graphs_equal(nbdock.closure_graph(closure), nbdock.closure_graph(files))


def test_packages_of_one_name_are_told_apart(nbdock_home) -> None:
    files = [nbdock.text_file("etc/a", "1"), nbdock.text_file("etc/a", "2")]
    graph = nbdock.closure_graph(files)
    assert len(graph) == 2


def test_one_image_is_not_changed_by_comparing(nbdock_home) -> None:
    image = make_image([tar([file("a")])])
    other = dataclasses.replace(image, name="other")
    assert len(nbdock.compare_table(image, other)) == 0
