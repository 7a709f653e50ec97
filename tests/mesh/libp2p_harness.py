"""Nodes on real loopback sockets, and a handler that tells what it saw."""

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from nacl.signing import SigningKey
from prometheus_client import REGISTRY

from demesh.identity import SwarmKey
from demesh.mesh.libp2p.host import Libp2pNetwork
from demesh.mesh.libp2p.identity import id_of
from demesh.mesh.network import Stream

SECONDS = 8
"""The deadline of every wait: generous, since it is only reached when a test fails."""

KEY = SwarmKey(b"k" * 32)
OTHER_KEY = SwarmKey(b"o" * 32)
TOPIC = "demesh/test"


class Recorder:
    """A handler that keeps what happens, and echoes streams."""

    def __init__(self) -> None:
        self.events: list[tuple[str, bytes]] = []
        self.messages_in, self.messages = trio.open_memory_channel[tuple[bytes, bytes]](math.inf)

    def peer_connected(self, peer: bytes) -> None:
        self.events.append(("connected", peer))

    def peer_lost(self, peer: bytes) -> None:
        self.events.append(("lost", peer))

    def message(self, forwarder: bytes, data: bytes) -> None:
        self.messages_in.send_nowait((forwarder, data))

    async def stream(self, stream: Stream) -> None:
        while data := await stream.receive():
            await stream.send(data)

    async def next_message(self) -> tuple[bytes, bytes]:
        with trio.fail_after(SECONDS):
            return await self.messages.receive()


@dataclass
class Node:
    """A running network and its recorder."""

    name: str
    network: Libp2pNetwork
    handler: Recorder
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    stopped: trio.Event = field(default_factory=trio.Event)

    @property
    def key(self) -> bytes:
        return bytes(SigningKey(seed_of(self.name)).verify_key)

    @property
    def parts(self):
        assert self.network._running
        return self.network._running.parts

    @property
    def port(self) -> int:
        return int(self.network.listen_addresses()[0].rsplit("/", 1)[1])

    async def dial(self, other: "Node", host: str = "127.0.0.1") -> bytes:
        with trio.fail_after(SECONDS):
            return await self.network.dial(host, other.port)

    async def meshed(self, other: "Node") -> None:
        """Wait until gossip flows both ways."""
        a, b = id_of(self.key), id_of(other.key)
        await eventually(lambda: b in self.parts.router.mesh[TOPIC] and a in other.parts.router.mesh[TOPIC])

    async def stop(self) -> None:
        self.scope.cancel()
        with trio.fail_after(SECONDS):
            await self.stopped.wait()


@dataclass
class Mesh:
    nursery: trio.Nursery

    async def start(
        self,
        name: str,
        key: SwarmKey | Sequence[SwarmKey] = KEY,
        host: str | None = "127.0.0.1",
        handler: Recorder | None = None,
        **options,
    ) -> Node:
        network = Libp2pNetwork(seed_of(name), key, TOPIC, [(host, 0)] if host else [], **options)
        return await self.run(name, network, handler)

    async def run(self, name: str, network: Libp2pNetwork, handler: Recorder | None = None) -> Node:
        node = Node(name, network, handler or Recorder())

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with node.scope:
                await network.run(node.handler, task_status)
            node.stopped.set()

        await self.nursery.start(run)
        return node


@asynccontextmanager
async def mesh() -> AsyncGenerator[Mesh]:
    async with trio.open_nursery() as nursery:
        yield Mesh(nursery)
        nursery.cancel_scope.cancel()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces."""
    with trio.fail_after(SECONDS):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await trio.sleep(0.01)


def seed_of(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("demesh_refused_total", {"room": "network", "reason": reason}) or 0.0
