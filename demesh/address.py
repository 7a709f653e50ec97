"""Addresses of peers as people write them.

vps.example.net:8471    [2001:db8::1]:8471                 one of the name's addresses
dns:tasks.demesh:8471                                      every address of the name
/ip4/192.0.2.7/tcp/8471/p2p/12D3KooW…                      a multiaddr; the peer id is optional, and checked if given
"""

import ipaddress
from dataclasses import dataclass

from demesh.errors import UsageError
from demesh.identity import public_key_of

_MULTIADDR_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")


@dataclass(frozen=True, slots=True)
class Spot:
    """An IP address, in its shortest form, and a UDP port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer may be found. `every`: dial all addresses of the name. `expected`: the public key that must answer."""

    text: str
    host: str
    port: int
    every: bool = False
    expected: bytes | None = None


def parse_peer(text: str) -> PeerAddress:
    """Raises UsageError."""
    if text.startswith("/"):
        return _parse_multiaddr(text)
    every = text.startswith("dns:")
    host, port = parse_host_port(text.removeprefix("dns:"))
    return PeerAddress(text, host, port, every)


def parse_host_port(text: str) -> tuple[str, int]:
    """Split `host:port`, with IPv6 in brackets. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not _is_host(host) or not _is_port(port):
        raise UsageError(f"{text!r} is not an address; write host:port, with IPv6 in brackets ([::1]:8471).")
    return host, int(port)


def address_text(host: str, port: int) -> str:
    """`host:port`, with IPv6 in brackets: what `parse_host_port` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def multiaddr(host: str, port: int) -> str:
    """`/ip4/192.0.2.7/tcp/8471`, with ip6 or dns where the host is that."""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    return f"/{kind}/{host}/tcp/{port}"


def host_of(text: str) -> str:
    """The IP address or name in a multiaddr. Raises ValueError for what is none."""
    parts = text.split("/")
    if len(parts) < 3 or parts[0] or parts[1] not in _MULTIADDR_HOSTS:
        raise ValueError(f"{text!r} names no host")
    return parts[2]


def is_routable(text: str) -> bool:
    """Whether others can dial this multiaddr: its host is a name, or an address that leads somewhere from elsewhere."""
    return may_be_dialled(host_of(text))


def may_be_dialled(host: str) -> bool:
    """Whether a host is a name, or an address that is neither loopback, wildcard, link-local nor multicast."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return not (address.is_loopback or address.is_unspecified or address.is_link_local or address.is_multicast)


def _parse_multiaddr(text: str) -> PeerAddress:
    parts = text.split("/")[1:]
    fits = len(parts) in (4, 6) and parts[0] in _MULTIADDR_HOSTS and parts[2] == "tcp" and _is_port(parts[3])
    if not fits or (len(parts) == 6 and parts[4] != "p2p"):
        raise UsageError(
            f"{text!r} is not a multiaddr that demesh dials; write /ip4/ADDRESS/tcp/PORT or add /p2p/PEER_ID."
        )
    expected = public_key_of(parts[5]) if len(parts) == 6 else None
    return PeerAddress(text, parts[1], int(parts[3]), expected=expected)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65_535


def _is_host(text: str) -> bool:
    """Whether `text` can be an address or a host name: labels of 1 to 63 characters."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return bool(text) and all(0 < len(label) <= 63 for label in text.rstrip(".").split(".")) and ":" not in text
    return True
