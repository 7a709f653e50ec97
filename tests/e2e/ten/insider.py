"""Somebody who has the swarm key, or another one, and says whatever it is told to: libp2p as demesh builds it, without a node."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import trio
from libp2p.pubsub.pb import rpc_pb2
from libp2p.utils import encode_varint_prefixed

from demesh.identity import SwarmKey
from demesh.mesh.gossip import topic
from demesh.mesh.libp2p.host import Libp2pNetwork
from demesh.mesh.libp2p.identity import id_of
from demesh.mesh.libp2p.pubsub import PROTOCOL
from demesh.mesh.network import Stream
from tests.e2e.local_network import Machine

_T = TypeVar("_T")
_LISTENS_SECONDS = 30
_LEAVES_SECONDS = 3  # what is queued is written as it leaves


@dataclass(slots=True)
class Guest:
    """What such a host can do while it is connected. `heard` is what came on the topic."""

    network: Libp2pNetwork
    topic: str
    peer: bytes = b""
    heard: list[bytes] = field(default_factory=list[bytes])

    async def dial(self, host: str, port: int) -> None:
        """Raises DialError. Returns once what is said on the topic goes to the node there, too."""
        self.peer = await self.network.dial(host, port)
        with trio.fail_after(_LISTENS_SECONDS):
            while id_of(self.peer) not in self._parts.router.mesh.get(self.topic, ()):  # noqa: ASYNC110 nothing tells
                await trio.sleep(0.05)

    async def say(self, data: bytes) -> None:
        """Publish it on the topic, whatever its size."""
        await self._parts.pubsub.publish(self.topic, data)

    async def say_raw(self, frames: Sequence[bytes]) -> None:
        """Write these frames on a gossip stream of their own."""
        stream = await self._parts.host.new_stream(id_of(self.peer), [PROTOCOL])
        for frame in frames:
            await stream.write(encode_varint_prefixed(frame))

    def as_another(self, author: bytes, data: bytes) -> bytes:
        """The frame of a message that claims to be of `author`, who has not signed it."""
        message = rpc_pb2.Message(
            data=data,
            topicIDs=[self.topic],
            from_id=id_of(author).to_bytes(),
            seqno=b"12345678",
            signature=bytes(64),
        )
        return rpc_pb2.RPC(publish=[message]).SerializeToString()

    # What the network brings (demesh.mesh.network.Handler)

    def peer_connected(self, peer: bytes) -> None: ...

    def peer_lost(self, peer: bytes) -> None: ...

    def message(self, forwarder: bytes, data: bytes) -> None:
        self.heard.append(data)

    async def stream(self, stream: Stream) -> None:
        await stream.close()

    @property
    def _parts(self):
        assert self.network._running
        return self.network._running.parts


def visit(machine: Machine, key: SwarmKey, mesh_id: bytes, seed: bytes, act: Callable[[Guest], Awaitable[_T]]) -> _T:
    """Run such a host on a machine for as long as `act` takes; `seed` makes its node key. It listens nowhere."""
    guest = Guest(Libp2pNetwork(seed, key, topic(mesh_id), []), topic(mesh_id))

    async def stay() -> _T:
        async with trio.open_nursery() as nursery:
            await nursery.start(guest.network.run, guest)
            done = await act(guest)
            await trio.sleep(_LEAVES_SECONDS)
            nursery.cancel_scope.cancel()
        return done

    return machine.call(lambda: trio.run(stay))
