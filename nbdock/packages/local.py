"""A directory of the host as a package.

By default the same files give the same bytes for every user on every machine: owner, times and
umask of the host do not get into an image, only names, contents, and whether a file can be
executed. Nothing is left out silently, a ``.git`` folder neither: `ignore` says what to leave out.

The directory is listed when a build first asks for its key, which comes from what ``lstat`` says of
each file: 24,000 files take a fifth of a second, and no content is read when the listing is known.

    app = nbdock.directory("app", root="/srv/app", ignore=[".git", "*.pyc"])
    image = await nbdock.build_layered_image(name="app", contents=[app])
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from nbdock.calling import argument_name, checked
from nbdock.errors import ArgumentTypeError
from nbdock.filetree import DirectoryListing, Entry, EntryKind, Walk, walk_all
from nbdock.packages.ignoring import Ignored
from nbdock.packages.package import Package
from nbdock.packages.texts import checked_name

__all__ = ["DirectoryPackage", "directory", "list_together"]

_VERSION = 1
"""Raised whenever the same directory would give other entries than before."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Policy:
    """What the entries say of owners, modes and times; None keeps what the host says."""

    uid: int | None
    gid: int | None
    keep_modes: bool
    mtime: int | None
    ignore: tuple[str, ...]


class DirectoryPackage(Package):
    """A directory of the host, as it was when its key was first asked for. Made by `directory`."""

    version = ""

    def __init__(self, path: str, name: str, root: str, policy: _Policy) -> None:
        self.path = path
        self.name = name
        self.root = root
        self._policy = policy
        self._ignored = Ignored(policy.ignore)
        self._once = os.urandom(16).hex()

    def current(self) -> DirectoryPackage:
        """The directory as it is now, to be listed again."""
        return DirectoryPackage(self.path, self.name, self.root, self._policy)

    @property
    def place(self) -> bytes:
        """The path; the slash follows one that is a link itself, links inside stay links."""
        return os.fsencode(self.path).rstrip(b"/") + b"/"

    @functools.cached_property
    def _listing(self) -> DirectoryListing:
        return self.listed(None)

    def listed(self, found: Walk | OSError | None) -> DirectoryListing:
        """The listing of what was found, or of what is found now."""
        _check_directory(self.path)
        xattrs = ("security.capability",) if self._policy.keep_modes else ()
        listing = DirectoryListing(self.place, xattrs=xattrs, found=found)
        sockets = [name for name in listing.skipped if name not in self._ignored]
        if sockets:
            raise ArgumentTypeError(
                f"The directory {self.path!r} has a socket, {os.fsdecode(sockets[0])!r}, "
                f"which no image can hold.",
                argument="path",
                hint=f"Leave it out: ignore=[{os.path.basename(os.fsdecode(sockets[0]))!r}].",
            )
        return listing

    @functools.cached_property
    def key(self) -> str:
        """The identity of the listing and of all that decides what becomes of it.

        Something written just before may be written again without a later time. Such a
        listing gets a key that never comes back, so that nothing made of it is taken for
        known. Two handles on such a directory are two packages.
        """
        listing = self._listing
        if listing.racy:
            return f"directory:once:{self._once}"
        facts = repr((_VERSION, self.name, dataclasses.astuple(self._policy)))
        digest = hashlib.sha256(facts.encode("utf-8", "surrogateescape"))
        digest.update(listing.fingerprint.encode())
        return f"directory:{digest.hexdigest()}"

    @functools.cached_property
    def size_bytes(self) -> int:
        """Bytes of all files, by the listing."""
        if not self._policy.ignore:
            return self._listing.size_bytes
        return sum(entry.size_bytes for entry in self.entries())

    def entries(self) -> Iterator[Entry]:
        """The tree of the listing, whose files are read when their content is asked for."""
        policy = self._policy
        for entry in self._ignored.kept(self._listing.entries(), _path_of):
            mode = entry.mode
            if entry.kind is EntryKind.SYMLINK:
                mode = 0o777
            elif not policy.keep_modes:
                is_open = entry.kind is EntryKind.DIRECTORY or mode & stat.S_IXUSR
                mode = 0o755 if is_open else 0o644
            uid = entry.uid if policy.uid is None else policy.uid
            gid = entry.gid if policy.gid is None else policy.gid
            yield Entry(
                entry.path, entry.kind, mode, uid, gid, entry.size_bytes,
                entry.mtime if policy.mtime is None else policy.mtime,
                "" if uid else "root", "" if gid else "root",
                entry.linkname, entry.device_major, entry.device_minor, entry.xattrs,
                entry.content, entry.target,
            )  # fmt: skip


def list_together(packages: Iterable[Package]) -> None:
    """List the directories among packages that are not listed yet, which is quicker together.

    Raises
    ------
    ArgumentTypeError, ArchiveError
        A directory that is not there, or cannot be read.
    """
    unlisted = [
        p for p in packages if isinstance(p, DirectoryPackage) and "_listing" not in vars(p)
    ]
    walks = walk_all([p.place for p in unlisted])
    for package, found in zip(unlisted, walks, strict=True):
        vars(package)["_listing"] = package.listed(found)


