"""Store paths: where Nix keeps a package, and what its name says.

>>> path = StorePath.parse("/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10")
>>> path.hash_part, path.name, path.package_name, path.version
('h1zb1padqbbb7jicsvkmrym3r6snphxg', 'hello-2.10', 'hello', '2.10')
>>> str(path)
'/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10'
"""

from __future__ import annotations

import dataclasses
import re

from nbdock.errors import InvalidStorePathError

__all__ = ["STORE_DIR", "StorePath", "split_name"]

STORE_DIR = "/nix/store"
"""Where the store of nearly everyone is, and that of the public cache always."""

_BASE_NAME = re.compile(r"([0-9abcdfghijklmnpqrsvwxyz]{32})-([0-9A-Za-z+\-._?=]{1,211})")


def split_name(name: str) -> tuple[str, str]:
    """The package name and the version in a derivation's name, by Nix's rule.

    The version begins after the first dash that no letter follows (``builtins.parseDrvName``).

    >>> split_name("nss-cacert-3.92"), split_name("apache-httpd"), split_name("a-b-")
    (('nss-cacert', '3.92'), ('apache-httpd', ''), ('a-b-', ''))
    """
    for index, character in enumerate(name[:-1]):
        following = name[index + 1]
        if character == "-" and not (following.isascii() and following.isalpha()):
            return name[:index], name[index + 1 :]
    return name, ""


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class StorePath:
    """The path of an object in a Nix store.

    Attributes
    ----------
    hash_part
        32 characters of Nix's base 32: what tells it from every other.
    name
        The rest of its base name, such as ``hello-2.10`` or ``hello-2.10-man``.
    store_dir
        The directory of the store.
    """

    hash_part: str
    name: str
    store_dir: str = STORE_DIR

    def __post_init__(self) -> None:
        base = f"{self.hash_part}-{self.name}"
        if not _BASE_NAME.fullmatch(base) or self.name in (".", ".."):
            raise InvalidStorePathError(
                f"{self.store_dir}/{base} is not a store path.",
                value=f"{self.store_dir}/{base}",
                hint="After the store's directory stand 32 characters of hash, a dash and a name.",
            )

    @classmethod
    def parse(cls, text: str, *, store_dir: str = STORE_DIR) -> StorePath:
        """A store path from its text.

        Raises
        ------
        InvalidStorePathError
            It is outside of the store, inside an object of the store, or badly formed.
        """
        directory, _, base = text.rpartition("/")
        match = _BASE_NAME.fullmatch(base)
        if directory != store_dir or match is None:
            raise InvalidStorePathError(
                f"{text!r} is not a path in the store {store_dir}.",
                value=text,
                hint=f"A store path looks like {store_dir}/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello.",
            )
        return cls(match[1], match[2], store_dir)

    @property
    def base_name(self) -> str:
        """What it is called in the store's directory."""
        return f"{self.hash_part}-{self.name}"

    @property
    def package_name(self) -> str:
        """The name without the version."""
        return split_name(self.name)[0]

    @property
    def version(self) -> str:
        """The version, with the output's name if it is not the default one; may be empty."""
        return split_name(self.name)[1]

    def __hash__(self) -> int:
        # The hash part alone tells it from all others, and a text remembers its hash.
        return hash(self.hash_part)

    def __str__(self) -> str:
        return f"{self.store_dir}/{self.hash_part}-{self.name}"
