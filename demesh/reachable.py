"""At which addresses others may dial what listens on this machine.

Not guaranteed: that they can. A router or a firewall may be between, and of that nothing is known here.
"""

import socket
from collections.abc import Sequence
from contextlib import suppress

from demesh.address import is_routable, multiaddr

_FAR = {"ip4": (socket.AF_INET, "192.0.2.1"), "ip6": (socket.AF_INET6, "2001:db8::1")}


def dialable(listening: Sequence[str]) -> list[str]:
    """Multiaddrs for others, from those at which this machine listens: for a wildcard, the address that faces the network."""
    found: list[str] = []
    for text in listening:
        _, kind, host, _, port = text.split("/")[:5]
        if host in ("0.0.0.0", "::"):
            found += [multiaddr(own, int(port)) for own in _facing(kind)]
        else:
            found.append(text)
    return [each for each in dict.fromkeys(found) if is_routable(each)]


def _facing(kind: str) -> list[str]:
    family, far = _FAR[kind]
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((far, 9))  # of UDP: looks up a route, sends nothing
        return [str(probe.getsockname()[0])]
    return []
