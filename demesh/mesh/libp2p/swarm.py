"""libp2p's swarm (its connections and streams), made to do only what it is told.

Guaranteed: it dials nobody on its own; a stream handler that raises costs one stream, not the process; a peer has at
most STREAMS_PER_CONNECTION_MAX streams open on one connection; an accepted connection is reported as upgraded (see
`transport`).
"""

import logging
from collections.abc import Callable
from typing import cast

import trio
from libp2p.abc import IMuxedConn, INetConn, INetStream, IPeerStore, IRawConnection
from libp2p.custom_types import StreamHandlerFn
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.connection_shutdown import is_expected_connection_shutdown
from multiaddr import Multiaddr

from demesh import limits
from demesh.mesh.libp2p.transport import InboundStream, PskTCP
from demesh.mesh.network import Usage
from demesh.metrics import REFUSED

logger = logging.getLogger(__name__)


class NoAutoConnector(AutoConnector):
    """The stock one dials whatever peers once claimed as their addresses, until it has as many connections as it likes."""

    async def run_background_task(self, nursery: trio.Nursery) -> None: ...

    async def maybe_connect(self) -> None: ...


class TameSwarm(Swarm):
    """A Swarm with the guarantees of this module. `on_stream` hears of a connection before its streams are handled."""

    def __init__(
        self,
        peer_id: ID,
        peerstore: IPeerStore,
        upgrader: TransportUpgrader,
        transport: PskTCP,
        config: ConnectionConfig,
        on_stream: Callable[[SwarmConn], None],
    ) -> None:
        super().__init__(
            peer_id,
            peerstore,
            upgrader,
            transports=[transport],
            retry_config=RetryConfig(max_retries=0),
            connection_config=config,
        )
        self.auto_connector = NoAutoConnector(self)
        self._on_stream = on_stream

    def usage(self) -> Usage:
        connections = [cast(SwarmConn, each) for each in self.get_connections()]
        return Usage(len(connections), int(self._inbound_limiter.borrowed_tokens), sum(map(_open_streams, connections)))

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """Never: `new_stream` would come here for a peer that has just gone."""
        raise SwarmException(f"There is no connection to {peer_id}.")

    async def dial_peer_replacement(self, peer_id: ID) -> INetConn | None:
        """Never: a dead connection is closed, and the mesh's own dialler opens the next."""
        return None

    async def upgrade_inbound_raw_conn(self, raw_conn: IRawConnection, maddr: Multiaddr) -> IMuxedConn:
        muxed = await super().upgrade_inbound_raw_conn(raw_conn, maddr)
        if isinstance(raw_conn, RawConnection) and isinstance(raw_conn.stream, InboundStream):
            raw_conn.stream.upgraded.set()
        return muxed

    def set_stream_handler(self, stream_handler: StreamHandlerFn) -> None:
        """Like the inherited method, with every exception of the handler kept in."""

        async def guarded(stream: INetStream) -> None:
            connection = cast(NetStream, stream).swarm_conn
            if connection is None or _open_streams(connection) > limits.STREAMS_PER_CONNECTION_MAX:
                REFUSED.labels("network", "streams_per_connection").inc()
                await _reset(stream)
                return
            self._on_stream(connection)
            try:
                await stream_handler(stream)
            except Exception as error:  # noqa: BLE001 - it would end the whole swarm
                logger.debug("A stream of %s ended with %r.", stream.muxed_conn.peer_id, error)
                if not is_expected_connection_shutdown(error):
                    REFUSED.labels("network", "stream_failed").inc()
                await _reset(stream)

        super().set_stream_handler(guarded)


def _open_streams(connection: SwarmConn) -> int:
    # The connection's own list forgets a stream that only we have closed, while the peer may still fill its window.
    muxed = connection.muxed_conn
    return len(muxed.streams) if isinstance(muxed, Yamux) else len(connection.streams)


async def _reset(stream: INetStream) -> None:
    try:
        await stream.reset()
    except Exception as error:  # noqa: BLE001 - there is nothing left to do for the stream
        logger.debug("Resetting a stream failed with %r.", error)
