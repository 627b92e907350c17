"""Attributes of nixpkgs as Python and a cell see them.

    pkgs.hello                        an attribute; nothing is known of it but its name
    pkgs.python3Packages.requests     an attribute of a set
    pkgs.hello.dev                    an output of a package
    pkgs.hello.version                a text, and really one

An attribute of nixpkgs itself stays unknown until somebody needs it, so that one run of Nix answers
for all packages of a cell. What is inside of one is asked for at once, for it may be a text. So is
``pkgs.runtimeShell``, but for ``"${pkgs.runtimeShell} -c"`` that makes no difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbdock.errors import NbdockError, NixError, PackageNotFoundError, nearest
from nbdock.filetree import Entry
from nbdock.packages.nix.local.source import attribute_text
from nbdock.packages.nix.storepath import StorePath
from nbdock.packages.package import Package, no_such_attribute

if TYPE_CHECKING:
    from nbdock.packages.nix.local.evaluation import NixPackageSet

__all__ = ["Answer", "Needed", "NixAttribute", "Selectable", "not_a_package"]

Path = tuple[str, ...]

# What nbdock asks objects of any kind for.
_NOT_ATTRIBUTES = frozenset(("nix_takes_keywords", "known_names", "context"))


@dataclasses.dataclass(frozen=True, slots=True)
class Needed:
    """A store path that has to be there.

    Attributes
    ----------
    derivation, output
        What makes it; without a derivation it is there already, or some cache has it.
    """

    path: StorePath
    derivation: str = ""
    output: str = ""

    @property
    def target(self) -> str:
        """What Nix is told to realise."""
        return f"{self.derivation}!{self.output}" if self.derivation else str(self.path)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What Nix says that an attribute is.

    Attributes
    ----------
    kind
        ``derivation``, ``set``, ``string``, ``plain`` (a number, a boolean, null), ``missing``,
        ``floating`` (a derivation without a place), or what else Nix calls a type.
    value
        Of a text, a number, a boolean.
    names
        The attributes in a set or a derivation. For what is missing: those that are there.
    needed
        A derivation's own place; of a text, all that was put into it.
    """

    kind: str
    value: Any = None
    names: tuple[str, ...] = ()
    needed: tuple[Needed, ...] = ()


class Selectable:
    """What attributes are selected from: nixpkgs itself, and each attribute in turn."""

    attribute_set: NixPackageSet
    attribute: Path

    def __getitem__(self, name: str | StorePath) -> Any:
        """An attribute, or one further inside: ``"requests"``, ``"python3Packages.requests"``.

        Raises
        ------
        PackageNotFoundError
            There is no such attribute; the hint names the nearest.
        NixError
            Nix cannot evaluate it, or it is of no use here, as a function is.
        """
        return self.attribute_set.select(self.attribute, name)

    def __getattr__(self, name: str) -> Any:
        # IPython, copy and pickle probe for names like these.
        if name.startswith("_") or name in _NOT_ATTRIBUTES:
            raise AttributeError(name)
        try:
            return self.attribute_set.select_name(self.attribute, name)
        except PackageNotFoundError as error:
            raise no_such_attribute(error) from None

    def attribute_names(self) -> tuple[str, ...]:
        """The names of all attributes in it, sorted."""
        return self.attribute_set.answer_now(self.attribute).names

    def __dir__(self) -> list[str]:
        own = [name for name in object.__dir__(self) if not name.startswith("_")]
        return own + [n for n in self._ipython_key_completions_() if n.isidentifier()]

    def _ipython_key_completions_(self) -> list[str]:
        try:
            return [name for name in self.attribute_names() if not name.startswith("_")]
        except NbdockError:
            return []  # completion has no way to show an error; the next use shows it


