"""`apt()`: from arguments to a package set. Checks them, and leaves everything else for later."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from nbdock import concurrency
from nbdock.calling import checked
from nbdock.errors import (
    ArgumentError,
    ArgumentTypeError,
    MissingArgumentError,
)
from nbdock.packages.debian.package_set import AptPackageSet, LoadedIndex
from nbdock.packages.debian.resolver import AlternativesRule
from nbdock.packages.package import Progress

__all__ = ["apt"]

_ARCHITECTURE = re.compile("[a-z0-9][a-z0-9-]*")


@checked
def apt(
    mirror: str | None = None, *, suite: str | None = None,
    components: str | Sequence[str] | None = None, architecture: str | None = None,
    keyring: str | os.PathLike[str] | None = None, trusted: bool = False,
    alternatives: AlternativesRule = "smallest", exclude: Sequence[str] = (),
    recommends: bool = False, merged_usr: bool = True, refresh: bool = False,
) -> AptPackageSet:  # fmt: skip
    """Open Debian's or Ubuntu's packages: this machine's APT sources, or a mirror.

    Cheap: nothing is read or fetched before the first package is looked up.

    Parameters
    ----------
    mirror
        The archive's URL, up to the directory that has ``dists``. Without it the sources that APT
        is configured with on this machine are used.
    suite
        With `mirror`: the suite, such as ``stable`` or ``bookworm``.
    components
        With `mirror`: the components; ``main`` if not given.
    architecture
        Debian's name of the architecture (``amd64``, ``arm64``); this machine's if not given.
    keyring
        With `mirror`: the file with the keys that may sign the archive; the keys that APT trusts
        on this machine if not given.
    trusted
        With `mirror`: use it even if nobody signed it.
    alternatives
        ``"smallest"``: among alternatives take what adds the fewest bytes. ``"apt"``: take what
        ``apt-get install`` on an empty system would.
    exclude
        Names of packages to leave out, with what only they need, as if they were there already.
    recommends
        Whether recommended packages come along.
    merged_usr
        Whether ``/bin``, ``/lib`` and the like are links into ``/usr``, as Debian has them.
    refresh
        Whether to ask the sources for changes even if that was done a short while ago.

    Returns
    -------
    AptPackageSet
        ``apt()["redis-server"]``, ``apt().redis_server``, ``apt().search("redis*")``.

    Raises
    ------
    UnknownArgumentError, ArgumentTypeError, MissingArgumentError, ArgumentError
        Arguments that do not exist, have a wrong type, are missing, or contradict each other.

    Examples
    --------
    >>> apt("https://deb.example.org/debian", suite="bookworm", architecture="arm64")
    <AptPackageSet bookworm for arm64 from https://deb.example.org/debian>
    """
    _check_text("mirror", mirror, "an archive's URL")
    _check_text("suite", suite, "a suite such as bookworm")
    _check_text("architecture", architecture, "an architecture such as amd64")
    flags = {
        "trusted": trusted, "recommends": recommends, "merged_usr": merged_usr, "refresh": refresh
    }  # fmt: skip
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise ArgumentTypeError(f"{name} must be True or False, not {flag!r}.", argument=name)
    if alternatives not in ("smallest", "apt"):
        raise ArgumentTypeError(
            f"alternatives must be 'smallest' or 'apt', not {alternatives!r}.",
            argument="alternatives",
        )
    if architecture is not None and not _ARCHITECTURE.fullmatch(architecture):
        raise ArgumentTypeError(
            f"{architecture!r} is no architecture.", argument="architecture",
            hint="Debian's names are amd64, arm64, armhf, i386, riscv64, ...",
        )  # fmt: skip
    excluded = _names("exclude", exclude)
    if mirror is None:
        given = {"suite": suite, "components": components, "keyring": keyring, "trusted": trusted}
        for name, value in given.items():
            if value:
                raise ArgumentError(
                    f"apt() was given {name}= without mirror=.", argument=name,
                    hint="Without mirror= this machine's own sources are used, as they are.",
                )  # fmt: skip
        place = "of this machine's sources"
    else:
        if suite is None:
            raise MissingArgumentError(
                "apt() was given mirror= without suite=.", argument="suite",
                hint='For example suite="stable".',
            )  # fmt: skip
        if urlsplit(mirror).scheme not in {"http", "https", "file", "copy"}:
            raise ArgumentTypeError(
                f"mirror must be an http, https or file URL, not {mirror!r}.", argument="mirror",
                hint='For example mirror="https://deb.example.org/debian".',
            )  # fmt: skip
        place = f"from {_without_login(mirror)}"
    chosen = ("main",) if components is None else _names("components", components)

    async def load(progress: Progress) -> LoadedIndex:
        from nbdock.packages.debian.index import load_index
        from nbdock.packages.debian.sources import explicit_sources, host_sources

        if mirror is None or suite is None:
            sources = await concurrency.in_worker(host_sources)
        else:
            sources = await concurrency.in_worker(
                explicit_sources, mirror=mirror, suite=suite, components=chosen,
                keyring=keyring, trusted=trusted,
            )  # fmt: skip
        return await load_index(
            sources, architecture=architecture, refresh=refresh, progress=progress
        )

    of_architecture = f"for {architecture} " if architecture else ""
    return AptPackageSet(
        load,
        described=f"{suite + ' ' if suite else ''}{of_architecture}{place}",
        alternatives=alternatives,
        exclude=excluded,
        recommends=recommends,
        merged_usr=merged_usr,
    )


def _check_text(name: str, value: object, what: str) -> None:
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise ArgumentTypeError(f"{name} must be {what}, not {value!r}.", argument=name)


def _names(argument: str, value: object) -> tuple[str, ...]:
    """Names as a tuple; one name by itself is meant as one name, not as its letters."""
    names = value.split() if isinstance(value, str) else value
    if not isinstance(names, list | tuple | set | frozenset) or not all(
        isinstance(n, str) and n for n in names
    ):
        raise ArgumentTypeError(
            f"{argument} must be names, not {value!r}.", argument=argument,
            hint=f'For example {argument}=("{"perl" if argument == "exclude" else "main"}",).',
        )  # fmt: skip
    return tuple(sorted(names) if isinstance(names, set | frozenset) else names)


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
