"""``%%buildNixShellImage``: a cell as in today's manual, with a nixpkgs that real Nix evaluates."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.nix import Nix

import nbdock
from nbdock.errors import ArgumentError, NixError

CELL = """
drv = pkgs.hello;
tag = "latest";
shell = "${pkgs.bash}/bin/bash";
"""


@pytest.fixture(autouse=True)
def _pkgs(cells, local_nix: Nix) -> None:
    cells.shell.user_ns["pkgs"] = nbdock.nixpkgs()


def test_the_manuals_cell(cells, local_nix: Nix) -> None:
    image = cells.value(f"%%buildNixShellImage\n{CELL}")
    assert image.name.startswith("hello-")
    assert image.name.endswith("-env")
    assert image.tag == "latest"
    assert image.config.config.cmd[0] == f"{local_nix.build('bash')}/bin/bash"
    assert image.config.config.user == "1000:1000"
    assert local_nix.build("hello") not in {package.root for package in image.closure.packages}
    # --dry-run shows the plan of that image.
    assert cells.value(f"%%buildNixShellImage --dry-run\n{CELL}") == image.plan


def test_a_file_beside_the_notebook(cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shell.nix").write_text("(import <nixpkgs> { }).hello")
    monkeypatch.chdir(tmp_path)
    by_file = cells.value('%%buildNixShellImage\ndrv = ./shell.nix; name = "a"; tag = "1";')
    by_name = cells.value('%%buildNixShellImage\ndrv = pkgs.hello; name = "a"; tag = "1";')
    assert by_file.id == by_name.id


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        ('drv = pkgs.hello;\nrun = "a"; command = "b";', ArgumentError, "either interactive"),
        ('drv = pkgs.hello;\nhomeDirectry = "/x";', ArgumentError, "Did you mean homeDirectory?"),
        ("drv = pkgs.lib;", NixError, "not a package"),
        ('tag = "1";', ArgumentError, "drv"),
    ],
)
def test_errors_are_told_in_the_cell(cells, body: str, kind: type[Exception], told: str) -> None:
    error = cells.error(f"%%buildNixShellImage\n{body}")
    assert isinstance(error, kind)
    assert told in cells.rendered(error)
