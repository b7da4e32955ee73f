"""Decides which addresses callbacks never go to, in any notation; pure functions.

Loopback and private networks are allowed: the app server is usually there. Refused are addresses that do not belong
to a single machine, and those of cloud metadata services, which give out credentials.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LOOPBACK = ip_address("::1")

_REFUSED: tuple[tuple[str, tuple[Network, ...]], ...] = tuple(
    (reason, tuple(map(ip_network, networks)))
    for reason, networks in (
        # These come first: some of them are in the ranges below.
        (
            "a cloud's metadata service",
            (
                "169.254.169.254",
                "169.254.170.0/23",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "fd00:ec2::/32",
                "fd20:ce::254",
                "fd00:c1::a9fe:a9fe",
            ),
        ),
        ("unspecified", ("0.0.0.0/8", "::")),
        ("link-local", ("169.254.0.0/16", "fe80::/10", "fec0::/10")),
        ("multicast", ("224.0.0.0/4", "ff00::/8")),
        ("broadcast", ("255.255.255.255",)),
        (
            "reserved",
            (
                "240.0.0.0/4",
                "192.0.0.0/24",
                "192.0.2.0/24",
                "192.88.99.0/24",
                "198.51.100.0/24",
                "203.0.113.0/24",
                # ::1 and the forms that contain an IPv4 address have been handled before.
                "::/8",
                "100::/8",
                "200::/7",
                "400::/6",
                "800::/5",
                "1000::/4",
                "2001:db8::/32",
                "3fff::/20",
                "4000::/2",
                "8000::/2",
                "c000::/3",
                "e000::/4",
                "f000::/5",
                "f800::/6",
                "fe00::/9",
            ),
        ),
    )
)

_HOLD_IPV4_LAST = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"), ip_network("::/96"))
"""IPv4-mapped, NAT64 and the old IPv4-compatible addresses: connections go to the IPv4 address in the last 32 bits."""
_6TO4 = ip_network("2002::/16")
_TEREDO = ip_network("2001::/32")


def refusal(address: Address) -> str:
    """Names the kind of forbidden address, "" for an allowed one; IPv4 addresses inside IPv6 ones are checked too."""
    for reached in unwrapped(address):
        if reached == _LOOPBACK:
            continue
        for reason, networks in _REFUSED:
            if any(reached in network for network in networks):
                return reason
    return ""


def unwrapped(address: Address) -> Iterator[Address]:
    """Yields the IPv4 addresses contained in an IPv6 address; any other address itself."""
    if isinstance(address, IPv4Address) or address == _LOOPBACK or address == ip_address("::"):
        yield address
        return
    bits = int(address)
    if any(address in network for network in _HOLD_IPV4_LAST):
        yield IPv4Address(bits & 0xFFFF_FFFF)
    elif address in _6TO4:
        yield IPv4Address(bits >> 80 & 0xFFFF_FFFF)
    elif address in _TEREDO:
        yield IPv4Address(bits >> 64 & 0xFFFF_FFFF)
        yield IPv4Address(bits & 0xFFFF_FFFF ^ 0xFFFF_FFFF)
    else:
        yield address
