"""Errors that know a thing, not its place, are shown where the cell names the thing."""

from __future__ import annotations

from typing import Any

import pytest

from nbdock.errors import NbdockError, NixError


@pytest.mark.parametrize(
    ("magic", "body", "pointed_at"),
    [
        ("exportImage", 'fromImage = "/not/here.tar";', '"/not'),
        ("exportImage", "fromImage = ./here-neither.tar;", "./here"),
        ("buildImage", 'name = "x"; contents = [ ./no-directory ];', "./no-"),
        ("buildImage", 'name = "x"; contents = [ /no ];', "/no ]"),
        (
            "buildLayeredImage",
            'name = "x"; layeringPipeline = [ [ "flatten" ] [ "limit_layers" "a" ] ];',
            '"a"',
        ),
    ],
)
def test_files_and_elements(cells, magic: str, body: str, pointed_at: str) -> None:
    error = cells.error(f"%%{magic}\n{body}")
    assert isinstance(error, NbdockError)
    assert pointing(cells.rendered(error), body).startswith(pointed_at)


@pytest.mark.parametrize(
    ("contents", "failed", "pointed_at"),
    [
        ("apt.libc6 apt.redis-tools", "redis-tools", "apt.redis-tools"),
        ("apt.libc6 apt.redis-tools", "something they need", None),
        ("apt.libc6", "something it needs", "apt.libc6"),
    ],
)
def test_packages(cells, packages, contents: str, failed: str, pointed_at: str | None) -> None:
    async def realise(*_: Any, **__: Any) -> None:
        raise NixError("It failed:\n  for a reason", package=failed)

    packages.realise = realise
    body = f'name = "x"; contents = [ {contents} ];'
    shown = cells.rendered(cells.error(f"%%buildLayeredImage\n{body}"))
    if pointed_at is None:
        assert "line 1" not in shown
        return
    assert pointing(shown, body).startswith(pointed_at)
    # The place stands by the fact, not behind what was quoted.
    assert "It failed (line 1, column " in shown


def pointing(shown: str, body: str) -> str:
    """What stands above the caret, and all that follows it."""
    lines = shown.splitlines()
    at = lines.index(f"  {body}")
    return lines[at][lines[at + 1].index("^") :]


def test_what_is_missing_has_an_example_that_fits(cells) -> None:
    assert "for example: fromImage = redis;" in cells.rendered(cells.error("%%exportImage\n{ }"))
    assert 'for example: name = "hello";' in cells.rendered(cells.error("%%buildImage\n{ }"))
