"""A network in memory, for tests: nodes of one `MemorySwarm` reach each other, and links can be cut.

It promises what `demesh.mesh.network` does and no more: messages are handed over in order and at once unless `lossy`.
"""

import math
from collections.abc import Callable, Sequence

import trio

from demesh.errors import DialError, NetworkError
from demesh.mesh.network import SYNC, Handler, Link, Stream, Usage


class MemorySwarm:
    """Who is there, who is connected, and what gets lost."""

    def __init__(self) -> None:
        self.networks: dict[bytes, MemoryNetwork] = {}
        self.listening: dict[tuple[str, int], bytes] = {}
        """Who is to be found at an address; whoever dials it is connected."""
        self.lossy = False
        """Drop every broadcast message; streams still work."""

    def connect(self, a: bytes, b: bytes) -> None:
        one, other = self.networks[a], self.networks[b]
        if one.allowed(b) and other.allowed(a) and not (one.dead or other.dead):
            one.meet(b)
            other.meet(a)

    def cut(self, a: bytes, b: bytes) -> None:
        self.networks[a].part(b)
        self.networks[b].part(a)


class MemoryNetwork:
    """One node's place in a `MemorySwarm`. It can be made to die, to be dead without a word, and to be unable to start."""

    def __init__(self, swarm: MemorySwarm, own: bytes) -> None:
        self._swarm = swarm
        self._own = own
        self._peers: set[bytes] = set()
        self._handler: Handler | None = None
        self._nursery: trio.Nursery | None = None
        self._death: trio.Event
        self.dead = False
        """From its death until it runs again; others cannot reach it."""
        self.allowed: Callable[[bytes], bool] = lambda peer: True
        self.cannot_start = ""
        """Why, as long as that is so."""
        self.ails = ""
        """What an examination finds."""
        swarm.networks[own] = self

    def peers(self) -> frozenset[bytes]:
        return frozenset(self._peers)

    def links(self) -> Sequence[Link]:
        return [Link(peer, "192.0.2.1", 8471) for peer in sorted(self._peers)]

    def usage(self) -> Usage:
        return Usage(connections=len(self._peers))

    def admit(self, allowed: Callable[[bytes], bool]) -> None:
        self.allowed = allowed
        for peer in self.peers():
            if not allowed(peer):
                self._swarm.cut(self._own, peer)

    def listen_addresses(self) -> Sequence[str]:
        return ()

    def dialable_addresses(self) -> Sequence[str]:
        return self.listen_addresses()

    async def seen_at(self, peer: bytes) -> str:
        await trio.lowlevel.checkpoint()
        raise NetworkError("Nobody is seen anywhere in memory.")

    async def broadcast(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._swarm.lossy:
            return
        for peer in sorted(self._peers):
            self._swarm.networks[peer].deliver(self._own, data)

    async def open_stream(self, peer: bytes, protocol: str = SYNC) -> Stream:
        await trio.lowlevel.checkpoint()
        if peer not in self._peers:
            raise NetworkError("not connected")
        to_peer, from_us = trio.open_memory_channel[bytes](math.inf)
        to_us, from_peer = trio.open_memory_channel[bytes](math.inf)
        self._swarm.networks[peer].accept(MemoryStream(self._own, to_us, from_us, protocol))
        return MemoryStream(peer, to_peer, from_peer, protocol)

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        found = self._swarm.listening.get((host, port))
        if self.dead:
            raise DialError("The network is not running.")
        if found is None:
            raise DialError(f"{host}:{port} is not in memory.")
        if expected not in (None, found):
            raise DialError(f"{host}:{port} is another peer.")
        if found != self._own and found not in self._peers:
            self._swarm.connect(self._own, found)
            if found not in self._peers:
                raise DialError(f"{host}:{port} broke off.")
        return found

    async def examine(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.ails:
            raise NetworkError(self.ails)

    def die(self) -> None:
        """End as if a service of it had failed."""
        self._death.set()

    async def run(self, handler: Handler, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        if self.cannot_start:
            raise NetworkError(self.cannot_start)
        self._death, self.dead = trio.Event(), False
        async with trio.open_nursery() as nursery:
            self._handler, self._nursery = handler, nursery
            task_status.started()
            await self._death.wait()
            nursery.cancel_scope.cancel()
        self.dead = True
        for peer in self.peers():
            self._swarm.cut(self._own, peer)
        raise NetworkError("A service of the network stopped.")

    def meet(self, peer: bytes) -> None:
        self._peers.add(peer)
        if self._handler:
            self._handler.peer_connected(peer)

    def part(self, peer: bytes) -> None:
        self._peers.discard(peer)
        if self._handler:
            self._handler.peer_lost(peer)

    def deliver(self, forwarder: bytes, data: bytes) -> None:
        if self._handler:
            self._handler.message(forwarder, data)

    def accept(self, stream: Stream) -> None:
        assert self._handler and self._nursery
        self._nursery.start_soon(self._handler.stream, stream)


class MemoryStream:
    def __init__(
        self,
        peer: bytes,
        send: trio.MemorySendChannel[bytes],
        receive: trio.MemoryReceiveChannel[bytes],
        protocol: str = SYNC,
    ) -> None:
        self.peer = peer
        self.protocol = protocol
        self._send = send
        self._receive = receive

    async def send(self, data: bytes) -> None:
        try:
            await self._send.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise NetworkError("the stream is broken") from error

    async def receive(self) -> bytes:
        try:
            return await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return b""

    async def close(self) -> None:
        self._send.close()

    async def reset(self) -> None:
        self._send.close()
        self._receive.close()
