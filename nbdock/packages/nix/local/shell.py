"""What a ``nix-shell`` of a derivation consists of, as packages and variables for a container.

    shell = await nix_shell("shell.nix")
    shell.packages, shell.environment["buildInputs"], shell.command

The variables are those that Nix gives a build in its sandbox, with what dockerTools changes:
``PATH`` leads to a shell and to ``buildDerivation``, and there are certificates. The shell starts
with a script that sources ``$stdenv/setup`` and runs the shell hook, as nix-shell's does.
"""

from __future__ import annotations

import dataclasses
import os
import posixpath
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from nbdock.concurrency import in_worker
from nbdock.errors import ArgumentError, ArgumentTypeError
from nbdock.filetree import Entry
from nbdock.packages.closure import Closure, realise
from nbdock.packages.environment import bin_sh, fake_nss, look_up, usr_bin_env
from nbdock.packages.files import FilesPackage, folder, named_packages, regular
from nbdock.packages.nix.local.instantiating import OpenedDerivation, open_derivation
from nbdock.packages.nix.madehere import stored
from nbdock.packages.package import Package, PackageSet, Progress
from nbdock.packages.texts import script, text_file

__all__ = ["NixShell", "nix_shell"]

_BUILD_DIRECTORY = "/build"
"""Where Nix's sandbox has a build take place."""


@dataclasses.dataclass(frozen=True)
class NixShell:
    """A shell in the environment of a derivation.

    Attributes
    ----------
    name
        The derivation's.
    system
        What it is built on, such as ``x86_64-linux``.
    packages
        What must be in an image, at ``/`` and in the store, with all that it needs.
    environment
        The variables.
    command
        The shell and its arguments.
    directory
        Where it starts.
    """

    name: str
    system: str
    packages: tuple[Package, ...]
    environment: Mapping[str, str]
    command: tuple[str, ...]
    directory: str = _BUILD_DIRECTORY


async def nix_shell(
    derivation: Package | str | os.PathLike[str],
    *,
    uid: int = 1000,
    gid: int = 1000,
    home_directory: str = _BUILD_DIRECTORY,
    shell: Package | str | None = None,
    command: str | None = None,
    run: str | None = None,
    progress: Progress | None = None,
) -> NixShell:
    """The shell of a derivation; what the derivation is built with is built.

    Parameters
    ----------
    derivation
        As for `open_derivation`.
    uid, gid
        The user whose the shell is.
    home_directory
        The user's; it is made only if it is the directory of the build.
    shell
        A bash: its path, or the package it is in; by default nixpkgs' bashInteractive.
    command, run
        Commands to be run instead of waiting for some: in an interactive shell, or in one that is
        not. One of the two.

    Raises
    ------
    ArgumentError
        Both `command` and `run`, a derivation with structured attributes, or none at all.
    NixError
        Nix cannot evaluate it or build its inputs.
    UnavailableError
        There is no Nix on this machine.
    """
    if command is not None and run is not None:
        raise ArgumentError(
            "command and run were both given: the shell is either interactive or it is not.",
            argument="run",
            hint="Keep one of them.",
        )
    opened = await open_derivation(derivation, progress=progress)
    variables = dict(opened.derivation.environment)
    name = opened.name
    if "__json" in variables:
        raise ArgumentError(
            f"{name} uses structured attributes, which are files and no variables: an image with "
            f"its environment cannot be made.",
            argument="drv",
            hint="Override it with __structuredAttrs = false.",
        )
    pkgs = opened.packages
    if pkgs is None:
        pkgs = await in_worker(_default_nixpkgs)
    if shell is None:
        shell = await look_up(pkgs, "bashInteractive", "bash-interactive")
    shells = [shell] if isinstance(shell, Package) else _packages_at(shell, opened)
    shells = list(await realise(shells, progress=progress))
    bash = f"{shells[0]}/bin/bash" if isinstance(shell, Package) else str(shell)
    certificates = await look_up(pkgs, "cacert", "nss-cacert")
    needed = [*shells, certificates, *await opened.inputs(progress=progress)]

    words = [opened.derivation.builder, *opened.derivation.arguments]
    # The shell sees the names of outputs that are not there yet: they are to be built.
    build = script(
        "buildDerivation", f"exec {shlex.join(words)}\n", interpreter=bash, needs=needed, store=True
    )
    path = f"{posixpath.dirname(bash)}:{build}/bin"
    needed.append(build)
    commands = command if run is None else run
    start = text_file("nix-shell-rc", _start(bash, path, commands), needs=needed, store=True)
    needed.append(start)
    # No shell could name the variable of another name, and no file may have just any.
    files = [
        word for word in dict.fromkeys(variables.get("passAsFile", "").split())
        if word in variables and re.fullmatch(r"[A-Za-z_]\w*", word, re.ASCII)
    ]  # fmt: skip
    if files:
        texts = [
            regular(variable, variables.pop(variable).encode("utf-8", "surrogateescape"))
            for variable in files
        ]
        passed = stored("pass-as-file", texts, needs=tuple(needed))
        variables |= {f"{variable}Path": f"{passed}/{variable}" for variable in files}
        needed.append(passed)
    # A build that knows of programs in places of its own finds them after those of the shell.
    variables["PATH"] = ":".join(filter(None, [path, variables.get("PATH", "")]))
    users = fake_nss.override(
        extra_passwd_lines=[f"nixbld:x:{uid}:{gid}:Build user:{home_directory}:/noshell"],
        extra_group_lines=[f"nixbld:!:{gid}:"],
    )
    writable = _WritableDirectories(opened.path.store_dir.strip("/"), uid, gid)
    return NixShell(
        name=name,
        system=opened.derivation.system,
        packages=(
            bin_sh.override(packages=pkgs),
            usr_bin_env.override(packages=pkgs),
            FilesPackage("nix-shell", users.entries(), needs=tuple(needed), package_set=writable),
        ),
        environment={
            "SSL_CERT_FILE": f"{certificates}/etc/ssl/certs/ca-bundle.crt",
            "HOME": home_directory,
            "NIX_STORE": opened.path.store_dir,
            "NIX_BUILD_CORES": "1",
            **variables,
            **dict.fromkeys(
                ("NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"), _BUILD_DIRECTORY
            ),
            "TERM": "xterm-256color",
        },
        command=(bash, f"{start}/nix-shell-rc")
        if run is not None
        else (bash, "--rcfile", f"{start}/nix-shell-rc"),
    )


