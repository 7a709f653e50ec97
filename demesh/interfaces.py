"""This machine's addresses, and which of them others may be able to dial.

Left out: loopback, link-local and multicast addresses, and those of bridges without a physical port, as container engines
and hypervisors make them (`docker0`): they are the same on every machine and lead nowhere from elsewhere. A bridge that
holds a network card has the machine's own address.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from demesh.address import host_of, is_routable, multiaddr

_SYS = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address of an interface of this machine, with its network (`192.0.2.0/24`)."""

    host: str
    network: str
    interface: str


def this_machines_addresses(sys_net: Path = _SYS) -> list[OwnAddress]:
    """The addresses at which others may be able to reach this machine. Looks at its interfaces."""
    import ifaddr

    found: list[OwnAddress] = []
    for adapter in ifaddr.get_adapters():
        if _is_inner_bridge(sys_net / str(adapter.name)):
            continue
        for each in adapter.ips:
            host = each.ip if isinstance(each.ip, str) else each.ip[0]
            network = ipaddress.ip_network(f"{host}/{each.network_prefix}", strict=False)
            if is_routable(multiaddr(host, 0)):
                found.append(OwnAddress(host, str(network), str(adapter.name)))
    return found


def dialable(listening: Iterable[str], own: Sequence[OwnAddress]) -> list[str]:
    """`listening` (multiaddrs) as others may dial it: a wildcard is every one of `own` of its kind, the rest as it is."""
    found: dict[str, None] = {}
    for address in listening:
        host, port = host_of(address), int(address.split("/")[4])
        ip = ipaddress.ip_address(host)
        if ip.is_unspecified:
            same = [each.host for each in own if ipaddress.ip_address(each.host).version == ip.version]
            found.update((multiaddr(each, port), None) for each in same)
        elif is_routable(address):
            found[address] = None
    return list(found)


def _is_inner_bridge(interface: Path) -> bool:
    if not (interface / "bridge").is_dir():
        return False
    return not any((port / "device").exists() for port in (interface / "brif").glob("*"))
