"""The order of versions against dpkg's own."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from nbdock.packages.debian import versions

# Few signs, so that pairs often share a beginning: that is where the order gets interesting.
_SIGNS = "0019aAzZ.+~"
_upstream = st.builds("{}{}".format, st.integers(0, 12), st.text(_SIGNS + "-:", max_size=6))
_revision = st.text(_SIGNS, min_size=1, max_size=4)
_version = st.one_of(
    st.builds("{}:{}-{}".format, st.integers(0, 3), _upstream, _revision),
    st.builds("{}-{}".format, st.text(_SIGNS, max_size=6).map("1".__add__), _revision),
    st.text(_SIGNS, max_size=6).map("1".__add__),
)


def _dpkg_order(pairs: list[tuple[str, str]]) -> list[int]:
    """What dpkg says about each pair, with one shell for all of them."""
    script = (
        'while read -r a b; do if dpkg --compare-versions "$a" lt "$b"; then echo -1; '
        'elif dpkg --compare-versions "$a" eq "$b"; then echo 0; else echo 1; fi; done'
    )
    answer = subprocess.run(
        ["sh", "-c", script],
        input="".join(f"{a} {b}\n" for a, b in pairs),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(line) for line in answer.stdout.split()]


@settings(max_examples=12)
@given(st.lists(st.tuples(_version, _version), min_size=20, max_size=40))
def test_order_is_dpkgs(pairs: list[tuple[str, str]]) -> None:
    """Any two versions compare as dpkg compares them."""
    assert [versions.compare(a, b) for a, b in pairs] == _dpkg_order(pairs)


def test_known_orders() -> None:
    """Cases that Policy names, and those that once went wrong somewhere."""
    rising = ["1.0~~", "1.0~~a", "1.0~", "1.0", "1.0-1", "1.0a", "1.0+", "1.0.1", "1.10", "2:0"]
    pairs = [(a, b) for a in rising for b in rising]
    assert sorted(sorted(rising), key=versions.version_key) == rising
    assert [versions.compare(a, b) for a, b in pairs] == _dpkg_order(pairs)
    assert versions.compare("1.0", "1.0-0") == 0
    assert versions.compare("0:1.0", "1.00") == 0


@given(_version, _version, _version)
def test_order_is_transitive(a: str, b: str, c: str) -> None:
    """Keys order totally, whatever the versions."""
    low, middle, high = sorted([a, b, c], key=versions.version_key)
    assert versions.compare(low, middle) <= 0
    assert versions.compare(middle, high) <= 0
    assert versions.compare(low, high) <= 0


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_has_a_place(a: str, b: str) -> None:
    """Hostile versions compare without an exception, and antisymmetrically."""
    assert versions.compare(a, b) == -versions.compare(b, a)


def test_endless_digits() -> None:
    """A number longer than Python converts still compares as a number."""
    assert versions.compare("1." + "9" * 10_000, "1.1" + "0" * 10_000) < 0


def test_relations_to_a_bound() -> None:
    """Each operator means what Policy says."""
    table = {"<<": (1, 0, 0), "<=": (1, 1, 0), "=": (0, 1, 0), ">=": (0, 1, 1), ">>": (0, 0, 1)}
    for operator, expected in table.items():
        got = tuple(versions.satisfies(v, operator, "1.0-2") for v in ("1.0-1", "1.0-2", "1.0-10"))
        assert got == tuple(map(bool, expected))
