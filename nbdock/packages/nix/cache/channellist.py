r"""The store paths that a channel publishes, found by the names of their packages.

The list has a line for each of some 150,000 paths. It is turned once into a text sorted by names,
in which a name is found by halving: nothing is parsed that is not looked for.

>>> paths = ["/nix/store/h1zb1padqbbb7jicsvkmrym3r6snphxg-hello-2.10",
...          "/nix/store/6dq3xhbdsdh0hjgnhg0cx3bnxm6arjk1-hello-2.10-man"]
>>> found = StorePathList.of_text("\n".join(paths).encode(), place="the example")
>>> [(path.version, path.hash_part[:4]) for path in found.named("hello")]
[('2.10', 'h1zb'), ('2.10-man', '6dq3')]
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from nbdock.errors import SourceConfigurationError
from nbdock.packages.nix.storepath import STORE_DIR, StorePath, split_name

__all__ = ["StorePathList"]

_LINE = rb"/([0-9abcdfghijklmnpqrsvwxyz]{32})-([0-9A-Za-z+\-._?=]{1,211})/?\r?"
# The package's name: up to the first dash that no letter follows.
_NAME = re.compile(rb"^((?:[^ \n-]|-(?=[A-Za-z ]))+)", re.MULTILINE)


class StorePathList:
    """Store paths by name.

    Parameters
    ----------
    data
        Lines of a name and a hash, sorted; `of_text` makes them.
    """

    def __init__(self, data: bytes, *, store_dir: str = STORE_DIR) -> None:
        self.data = data
        self._store_dir = store_dir

    @classmethod
    def of_text(cls, text: bytes, *, place: str, store_dir: str = STORE_DIR) -> StorePathList:
        """The list in a text with a store path on each line.

        Parameters
        ----------
        place
            Where the text comes from, for messages.

        Raises
        ------
        SourceConfigurationError
            The text is something else.
        """
        line = re.compile(re.escape(store_dir.encode()) + _LINE)
        found: set[bytes] = set()
        for number, content in enumerate(text.split(b"\n"), 1):
            match = line.fullmatch(content)
            if match is not None:
                found.add(b"%b %b\n" % (match[2], match[1]))
            elif content.strip():
                shown = ascii(content[:80].decode("latin-1"))
                raise SourceConfigurationError(
                    f"{place} is no list of store paths: its line {number} is {shown}.",
                    path=place,
                    line=number,
                    hint=f"A channel publishes such a list as store-paths.xz, of {store_dir}.",
                )
        if not found:
            raise SourceConfigurationError(
                f"{place} is an empty list: there are no store paths in it.", path=place
            )
        return cls(b"".join(sorted(found)), store_dir=store_dir)

    def __len__(self) -> int:
        return self.data.count(b"\n")

    def named(self, package_name: str) -> list[StorePath]:
        """The paths whose name is `package_name`, or that and a version, in the list's order."""
        lines = [*self._beginning(f"{package_name} "), *self._beginning(f"{package_name}-")]
        paths = []
        for line in lines:
            name, _, hash_part = line.partition(" ")
            if split_name(name)[0] == package_name:
                paths.append(StorePath(hash_part, name, self._store_dir))
        return paths

    def numbers_after(self, word: str) -> dict[str, int]:
        """How many names begin with `word`, a number and a dash, for each such number.

        ``python3.11-requests-2.31`` is one for 3.11.
        """
        begin, end = self._range(word.encode())
        found: dict[str, int] = {}
        pattern = re.compile(
            rb"^%b([0-9][0-9.]*)-[A-Za-z]" % re.escape(word.encode()), re.MULTILINE
        )
        for number in pattern.findall(self.data[begin:end]):
            text = number.decode()
            found[text] = found.get(text, 0) + 1
        return found

    @functools.cached_property
    def package_names(self) -> list[str]:
        """The names of all packages, sorted."""
        return sorted({name.decode() for name in _NAME.findall(self.data)})

    def _beginning(self, prefix: str) -> Iterator[str]:
        begin, end = self._range(prefix.encode())
        yield from self.data[begin:end].decode().splitlines()

    def _range(self, prefix: bytes) -> tuple[int, int]:
        """From where to where lines begin with `prefix`."""
        # No byte of a line is as great as 0xff.
        return self._place_of(prefix), self._place_of(prefix + b"\xff")

    def _place_of(self, wanted: bytes) -> int:
        """Where the first line begins that is not before `wanted`."""
        data, low, high = self.data, 0, len(self.data)
        while low < high:
            begin = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
            end = data.index(b"\n", begin) + 1
            if data[begin:end] < wanted:
                low = end
            else:
                high = begin
        return low