def _default_nixpkgs() -> PackageSet:
    from nbdock.packages import default_nixpkgs

    return default_nixpkgs()


def _packages_at(shell: str, opened: OpenedDerivation) -> list[Package]:
    """The packages that the path of a shell leads into, if it is in the store."""
    if not isinstance(shell, str) or not shell.startswith("/") or not shell.strip("/"):
        raise ArgumentTypeError(
            f"shell must be the path of a bash, not {shell!r:.60}.",
            argument="shell",
            hint='For example "${pkgs.bash}/bin/bash".',
        )
    named = named_packages([shell])
    inside = re.match(re.escape(opened.path.store_dir) + "/[^/]+", shell)
    return named or ([opened.store[inside[0]]] if inside else [])


def _start(bash: str, path: str, commands: str | None) -> str:
    """The script with which the shell starts, interactive (as its rcfile) or not."""
    quoted = shlex.quote(bash)
    lines = [
        # What $stdenv/setup finds, it adds to; nothing of the image's own must be there before.
        "unset PATH",
        "dontAddDisableDepTrack=1",
        'if [ -e "$stdenv/setup" ]; then source "$stdenv/setup"; fi',
        f"PATH={shlex.quote(path)}${{PATH:+:$PATH}}",
        f"SHELL={quoted}",
        f"BASH={quoted}",
        # setup has errors end the shell, as they should a build.
        "set +e",
        'if [ -n "$PS1" ] && [ -z "$NIX_SHELL_PRESERVE_PROMPT" ]; then',
        r"  PS1='\n\[\033[1;32m\][nix-shell:\w]\$\[\033[0m\] '",
        "fi",
        'if [ "$(type -t runHook)" = function ]; then runHook shellHook; fi',
        "unset NIX_ENFORCE_PURITY",
        "shopt -u nullglob",
        "shopt -s execfail",
    ]
    if commands is not None:
        lines += [commands, "exit"]
    return "".join(f"{line}\n" for line in lines)


@dataclasses.dataclass(frozen=True)
class _WritableDirectories(PackageSet):
    """Has an image's top layer let a user build: layers of the store would close it again."""

    store: str
    uid: int
    gid: int

    def root_entries(self) -> Sequence[Entry]:
        """The store, where everybody may add something, and the directory of the build."""
        parents = [self.store[:end] for end in range(len(self.store)) if self.store[end] == "/"]
        return [
            *map(folder, parents),
            folder(self.store, mode=0o1777),
            folder(_BUILD_DIRECTORY.strip("/"), uid=self.uid, gid=self.gid),
        ]

    def __getitem__(self, name: str) -> Package:
        raise KeyError(name)

    def __dir__(self) -> list[str]:
        return []

    async def closure(self, packages: Sequence[Package]) -> Closure:
        """The packages with what they need, which is realised, and resolved by its own sets."""
        (package,) = packages
        needs = tuple(sorted({need.key for need in package.needs}))
        return Closure((package,), {package.key: needs}, (package.key,))

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        """Nothing: its packages are made here."""
