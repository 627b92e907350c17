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
import os
import ssl

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

    def context(self) -> ssl.SSLContext:
        """The TLS context for connections to it, and to where it leads.

        Raises
        ------
        TransportError
            A file of certificates cannot be read.
        """
        usual = settings.current().ca_file
        path: str | None = None
        try:
            context = ssl.create_default_context(cafile=os.fspath(usual) if usual else None)
            for path in (self.ca_file, *_files(self.registry, ".crt")):
                if path is not None:
                    context.load_verify_locations(path)
            for path in _files(self.registry, ".cert"):
                context.load_cert_chain(path, f"{path.removesuffix('.cert')}.key")
        except (OSError, ssl.SSLError) as error:
            raise TransportError(
                f"The certificates in {path or usual} cannot be read: {error}.",
                hint="ca_file is a file of certificates in PEM form.",
            ) from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _files(registry: str, suffix: str) -> list[str]:
    """The files of a registry's own directories that end like that."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    found = []
    for base in ("/etc/docker", "/etc/containers", os.path.join(config, "containers")):
        folder = os.path.join(base, "certs.d", registry)
        with contextlib.suppress(OSError):
            found += [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return [path for path in found if path.endswith(suffix)]
