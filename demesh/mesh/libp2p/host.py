"""`Libp2pNetwork`: `demesh.mesh.network.Network` for real meshes.

The tree of tasks, all inside `run`:

    _serve           shielded: ends a moment after a cancellation, when the peers have been told
      nursery        one task per connection (peers), closing streams (stream), renewing lost gossip streams (_tend),
                     accepting connections (listener), minding each service (health)
      swarm          libp2p's connections, their readers, the handlers of inbound streams
        pubsub       gossip's readers and writers, one of each per peer
          router     gossip's heartbeat

Guaranteed: `run` returns by cancellation or by NetworkError only, and leaves no task, socket or thread behind; it may
then be called again, and listens where it did before. A service of the library that ends, with an exception or without, ends
`run`; one that goes on and does nothing is found by `examine`. Not guaranteed: that it mends itself; `demesh.mesh.supervisor`
does that.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import trio
from libp2p.abc import INetStream, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from demesh import limits
from demesh.address import address_text
from demesh.clock import Clock, SystemClock
from demesh.errors import DialError, NetworkError, leaves
from demesh.identity import SwarmKey, peer_id
from demesh.interfaces import dialable, this_machines_addresses
from demesh.mesh.libp2p.build import Parts, build
from demesh.mesh.libp2p.health import death, examine, mind
from demesh.mesh.libp2p.identity import id_of, key_of
from demesh.mesh.libp2p.link import ask_where_seen, link_of
from demesh.mesh.libp2p.listener import Bound
from demesh.mesh.libp2p.peers import Peers
from demesh.mesh.libp2p.quiet import quieten
from demesh.mesh.libp2p.stream import PeerStream
from demesh.mesh.network import PROTOCOLS, SYNC, Handler, Link, Stream, Usage
from demesh.metrics import REFUSED

logger = logging.getLogger(__name__)

TEND_SECONDS = 30
_NOT_RUNNING = "The network is not running."


@dataclass(frozen=True, slots=True)
class _Running:
    """What exists only while `run` does."""

    parts: Parts
    peers: Peers
    nursery: trio.Nursery


class Libp2pNetwork:
    """The network of one node.

    `seed` is the node key's 32-byte Ed25519 seed, `topic` the gossip topic of the mesh, `listen` the (IP address, port)
    pairs to accept connections at: none for a node that only dials, port 0 for any free one. `swarm_key` is the newest first
    if there are several.
    """

    def __init__(
        self,
        seed: bytes,
        swarm_key: SwarmKey | Sequence[SwarmKey],
        topic: str,
        listen: Sequence[tuple[str, int]],
        *,
        connections_max: int = limits.PEER_CONNECTIONS_MAX,
        clock: Clock | None = None,
    ) -> None:
        quieten()
        self._seed = seed
        self._swarm_keys = (swarm_key,) if isinstance(swarm_key, SwarmKey) else tuple(swarm_key)
        self._served: dict[str, Callable[[Stream], Awaitable[None]]] = {}
        self._topic = topic
        self._listen = tuple(listen)
        self._connections_max = connections_max
        self._clock = clock or SystemClock()
        self._running: _Running | None = None
        self._last_seqno = 0
        self._ports: dict[tuple[str, int], int] = {}  # those that were free, by where to listen
        self._allowed: Callable[[bytes], bool] = lambda peer: True

    def peers(self) -> frozenset[bytes]:
        return self._running.peers.names() if self._running else frozenset()

    def links(self) -> Sequence[Link]:
        return [link_of(peer, each) for peer, each in self._running.peers.connections()] if self._running else []

    def usage(self) -> Usage:
        return self._running.parts.swarm.usage() if self._running else Usage()

    def admit(self, allowed: Callable[[bytes], bool]) -> None:
        self._allowed = allowed
        if self._running:
            self._running.peers.send_away()

    def listen_addresses(self) -> Sequence[str]:
        return [str(address) for address in self._running.parts.host.get_transport_addrs()] if self._running else []

    def dialable_addresses(self) -> Sequence[str]:
        return dialable(self.listen_addresses(), this_machines_addresses())

    async def seen_at(self, peer: bytes) -> str:
        running = self._now()
        try:
            with trio.fail_after(limits.SEEN_AT_SECONDS_MAX):
                return await ask_where_seen(running.parts.host, id_of(peer))
        except Exception as error:  # the library has no common base for what can go wrong here
            raise NetworkError(f"{peer_id(peer)} does not say where it sees this node.") from error

    def serve(self, protocol: str, handle: Callable[[Stream], Awaitable[None]]) -> None:
        """Answer streams of one more protocol, from when the network next runs. `handle` may not raise."""
        self._served[protocol] = handle

    async def use_swarm_keys(self, keys: Sequence[SwarmKey]) -> None:
        """Accept these from now on and dial with them, the newest first; connections made with any other are closed."""
        self._swarm_keys = tuple(keys)
        if self._running:
            await self._running.parts.transport.use(keys)

    async def broadcast(self, data: bytes) -> None:
        if len(data) > limits.GOSSIP_MESSAGE_BYTES_MAX:
            raise NetworkError(
                f"A broadcast of {len(data)} bytes is too long: {limits.GOSSIP_MESSAGE_BYTES_MAX} are allowed."
            )
        if self._running:
            try:
                await self._running.parts.pubsub.publish(self._topic, data)
            except Exception as error:  # noqa: BLE001 - a hint that a dying service does not take is lost, no more
                logger.debug("A message could not be published: %r", error)

    async def open_stream(self, peer: bytes, protocol: str = SYNC) -> Stream:
        running = self._now()
        try:
            stream = await running.parts.host.new_stream(id_of(peer), [TProtocol(protocol)])
        except Exception as error:  # the library has no common base for what can go wrong here
            raise NetworkError(f"No stream to {peer_id(peer)} could be opened.") from error
        return PeerStream(peer, stream, running.nursery, protocol)

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        """See `Network.dial`. A peer that is connected already is not connected to again."""
        running = self._running
        if running is None:
            raise DialError(_NOT_RUNNING)
        if expected is not None and expected in running.peers.names():
            return expected
        try:
            with trio.fail_after(limits.DIAL_SECONDS_MAX):
                remote, secured = await running.parts.dialler.meet(host, port, expected)
                if remote in running.peers.names():
                    await secured.close()
                else:
                    await self._join(running.parts, secured, address_text(host, port))
                return remote
        except trio.TooSlowError:
            where = address_text(host, port)
            raise DialError(f"{where} could not be connected to within {limits.DIAL_SECONDS_MAX} s.") from None

    async def _join(self, parts: Parts, secured: ISecureConn, where: str) -> None:
        """Make a dialled connection one of the swarm. Raises DialError."""
        try:
            multiplexed = await parts.upgrader.upgrade_connection(secured, secured.get_remote_peer())
            await parts.swarm.add_conn(multiplexed, direction="outbound")
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await secured.close()
            raise
        except Exception as error:  # the library has no common base for what can go wrong here
            await secured.close()
            if parts.swarm.get_total_connections() >= self._connections_max:
                raise DialError(f"{where} is one too many: there are {self._connections_max} connections.") from error
            raise DialError(f"{where} has our swarm key, but broke off the connection.") from error

    async def examine(self) -> None:
        await examine(self._now().parts, self._connections_max)

    async def run(self, handler: Handler, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        bound = Bound()
        failures: list[BaseException] = []
        try:
            addresses = [self._bind(bound, host, port) for host, port in self._listen]
            async with trio.open_nursery() as nursery:
                # The library's tasks must outlive a cancellation for as long as saying farewell takes, so they run in a
                # shielded task that this one stops.
                stop = trio.Event()
                nursery.start_soon(self._serve, handler, bound, addresses, stop, task_status)
                try:
                    await trio.sleep_forever()
                finally:
                    stop.set()
        except* Exception as group:  # noqa: BLE001 - whatever ended a service of the library is raised below
            failures.extend(leaves(group))
        finally:
            bound.close()
        if failures:
            raise death(failures)

    def _bind(self, bound: Bound, host: str, port: int) -> Multiaddr:
        """Listen, where any port is wanted at the one that it was the last time. Raises NetworkError."""
        before = self._ports.get((host, port), port)
        try:
            address = bound.bind(host, before, self._listen)
        except NetworkError:
            if before == port:
                raise
            address = bound.bind(host, port, self._listen)
        if not port:
            self._ports[host, port] = int(address.value_for_protocol("tcp") or 0)
        return address

    async def _serve(
        self,
        handler: Handler,
        bound: Bound,
        addresses: list[Multiaddr],
        stop: trio.Event,
        task_status: trio.TaskStatus[None],
    ) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                running = self._assembled(handler, bound, nursery)
                parts = running.parts
                try:
                    async with (
                        background_trio_service(parts.swarm),
                        background_trio_service(parts.pubsub),
                        background_trio_service(parts.router),
                    ):
                        try:
                            await parts.pubsub.wait_until_ready()
                            await parts.pubsub.subscribe(self._topic)
                            await _listen(parts, addresses)
                            self._running = running
                            async with trio.open_nursery() as minding:
                                for service in (parts.swarm, parts.pubsub, parts.router):
                                    minding.start_soon(mind, service)
                                minding.start_soon(self._tend, running)
                                task_status.started()
                                await stop.wait()
                                minding.cancel_scope.cancel()
                        finally:
                            self._running = None
                            self._last_seqno = parts.pubsub.counter
                            await parts.close()
                finally:
                    parts.pubsub.seen_messages.stop()  # its thread
                    nursery.cancel_scope.cancel()

    def _assembled(self, handler: Handler, bound: Bound, nursery: trio.Nursery) -> _Running:
        peers = Peers(handler, nursery, self._is_allowed)
        parts = build(
            seed=self._seed,
            swarm_keys=self._swarm_keys,
            topic=self._topic,
            seqno=max(self._last_seqno, self._clock.wall_ms() * 1_000_000),
            connections_max=self._connections_max,
            on_stream=peers.note,
            on_message=handler.message,
            allowed=self._is_allowed,
            bound=bound,
            nursery=nursery,
        )
        parts.swarm.register_notifee(peers)
        for protocol, handle in {**dict.fromkeys(PROTOCOLS, handler.stream), **self._served}.items():
            serve = partial(_serve_stream, handle, nursery, protocol)
            parts.host.set_stream_handler(TProtocol(protocol), serve)
        return _Running(parts, peers, nursery)

    async def _tend(self, running: _Running) -> None:
        """Renew what the library gives up: it does not retry a gossip stream whose negotiation failed."""
        without_gossip: frozenset[ID] = frozenset()
        while True:
            await trio.sleep(TEND_SECONDS)
            pubsub = running.parts.pubsub
            missing = frozenset(map(id_of, running.peers.names())) - pubsub.peers.keys()
            for peer in missing & without_gossip:  # a new connection may be about to open its own
                running.nursery.start_soon(pubsub.ensure_peer_stream, peer)
            without_gossip = missing
            running.parts.router.forget_expired(self._clock.wall_ms() // 1000)

    def _is_allowed(self, peer: bytes) -> bool:
        return self._allowed(peer)

    def _now(self) -> _Running:
        if self._running is None:
            raise NetworkError(_NOT_RUNNING)
        return self._running


async def _serve_stream(
    handle: Callable[[Stream], Awaitable[None]], nursery: trio.Nursery, protocol: str, stream: INetStream
) -> None:
    peer = key_of(stream.muxed_conn.peer_id)
    assert peer is not None, "PeerNoise lets only Ed25519 identities pass"
    inbound = PeerStream(peer, stream, nursery, protocol)
    try:
        await handle(inbound)
        await inbound.close()
    except BaseException as error:
        await inbound.reset()
        if not isinstance(error, Exception):
            raise
        logger.exception("The handler of a stream failed.")
        REFUSED.labels("network", "handler_failed").inc()


async def _listen(parts: Parts, addresses: list[Multiaddr]) -> None:
    if addresses:
        await parts.swarm.listen(*addresses)
    for address in addresses:  # the library is content if one of them works
        if str(address) not in parts.swarm.listeners:
            raise NetworkError(f"Cannot listen at {address}.")
