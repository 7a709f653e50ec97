"""What the mesh needs of a network, and nothing more.

The libp2p adapter (`demesh.mesh.libp2p`) implements it for real meshes, `demesh.mesh.memory` for tests. Peers are named by
their Ed25519 public key (32 bytes), which the network has authenticated before any method or handler mentions it.

Promised: handlers see only peers that hold the swarm key; `broadcast` never blocks for a slow peer. Not promised: that a
broadcast message arrives, arrives once, or arrives in order. Sync repairs what is lost.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

SYNC = "/demesh/sync/1"
ASK = "/demesh/ask/1"
RELAY = "/demesh/relay/1"
PROTOCOLS = (SYNC, ASK, RELAY)
"""What streams may speak; each stream says which (docs/protocol.md)."""


@dataclass(frozen=True, slots=True)
class Link:
    """A connection: to whom, where the far end is (an IP address and a port), whether this node dialled, and how long
    pings take to come back, if one has."""

    peer: bytes
    host: str
    port: int
    outgoing: bool = False
    rtt_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a network holds now: all connections, places for accepted ones that are taken, and streams that are open."""

    connections: int = 0
    inbound_slots: int = 0
    streams: int = 0


class Stream(Protocol):
    """A reliable two-way byte stream to one peer, which speaks `protocol`."""

    peer: bytes
    protocol: str

    async def send(self, data: bytes) -> None:
        """Send all of `data`. Raises NetworkError when the stream is broken."""
        ...

    async def receive(self) -> bytes:
        """The next bytes, in pieces of any size; `b""` when the peer has closed. Raises NetworkError when broken."""
        ...

    async def close(self) -> None:
        """Close; never raises. What was sent still arrives."""
        ...

    async def reset(self) -> None:
        """Give up at once; never raises. What was sent may be lost."""
        ...


class Handler(Protocol):
    """What the node does with what the network brings. No method may raise, and the plain ones may not block."""

    def peer_connected(self, peer: bytes) -> None: ...

    def peer_lost(self, peer: bytes) -> None: ...

    def message(self, forwarder: bytes, data: bytes) -> None:
        """A broadcast message of at most GOSSIP_MESSAGE_BYTES_MAX arrived over `forwarder`'s own connection."""
        ...

    async def stream(self, stream: Stream) -> None:
        """A peer opened a stream of one of PROTOCOLS. The network resets it if this returns by cancellation."""
        ...


class Network(Protocol):
    """A running network; one per node."""

    def peers(self) -> frozenset[bytes]:
        """The peers connected now."""
        ...

    def links(self) -> Sequence[Link]:
        """The connections there are now; two nodes may have more than one."""
        ...

    def usage(self) -> Usage:
        """What this network holds now; in a mesh that stays the same it does not grow."""
        ...

    def admit(self, allowed: Callable[[bytes], bool]) -> None:
        """Keep to peers that `allowed` says yes to, which is asked whenever one has proven its key and at once of those
        that are connected: the others are sent away. Before this is called, everyone is allowed."""
        ...

    def listen_addresses(self) -> Sequence[str]:
        """Multiaddrs, without the peer id, at which this node accepts connections."""
        ...

    def dialable_addresses(self) -> Sequence[str]:
        """The same with a wildcard as the addresses of this machine that others may be able to reach."""
        ...

    async def seen_at(self, peer: bytes) -> str:
        """The IP address at which a connected peer sees this node, by what it says. Raises NetworkError."""
        ...

    async def broadcast(self, data: bytes) -> None:
        """Offer a message to all peers of the mesh. At most GOSSIP_MESSAGE_BYTES_MAX bytes. While the network does not
        run there are none."""
        ...

    async def open_stream(self, peer: bytes, protocol: str = SYNC) -> Stream:
        """A stream to a connected peer. Raises NetworkError, also if the peer does not speak `protocol`."""
        ...

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        """Connect to whoever listens at `host` (an IP address) and `port`; returns the peer's public key.

        With `expected`, any other peer there is an error. Raises DialError.
        """
        ...

    async def examine(self) -> None:
        """Look whether the network does what it should though nothing has failed. Cheap; may take for ever, and is to be
        called with a deadline. Raises NetworkError that says what does not."""
        ...

    async def run(self, handler: Handler, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled; started when listening. Raises NetworkError if the port cannot be had, and when
        the network dies. Then all peers have been told as lost, and it may be called again (`demesh.mesh.supervisor`)."""
        ...
