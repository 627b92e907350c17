"""Where an address is: on this machine, in a private network, or anywhere."""

from __future__ import annotations

import ipaddress

__all__ = ["is_this_machine"]


def is_this_machine(registry: str) -> bool:
    """Whether a registry's name says that it is on this machine.

    >>> is_this_machine("localhost:5000"), is_this_machine("127.1.2.3"), is_this_machine("quay.io")
    (True, True, False)
    """
    host = registry.rpartition("]")[0][1:] if registry.startswith("[") else registry.split(":")[0]
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
