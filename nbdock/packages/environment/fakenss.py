"""`fake_nss`: user and group names for programs that insist on them, such as nginx.

The text is that of nixpkgs' ``fakeNss``; the files stand at ``/`` themselves, so that no Nix store
is needed.

    >>> [entry.path.decode() for entry in fake_nss.entries()]
    ['etc', 'etc/group', 'etc/nsswitch.conf', 'etc/passwd', 'var', 'var/empty']
"""

from __future__ import annotations

from collections.abc import Sequence

from nbdock.calling import argument_name
from nbdock.errors import ArgumentTypeError
from nbdock.packages.environment.overriding import overriding
from nbdock.packages.files import FilesPackage, folder, named_packages, regular

__all__ = ["FakeNss", "fake_nss"]


class FakeNss(FilesPackage):
    """``/etc/passwd`` and ``/etc/group`` with root and nobody, ``nsswitch.conf``, ``/var/empty``.

    Parameters
    ----------
    passwd_lines, group_lines
        Lines between those of root and of nobody.
    """

    def __init__(self, passwd_lines: Sequence[str] = (), group_lines: Sequence[str] = ()) -> None:
        self.passwd_lines = tuple(passwd_lines)
        self.group_lines = tuple(group_lines)
        passwd = (
            "root:x:0:0:root user:/var/empty:/bin/sh",
            *self.passwd_lines,
            "nobody:x:65534:65534:nobody:/var/empty:/bin/sh",
        )
        group = ("root:x:0:", *self.group_lines, "nobody:x:65534:")
        super().__init__(
            "fake-nss",
            [
                regular("etc/passwd", _lines(passwd)),
                regular("etc/group", _lines(group)),
                regular("etc/nsswitch.conf", "hosts: files dns\n"),
                folder("var/empty"),
            ],
            needs=tuple(named_packages([*passwd, *group])),
        )

    @overriding
    def override(
        self,
        *,
        extra_passwd_lines: Sequence[str] | None = None,
        extra_group_lines: Sequence[str] | None = None,
    ) -> FakeNss:
        r"""The same with more users and groups, as nixpkgs' ``fakeNss.override``.

        Parameters
        ----------
        extra_passwd_lines, extra_group_lines
            Lines of ``/etc/passwd`` and ``/etc/group``; None leaves them as they are.

        Raises
        ------
        ArgumentTypeError
            Not a list of texts.

        Examples
        --------
        >>> nss = fake_nss.override(extra_passwd_lines=["redis:x:999:999::/data:/bin/sh"])
        >>> next(entry for entry in nss.entries() if entry.path == b"etc/passwd").read()
        b'root:x:0:0:root user:/var/empty:/bin/sh\nredis:x:999:999::/data:/bin/sh\nnobody:...
        """
        return FakeNss(
            _checked("extra_passwd_lines", extra_passwd_lines, self.passwd_lines),
            _checked("extra_group_lines", extra_group_lines, self.group_lines),
        )


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _checked(argument: str, lines: object, default: tuple[str, ...]) -> tuple[str, ...]:
    if lines is None:
        return default
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise ArgumentTypeError(
            f"{argument_name(argument)} must be a list of lines, not {lines!r:.60}.",
            argument=argument,
            hint='For example ["redis:x:999:999::/data:/bin/sh"].',
        )
    return tuple(lines)


fake_nss = FakeNss()
"""Root and nobody, in ``/etc/passwd`` and ``/etc/group``."""
