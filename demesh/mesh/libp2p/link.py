"""What is known of a connection, and where its far end sees this node.

The latter is asked for with libp2p's identify protocol, by a task of ours. The library's own use of it stays off
(`build.PlainHost`): of the answer only the observed address is read, never what a peer says of itself.
"""

import ipaddress

from libp2p.custom_types import TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID
from libp2p.rcmgr.metrics import Direction
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from demesh.address import host_of
from demesh.mesh.network import Link

IDENTIFY_BYTES_MAX = 65_536


def link_of(peer: bytes, connection: SwarmConn) -> Link:
    muxed = connection.muxed_conn
    assert isinstance(muxed, Yamux), "Yamux is the only multiplexer we offer"
    host, port = muxed.get_remote_address() or ("", 0)
    return Link(peer, host, port, connection.direction == Direction.OUTBOUND, muxed.rtt() * 1_000 or None)


async def ask_where_seen(host: BasicHost, peer: ID) -> str:
    """The IP address at which `peer` sees us. Raises whatever the library does, ValueError for an answer without one."""
    stream = await host.new_stream(peer, [TProtocol(IDENTIFY)])
    try:
        answer = Identify()
        answer.ParseFromString(await read_varint_prefixed_bytes_limited(stream, IDENTIFY_BYTES_MAX))
        address = ipaddress.ip_address(host_of(str(Multiaddr(answer.observed_addr))))
        if address.version == 6 and address.scope_id:
            raise ValueError("an address that is valid on one link only")
        return str(address)
    finally:
        await stream.reset()
