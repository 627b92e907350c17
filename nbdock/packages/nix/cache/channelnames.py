"""What a name of nixpkgs means in a channel's list, where there is no Nix to ask.

The list has store paths, whose names are those of derivations: `cacert` is ``nss-cacert-3.92``,
`python3Packages.requests` is ``python3.11-requests-2.31.0``. So a name is a guess, by these rules,
the first that gives something:

1. What the table below says (where nixpkgs calls a thing by two names).
2. The name itself; with ``-`` for ``_``; with ``-`` before capitals (`bashInteractive`).
3. A number at its end is a version: `nodejs_20`, `openssl_1_1`, `php82`, `gcc12`.
4. In a language's packages the language and its version stand before the name. `python3Packages`
   are those of the Python with the most packages, which is nixpkgs' default one; `python3` too.
   In any other set (`xorg.libX11`) the last name counts.

Of several versions the newest is meant (`builtins.compareVersions`), which may be newer than
nixpkgs' default: `nodejs_20` says which. Of its outputs the default one is ``bin`` if there is one
(nixpkgs puts it first, with few exceptions), else the one without a suffix; `hello.dev`,
`openssl.out` name others.

Several paths may have all that in common: they are for several systems, or built with other options
(`nbdock.packages.nix.cache.system` decides). An explicit store path is never a guess.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from nbdock.errors import PackageNotFoundError, nearest
from nbdock.packages.nix.cache.channellist import StorePathList
from nbdock.packages.nix.cache.versions import version_key
from nbdock.packages.nix.storepath import StorePath

__all__ = ["Choice", "choices", "is_scope", "names_in"]

# Attribute: name of the derivation. Only what no rule gives.
_TABLE = {
    "apacheHttpd": "apache-httpd",
    "binutils": "binutils-wrapper",
    "cacert": "nss-cacert",
    "clang": "clang-wrapper",
    "gcc": "gcc-wrapper",
    "gmp": "gmp-with-cxx",
    "jdk": "openjdk",
    "mariadb": "mariadb-server",
    "mysql": "mariadb-server",
    "php": "php-with-extensions",
    "stdenv.cc": "gcc-wrapper",
    "stdenv.cc.cc": "gcc",
}
# Attributes that are an output of another package.
_OUTPUTS_OF = {
    "dig": ("bind", "dnsutils"),
    "dnsutils": ("bind", "dnsutils"),
    "getent": ("glibc", "getent"),
    "netcat": ("libressl", "nc"),
    "su": ("shadow", "su"),
}
# Packages whose default output has no suffix, though they have one called bin.
_OUT_FIRST = frozenset({"glibc", "gdk-pixbuf", "libcap", "lvm2", "p11-kit"})
# Suffixes that are outputs even if the list has nothing without them.
_OUTPUTS = frozenset((
    "bin", "data", "debug", "dev", "devdoc", "dist", "doc", "info", "lib", "libs", "man", "out",
    "py", "static", "terminfo", "tools",
))  # fmt: skip
_SUFFIX = re.compile(r"[a-z][A-Za-z_]*[0-9]?")
_NUMBERED = re.compile(r"(.*?[A-Za-z])[_-]?([0-9]+(?:_[0-9]+)*)")

_LANGUAGES = re.compile(
    r"(python|perl|ruby|lua|luajit|ocaml)([0-9][0-9_]*)?(?:Packages|\.pkgs|\.packages)"
    r"(?:_([0-9][0-9_]*|latest))?"
)
_PREFIXES = {
    "emacsPackages": "emacs-", "phpExtensions": "php-", "rPackages": "r-",
    "vimPlugins": "vimplugin-",
}  # fmt: skip
_SCOPES = re.compile(
    r".*Packages(?:_[0-9_]+|_latest)?|.*(?:Plugins|Extensions)|pkgs(?:[A-Z].*)?|stdenv|xorg|gnome|cinnamon|mate"
    r"|pantheon|xfce|lxqt|qt[56]|libsForQt5|nodePackages_latest|ocaml-ng|haskell|beam|texlive"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Choice:
    """A version of a package, and the paths that may be meant.

    Attributes
    ----------
    name, version, output
        Of the package; `output` is empty for the one without a suffix.
    paths
        Sorted by their hashes.
    """

    name: str
    version: str
    output: str
    paths: tuple[StorePath, ...]


def is_scope(name: str) -> bool:
    """Whether an attribute is a set of packages, as far as its name tells."""
    return bool(_SCOPES.fullmatch(name)) or name in _PREFIXES


def choices(listed: StorePathList, attribute: tuple[str, ...]) -> list[Choice]:
    """What an attribute may mean, the best first: the newest version.

    Parameters
    ----------
    attribute
        Its names, such as ``("python3Packages", "requests", "dist")``.

    Raises
    ------
    PackageNotFoundError
        The list has nothing of the kind; the hint names the nearest.
    """
    others: list[StorePath] = []
    for wanted, output in _readings(attribute):
        for name, version in _names(listed, wanted):
            paths = listed.named(name)
            if found := _by_version(name, paths, output, version):
                return found
            others = others or (paths if not version else [])
    if others:
        raise _no_such_output(attribute, others)
    raise _not_found(listed, attribute)


def names_in(listed: StorePathList, attribute: tuple[str, ...]) -> list[str]:
    """The names in a set of packages, where their derivations' names tell; else none."""
    prefix = _prefix(listed, ".".join(attribute))
    known = listed.package_names if prefix else []
    return [name[len(prefix) :] for name in known if name.startswith(prefix)]


