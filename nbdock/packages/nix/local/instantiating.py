"""From what a person calls a derivation to what it needs: its own file, and its inputs, built.

opened = await open_derivation("shell.nix")
opened.derivation.environment["shellHook"]
await opened.inputs()            # packages of the store on this machine
"""

from __future__ import annotations

import dataclasses
import os

from nbdock.concurrency import in_thread, in_worker
from nbdock.errors import ArgumentTypeError, InvalidStorePathError, NixError
from nbdock.packages.nix.local.attributes import NixAttribute
from nbdock.packages.nix.local.command import run_nix
from nbdock.packages.nix.local.derivation import Derivation
from nbdock.packages.nix.local.messages import BuildReport, build_failure, evaluation_failure
from nbdock.packages.nix.local.store import LocalStore, LocalStorePackage
from nbdock.packages.nix.storepath import StorePath
from nbdock.packages.package import Package, PackageSet, Progress

__all__ = ["OpenedDerivation", "open_derivation"]


@dataclasses.dataclass(frozen=True)
class OpenedDerivation:
    """A derivation in a store of this machine.

    Attributes
    ----------
    path
        The store path of its file.
    derivation
        What the file says.
    store
        The store it is in.
    packages
        The nixpkgs that it was selected from, if it was.
    """

    path: StorePath
    derivation: Derivation
    store: LocalStore
    packages: PackageSet | None = None

    @property
    def name(self) -> str:
        """What it builds, such as ``hello-2.10``."""
        return self.path.name.removesuffix(".drv")

    async def inputs(self, *, progress: Progress | None = None) -> tuple[Package, ...]:
        """What it needs to be built, built or fetched itself if it was not there.

        Raises
        ------
        NixError
            An input cannot be built.
        """
        wanted = self.derivation.input_derivations
        if wanted:
            await _run(
                "nix-store", "--realise", *(f"{p}!{','.join(o)}" for p, o in wanted.items()),
                what=f"what {self.name} is built with", progress=progress,
            )  # fmt: skip

        def find() -> tuple[Package, ...]:
            paths = set(self.derivation.input_sources)
            for path, outputs in wanted.items():
                found = _read(self.store, path).outputs
                paths.update(found[name] for name in outputs if name in found)
            return tuple(self.store.packages(sorted(paths)))

        return await in_worker(find)


async def open_derivation(
    derivation: Package | str | os.PathLike[str], *, progress: Progress | None = None
) -> OpenedDerivation:
    """A derivation by what a person calls it; it is evaluated if need be, and not built.

    Parameters
    ----------
    derivation
        A package of a nixpkgs that Nix evaluates, a file of Nix's language (``shell.nix``) or a
        directory with one, or the path of a ``.drv`` file.

    Raises
    ------
    ArgumentTypeError
        It is nothing of that kind, or a package whose derivation is unknown.
    NixError
        Nix cannot evaluate it.
    """
    if isinstance(derivation, Package):
        return await in_thread(_of_package, derivation)
    if not isinstance(derivation, str | os.PathLike):
        raise _wrong(f"{derivation!r:.60} is no derivation.")
    text = os.fspath(derivation)
    store = LocalStore()
    if text.endswith(".drv"):
        try:
            path = store.parse(text)
        except InvalidStorePathError as error:
            raise _wrong(error.message) from error
    else:
        path = await _instantiate(text, progress)
    return OpenedDerivation(path, await in_worker(_read, store, path), store)


def _wrong(message: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        message,
        argument="drv",
        hint='Give a package of nixpkgs, a file such as "shell.nix", or the path of a .drv file.',
    )


def _of_package(package: Package) -> OpenedDerivation:
    store = package.package_set
    path = None
    if isinstance(package, NixAttribute):
        needed = package.needed()[0]
        if needed.derivation:
            path = package.package_set.parse(needed.derivation)
        elif needed.path is not None:
            path = package.package_set.packages([needed.path])[0].info.deriver
    elif isinstance(package, LocalStorePackage):
        path = package.info.deriver
    if path is None or not isinstance(store, LocalStore):
        raise _wrong(
            f"It is not known what {package.name} was built with: its derivation is not here."
        )
    packages = store if store.distribution == "nixpkgs" else None
    return OpenedDerivation(path, _read(store, path), store, packages)


def _read(store: LocalStore, path: StorePath) -> Derivation:
    place = store.location.real_path(path)
    try:
        with open(place, "rb") as file:
            data = file.read()
    except OSError as error:
        raise NixError(
            f"The derivation {path} cannot be read: {error.strerror}.",
            package=path.package_name,
            hint="If garbage was collected, evaluate it again: give the package or the file.",
        ) from error
    try:
        return Derivation.parse(data, store_dir=path.store_dir)
    except NixError as error:
        raise NixError(
            f"{path}: {error.message}", package=path.package_name, hint=error.hint
        ) from error


async def _instantiate(text: str, progress: Progress | None) -> StorePath:
    place = os.path.abspath(os.path.expanduser(text))
    if os.path.isdir(place):
        names = ("shell.nix", "default.nix")
        found = [f"{place}/{name}" for name in names if os.path.exists(f"{place}/{name}")]
        if not found:
            raise _wrong(f"The directory {text!r} has neither a shell.nix nor a default.nix.")
        place = found[0]
    elif not os.path.exists(place):
        raise _wrong(f"There is no file {text!r}.")
    # What nix-shell says too; a file that is no function, or takes no such argument, is not told.
    arguments = ("--arg", "inNixShell", "true")
    said = await _run("nix-instantiate", *arguments, place, what=text, progress=progress)
    # An output other than the default one is named behind the derivation: "...-hello.drv!dev".
    paths = sorted({line.partition("!")[0] for line in said.split()})
    if len(paths) != 1:
        raise _wrong(f"{text!r} gives {len(paths)} derivations, not one.")
    return StorePath.parse(paths[0], store_dir=os.path.dirname(paths[0]))


async def _run(program: str, *arguments: str, what: str, progress: Progress | None) -> str:
    report = BuildReport(progress) if progress is not None else None
    outcome = await run_nix(program, *arguments, on_message=report)
    if outcome.exit_code:
        if program == "nix-store":
            raise build_failure([what], outcome)
        raise evaluation_failure(what, "", outcome)
    return outcome.output
