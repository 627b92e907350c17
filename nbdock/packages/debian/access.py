"""How an archive is reached: proxies, logins and local paths as APT's configuration has them.

>>> local_path("file:/srv/repo/my%20pool/a.deb")
'/srv/repo/my pool/a.deb'
>>> local_path("http://example.org/") is None
True
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nbdock.errors import SourceConfigurationError
from nbdock.packages.debian.configuration import AptConfiguration, configuration_files
from nbdock.transport import Transport, basic_authorization

__all__ = ["Login", "host_logins", "local_path", "open_transport", "parse_logins", "proxies"]


@dataclasses.dataclass(frozen=True)
class Login:
    """One ``machine`` of auth.conf: scheme (may be empty), host, port (or None), path prefix."""

    scheme: str
    host: str
    port: int | None
    path: str
    user: str
    password: str = dataclasses.field(repr=False)

    def fits(self, url: str) -> bool:
        """Whether it is meant for `url`; without a scheme, for https alone (apt_auth.conf(5))."""
        parts = urlsplit(url)
        return (
            parts.scheme == (self.scheme or "https")
            and (parts.hostname or "") == self.host
            and (self.port is None or parts.port == self.port)
            and parts.path.startswith(self.path)
        )


def parse_logins(text: str, path: str) -> list[Login]:
    """The entries of an auth.conf file, which is like a ``.netrc``.

    Raises
    ------
    SourceConfigurationError
        An entry is incomplete.
    """
    found: list[Login] = []
    machine = ""
    said: dict[str, str] = {}

    def finish() -> None:
        if not machine:
            return
        if "login" not in said and "password" not in said:
            raise SourceConfigurationError(
                f"{path}: the machine {machine} has neither login nor password.", path=path
            )
        match = re.fullmatch(r"(?:([a-z0-9+.-]+)://)?([^:/]+)(?::(\d{1,5}))?(/.*)?", machine)
        if match is None:
            raise SourceConfigurationError(f"{path}: {machine!r} is no machine.", path=path)
        scheme, host, port, prefix = match.groups()
        found.append(
            Login(
                scheme or "", host.lower(), int(port) if port else None, prefix or "/",
                said.get("login", ""), said.get("password", ""),
            )
        )  # fmt: skip

    words = iter(re.sub(r"(?m)^\s*#.*$", "", text).split())
    for word in words:
        if word == "machine":
            finish()
            machine, said = next(words, ""), {}
        elif word in {"login", "password", "account"}:
            said[word] = next(words, "")
    finish()
    return found


def host_logins(configuration: AptConfiguration) -> list[Login]:
    """The logins of this machine: ``auth.conf``, then ``auth.conf.d/*.conf``."""
    main = configuration.path("Dir::Etc::netrc")
    files = [main] if main and os.path.isfile(main) else []
    files += configuration_files(configuration.path("Dir::Etc::netrcparts"), "conf", configuration)
    found: list[Login] = []
    for file in files:
        try:
            found += parse_logins(Path(file).read_text(encoding="utf-8", errors="replace"), file)
        except PermissionError:
            # Meant for root alone; what needs it will be refused by the server, and say so.
            continue
    return found


def proxies(configuration: AptConfiguration) -> dict[str, str | None]:
    """``Acquire::http::Proxy`` and its kin, as a `Transport` takes them; None means direct."""
    found: dict[str, str | None] = {}
    for scheme in ("http", "https"):
        # APT asks the http settings for https too, unless there are https ones.
        for source in dict.fromkeys(("http", scheme)):
            if proxy := configuration.text(f"Acquire::{source}::Proxy"):
                found[f"{scheme}://"] = _proxy(proxy)
            for host, own in configuration.below(f"Acquire::{source}::Proxy"):
                found[f"{scheme}://{host}"] = _proxy(own)
    return found


def _proxy(text: str) -> str | None:
    if text.upper() in {"DIRECT", "FALSE"}:
        return None
    return text if "://" in text else f"http://{text}"


def open_transport(configuration: AptConfiguration) -> Transport:
    """A `Transport` that reaches archives as APT would."""
    logins: Sequence[Login] = host_logins(configuration)

    def authorize(url: str) -> str | None:
        for login in logins:
            if login.fits(url):
                return basic_authorization(login.user, login.password)
        return None

    authority = configuration.text("Acquire::https::CaInfo")
    return Transport(authorize=authorize, proxies=proxies(configuration), ca_file=authority or None)


def local_path(url: str) -> str | None:
    """The path of a ``file:`` or ``copy:`` URL; None for others."""
    scheme, _, rest = url.partition(":")
    if scheme.lower() not in {"file", "copy"}:
        return None
    if rest.startswith("//"):
        rest = "/" + rest[2:].partition("/")[2]
    return os.path.normpath(unquote(rest))