def _prefix(listed: StorePathList, scope: str) -> str:
    """What stands before the names of the packages in a set."""
    if (language := _LANGUAGES.fullmatch(scope)) and (versions := _versions_of(listed, language)):
        return f"{language[1]}{versions[0]}-"
    return _PREFIXES.get(scope, "")


def _readings(attribute: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """The package that is meant and which of its outputs; None: the default one."""
    if len(attribute) == 1 and attribute[0] in _OUTPUTS_OF:
        package, output = _OUTPUTS_OF[attribute[0]]
        yield (package,), output
    *before, last = attribute
    is_output = bool(before) and bool(_SUFFIX.fullmatch(last)) and not is_scope(before[-1])
    # A language's packages are below its program: python3.pkgs.requests.
    if is_output and before[-1] not in ("pkgs", "packages"):
        yield tuple(before), "" if last == "out" else last
        if last in _OUTPUTS:
            return
    yield attribute, None


def _names(listed: StorePathList, attribute: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Names of derivations that an attribute may have, and a version if one is meant."""
    scope, name = ".".join(attribute[:-1]), attribute[-1]
    spellings = dict.fromkeys(
        (name, name.replace("_", "-"), re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    )
    if language := _LANGUAGES.fullmatch(scope):
        for number in _versions_of(listed, language):
            yield from ((f"{language[1]}{number}-{s}", "") for s in (*spellings, name.lower()))
        return
    if scope.startswith("pkgs"):
        # Packages of another libc or system, which have the names of ours.
        if scope == "pkgsStatic":
            for spelling in spellings:
                yield f"{spelling}-static", ""
                for system in ("x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"):
                    yield f"{spelling}-static-{system}", ""
        return
    if scope in _PREFIXES:
        yield from ((f"{_PREFIXES[scope]}{spelling}", "") for spelling in spellings)
        return
    if not scope and name == "python3":
        yield from (("python3", number) for number in _language_versions(listed, "python", "3"))
    if (full := ".".join(attribute)) in _TABLE:
        yield _TABLE[full], ""
    yield from ((spelling, "") for spelling in spellings)
    if numbered := _NUMBERED.fullmatch(name):
        base, digits = numbered.groups()
        version = digits.replace("_", ".")
        # php82 is 8.2, and gcc12 is 12.
        versions = [version] if "_" in digits else [version, f"{digits[0]}.{digits[1:]}"]
        bases = [base, base.replace("_", "-"), f"{base}{digits[0]}"]
        if base in _TABLE:
            bases.insert(0, _TABLE[base])
        yield from ((one, v) for v in versions for one in bases if not v.endswith("."))


def _versions_of(listed: StorePathList, language: re.Match[str]) -> list[str]:
    word, before, after = language.groups()
    return _language_versions(listed, word, before or after or "")


def _language_versions(listed: StorePathList, word: str, digits: str) -> list[str]:
    """Versions of a language that have packages, the default one (with the most) first."""
    counted = listed.numbers_after(word)
    wanted = digits.replace("_", ".")
    if wanted and "." not in wanted and len(wanted) > 1:
        wanted = f"{wanted[0]}.{wanted[1:]}"  # 311 is 3.11
    if wanted == "latest":
        return sorted(counted, key=version_key, reverse=True)
    fitting = [v for v in counted if not wanted or v == wanted or v.startswith(f"{wanted}.")]
    return sorted(fitting, key=lambda v: (counted[v], version_key(v)), reverse=True)


def _by_version(
    name: str, paths: Iterable[StorePath], output: str | None, version: str
) -> list[Choice]:
    """The versions that have the output, the newest first."""
    found: list[Choice] = []
    for number, outputs in _sorted_out(paths).items():
        if version and number != version and not number.startswith(f"{version}."):
            continue
        chosen = output
        if chosen is None:
            chosen = "bin" if "bin" in outputs and name not in _OUT_FIRST else ""
        if chosen in outputs:
            hits = tuple(sorted(outputs[chosen]))
            found.append(Choice(name, number, chosen, hits))
    return sorted(found, key=lambda choice: version_key(choice.version), reverse=True)


def _sorted_out(paths: Iterable[StorePath]) -> dict[str, dict[str, list[StorePath]]]:
    """Paths of one package by version and output."""
    paths = list(paths)
    versions = {path.version for path in paths}
    found: dict[str, dict[str, list[StorePath]]] = {}
    for path in paths:
        version, dash, output = path.version.rpartition("-")
        is_output = _SUFFIX.fullmatch(output) and (version in versions or output in _OUTPUTS)
        if not (dash and version and is_output):
            version, output = path.version, ""
        found.setdefault(version, {}).setdefault(output, []).append(path)
    return found


_ALWAYS = 'A store path always works: pkgs["/nix/store/<hash>-<name>"].'


def _no_such_output(attribute: tuple[str, ...], paths: list[StorePath]) -> PackageNotFoundError:
    shown, name = ".".join(attribute), paths[0].package_name
    outputs = sorted({output for those in _sorted_out(paths).values() for output in those})
    return PackageNotFoundError(
        f"The channel's list does not have {shown}: of {name} it has the outputs "
        f"{', '.join(output or 'out' for output in outputs)}.",
        package=shown,
        hint=f"Name one of them. {_ALWAYS}",
    )


def _not_found(listed: StorePathList, attribute: tuple[str, ...]) -> PackageNotFoundError:
    shown, name = ".".join(attribute), attribute[-1]
    scope = ".".join(attribute[:-1])
    if scope.startswith("pkgs") and scope != "pkgsStatic":
        return PackageNotFoundError(
            f"The channel's list cannot tell the packages of {scope} from others.",
            package=shown,
            hint=_ALWAYS,
        )
    prefix = _prefix(listed, scope)
    # Comparing with all 80,000 takes seconds; people rarely mistype the first letter.
    near = [
        known[len(prefix) :]
        for known in listed.package_names
        if known.startswith(prefix)
        and known[len(prefix) : len(prefix) + 1].lower() == name[:1].lower()
    ]
    close = nearest(name, near)
    meant = f"Did you mean {', '.join(close)}? " if close else ""
    return PackageNotFoundError(
        f"The channel's list has no package {shown!r}.",
        package=shown,
        hint=f"{meant}{_ALWAYS}",
    )
