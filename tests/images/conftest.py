"""Images for the tests of this room, and a way to look into them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nbdock.filetree import Entry
from nbdock.images import Image


@pytest.fixture(autouse=True)
def _home(nbdock_home: Path) -> None:
    """Every test here has a store of its own."""


@pytest.fixture
def files() -> Callable[[Image], dict[str, Entry]]:
    """The entries of an image's layers by path; of two at one path, the higher layer's."""

    def look(image: Image) -> dict[str, Entry]:
        return {
            os.fsdecode(entry.path): entry
            for position in range(len(image.layers))
            for entry in image.layer_entries(position)
        }

    return look
