"""Which addresses a node tells others to dial: its own, and those at which others see it. Pure.

What a peer says of where it sees this node is believed of the host only (the port of an outgoing connection leads nowhere), and
only if two peers say the same, or one that is in none of this machine's networks: a neighbour sees an address of the
neighbourhood. What was believed once stays until something else is.

Not guaranteed: that a router passes the port on. Whoever dials in vain dials others.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from demesh.address import host_of, is_routable, may_be_dialled, multiaddr

_AGREEING = 2


class Sightings:
    """Who sees this node where."""

    def __init__(self) -> None:
        self._said: dict[bytes, tuple[str, str]] = {}
        self._believed: list[str] = []

    def note(self, peer: bytes, peer_host: str, seen_host: str) -> None:
        """A peer at `peer_host`, an IP address, says that it sees this node at `seen_host`, which may be anything."""
        self._said[peer] = (peer_host, seen_host)

    def keep(self, peers: Iterable[bytes]) -> None:
        """Only these are connected still."""
        kept = set(peers)
        self._said = {peer: said for peer, said in self._said.items() if peer in kept}

    def said_by(self, peer: bytes) -> bool:
        return peer in self._said

    def witnesses(self) -> int:
        """How many said something that could be believed."""
        return sum(_may_be_ours(seen) for _, seen in self._said.values())

    def hosts(self, networks: Sequence[str]) -> list[str]:
        """The hosts that are believed. `networks` are those of this machine's interfaces."""
        found = sorted({seen for _, seen in self._said.values() if _may_be_ours(seen) and self._agreed(seen, networks)})
        self._believed = found or self._believed
        return self._believed

    def _agreed(self, host: str, networks: Sequence[str]) -> bool:
        witnesses = [peer_host for peer_host, seen in self._said.values() if seen == host]
        return len(witnesses) >= _AGREEING or not any(_is_within(each, networks) for each in witnesses)


def addresses_to_tell(listening: Sequence[str], dialable: Sequence[str], seen: Iterable[str]) -> list[str]:
    """The multiaddrs for the hello: `dialable` ones, then the hosts in `seen` with the port that this node listens at.

    `listening` are the addresses as they were opened. Who listens nowhere, or on loopback only, tells nothing of what was seen.
    Addresses that are valid everywhere come first.
    """
    found = dict.fromkeys(dialable)
    ports: dict[int, int] = {}
    for address in listening:
        ip = ipaddress.ip_address(host_of(address))
        if ip.is_unspecified or is_routable(address):
            ports.setdefault(ip.version, int(address.split("/")[4]))
    for host in seen:
        port = ports.get(ipaddress.ip_address(host).version)
        if port is not None:
            found.setdefault(multiaddr(host, port))
    return sorted(found, key=lambda address: not ipaddress.ip_address(host_of(address)).is_global)


def _may_be_ours(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return may_be_dialled(host)


def _is_within(host: str, networks: Sequence[str]) -> bool:
    ip = ipaddress.ip_address(host)
    return ip.is_loopback or any(ip in ipaddress.ip_network(each) for each in networks)
