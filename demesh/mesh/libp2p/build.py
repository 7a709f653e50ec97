"""The libp2p host of one node and its settings.

`libp2p.new_host` is not used: it adds a resource manager with memory limits and a circuit breaker of its own, and its
defaults offer secio and plain text. The parts are put together here as it does, so that the list below is all there is.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_new_x25519_key_pair
from libp2p.host.basic_host import BasicHost
from libp2p.identity.identify_push.identify_push import ID_PUSH as IDENTIFY_PUSH
from libp2p.network.config import ConnectionConfig
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL
from libp2p.transport.upgrader import TransportUpgrader

from demesh import limits
from demesh.identity import SwarmKey
from demesh.mesh.libp2p.dial import Dialler
from demesh.mesh.libp2p.identity import PeerNoise
from demesh.mesh.libp2p.listener import Bound
from demesh.mesh.libp2p.muxer import YamuxOnly
from demesh.mesh.libp2p.pubsub import GuardedPubsub, LeanGossipSub
from demesh.mesh.libp2p.swarm import TameSwarm
from demesh.mesh.libp2p.transport import PskTCP

logger = logging.getLogger(__name__)


class PlainHost(BasicHost):
    """A host that asks nobody who they are: identify runs as a system task, where an exception ends the process, and
    fills the peer store with whatever addresses peers claim. It still answers when asked (other implementations ask).
    """

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """A host, ready to be run."""

    swarm: TameSwarm
    host: PlainHost
    transport: PskTCP
    upgrader: TransportUpgrader
    dialler: Dialler
    pubsub: GuardedPubsub
    router: LeanGossipSub

    async def close(self) -> None:
        """Write what is queued, say farewell on every connection, then close all sockets. Bounded."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(limits.NETWORK_FLUSH_SECONDS_MAX):
                await self.pubsub.flush()
            with trio.move_on_after(limits.NETWORK_CLOSE_SECONDS_MAX):
                # All at once: the library closes them one after the other, a fifth of a second each.
                async with trio.open_nursery() as nursery:
                    for connection in self.swarm.get_connections():
                        nursery.start_soon(connection.close)
            await self.transport.close()
            with trio.move_on_after(limits.NETWORK_CLOSE_SECONDS_MAX):
                await self.host.close()


def build(
    *,
    seed: bytes,
    swarm_keys: Sequence[SwarmKey],
    topic: str,
    seqno: int,
    connections_max: int,
    on_stream: Callable[[SwarmConn], None],
    on_message: Callable[[bytes, bytes], None],
    allowed: Callable[[bytes], bool],
    bound: Bound,
    nursery: trio.Nursery,
) -> Parts:
    """Put a host together; nothing runs yet. `seed` is the Ed25519 seed, 32 bytes; `allowed` is asked of every peer's key.

    It listens with the sockets of `bound`, by tasks in `nursery`.
    """
    key_pair = create_new_key_pair(seed)
    own_id = ID.from_pubkey(key_pair.public_key)
    peerstore = PeerStore()
    peerstore.add_key_pair(own_id, key_pair)
    noise = PeerNoise(key_pair, noise_privkey=create_new_x25519_key_pair().private_key, allowed=allowed)
    upgrader = TransportUpgrader({NOISE_PROTOCOL: noise}, {})
    upgrader.muxer_multistream = YamuxOnly(limits.PEER_UPGRADE_SECONDS_MAX)
    transport = PskTCP(swarm_keys, bound, nursery)
    swarm = TameSwarm(own_id, peerstore, upgrader, transport, _connection_config(connections_max), on_stream)
    host = PlainHost(swarm)
    # By this protocol a peer may rewrite what is stored about it, unasked.
    host.remove_stream_handler(IDENTIFY_PUSH)
    router = LeanGossipSub()
    pubsub = GuardedPubsub(host, router, topic, seqno, on_message, allowed)
    dialler = Dialler(transport, noise)
    return Parts(swarm, host, transport, upgrader, dialler, pubsub, router)


def _connection_config(connections_max: int) -> ConnectionConfig:
    return ConnectionConfig(
        max_connections=connections_max,
        min_connections=0,  # what is left of the maximum is the cap on accepted ones
        low_watermark=0,
        high_watermark=connections_max,  # above it the library prunes as it likes; it never gets there
        inbound_upgrade_timeout=limits.PEER_UPGRADE_SECONDS_MAX,
        outbound_upgrade_timeout=limits.PEER_UPGRADE_SECONDS_MAX,
    )
