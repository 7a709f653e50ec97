"""Which peers are connected, and who is told.

A peer is connected while it has at least one registered connection; two nodes that dial each other at the same time
have two. Guaranteed: `peer_connected` comes before anything else of that peer, `peer_lost` when its last connection has
ended for whatever reason (also when the network stops), and the two alternate.

The library's own `disconnected` notice is not used: it comes late, and not at all when the closing task is cancelled.
Each connection has a task here instead that waits for its end.
"""

import logging
from collections.abc import Callable, Iterator
from typing import cast

import trio
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.network.connection.swarm_connection import SwarmConn
from multiaddr import Multiaddr

from demesh import limits
from demesh.mesh.libp2p.identity import key_of
from demesh.mesh.network import Handler
from demesh.metrics import REFUSED

logger = logging.getLogger(__name__)


class Peers(INotifee):
    """The connected peers. `nursery` owns one task for each connection; `allowed` is asked of each peer's key."""

    def __init__(self, handler: Handler, nursery: trio.Nursery, allowed: Callable[[bytes], bool]) -> None:
        self._handler = handler
        self._nursery = nursery
        self._allowed = allowed
        self._connections: dict[bytes, set[SwarmConn]] = {}

    def names(self) -> frozenset[bytes]:
        return frozenset(self._connections)

    def connections(self) -> Iterator[tuple[bytes, SwarmConn]]:
        """Each connection with the key of its peer."""
        return ((peer, each) for peer, known in self._connections.items() for each in tuple(known))

    def send_away(self) -> None:
        """Close the connections of peers that are not allowed any more."""
        for peer, connection in list(self.connections()):
            if not self._allowed(peer):
                REFUSED.labels("network", "not_allowed").inc()
                self._nursery.start_soon(connection.close)

    def note(self, connection: SwarmConn) -> None:
        """There is such a connection. Harmless to repeat; to be called before anything that came over it is handled."""
        peer = key_of(connection.muxed_conn.peer_id)
        if peer is None or connection.is_closed:
            return
        known = self._connections.get(peer)
        if not self._allowed(peer):  # since it has shaken hands
            self._nursery.start_soon(connection.close)
        elif known is None:
            self._connections[peer] = {connection}
            self._tell("peer_connected", peer)
            self._nursery.start_soon(self._watch, peer, connection)
        elif connection in known:
            return
        elif len(known) >= limits.CONNECTIONS_PER_PEER_MAX:
            REFUSED.labels("network", "connections_per_peer").inc()
            self._nursery.start_soon(connection.close)
        else:
            known.add(connection)
            self._nursery.start_soon(self._watch, peer, connection)

    async def _watch(self, peer: bytes, connection: SwarmConn) -> None:
        try:
            await connection.event_closed.wait()
        finally:
            known = self._connections[peer]
            known.remove(connection)
            if not known:
                del self._connections[peer]
                self._tell("peer_lost", peer)

    def _tell(self, event: str, peer: bytes) -> None:
        try:
            getattr(self._handler, event)(peer)
        except Exception:  # a bug of the handler must not become the end of the network
            logger.exception("The handler of %s failed.", event)
            REFUSED.labels("network", "handler_failed").inc()

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        self.note(cast(SwarmConn, conn))

    async def disconnected(self, network: INetwork, conn: INetConn) -> None: ...

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None: ...

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None: ...

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None: ...

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None: ...
