"""Every test has a home of its own, and downloads are shared where a test asks for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbdock import settings


def test_no_test_sees_the_users_home() -> None:
    assert settings.current().home.name.startswith("nbdock-test-home-")


@pytest.mark.parametrize("_", range(2))
def test_a_home_is_empty(nbdock_home: Path, _: int) -> None:
    assert settings.current().home == nbdock_home
    assert not nbdock_home.exists()
    nbdock_home.mkdir()
    (nbdock_home / "left").touch()


SEEN: list[str] = []


@pytest.mark.parametrize("_", range(2))
def test_downloads_are_shared(apt_home: Path, _: int) -> None:
    assert settings.current().home == apt_home
    assert sorted(p.name for p in apt_home.iterdir()) == ["apt", "downloads", "vm"]
    SEEN.append(os.path.realpath(apt_home / "downloads"))
    assert len(set(SEEN)) == 1


@pytest.mark.usefixtures("clean_environment")
def test_a_clean_environment() -> None:
    assert "HOME" not in os.environ
    assert "LANG" not in os.environ
    assert os.environ["PATH"]
    assert settings.current().home.name.startswith("nbdock-test-home-")
