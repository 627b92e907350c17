"""Where a registry may send us: its redirects, token servers, uploads and foreign layers.

A registry's answers name other places, and credentials or requests go there. A hostile registry
names places that it cannot reach itself: a service on this machine, a router, the metadata of a
cloud's virtual machine. So names are resolved, then judged, and the connection is made to the very
address that was judged: a name server that answers otherwise the second time gains nothing.

The rule: a registry may lead no further inside than it is itself. Addresses lie, from the outside
to the inside, in the world, in a private network, or on this machine. A registry in the world may
lead anywhere in the world; one in a private network also there; one on this machine anywhere. Its
own host it may always name. Link-local addresses (where clouds have their metadata) and those that
are nobody's are never led to. What a user knows better stands in the setting
`registry_trusted_hosts`.

    >>> zone_of("8.8.8.8").name, zone_of("10.1.2.3").name, zone_of("::ffff:127.0.0.1").name
    ('WORLD', 'PRIVATE', 'THIS_MACHINE')
    >>> zone_of("169.254.169.254").name
    'FORBIDDEN'

Through a proxy, it is the proxy that resolves names and connects. Then only what a URL says by
itself (an address, ``localhost``) is judged.
"""

from __future__ import annotations

import asyncio
import enum
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from urllib.parse import urlsplit

from nbdock.errors import TransportError, UnsafeDestinationError
from nbdock.transport import origin_of, redacted

__all__ = ["Destinations", "Zone", "is_this_machine", "zone_of"]

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host, as text."""

_IPv4 = ipaddress.IPv4Address
_IPv6 = ipaddress.IPv6Address

_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15",
         "fc00::/7", "fec0::/10"),
    )
)  # fmt: skip
# Metadata services at addresses that would otherwise be private.
_METADATA = tuple(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "192.0.0.192")))
_NAT64 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))


class Zone(enum.IntEnum):
    """How far inside an address lies."""

    WORLD = 0
    PRIVATE = 1
    THIS_MACHINE = 2
    FORBIDDEN = 3


_IN_WORDS = {
    Zone.PRIVATE: "in a private network",
    Zone.THIS_MACHINE: "this machine itself",
    Zone.FORBIDDEN: "an address for special use",
}


def zone_of(address: str) -> Zone:
    """Where an IP address lies; IPv6 addresses that stand for an IPv4 address lie where that does.

    Raises
    ------
    ValueError
        It is no IP address.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, _IPv6):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and any(found in network for network in _NAT64):
            inner = _IPv4(int(found) & 0xFFFFFFFF)
        if inner is None and found.teredo is not None:
            inner = found.teredo[1]
        if inner is None and 1 < int(found) < 1 << 32:
            # "IPv4-compatible", long deprecated.
            inner = _IPv4(int(found))
        if inner is not None:
            return zone_of(str(inner))
    if found in _METADATA or found.is_link_local or found.is_multicast or found.is_unspecified:
        return Zone.FORBIDDEN
    if found.is_loopback:
        return Zone.THIS_MACHINE
    if any(found in network for network in _PRIVATE if network.version == found.version):
        return Zone.PRIVATE
    return Zone.WORLD if found.is_global else Zone.FORBIDDEN


