"""What a package, a set of packages and the planners look like under a cell."""

from __future__ import annotations

import nbdock
from nbdock.errors import NixError


def test_a_package_says_what_and_where_it_is(cells, packages, capsys) -> None:
    cells.run("apt['redis-tools']")
    shown = capsys.readouterr().out
    assert "redis-tools 1.0" in shown
    assert "11 B, a package of debian" in shown
    assert "await nbdock.closure(package)" in shown
    cells.run("[apt['redis-tools']]")
    assert "[<FakePackage redis-tools 1.0>]" in capsys.readouterr().out


def test_what_is_no_package_after_all_says_so(cells, packages, capsys) -> None:
    class Unknown(type(packages["libc6"])):  # type: ignore[misc]
        def __str__(self) -> str:
            raise NixError("sets is a set, not a package.", hint="Name one that is in it: sets.a.")

    cells.names["sets"] = Unknown("sets", packages)
    cells.run("sets")
    shown = capsys.readouterr().out
    assert "sets\n\nsets is a set, not a package. Name one that is in it: sets.a." in shown
    assert "Traceback" not in shown


def test_a_set_of_packages_says_how_to_get_at_them(cells) -> None:
    channel = "https://channel.example/list"
    packages = nbdock.nixpkgs(cache="https://cache.example", channel=channel)
    shown, _ = cells.shell.display_formatter.format(packages)
    assert "<strong>Packages of nixpkgs</strong>" in shown["text/html"]
    assert " from https://cache.example for " in shown["text/html"]
    assert "packages[&quot;name&quot;]" in shown["text/html"]
    # Where there is no HTML, its own line is enough.
    assert shown["text/plain"] == repr(packages)


def test_planners_say_what_they_do(cells, capsys) -> None:
    cells.run("import nbdock; nbdock.planners()")
    shown = capsys.readouterr().out
    for planner in nbdock.planners().values():
        assert planner.name in shown
        assert planner.description in shown
    assert 'layering = "auto";' in shown
