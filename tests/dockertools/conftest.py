"""Cells of dockerTools' text, with the packages that a real Nix built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from support.dockertools_examples import EXAMPLES, THINGS
from support.nix import Nix
from support.workshop import Workshop
from traitlets.config import Config

import nbdock


@pytest.fixture(scope="session")
def bare_shell(tmp_path_factory: pytest.TempPathFactory) -> InteractiveShell:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.ipython_dir = str(tmp_path_factory.mktemp("ipython"))
    return InteractiveShell.instance(config=config)


@pytest.fixture
def shell(bare_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """A shell that has nbdock's extension, and what the test binds for its time only."""
    own = set(bare_shell.user_ns)
    bare_shell.run_line_magic("load_ext", "nbdock")
    yield bare_shell
    bare_shell.run_line_magic("unload_ext", "nbdock")
    for name in set(bare_shell.user_ns) - own:
        del bare_shell.user_ns[name]


class _Names(Mapping[str, Any]):
    """``pkgs``, and the things that examples name, built by Nix when they are asked for."""

    def __init__(self, nix: Nix) -> None:
        self._nix = nix
        self._known: dict[str, Any] = {}

    def _make(self, name: str) -> Any:
        if name == "pkgs":
            return nbdock.nixpkgs()
        if name == "crossPkgs":
            return nbdock.nixpkgs(system="aarch64-linux")
        return self["pkgs"][self._nix.build_expression(THINGS[name])]

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._make(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(["pkgs", "crossPkgs", *THINGS])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))


@pytest.fixture(scope="session")
def _workshop(bare_shell: InteractiveShell, nix: Nix) -> Workshop:
    return Workshop(bare_shell, _Names(nix), EXAMPLES)


@pytest.fixture
def workshop(_workshop: Workshop, shell: InteractiveShell, local_nix: Nix) -> Workshop:
    """The examples of the acceptance list, with the local Nix; shared by the tests of a worker."""
    return _workshop