def _zone_by_itself(host: str) -> Zone | None:
    """Where a host lies if that can be told without asking a name server."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return Zone.THIS_MACHINE
    try:
        return zone_of(host)
    except ValueError:
        pass
    try:
        # 127.1, 0x7f000001 and 2130706433 are addresses too.
        return zone_of(socket.inet_ntoa(socket.inet_aton(host)))
    except (OSError, UnicodeError):
        return None


def is_this_machine(registry: str) -> bool:
    """Whether a registry's name says by itself that it is on this machine.

    >>> is_this_machine("localhost:5000"), is_this_machine("[::1]:5000"), is_this_machine("quay.io")
    (True, True, False)
    """
    return _zone_by_itself(urlsplit(f"//{registry}").hostname or "") is Zone.THIS_MACHINE


async def _resolved(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[4][0]) for place in found))


class Destinations:
    """Where one registry may lead; the guard of its `Transport`.

    Parameters
    ----------
    home
        The registry's own host name.
    trusted
        Hosts that it may lead to wherever they are.
    resolve, zone
        How names are resolved and addresses judged; a test gives its own.
    """

    def __init__(
        self,
        home: str,
        *,
        trusted: Collection[str] = (),
        resolve: Resolve = _resolved,
        zone: Callable[[str], Zone] = zone_of,
    ) -> None:
        self._home = home.lower()
        self._trusted = frozenset(host.lower() for host in trusted)
        self._resolve = resolve
        self._zone = zone
        # The outermost and the innermost of the addresses that the registry itself has.
        self._home_zone: Zone | None = None
        self._home_reach: Zone | None = None
        by_itself = _zone_by_itself(home)
        if by_itself is not None:
            self._see_home([by_itself])

    def check(self, url: str) -> None:
        """Judge a URL by itself, before a request is sent there.

        Raises
        ------
        UnsafeDestinationError
            The registry has no business there.
        """
        host = origin_of(url)[1]
        if not self._is_free(host):
            self._judge(host, _zone_by_itself(host) or Zone.WORLD)

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses to connect to, judged.

        Raises
        ------
        UnsafeDestinationError
            One of them is a place where the registry has no business.
        OSError
            The name cannot be resolved.
        """
        found = await self._resolve(host, port)
        zones = [self._zone(address) for address in found]
        if host.lower() == self._home:
            self._see_home(zones or [Zone.WORLD])
        elif not self._is_free(host):
            for zone in zones:
                self._judge(host, zone)
        return found

    def check_secret(self, url: str, base: str) -> None:
        """Judge a URL to which credentials or data are sent, as the registry at `base` wishes.

        Raises
        ------
        UnsafeDestinationError
            Not https (to the registry itself as the registry is spoken to), or see `check`.
        """
        try:
            scheme, host, _ = origin_of(url)
        except TransportError as error:
            raise UnsafeDestinationError(
                f"The registry {self._home} leads to {redacted(url)}, which is no address.",
                url=redacted(url),
            ) from error
        if "@" in urlsplit(url).netloc:
            raise UnsafeDestinationError(
                f"The registry {self._home} leads to {redacted(url)} as somebody else.",
                url=redacted(url),
                hint="Nothing was sent there: an address of a registry has no user in it.",
            )
        if scheme != "https":
            home_scheme = origin_of(base)[0]
            is_near = host == self._home or self._home_zone is Zone.THIS_MACHINE
            if home_scheme != "http" or not is_near:
                raise UnsafeDestinationError(
                    f"The registry {self._home} wants credentials or data to be sent without "
                    f"encryption, to {redacted(url)}.",
                    url=redacted(url),
                    hint="Nothing was sent. Ask the registry's owner to use https there.",
                )
        self.check(url)

    def _see_home(self, zones: Sequence[Zone]) -> None:
        """Note where the registry is. It may not be further inside the next time."""
        if self._home_reach is None:
            # From an address for special use it leads as from a private network.
            outermost = min(zones)
            self._home_zone = Zone.PRIVATE if outermost is Zone.FORBIDDEN else outermost
            self._home_reach = max(zones)
        for zone in zones:
            if zone > self._home_reach:
                raise self._refusal(self._home, zone)

    def _is_free(self, host: str) -> bool:
        return host.lower() == self._home or host.lower() in self._trusted

    def _judge(self, host: str, zone: Zone) -> None:
        # No registry is as far inside as what is forbidden.
        if zone > (self._home_zone or Zone.WORLD):
            raise self._refusal(host, zone)

    def _refusal(self, host: str, zone: Zone) -> UnsafeDestinationError:
        return UnsafeDestinationError(
            f"The registry {self._home} leads to {host}, which is {_IN_WORDS[zone]}.",
            url=host,
            hint="Nothing was sent there. If it is right, name the host in the setting "
            "registry_trusted_hosts.",
        )
