"""The names that a cell may use: the notebook's own first, then nbdock's.

contents = [ apt.redis-server pkgs.hello (script "hello" "echo hi") ];
fromImage = buildImage { name = "base"; copyToRoot = [ dockerTools.caCertificates ]; };
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from IPython.core.error import UsageError

from nbdock import packages
from nbdock.errors import nearest
from nbdock.images import (
    Image,
    build_image,
    build_layered_image,
    build_nix_shell_image,
    export_image,
    from_cell,
    merge_images,
    prefetch_image,
    pull_image,
    stream_layered_image,
    stream_nix_shell_image,
)
from nbdock.jobs import Job
from nbdock.nixlang import takes_keywords
from nbdock.packages import PackageSet, apt, script, text_file

__all__ = [
    "BUILDERS",
    "FUNCTIONS",
    "LISTS",
    "CellNames",
    "DockerTools",
    "default_apt",
    "image_named",
    "image_names",
    "open_nixpkgs",
]


def _functions() -> dict[str, Callable[..., Any]]:
    # In a function, which mypy reads when it knows what the imported names are.
    return {
        "buildImage": build_image,
        "buildLayeredImage": build_layered_image,
        "streamLayeredImage": stream_layered_image,
        "pullImage": pull_image,
        "mergeImages": merge_images,
        "exportImage": export_image,
        "buildNixShellImage": build_nix_shell_image,
        "streamNixShellImage": stream_nix_shell_image,
        "prefetchImage": prefetch_image,
    }


FUNCTIONS: Mapping[str, Callable[..., Any]] = _functions()
"""All that cells call with a set of arguments."""

BUILDERS: Mapping[str, Callable[..., Any]] = {
    name: function for name, function in FUNCTIONS.items() if name != "prefetchImage"
}
"""Those of them that cells begin with or call for an image, by dockerTools' names."""

LISTS = {"mergeImages": "images"}
"""Those that take a list in place of a set, and the argument that it is."""

_HELPERS = {
    "shadowSetup": "shadow_setup",
    "fakeNss": "fake_nss",
    "binSh": "bin_sh",
    "usrBinEnv": "usr_bin_env",
    "caCertificates": "ca_certificates",
}

_default_apt: PackageSet | None = None


def default_apt() -> PackageSet:
    """The package sources of this machine: one set, so that its index is loaded once."""
    global _default_apt
    if _default_apt is None:
        _default_apt = apt()
    return _default_apt


def _text_file(path: str) -> Callable[[str], object]:
    return lambda text: text_file(path, text)


def _script(name: str) -> Callable[[str], object]:
    return lambda text: script(name, text)


@takes_keywords
def open_nixpkgs(**arguments: object) -> PackageSet:
    """``nixpkgs { channel = "nixos-24.05"; }`` in a cell, and ``import <nixpkgs> { }``."""
    if not arguments:
        return packages.default_nixpkgs()
    given: dict[str, Any] = from_cell(packages.nixpkgs, arguments, magic="nixpkgs")
    return packages.nixpkgs(**given)


def _directory() -> object:
    # In a function, as above.
    return packages.directory


def _store_path() -> object:
    # In a function, as above.
    return packages.store_path


_OWN: Mapping[str, Callable[[], object]] = {
    "apt": default_apt,
    "pkgs": lambda: packages.default_nixpkgs(),
    "nixpkgs": lambda: open_nixpkgs,
    # `import <nixpkgs> { }` is a call of what stands in the brackets.
    "<nixpkgs>": lambda: open_nixpkgs,
    "directory": _directory,
    # Functions of two arguments take them one after the other, as Nix has them.
    "textFile": lambda: _text_file,
    "script": lambda: _script,
    "storePath": _store_path,
    "dockerTools": lambda: DockerTools(),
}


class DockerTools(Mapping[str, object]):
    """``dockerTools`` in a cell: its functions and helpers by name."""

    def __getitem__(self, name: str) -> object:
        if name in _HELPERS:
            return getattr(packages, _HELPERS[name])
        return FUNCTIONS[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*FUNCTIONS, *_HELPERS))

    def __len__(self) -> int:
        return len(FUNCTIONS) + len(_HELPERS)


class CellNames(Mapping[str, object]):
    """Free names of a cell, looked up in a notebook's namespace and then among nbdock's own."""

    def __init__(self, namespace: Mapping[str, object]) -> None:
        self._namespace = namespace

    def __getitem__(self, name: str) -> object:
        if name in self._namespace:
            return self._namespace[name]
        if name in _OWN:
            return _OWN[name]()
        return DockerTools()[name]

    def __iter__(self) -> Iterator[str]:
        public = (name for name in self._namespace if not name.startswith("_"))
        return iter(dict.fromkeys([*public, *_OWN, *DockerTools()]))

    def __len__(self) -> int:
        return len(list(iter(self)))


def image_names(namespace: Mapping[str, object]) -> list[str]:
    """The names of a notebook's images."""
    return [
        name for name, value in namespace.items()
        if isinstance(value, Image) and not name.startswith("_")
    ]  # fmt: skip


def image_named(text: str, namespace: Mapping[str, object]) -> Image | str:
    """What the line of a magic means by an image: a name in the notebook, or a path.

    Raises
    ------
    UsageError
        There is no such image; with the nearest.
    """
    value = namespace.get(text)
    if isinstance(value, Image):
        return value
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, Job):
        raise UsageError(f"{text} is still being built; wait for it with await {text}.")
    if value is not None:
        raise UsageError(f"{text} is no image but a {type(value).__name__}.")
    if "/" in text or os.path.exists(text):
        return text
    known = image_names(namespace)
    close = nearest(text, known, count=1)
    advice = (
        f"Did you mean {close[0]}?" if close
        else f"Images in this notebook: {', '.join(known)}." if known
        else 'Bind one first, for example: base = nbdock.load_image("base.tar")'
    )  # fmt: skip
    raise UsageError(f"There is no image {text!r} in this notebook. {advice}")
