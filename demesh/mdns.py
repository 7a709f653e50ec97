"""Discovery in the local network by mDNS (RFC 6762): tells that a node is here, and finds others of the same mesh.

    PEER_ID._demesh._tcp.local     SRV: the port that the node listens at     TXT: mesh=MARK     A, AAAA: its addresses

MARK is a hash of the mesh id, keyed with the swarm key: it tells members which nodes are of their mesh, and others nothing but
that there is one. While the swarm key changes, the marks of both are heeded, and that of the newer one is told. The peer id, the
addresses and that this is demesh are in the clear.

What is found is only where to dial: whoever answers there must still hold the swarm key and prove the peer id. Not guaranteed:
anything against a neighbour who announces addresses that lead nowhere; MDNS_FOUND_MAX of them are heeded. `zeroconf` does
the work in threads of its own, and is imported only where this is switched on.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import trio

from demesh import limits
from demesh.address import host_of, multiaddr
from demesh.errors import UsageError
from demesh.identity import SwarmKey, peer_id, public_key_of

log = logging.getLogger(__name__)

SERVICE = "_demesh._tcp.local."
_MARK = "mesh"
_RESOLVE_MS = 3_000
_CLOSE_SECONDS_MAX = 2
_MARK_SECONDS = 30  # how soon a change of the swarm key is noticed

Found = Callable[[bytes, Sequence[str]], None]
"""(public key, multiaddrs): a node of this mesh says that it can be dialled there."""


class Discoverer(Protocol):
    """What is needed of a node."""

    key: bytes

    def dialable(self) -> Sequence[str]: ...

    def found(self, key: bytes, addresses: Sequence[str]) -> None: ...


def mark_of(swarm_key: SwarmKey, mesh_id: bytes) -> str:
    """What tells nodes of one mesh from others, for those who know the swarm key."""
    return hashlib.blake2b(mesh_id, key=swarm_key.psk, digest_size=16, person=b"demesh/mdns/1").hexdigest()


class LocalDiscovery:
    """`marks` are those of the mesh now, the one to tell first. `interfaces` are the IP addresses to speak at; all of the
    machine's without."""

    def __init__(self, marks: Callable[[], Sequence[str]], interfaces: Sequence[str] = ()) -> None:
        self._marks = marks
        self._interfaces = list(interfaces)

    async def run(self, node: Discoverer, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Announce and look until cancelled. Where the network has no multicast, that is said, and the node goes on without."""
        task_status.started()
        token = trio.lowlevel.current_trio_token()

        def tell(key: bytes, addresses: Sequence[str]) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(node.found, key, addresses)

        try:
            while True:
                await self._run_with(self._marks()[0], node, tell)
        except _failures() as error:
            log.warning("Discovery by mDNS does not work here: %s", str(error) or type(error).__name__)

    async def _run_with(self, mark: str, node: Discoverer, tell: Found) -> None:
        """Announce and look for as long as `mark` is the one to tell."""
        opened: list[Any] = []
        try:
            await trio.to_thread.run_sync(self._open, mark, node.key, node.dialable(), tell, opened)
            while True:
                await trio.sleep(_MARK_SECONDS)
                if self._marks()[0] != mark:
                    return
        finally:
            with trio.move_on_after(_CLOSE_SECONDS_MAX, shield=True):
                for zeroconf in opened:  # which takes back what it announced
                    await trio.to_thread.run_sync(zeroconf.close, abandon_on_cancel=True)

    def _open(self, mark: str, key: bytes, addresses: Sequence[str], tell: Found, opened: list[Any]) -> None:
        from zeroconf import InterfaceChoice, ServiceBrowser, ServiceInfo, Zeroconf

        zeroconf = Zeroconf(interfaces=self._interfaces or InterfaceChoice.All)
        opened.append(zeroconf)
        own = f"{peer_id(key)}.{SERVICE}"
        heeded: set[str] = set()

        def changed(zeroconf: Any, service_type: str, name: str, state_change: Any) -> None:
            if (
                name != own
                and state_change.name != "Removed"
                and (name in heeded or len(heeded) < limits.MDNS_FOUND_MAX)
            ):
                heeded.add(name)
                self._look_at(zeroconf, name, tell)

        ServiceBrowser(zeroconf, SERVICE, handlers=[changed])
        told = [(host_of(each), int(each.split("/")[4])) for each in addresses if not each.startswith("/dns")]
        if told:
            port = told[0][1]
            hosts = [host for host, at in told if at == port]
            info = ServiceInfo(
                SERVICE,
                own,
                port,
                properties={_MARK: mark},
                parsed_addresses=hosts,
                server=f"{peer_id(key)}.local.",
            )
            zeroconf.register_service(info)

    def _look_at(self, zeroconf: Any, name: str, tell: Found) -> None:
        """In a thread of zeroconf's, which would end with what is raised here."""
        try:
            key = public_key_of(name.removesuffix(f".{SERVICE}"))
            info = zeroconf.get_service_info(SERVICE, name, _RESOLVE_MS)
        except UsageError:
            return
        except Exception as error:  # noqa: BLE001 - above all when it is being closed; there is no common base
            log.debug("Looking for %s in the local network failed with %r.", name, error)
            return
        if (
            info is not None
            and info.port
            and info.properties.get(_MARK.encode()) in {mark.encode() for mark in self._marks()}
        ):
            hosts = info.parsed_addresses()[: limits.ADDRESSES_MAX]
            tell(key, [multiaddr(host.partition("%")[0], info.port) for host in hosts])


def _failures() -> tuple[type[Exception], ...]:
    """What zeroconf raises where there is no multicast, or the name is taken."""
    from zeroconf import Error

    return (OSError, Error)
