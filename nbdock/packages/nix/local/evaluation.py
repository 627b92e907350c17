"""nixpkgs by the Nix that is installed here: its language evaluates, its store has the packages.

    packages = NixPackageSet("nixpkgs#")
    image = await nbdock.build_layered_image("hello", contents=[packages.hello])

Nix runs rarely: once for the names of all attributes, once for whatever a cell uses of them, and
once more if something has to be built or fetched. What is in the store already needs no third run.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nbdock import concurrency
from nbdock.concurrency import in_worker
from nbdock.errors import ArgumentTypeError, InvalidStorePathError, NixError, PackageNotFoundError
from nbdock.packages.closure import Closure
from nbdock.packages.nix.local.attributes import (
    Answer,
    Needed,
    NixAttribute,
    Selectable,
    missing,
    not_a_package,
)
from nbdock.packages.nix.local.command import run_nix
from nbdock.packages.nix.local.location import StoreLocation
from nbdock.packages.nix.local.messages import BuildReport, build_failure, evaluation_failure
from nbdock.packages.nix.local.source import NixSource, attribute_path, attribute_text, question
from nbdock.packages.nix.local.store import LocalStore, LocalStorePackage
from nbdock.packages.nix.storepackage import PathInfo
from nbdock.packages.nix.storepath import StorePath
from nbdock.packages.package import Package, Progress

__all__ = ["NixPackageSet"]

Path = tuple[str, ...]

_SYSTEM = re.compile(r"[a-z0-9_]+-[a-z0-9_]+")
_SEPARATORS = str.maketrans("-.+'", "____")


class NixPackageSet(Selectable, LocalStore):
    """The packages of nixpkgs, or of anything like it, by their attributes.

    Guarantees: making one runs nothing; an attribute is evaluated once, however often it is used;
    packages that are looked up before one of them is needed are evaluated together.

    Parameters
    ----------
    source
        ``"<nixpkgs>"`` (the default), the path of a file or directory, a flake such as
        ``"nixpkgs#"`` or ``"github:owner/name"``, or the URL of an archive.
    system
        What the packages are for, such as ``aarch64-linux``; by default this machine.
    config
        nixpkgs' own configuration, such as ``{"allowUnfree": True}``.
    store
        The store to build in, as for `LocalStore`; by default the one that Nix uses anyway.

    Raises
    ------
    ArgumentError
        Something that cannot be a source, a system or a configuration.

    Examples
    --------
    >>> NixPackageSet("nixpkgs#", system="aarch64-linux")
    <NixPackageSet nixpkgs# for aarch64-linux>
    """

    distribution = "nixpkgs"

    def __init__(
        self, source: str | os.PathLike[str] | None = None, *, system: str | None = None,
        config: Mapping[str, object] | None = None,
        store: str | os.PathLike[str] | StoreLocation | None = None,
    ) -> None:  # fmt: skip
        self.attribute_set = self
        self.attribute = ()
        self.source = NixSource.parse(source)
        self._arguments = _arguments(system, config)
        self.source.program(self._arguments)  # refuses what the source cannot be called with
        super().__init__(store)
        if system is not None:
            self.architecture = system.partition("-")[0]
        self._system = system
        self._answers: dict[Path, Answer] = {}
        self._unasked: dict[Path, None] = {}

    def __repr__(self) -> str:
        machine = f" for {self._system}" if self._system else ""
        return f"<NixPackageSet {self.source.described}{machine}>"

    @property
    def shown(self) -> str:
        """What errors call it: a file or another flake by its own name."""
        described = self.source.described
        return "nixpkgs" if described in ("<nixpkgs>", "nixpkgs#") else described

    @functools.cached_property
    def store(self) -> LocalStore:
        """The store by itself: all its packages, by their store paths alone."""
        return LocalStore(self.location)

    def known_infos(self, paths: Sequence[StorePath]) -> dict[StorePath, PathInfo]:
        """What the store knows of those that it has; nothing before Nix has made the store."""
        return self.database.infos(paths) if os.path.exists(self.location.database) else {}

    # Looking up

    def __iter__(self) -> Iterator[str]:
        return iter(self._ipython_key_completions_())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.attribute_names()

    async def load(self, *, progress: Progress | None = None) -> None:
        """Have Nix say what attributes there are, if it has not yet."""
        await self._answered([()], progress)

    def search(self, pattern: str) -> list[str]:
        """The names of attributes that match.

        Parameters
        ----------
        pattern
            With ``*``, ``?`` or ``[``: a shell pattern for the whole name. Without: words, all of
            which are in the name, in any case.
        """
        if not isinstance(pattern, str):
            raise ArgumentTypeError(
                f"A pattern is text, not {type(pattern).__name__}.", argument="pattern"
            )
        names = list(self)
        if re.search(r"[*?\[]", pattern):
            return fnmatch.filter(names, pattern)
        words = pattern.lower().split()
        return [name for name in names if all(word in name.lower() for word in words)]

    def select(self, attribute: Path, name: object) -> Any:
        """What `Selectable` gives for an item."""
        if isinstance(name, StorePath) and not attribute:
            return self._at(Needed(name))
        if not isinstance(name, str):
            raise ArgumentTypeError(
                f"An attribute is looked up by its name, not by {type(name).__name__}.",
                argument="name",
                hint='For example pkgs["hello"].',
            )
        if not attribute and name.startswith("/"):
            return self._at(Needed(self.parse(name)))
        return self._value((*attribute, *attribute_path(name)))

    def select_name(self, attribute: Path, name: str) -> Any:
        """What `Selectable` gives for an attribute: ``_`` may stand for what separates words."""
        if not attribute and name not in self.attribute_names():
            name = _respelled(name, self.attribute_names()) or name
        elif attribute and (answer := self.answer_now((*attribute, name))).kind == "missing":
            name = _respelled(name, answer.names) or name
        return self._value((*attribute, name))

    def _value(self, path: Path) -> Any:
        if len(path) == 1:
            if path[0] not in self.attribute_names():
                raise missing((), path[0], self.attribute_names(), source=self.shown)
            if path not in self._answers:
                self._unasked[path] = None
            return NixAttribute(self, path)
        answer = self.answer_now(path)
        if answer.kind in ("derivation", "set"):
            return NixAttribute(self, path)
        if answer.kind == "plain":
            return answer.value
        if answer.kind == "string":
            from nbdock.nixlang import ContextString

            return ContextString(answer.value, [self._at(needed) for needed in answer.needed])
        raise not_a_package(path, answer, source=self.shown)

    def _at(self, needed: Needed) -> NixAttribute:
        return NixAttribute(self, (str(needed.path),), needed)

    # Asking Nix

    def known_answer(self, path: Path) -> Answer | None:
        """What an attribute is, if Nix has been asked."""
        return self._answers.get(path)

    def answer_now(self, path: Path) -> Answer:
        """What an attribute is, for plain code."""
        if path not in self._answers:
            concurrency.run(self._answered([path]))
        return self._answers[path]

    async def _answered(self, paths: Iterable[Path], progress: Progress | None = None) -> None:
        """See that these have answers; others that will be wanted get theirs along the way."""
        new = [path for path in dict.fromkeys(paths) if path not in self._answers]
        if not new:
            return
        if progress is not None:
            progress(f"Evaluating {self.source.described}", 0, 0)
        unasked, self._unasked = self._unasked, {}
        others = [path for path in unasked if path not in self._answers and path not in new]
        try:
            self._answers.update(await self._ask([*new, *others]))
        except NixError:
            # One error ends the whole evaluation. Who is it, and is it one of those that count?
            if len(new) + len(others) == 1:
                raise
            for path in new:
                self._answers.update(await self._ask([path]))

    async def _ask(self, paths: Sequence[Path]) -> dict[Path, Answer]:
        outcome = await run_nix(
            "nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode",
            *self._options(), "-", text=question(self.source, self._arguments, paths),
        )  # fmt: skip
        shown = attribute_text(paths[0]) if paths[0] else self.source.described
        if outcome.exit_code:
            raise evaluation_failure(shown, paths[0][-1] if paths[0] else "", outcome)
        try:
            said = json.loads(outcome.output)
            # Not in a worker: who waits for this may be one, and there may be no other.
            return {path: self._answer(one) for path, one in zip(paths, said, strict=True)}
        except (ValueError, KeyError, TypeError, AttributeError, InvalidStorePathError) as error:
            raise NixError(
                f"Nix answered for {shown} what nbdock does not understand: {error}",
                output=outcome.output[:2000],
            ) from error

    def _answer(self, said: dict[str, Any]) -> Answer:
        kind, names = said["kind"], tuple(said.get("names", ()))
        if kind == "derivation":
            try:
                path = self.parse(said["place"])
            except InvalidStorePathError:
                return Answer("floating", names=names)
            return Answer(kind, None, names, (Needed(path, said["recipe"], said["output"]),))
        needed = [
            one for path, how in said.get("context", {}).items() for one in self._put_in(path, how)
        ]
        if kind == "string":
            # As they stand in the text; Nix gives them in the order of their derivations.
            needed.sort(key=lambda one: (said["value"].find(str(one.path)), one.path))
        return Answer(kind, said.get("value"), names, tuple(needed))

    def _put_in(self, place: str, how: dict[str, Any]) -> Iterator[Needed]:
        """What the context of a text says was put into it."""
        path = self.parse(place)
        if how.get("path") or how.get("allOutputs"):
            yield Needed(path)
        if outputs := how.get("outputs"):
            paths = self.database.outputs(path)
            for output in outputs:
                yield Needed(paths[output], place, output)

    def _options(self) -> list[str]:
        options = []
        if self.location.uri:
            options += ["--store", self.location.uri]
        if self.source.is_flake:
            options += ["--extra-experimental-features", "nix-command flakes"]
        return options

    # Building

    async def realise(
        self, packages: Sequence[Package], *, progress: Progress | None = None
    ) -> Sequence[Package]:
        """The packages as the store has them, after what it did not have was built or fetched.

        Raises
        ------
        NixError
            One of them cannot be evaluated or built, or is no package.
        PackageNotFoundError
            A store path that nothing makes is neither here nor in a cache.
        """
        mine = [p for p in packages if isinstance(p, NixAttribute)]
        await self._answered([p.attribute for p in mine if not p.known_answer], progress)
        wanted = list(dict.fromkeys(n for p in mine for n in p.needed()))
        if await in_worker(self._collected, wanted):
            for package in mine:
                self._answers.pop(package.attribute, None)
            await self._answered([p.attribute for p in mine if not p.known_answer], progress)
            wanted = list(dict.fromkeys(n for p in mine for n in p.needed()))
        found = await in_worker(self._in_store, wanted)
        lacking = [n for n in wanted if n.path not in found]
        if lacking:
            await self._build(lacking, progress)
            found = await in_worker(self._in_store, wanted)
        return [self._realised(p, found) if isinstance(p, NixAttribute) else p for p in packages]

    def _collected(self, wanted: Sequence[Needed]) -> bool:
        """Whether garbage was collected since Nix was asked, with what has yet to be built."""
        found = self._in_store(wanted)
        recipes = [self.parse(n.derivation) for n in wanted
                   if n.derivation and n.path not in found]  # fmt: skip
        return len(self.known_infos(recipes)) < len(set(recipes))

    def _in_store(self, wanted: Sequence[Needed]) -> dict[StorePath, LocalStorePackage]:
        infos = self.known_infos([n.path for n in wanted])
        return {path: LocalStorePackage(info, self) for path, info in infos.items()}

    def _realised(
        self, package: NixAttribute, found: Mapping[StorePath, LocalStorePackage]
    ) -> LocalStorePackage:
        try:
            first, *others = [found[needed.path] for needed in package.needed()]
        except KeyError as error:
            raise NixError(
                f"Nix has built {package.attribute[-1]}, but {error.args[0]} is not in the store "
                f"{self.location.real_dir}.",
                package=package.attribute[-1],
            ) from None
        if others:
            # A text that leads into several packages stands for all of them.
            first = LocalStorePackage(first.info, self)
            first.needs = tuple(others)
        return first

    async def _build(self, lacking: Sequence[Needed], progress: Progress | None) -> None:
        report = BuildReport(progress) if progress is not None else None
        outcome = await run_nix(
            "nix-store", "--realise", *self._options(), *[n.target for n in lacking],
            on_message=report,
        )  # fmt: skip
        if outcome.exit_code:
            error = build_failure([n.path.name for n in lacking], outcome)
            if any(n.derivation for n in lacking):
                raise error
            raise PackageNotFoundError(
                f"Neither the Nix store nor a cache of this Nix has {lacking[0].path}.",
                package=error.package,
                hint="`nix show-config` says which caches it asks (substituters).",
            ) from error

    # Closures

    async def closure(self, packages: Sequence[Package]) -> Closure:
        """The packages with all that they refer to, realised if they are not."""
        return await super().closure(await self.realise(packages))

    async def fetch(self, packages: Iterable[Package], *, progress: Progress | None = None) -> None:
        """See that the packages are in the store."""
        await super().fetch(await self.realise(list(packages), progress=progress))


def _arguments(system: object, config: object) -> dict[str, object]:
    found: dict[str, object] = {}
    if system is not None:
        if not isinstance(system, str) or not _SYSTEM.fullmatch(system):
            raise ArgumentTypeError(
                f"system must be one of Nix's names of systems, not {system!r}.",
                argument="system",
                hint='For example "x86_64-linux" or "aarch64-linux".',
            )
        found["system"] = system
    if config is not None:
        try:
            if not isinstance(config, Mapping):
                raise TypeError
            found["config"] = json.loads(json.dumps(dict(config), allow_nan=False))
        except (TypeError, ValueError):
            raise ArgumentTypeError(
                f"config must be nixpkgs' configuration, a dict, not {config!r:.60}.",
                argument="config",
                hint='For example {"allowUnfree": True}.',
            ) from None
    return found


def _respelled(name: str, names: Iterable[str]) -> str | None:
    """The only name that is `name` where words are separated by underscores."""
    found = [n for n in names if n.translate(_SEPARATORS) == name]
    return found[0] if len(found) == 1 else None
