"""Which mesh this is: how a node that does not know learns it from its first peer, before it signs anything.

Protocol `/demesh/mesh/1`: whoever is asked says `[1, mesh_id]`, with no bytes in place of the id while it does not know.

A node that was given a swarm key and peers, but no mesh id, cannot tell from the key: it may have been changed since the mesh
was founded. So it asks those it can connect to, and those that connect to it, and waits as long as none of them knows.
Only where every configured peer is as new as this node, or is this node itself, the mesh is being founded: with the id of the
swarm key, so all of them come to the same.

Not guaranteed: that the first peer tells the truth. It holds the swarm key.
"""

import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

import trio

from demesh import limits
from demesh.address import PeerAddress
from demesh.errors import DialError, EntryError, NetworkError, SyncError
from demesh.identity import peer_id
from demesh.log.codec import Fields, decode, encode
from demesh.mesh import session
from demesh.mesh.network import Handler, Stream
from demesh.mesh.session import Frames
from demesh.mesh.sync import Refused

log = logging.getLogger(__name__)
PROTOCOL = "/demesh/mesh/1"


class Heard(Enum):
    """What is known of a configured peer."""

    NOTHING = auto()
    NEW = auto()  # it does not know its mesh either
    OURSELVES = auto()


class MeshNetwork(Protocol):
    """What is needed of a network."""

    async def run(self, handler: Handler, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...

    def serve(self, protocol: str, handle: Callable[[Stream], Awaitable[None]]) -> None: ...

    async def open_stream(self, peer: bytes, protocol: str) -> Stream: ...

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes: ...


def teller(mesh_id: bytes) -> Callable[[Stream], Awaitable[None]]:
    """What answers the protocol: with `mesh_id`, or with nothing if it is empty."""

    async def tell(stream: Stream) -> None:
        with suppress(NetworkError), trio.move_on_after(limits.MESH_ID_SECONDS_MAX):
            await Frames(stream).send(encode([1, mesh_id]))

    return tell


def is_founding(heard: Iterable[Heard]) -> bool:
    """Whether all configured peers are known to know no mesh."""
    known = list(heard)
    return bool(known) and Heard.NOTHING not in known


async def find_mesh_id(network: MeshNetwork, peers: Sequence[PeerAddress], founding: bytes) -> bytes:
    """The id of the mesh of whoever says it first; `founding` if there is nobody who could. Waits without end."""
    return await _Finder(network, peers, founding).run()


class _Finder:
    """A handler that asks everybody who connects."""

    def __init__(self, network: MeshNetwork, peers: Sequence[PeerAddress], founding: bytes) -> None:
        self._network = network
        self._peers = peers
        self._founding = founding
        self._heard = {(peer, ""): Heard.NOTHING for peer in peers}
        self._asked, self._asking = trio.open_memory_channel[bytes](limits.PEER_CONNECTIONS_MAX)
        self._found = b""
        self._said: dict[str, str] = {}

    async def run(self) -> bytes:
        self._network.serve(PROTOCOL, teller(b""))
        async with trio.open_nursery() as nursery:
            await nursery.start(self._network.run, self)
            for peer in self._peers:
                nursery.start_soon(self._dial_again_and_again, peer, nursery.cancel_scope)
            async for peer in self._asking:
                if self._end(await self._ask(peer), nursery.cancel_scope):
                    break
        return self._found

    def peer_connected(self, peer: bytes) -> None:
        with suppress(trio.WouldBlock):
            self._asked.send_nowait(peer)

    def peer_lost(self, peer: bytes) -> None: ...

    def message(self, forwarder: bytes, data: bytes) -> None: ...

    async def stream(self, stream: Stream) -> None:
        """Of sync: there is nothing to give yet."""
        with suppress(NetworkError):
            await session.refuse(stream, Refused.BUSY, "this node does not know its mesh yet")
        await stream.close()

    async def _dial_again_and_again(self, peer: PeerAddress, scope: trio.CancelScope) -> None:
        delay_seconds: float = limits.DIAL_BACKOFF_SECONDS_MIN
        while True:
            heard, problem = await self._dial_all(peer, scope)
            for key in [each for each in self._heard if each[0] == peer]:
                del self._heard[key]
            self._heard.update({(peer, address): each for address, each in heard.items()})
            if is_founding(self._heard.values()):
                log.warning("All configured peers are as new as this node: they found a mesh together.")
                self._end(self._founding, scope)
            elif self._said.get(peer.text) != problem:
                self._said[peer.text] = problem
                log.warning(
                    "This node does not know its mesh yet, and waits for a member that does. %s If this is to be the first "
                    "node of a new mesh, start it without peers.",
                    problem,
                )
            await trio.sleep(delay_seconds)
            delay_seconds = min(2 * delay_seconds, limits.DIAL_BACKOFF_SECONDS_MAX)

    async def _dial_all(self, peer: PeerAddress, scope: trio.CancelScope) -> tuple[dict[str, Heard], str]:
        """What is heard at each address of `peer`, and a sentence about what is wrong there."""
        try:
            resolved = await trio.socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return {"": Heard.NOTHING}, f"The peer {peer.text} cannot be found."
        heard: dict[str, Heard] = {}
        problems: list[str] = []
        for address in dict.fromkeys(str(each[4][0]) for each in resolved):
            try:
                key = await self._network.dial(address, peer.port, peer.expected)
            except DialError as error:
                heard[address] = Heard.OURSELVES if error.ourselves else Heard.NOTHING
                problems += [str(error)]
                if error.ourselves and not peer.every:
                    return {address: Heard.OURSELVES}, str(error)
                continue
            said = await self._ask(key)
            if self._end(said, scope):
                await trio.sleep_forever()  # until the cancellation comes: there is no problem to tell of
            heard[address] = Heard.NOTHING if said is None else Heard.NEW
            problems.append(
                f"{peer.text} does not say of which mesh it is."
                if said is None
                else f"{peer.text} does not know it either."
            )
            if not peer.every:
                return {address: heard[address]}, problems[-1]
        return heard, " ".join(problems)

    async def _ask(self, peer: bytes) -> bytes | None:
        """The mesh id that a peer says, empty if it knows none; None if it does not answer."""
        try:
            with trio.fail_after(limits.MESH_ID_SECONDS_MAX):
                stream = await self._network.open_stream(peer, PROTOCOL)
                try:
                    fields = Fields(decode(await Frames(stream).expect()), "the answer")
                    fields.uint("version", 255)
                    return fields.octets("mesh id", 0, 16)
                finally:
                    await stream.close()
        except (NetworkError, SyncError, EntryError, trio.TooSlowError) as error:
            log.info("%s did not say of which mesh it is: %s", peer_id(peer), error)
            return None

    def _end(self, said: bytes | None, scope: trio.CancelScope) -> bool:
        """Stop if the mesh id has been said."""
        if not said:
            return False
        self._found = self._found or said
        scope.cancel()
        return True
