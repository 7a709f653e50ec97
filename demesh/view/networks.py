"""Which targets are independent of each other: those in different networks. Pure.

A network is a /24 of IPv4 or a /48 of IPv6, the sizes that are routed by themselves. What is on the vantage's own machine
(loopback, a command, a plug-in) is in none: it says nothing of the way there. Of several addresses in one text
(`demesh.addresses`) the first one speaks for all.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from demesh.addresses import first_of

_REMEMBERED = 4_096
_NEAR = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"),
    )
)


@lru_cache(_REMEMBERED)
def network_of(address: str | None) -> str | None:
    """The network of the address that a probe asked, such as `192.0.2.0/24`; None if there is none."""
    try:
        found = _first(address)
    except ValueError:
        return None
    if found is None or found.is_loopback:
        return None
    return str(ip_network((found, 24 if found.version == 4 else 48), strict=False))


def family_of(address: str | None) -> int | None:
    """4 or 6; None without an address."""
    first = first_of(address)
    return None if not first else 6 if ":" in first else 4


@lru_cache(_REMEMBERED)
def is_near(address: str | None) -> bool:
    """Whether an address is of a local network: that it answers says nothing of the way beyond."""
    try:
        found = _first(address)
    except ValueError:
        return False
    return found is not None and any(found in each for each in _NEAR)


def _first(address: str | None) -> IPv4Address | IPv6Address | None:
    """Raises ValueError if it is none."""
    first = first_of(address)
    return ip_address(first.partition("%")[0]) if first else None