@checked
def directory(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    root: str = "/",
    owner: Literal["root", "keep"] = "root",
    uid: int | None = None,
    gid: int | None = None,
    modes: Literal["normal", "keep"] = "normal",
    mtime: int | Literal["keep"] = 1,
    ignore: Sequence[str] = (),
    store: bool = False,
) -> Package:
    """A package of the files below a directory of this machine.

    A build takes the directory as it is when the build begins. Links stay links; a file with
    several names becomes several files.

    Parameters
    ----------
    path
        The directory.
    name
        The package's name; by default the directory's.
    root
        Where the tree stands in an image. By default the directory's content stands at ``/``.
    owner
        ``"root"``: everything belongs to root. ``"keep"``: owners as on this machine.
    uid, gid
        The user and group that everything belongs to instead, as numbers.
    modes
        ``"normal"``: directories and executable files have the mode 0755, all others 0644.
        ``"keep"``: permission bits, setuid and capabilities as on this machine.
    mtime
        The time of all entries in seconds since the epoch, or ``"keep"``.
    ignore
        What to leave out, as shell patterns: ``"*.pyc"`` and ``".git"`` leave out files and
        directories of that name anywhere, ``"build/cache"`` that path.
    store
        Whether the tree stands in the Nix store instead, at the path that ``nix-store --add`` gives
        it (see `store_path`), with the owner, modes and times that everything has there.

    Raises
    ------
    ArgumentTypeError
        There is no such directory, or an argument cannot be used. A socket in it is found later,
        when the directory is listed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> place = pathlib.Path(tempfile.mkdtemp(), "app")
    >>> place.mkdir()
    >>> _ = (place / "run").write_text("hello")
    >>> app = directory(place, root="/srv/app")
    >>> app, str(app), app.size_bytes
    (<DirectoryPackage app>, '/srv/app', 5)
    >>> [(entry.path, oct(entry.mode)) for entry in app.entries()]
    [(b'', '0o755'), (b'run', '0o644')]
    """
    try:
        place = os.fsdecode(os.path.abspath(os.path.expanduser(os.fspath(path))))
    except TypeError:
        raise ArgumentTypeError(
            f"A directory is named by its path, not by {path!r}.", argument="path"
        ) from None
    _check_directory(place)
    for argument, value in {"owner": owner, "modes": modes}.items():
        known = ("root" if argument == "owner" else "normal", "keep")
        if value not in known:
            raise ArgumentTypeError(
                f'{argument} must be "{known[0]}" or "keep", not {value!r}.', argument=argument
            )
    numbers = {"uid": uid, "gid": gid, "mtime": None if mtime == "keep" else mtime}
    for argument, number in numbers.items():
        if number is not None and not _is_count(number):
            raise ArgumentTypeError(
                f"{argument} must be a whole number from 0, not {number!r}.", argument=argument
            )
    owner_id = 0 if owner == "root" else None
    policy = _Policy(
        uid=owner_id if uid is None else uid,
        gid=owner_id if gid is None else gid,
        keep_modes=modes == "keep",
        mtime=None if mtime == "keep" else mtime,
        ignore=Ignored(ignore).patterns,
    )
    own_name = os.path.basename(place) or "root"
    if store:
        _refuse_with_store(root=root, owner=owner, uid=uid, gid=gid, modes=modes, mtime=mtime)
        from nbdock.packages.nix.added import added_package

        return added_package(os.fsencode(place) + b"/", own_name, name, Ignored(ignore))
    return DirectoryPackage(
        place, checked_name(own_name if name is None else name), _checked_root(root), policy
    )


def _check_directory(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise ArgumentTypeError(
            f"The directory {path!r} cannot be read: {error.strerror}.",
            argument="path",
            hint=f"This notebook works in {os.getcwd()!r}."
            if isinstance(error, FileNotFoundError) else None,
        ) from error  # fmt: skip
    if not stat.S_ISDIR(mode):
        raise ArgumentTypeError(
            f"{path!r} is not a directory.",
            argument="path",
            hint=f"{argument_name('text_file')} makes a package of one file.",
        )


def _refuse_with_store(**given: object) -> None:
    """Refuse what a store decides itself: of every tree the same."""
    usual = {"root": "/", "owner": "root", "modes": "normal", "mtime": 1}
    for argument, value in given.items():
        if value != usual.get(argument):
            raise ArgumentTypeError(
                f"{argument} cannot be chosen for a directory in the store.",
                argument=argument,
                hint="Leave it out: in a Nix store everything belongs to root, is read-only, and "
                "has the time 1. buildLayeredImage(uid = ...) changes owners.",
            )


def _checked_root(root: str) -> str:
    parts = root.split("/")[1:] if isinstance(root, str) and root.startswith("/") else [".."]
    if root != "/" and any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ArgumentTypeError(
            f"root must be an absolute path in the image without '..', not {root!r}.",
            argument="root",
            hint='For example root="/srv/app".',
        )
    return root


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _path_of(entry: Entry) -> bytes:
    return entry.path
