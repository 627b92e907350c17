"""What is believed of a registry: whether it must use TLS, and whose certificates count.

- Plain http is allowed to registries on this machine, to those of the setting `registry_insecure`,
  and where the caller says so; nowhere else.
- Certificates are verified with the system's authorities (or those of the setting `ca_file`), those
  in the caller's `ca_file`, and those where Docker and Podman look: ``*.crt`` in
  ``/etc/docker/certs.d/<registry>`` and its like. A ``*.cert`` and ``*.key`` there are our own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import ssl
from collections.abc import Callable

from nbdock import settings
from nbdock.errors import TransportError
from nbdock.registry.destinations import is_this_machine

__all__ = ["Trust"]


@dataclasses.dataclass(frozen=True, slots=True)
class Trust:
    """What is believed of one registry.

    Attributes
    ----------
    registry
        Its name, as in a reference.
    allow_http
        Whether it may be spoken to without TLS.
    verify
        Whether its certificate must be trusted.
    ca_file
        Authorities (PEM) that are trusted besides.
    """

    registry: str
    allow_http: bool
    verify: bool = True
    ca_file: str | None = None

    @classmethod
    def of(
        cls,
        registry: str,
        *,
        insecure: bool | None = None,
        tls_verify: bool = True,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> Trust:
        """What to believe by the caller's arguments and the settings."""
        if insecure is None:
            insecure = registry in settings.current().registry_insecure or None
        # As everywhere, a registry without a trusted certificate need not have one at all.
        is_open = bool(insecure) or not tls_verify
        return cls(
            registry,
            allow_http=is_open or (insecure is None and is_this_machine(registry)),
            verify=not is_open,
            ca_file=None if ca_file is None else os.fspath(ca_file),
        )

    def context(self) -> Callable[[], ssl.SSLContext] | None:
        """What makes the TLS context for connections to it; None: the usual one will do."""
        files = _files(self.registry)
        authorities = [self.ca_file] if self.ca_file is not None else []
        authorities += [path for path in files if path.endswith(".crt")]
        own = [path for path in files if path.endswith(".cert")]
        if self.verify and not authorities and not own:
            return None
        return functools.partial(_context, self.verify, authorities, own)


def _context(verify: bool, authorities: list[str], own: list[str]) -> ssl.SSLContext:
    """A context with more authorities than the usual ones, and certificates of our own."""
    path = ""
    try:
        if verify:
            usual = settings.current().ca_file
            context = ssl.create_default_context(cafile=os.fspath(usual) if usual else None)
            for path in authorities:
                context.load_verify_locations(path)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for path in own:
            context.load_cert_chain(path, f"{path.removesuffix('.cert')}.key")
    except (OSError, ssl.SSLError) as error:
        raise TransportError(
            f"The certificates in {path or 'the setting ca_file'} cannot be read: {error}.",
            hint="ca_file is a file of certificates in PEM form.",
        ) from error
    return context


def _files(registry: str) -> list[str]:
    """The files in a registry's own directories."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    found = []
    for base in ("/etc/docker", "/etc/containers", os.path.join(config, "containers")):
        folder = os.path.join(base, "certs.d", registry)
        with contextlib.suppress(OSError):
            found += [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return found
