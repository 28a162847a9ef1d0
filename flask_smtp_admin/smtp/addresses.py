"""Which network addresses a session may connect to.

Owns the address policy. Must know neither names nor sockets. ``ipaddress.is_global`` is not
trusted: it says yes to several ranges that lead inside, and does not look into an IPv6 address
that carries an IPv4 one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# Never, for anybody: "this network", link-local with the cloud metadata services, the metadata
# services at other addresses (AWS, Google, Alibaba, Oracle, Azure), multicast, reserved and broadcast.
_NEVER = _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "192.0.0.192/32",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "fe80::/10",
    "fd00:ec2::/32",
    "fd20:ce::254/128",
    "ff00::/8",
)

# Only with allow_private: loopback, private use, shared (RFC 6598), documentation, benchmarking
# and other special ranges of the IANA registries that do not lead to the public internet.
_PRIVATE = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fec0::/10",
)

# Special assignments (RFC 2928), and those within that lead to the public internet, Teredo with
# them: an address of Teredo is judged by the IPv4 addresses that it holds.
_SPECIAL = ipaddress.IPv6Network("2001::/23")
_SPECIAL_BUT_GLOBAL = _networks(
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:3::/32",
    "2001:4:112::/48",
    "2001:30::/28",
)

_SIIT = ipaddress.IPv6Network("::ffff:0:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# The interface identifiers of ISATAP (RFC 5214): 0000:5efe and 0200:5efe before the IPv4 address.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def forbidden(address: IPAddress, *, allow_private: bool) -> str:
    """Why *address* must not be connected to, or ``""`` when it may be.

    An IPv6 address is judged together with every IPv4 address that it may lead to: mapped,
    compatible, 6to4, Teredo, NAT64, SIIT (RFC 2765) and ISATAP.
    """
    for form in (address, *_embedded(address)):
        reason = _forbidden_as_written(form, allow_private=allow_private)
        if reason:
            return reason
    return ""


def _forbidden_as_written(address: IPAddress, *, allow_private: bool) -> str:
    if any(address in network for network in _NEVER):
        return f"{address} is a link-local, metadata, multicast or reserved address"
    if allow_private:
        return ""
    if any(address in network for network in _PRIVATE):
        return f"{address} is a private address"
    if isinstance(address, ipaddress.IPv6Address) and not _public_v6(address):
        return f"{address} is not a public address"
    return ""


def _public_v6(address: ipaddress.IPv6Address) -> bool:
    if address in _SPECIAL and not any(address in network for network in _SPECIAL_BUT_GLOBAL):
        return False
    # Outside 2000::/3 only the forms that stand for an IPv4 address are public, if that one is.
    return address in _GLOBAL_UNICAST or address in _NAT64 or address.ipv4_mapped is not None


def _embedded(address: IPAddress) -> Iterator[ipaddress.IPv4Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    number = int(address)
    compatible = address in _COMPATIBLE and number > 1
    isatap = (number >> 32) & 0xFFFFFFFF in _ISATAP
    translated = any(address in network for network in (_NAT64, _NAT64_LOCAL, _SIIT))
    if compatible or isatap or translated:
        yield ipaddress.IPv4Address(number & 0xFFFFFFFF)
