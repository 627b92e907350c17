"""A layer without what its base has: it stands alone, and on the base nothing is missing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nbdock.filetree import BytesContent, Entry, EntryKind, overlay
from nbdock.images.tree import absent_from


def tree_of(draw: st.DrawFn) -> list[Entry]:
    """Files of a few contents, some of them with several names."""
    result: list[Entry] = []
    for path in draw(st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"e"]), unique=True)):
        known = draw(st.sampled_from([None, *(e for e in result if e.kind is EntryKind.FILE)]))
        data = draw(st.sampled_from([b"", b"1", b"2"]))
        result.append(
            Entry(path, EntryKind.FILE, size_bytes=len(data), content=BytesContent(data))
            if known is None
            else Entry(path, EntryKind.HARDLINK, linkname=known.path, target=known)
        )
    return result


trees = st.composite(tree_of)()


@given(trees, trees)
def test_a_layer_stands_alone(base: list[Entry], entries: list[Entry]) -> None:
    below = overlay([base])
    layer = [
        # As engines read it: nothing is bound that the layer does not have.
        Entry(e.path, e.kind, e.mode, linkname=e.linkname, size_bytes=e.size_bytes,
              content=BytesContent(e.read()) if e.content else None)
        for e in absent_from(below, iter(entries))
    ]  # fmt: skip
    overlay([layer])  # hardlinks lead to what is in it
    wanted = overlay([entries])
    found = overlay([base, layer])
    assert {p: found.resolved(p).read() for p in wanted if p} == {
        p: wanted.resolved(p).read() for p in wanted if p
    }