class NixAttribute(Selectable, Package):
    """An attribute of nixpkgs: a package, as far as is known, and perhaps not yet built.

    Asking for its place (`root`, `str`) has Nix evaluate it. A build realises it: what is not in
    the store yet is built there, or fetched. Should it be a text, then `str` is that text, and as a
    package it is those that the text leads into.
    """

    package_set: NixPackageSet

    def __init__(
        self, attribute_set: NixPackageSet, attribute: Path, needed: Needed | None = None
    ) -> None:
        self.attribute_set = self.package_set = attribute_set
        self.attribute = attribute
        self._answer = Answer("derivation", needed=(needed,)) if needed else None

    def __dir__(self) -> list[str]:
        names = super().__dir__()
        answer = self.known_answer
        if answer is not None and answer.kind == "set":
            # What every package has is of no use there, and hides what is.
            return sorted(set(names).intersection(answer.names))
        return names

    def __repr__(self) -> str:
        return f"<NixAttribute {attribute_text(self.attribute)}>"

    @property
    def answer(self) -> Answer:
        """What Nix says that it is; asked for if need be."""
        return self._answer or self.attribute_set.answer_now(self.attribute)

    @property
    def known_answer(self) -> Answer | None:
        """The same, None if it has not been asked for."""
        return self._answer or self.attribute_set.known_answer(self.attribute)

    def needed(self) -> tuple[Needed, ...]:
        """The store paths that it stands for.

        Raises
        ------
        NixError
            It is no package.
        """
        answer = self.answer
        if not answer.needed:
            raise not_a_package(self.attribute, answer, source=self.attribute_set.shown)
        return answer.needed

    @property
    def name(self) -> str:  # type: ignore[override]  # as all these: it may have to be asked for
        """The package's name if it is known already, else the attribute's."""
        answer = self.known_answer
        known = answer is not None and answer.needed
        return answer.needed[0].path.package_name if answer and known else self.attribute[-1]

    @property
    def version(self) -> str:  # type: ignore[override]
        """By its store path."""
        return self.needed()[0].path.version

    @property
    def root(self) -> str:  # type: ignore[override]
        """Its store path."""
        return str(self.needed()[0].path)

    @property
    def key(self) -> str:
        """Tells it from other attributes. What a layer is known by has the realised package."""
        return f"nixpkgs:{id(self.attribute_set)}:{attribute_text(self.attribute)}"

    @property
    def size_bytes(self) -> int:
        """Length of its NAR if it is in the store, else 0."""
        path = self.needed()[0].path
        info = self.attribute_set.known_infos([path]).get(path)
        return info.nar_size_bytes if info else 0

    def entries(self) -> Iterator[Entry]:
        """The tree, from the store, where it is once it was realised."""
        return self.attribute_set.packages([self.needed()[0].path])[0].entries()

    def __str__(self) -> str:
        answer = self.answer
        return str(answer.value) if answer.kind == "string" else self.root


def missing(
    attribute: Path, name: str, known: tuple[str, ...], *, source: str = "nixpkgs"
) -> PackageNotFoundError:
    """The error for a name that a set does not have."""
    close = nearest(name, known)
    place = f" in {attribute_text(attribute)}" if attribute else ""
    return PackageNotFoundError(
        f"{source} has no {name!r}{place}.",
        package=name,
        hint=f"Did you mean {', '.join(close)}?" if close else None,
    )


def not_a_package(attribute: Path, answer: Answer, *, source: str = "nixpkgs") -> NbdockError:
    """The error for an attribute that is of no use where it stands."""
    shown, name = attribute_text(attribute), attribute[-1]
    if answer.kind == "missing":
        return missing(attribute[:-1], name, answer.names, source=source)
    hint = None
    if answer.kind == "floating":
        return NixError(
            f"Where {shown} stands is known only when it is built: its path depends on its "
            f"content.",
            package=name,
            hint='Build it with Nix and use its path: pkgs["/nix/store/..."].',
        )
    if answer.kind == "set" and answer.names:
        hint = f"Name one that is in it: {attribute_text((*attribute, answer.names[0]))}."
    elif answer.kind == "lambda":
        hint = 'Call it in a file, and take packages from there: nixpkgs("./packages.nix").'
    kinds = {
        "set": "a set", "lambda": "a function", "string": "a text", "list": "a list",
        "path": "a path", "plain": repr(answer.value),
    }  # fmt: skip
    return NixError(
        f"{shown} is {kinds.get(answer.kind, answer.kind)}, not a package.", package=name, hint=hint
    )
