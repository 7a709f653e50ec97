"""Whether this process may ping, and how: through a datagram socket, a raw one, or not at all.

Linux lets the groups in `net.ipv4.ping_group_range` send echo requests through datagram sockets (for IPv6 too); raw sockets need
CAP_NET_RAW. The first is preferred: it hears nobody else's replies.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from demesh.probes.icmp import Version

REMEDY = 'allow it with sysctl net.ipv4.ping_group_range="0 2147483647", or give demesh CAP_NET_RAW'

_PROTOCOLS: dict[Version, tuple[socket.AddressFamily, int]] = {
    4: (socket.AF_INET, socket.IPPROTO_ICMP),
    6: (socket.AF_INET6, socket.IPPROTO_ICMPV6),
}


@dataclass(frozen=True, slots=True)
class PingRights:
    """`reason` is a phrase without a full stop, empty unless `way` is none."""

    way: Literal["datagram", "raw", "none"]
    reason: str = ""


def ping_rights(version: Version = 4) -> PingRights:
    """How this process may ping addresses of this IP version now."""
    try:
        with open_echo_socket(version) as opened:
            return PingRights("raw" if opened.type == socket.SOCK_RAW else "datagram")
    except PermissionError:
        return PingRights("none", f"this node is not allowed to ping: {REMEDY}")
    except OSError as error:
        return PingRights("none", f"this node has no socket for ICMP over IPv{version} (errno {error.errno})")


def open_echo_socket(version: Version) -> socket.socket:
    """A socket that sends echo requests, as its `type` says a datagram or a raw one. Raises OSError, PermissionError if
    neither is allowed."""
    family, protocol = _PROTOCOLS[version]
    with suppress(OSError):
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    return socket.socket(family, socket.SOCK_RAW, protocol)
