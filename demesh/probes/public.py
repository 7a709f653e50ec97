"""Which addresses are public: anybody in the Internet reaches them as this machine does, so asking them gives nobody a way in.

Not public: private, shared (CGNAT), loopback, link-local, multicast and reserved ones; IPv6 addresses that only wrap such an IPv4
address; and this machine's own, whatever they are, since a machine lets itself through its own firewall. Not known: whether a
network trusts one of its public addresses more than others.
"""

import errno
import ipaddress
import socket

from demesh.metrics import REFUSED

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NEVER = tuple(map(ipaddress.ip_network, ("64:ff9b:1::/48", "2001::/32", "fec0::/10", "::/96", "ff00::/8")))


def is_public(text: str) -> bool:
    """Whether `text` is an address of the public Internet."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None or any(address in network for network in _NEVER):
            return False
        if wrapped := _wrapped(address):
            return is_public(str(wrapped))
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def is_own(text: str) -> bool:
    """Whether `text` is an address of this machine: one can be bound to it."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((text, 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def admits_public(address: str) -> bool:
    """Whether probes for others may ask there; a refusal is counted."""
    if is_public(address) and not is_own(address):
        return True
    REFUSED.labels("ask", "address").inc()
    return False


def admits_listed(address: str) -> bool:
    """Whether checks of lists of public servers may ask there; a refusal is counted."""
    if is_public(address) and not is_own(address):
        return True
    REFUSED.labels("probes", "address").inc()
    return False


def _wrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which packets to `address` go in the end."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
