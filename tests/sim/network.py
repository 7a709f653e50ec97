"""The network between simulated machines: connections by address, with weather on every link.

A link joins two machines. Its weather (`Weather`) is what an imperfect network does: latency, loss, duplication and reordering
of broadcasts, cuts in one direction or both, streams that break, gossip that arrives nowhere, and little bandwidth: then what is
sent waits for what was sent before, a broadcast that would wait for too much is dropped, and streams hold their senders up.
Guarantees of
`demesh.mesh.network` are kept whatever the weather: a stream is reliable and in order until it breaks. A connection over a
link that is cut is lost at both ends after TCP_USER_TIMEOUT_MS. Broadcasts are passed on once by everybody, as by gossipsub.

Nobody is authenticated: whoever has an address here holds the swarm key.
"""

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import cast

import trio

from demesh import limits
from demesh.errors import DialError, NetworkError
from demesh.mesh import network as mesh_network
from demesh.mesh.network import SYNC, Handler, Stream
from tests.sim.process import Process
from tests.sim.virtual import JumpingClock

PORT = 8471
_LOST_SECONDS = limits.TCP_USER_TIMEOUT_MS / 1_000
_QUEUE_BYTES_MAX = 65_536  # what waits before a slow link
_PIECE_BYTES = 4_096  # what a slow link hands over at once
Link = tuple[str, str]
"""From one machine's address to another's."""


@dataclass(eq=False)
class Weather:
    """What is the matter with some links, or with all of them. `disturbs`: nothing that needs these links is promised."""

    kind: str
    amount: float = 1
    links: frozenset[Link] | None = None
    disturbs: bool = True

    def covers(self, link: Link) -> bool:
        return self.links is None or link in self.links


@dataclass(eq=False)
class Connection:
    ends: tuple["SimNetwork", "SimNetwork"]
    since: float
    open: set["SimNetwork"] = field(default_factory=set)
    parked: list[tuple[Link, Callable[[], None]]] = field(default_factory=list)
    """What waits for a cut to end: it is sent again then."""
    streams: list["SimStream"] = field(default_factory=list)

    def other(self, network: "SimNetwork") -> "SimNetwork":
        return self.ends[1] if network is self.ends[0] else self.ends[0]


class Fabric:
    """All links, and what is under way on them."""

    def __init__(self, rng: random.Random, latency_seconds: float) -> None:
        self.rng = rng
        self.latency_seconds = latency_seconds
        self.listening: dict[str, SimNetwork] = {}
        self.weather: list[Weather] = []
        self.connections: list[Connection] = []
        self.counts: dict[str, int] = {}
        self._clear_at: dict[Link, float] = {}
        """When all that waits before a slow link will be under way."""
        self._calm_since: dict[Link, float] = {}
        self._calm_all_since = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self._asleep: list[trio.lowlevel.Task] = []
        """The task that delivers, while it waits."""

    async def run(self) -> None:
        """Deliver, until cancelled."""
        clock = cast(JumpingClock, trio.lowlevel.current_clock())
        while True:
            while self._due and self._due[0][0] <= trio.current_time():
                heapq.heappop(self._due)[2]()
            await clock.sleep_until(self._due[0][0] if self._due else trio.current_time() + 3_600, self._asleep)

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (when, next(self._serial), act))
        if self._due[0][2] is act and self._asleep:
            cast(JumpingClock, trio.lowlevel.current_clock()).wake(self._asleep)

    # Weather

    def begin(self, weather: Weather) -> None:
        self.weather.append(weather)
        self._touch(weather)
        if weather.kind == "cut":
            for connection in self.connections:
                if any(weather.covers(link) for link in _links(connection)):
                    self.at(trio.current_time() + _LOST_SECONDS, partial(self._lose_if_cut, connection))

    def end(self, weather: Weather) -> None:
        if weather in self.weather:
            self.weather.remove(weather)
            self._touch(weather)
            for connection in self.connections:
                parked, connection.parked = connection.parked, []
                for link, act in parked:
                    self._arrive(connection, link, act)

    def _touch(self, weather: Weather) -> None:
        if not weather.disturbs:
            return
        if weather.links is None:
            self._calm_all_since = trio.current_time()
        else:
            self._calm_since.update(dict.fromkeys(weather.links, trio.current_time()))

    def calm_since(self, one: str, other: str) -> float:
        """Since when nothing disturbs what goes between two machines; infinity while something does."""
        links = ((one, other), (other, one))
        if any(each.disturbs and any(map(each.covers, links)) for each in self.weather):
            return float("inf")
        return max(self._calm_all_since, *(self._calm_since.get(link, 0.0) for link in links))

    def is_cut(self, link: Link) -> bool:
        return any(each.kind == "cut" and each.covers(link) for each in self.weather)

    def amount(self, kind: str, link: Link) -> float:
        return max((each.amount for each in self.weather if each.kind == kind and each.covers(link)), default=0.0)

    def delay(self, link: Link) -> float:
        return self.latency_seconds * self.rng.uniform(0.5, 1.5) + self.amount("latency", link)

    def queued_bytes(self, link: Link) -> float:
        """What waits before a link that is slow."""
        return max(0.0, self._clear_at.get(link, 0.0) - trio.current_time()) * self.amount("slow", link)

    def _queue(self, link: Link, size: int) -> float:
        """How long it takes until `size` more bytes are under way."""
        now, bytes_a_second = trio.current_time(), self.amount("slow", link)
        if not bytes_a_second:
            return 0.0
        self._clear_at[link] = max(now, self._clear_at.get(link, 0.0)) + size / bytes_a_second
        return self._clear_at[link] - now

    def _note(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1

    # Connections

    def connect(self, one: "SimNetwork", other: "SimNetwork") -> None:
        connection = Connection((one, other), trio.current_time(), {one, other})
        self.connections.append(connection)
        for end in connection.ends:
            end.connections.append(connection)
            end.process.deliver(partial(end.connected, connection.other(end).key))

    def lose(self, connection: Connection, *ends: "SimNetwork") -> None:
        """The connection is over for `ends`."""
        for stream in connection.streams:
            if stream.network in ends:
                stream.fail()
        for end in ends:
            if end in connection.open:
                connection.open.discard(end)
                end.connections.remove(connection)
                end.process.deliver(partial(end.lost, connection.other(end).key))
        if not connection.open and connection in self.connections:
            self.connections.remove(connection)

    def part(self, connection: Connection) -> None:
        """Both ends lose the connection now."""
        self._note("connections parted")
        self.lose(connection, *connection.ends)

    def vanish(self, network: "SimNetwork", *, noticed: bool) -> None:
        """A process is gone. Its peers hear of that at once if its machine still answers (`noticed`), else by a timeout."""
        if self.listening.get(network.address) is network:
            del self.listening[network.address]
        for connection in list(network.connections):
            other = connection.other(network)
            wait_seconds = self.delay((network.address, other.address)) if noticed else _LOST_SECONDS
            self.lose(connection, network)
            self.at(trio.current_time() + wait_seconds, partial(self.lose, connection, other))

    def _lose_if_cut(self, connection: Connection) -> None:
        if any(map(self.is_cut, _links(connection))):
            self.lose(connection, *connection.ends)

    # What is sent

    def transmit(
        self, connection: Connection, sender: "SimNetwork", act: Callable[[], None], not_before: float, size: int = 0
    ) -> float:
        """Do `act`, which takes `size` bytes, at the other end, in order if `not_before` is what the last call returned."""
        link = (sender.address, connection.other(sender).address)
        when = max(not_before, trio.current_time() + self._queue(link, size) + self.delay(link))
        self.at(when, partial(self._arrive, connection, link, act))
        return when

    def _arrive(self, connection: Connection, link: Link, act: Callable[[], None]) -> None:
        receiver = next(end for end in connection.ends if end.address == link[1])
        if receiver not in connection.open:
            return
        if self.is_cut(link):
            connection.parked.append((link, act))
        else:
            receiver.process.deliver(act)

    def gossip(self, connection: Connection, sender: "SimNetwork", data: bytes, digest: bytes) -> None:
        """Offer a message to the other end, if that has not got it yet."""
        receiver = connection.other(sender)
        link = (sender.address, receiver.address)
        if digest in receiver.seen:
            return
        if self.is_cut(link) or self.amount("deaf", link):
            self._note("messages dropped")
            return
        if self.rng.random() < self.amount("loss", link):
            self._note("messages lost")
            return
        if self.queued_bytes(link) > _QUEUE_BYTES_MAX:
            self._note("messages dropped before a slow link")
            return
        copies = 1
        if self.rng.random() < self.amount("duplicate", link):
            self._note("messages duplicated")
            copies = 2
        for copy in range(copies):
            late = self.rng.uniform(0, self.amount("reorder", link))
            act = partial(receiver.got, sender.key, connection, data, digest, copy > 0)
            late += self._queue(link, len(data))
            self.at(trio.current_time() + self.delay(link) + late, partial(self._hand_over, connection, receiver, act))

    def _hand_over(self, connection: Connection, receiver: "SimNetwork", act: Callable[[], None]) -> None:
        if receiver in connection.open:
            receiver.process.deliver(act)

    def breaks(self, link: Link) -> bool:
        broken = self.rng.random() < self.amount("break", link)
        if broken:
            self._note("streams broken")
        return broken


def _links(connection: Connection) -> tuple[Link, Link]:
    one, other = (end.address for end in connection.ends)
    return (one, other), (other, one)


class SimNetwork:
    """A process's network (`demesh.mesh.network.Network`)."""

    def __init__(self, fabric: Fabric, process: Process, key: bytes, address: str) -> None:
        self.key = key
        self.address = address
        self.process = process
        self.connections: list[Connection] = []
        self.seen: set[bytes] = set()
        self.broadcasting: Callable[[bytes], None] = lambda _: None
        """Called with each message of this node's own before it leaves."""
        self.allowed: Callable[[bytes], bool] = lambda _: True
        self.cannot_start = ""
        """Why, as long as that is so."""
        self._death: trio.Event | None = None
        self._fabric = fabric
        self._handler: Handler | None = None
        self._nursery: trio.Nursery | None = None

    def peers(self) -> frozenset[bytes]:
        return frozenset(connection.other(self).key for connection in self.connections)

    def links(self) -> Sequence[mesh_network.Link]:
        others = [(connection.other(self), connection.ends[0] is self) for connection in self.connections]
        return [mesh_network.Link(each.key, each.address, PORT, outgoing) for each, outgoing in others]

    def usage(self) -> mesh_network.Usage:
        return mesh_network.Usage(connections=len(self.connections))

    def admit(self, allowed: Callable[[bytes], bool]) -> None:
        self.allowed = allowed
        for connection in list(self.connections):
            if not allowed(connection.other(self).key):
                self._fabric.part(connection)

    def listen_addresses(self) -> Sequence[str]:
        return (f"/ip4/{self.address}/tcp/{PORT}",)

    def dialable_addresses(self) -> Sequence[str]:
        return self.listen_addresses()

    async def seen_at(self, peer: bytes) -> str:
        await trio.lowlevel.checkpoint()
        if peer not in self.peers():
            raise NetworkError("not connected")
        return self.address

    async def broadcast(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.broadcasting(data)
        digest = _digest(data)
        self.seen.add(digest)
        for connection in list(self.connections):
            self.process.step()
            self._fabric.gossip(connection, self, data, digest)

    async def open_stream(self, peer: bytes, protocol: str = SYNC) -> Stream:
        await trio.lowlevel.checkpoint()
        self.process.step()
        connection = next((each for each in self.connections if each.other(self).key == peer), None)
        if connection is None:
            raise NetworkError("not connected")
        ours, theirs = (
            SimStream(self._fabric, connection, self, protocol),
            SimStream(self._fabric, connection, connection.other(self), protocol),
        )
        ours.other, theirs.other = theirs, ours
        connection.streams += [ours, theirs]
        ours.arrives_at = self._fabric.transmit(connection, self, partial(connection.other(self).accept, theirs), 0)
        return ours

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        fabric = self._fabric
        self.process.step()
        if not self.runs:
            raise DialError("The network is not running.")
        there, back = (self.address, host), (host, self.address)
        with trio.move_on_after(limits.DIAL_SECONDS_MAX):
            await trio.sleep(fabric.delay(there) + fabric.delay(back))
            found = fabric.listening.get(host)
            if fabric.is_cut(there) or fabric.is_cut(back) or (found is not None and found.process.held is not None):
                await trio.sleep_forever()
            if found is None or port != PORT:
                raise DialError(f"{host}:{port} refused the connection.")
            if expected not in (None, found.key):
                raise DialError(f"{host}:{port} is another peer.")
            if not (self.allowed(found.key) and found.allowed(self.key)):
                raise DialError(f"{host}:{port} is not let in, or does not let us in.")
            if found is not self and not any(connection.other(self) is found for connection in self.connections):
                fabric.connect(self, found)
            return found.key
        raise DialError(f"{host}:{port} did not answer within {limits.DIAL_SECONDS_MAX} s.")

    async def examine(self) -> None:
        await trio.lowlevel.checkpoint()

    @property
    def runs(self) -> bool:
        return self._fabric.listening.get(self.address) is self

    def die(self) -> None:
        """End as if a service of it had failed."""
        if self._death is not None:
            self._death.set()

    async def run(self, handler: Handler, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        if self.cannot_start:
            raise NetworkError(self.cannot_start)
        death = self._death = trio.Event()
        async with trio.open_nursery() as nursery:
            self._handler, self._nursery = handler, nursery
            self._fabric.listening[self.address] = self
            task_status.started()
            try:
                await death.wait()
                nursery.cancel_scope.cancel()
            finally:
                if not self.process.dead:
                    self._fabric.vanish(self, noticed=True)
        raise NetworkError("A service of the network stopped.")

    # What the fabric brings; called in the process's own context

    def connected(self, key: bytes) -> None:
        if self._handler:
            self._handler.peer_connected(key)

    def lost(self, key: bytes) -> None:
        if self._handler and key not in self.peers():
            self._handler.peer_lost(key)

    def got(self, forwarder: bytes, connection: Connection, data: bytes, digest: bytes, again: bool) -> None:
        if digest in self.seen and not again:
            return
        self.seen.add(digest)
        if self._handler:
            self._handler.message(forwarder, data)
            for each in list(self.connections):
                if each is not connection:
                    self._fabric.gossip(each, self, data, digest)

    def accept(self, stream: "SimStream") -> None:
        if self._handler and self._nursery:
            self._nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: "SimStream") -> None:
        assert self._handler
        try:
            await self._handler.stream(stream)
        finally:
            stream.fail()


class SimStream:
    """One end of a stream (`demesh.mesh.network.Stream`)."""

    def __init__(self, fabric: Fabric, connection: Connection, network: SimNetwork, protocol: str) -> None:
        self.network = network
        self.protocol = protocol
        self.peer = connection.other(network).key
        self.other: SimStream
        self.arrives_at = 0.0
        self._fabric = fabric
        self._connection = connection
        self._inbox: deque[bytes] = deque()
        self._closed = self._broken = False
        self._news = trio.Event()

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.network.process.step()
        if self._fabric.breaks((self.network.address, self.other.network.address)):
            self.fail()
            self._send(self.other.fail)
        if self._broken:
            raise NetworkError("the stream is broken")
        link = (self.network.address, self.other.network.address)
        if not self._fabric.amount("slow", link):
            self._send(partial(self.other.take, data), len(data))
            return
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            self._send(partial(self.other.take, piece), len(piece))
            while self._fabric.queued_bytes(link) > _QUEUE_BYTES_MAX and not self._broken:  # noqa: ASYNC110 it is time that passes
                await trio.sleep(_PIECE_BYTES / self._fabric.amount("slow", link))

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._inbox:
            if self._broken:
                raise NetworkError("the stream is broken")
            if self._closed:
                return b""
            self._news = trio.Event()
            await self._news.wait()
        return self._inbox.popleft()

    async def close(self) -> None:
        self._send(self.other.take_end)
        self._forget()

    async def reset(self) -> None:
        self.fail()
        self._send(self.other.fail)

    def take(self, data: bytes) -> None:
        self._inbox.append(data)
        self._news.set()

    def take_end(self) -> None:
        self._closed = True
        self._news.set()
        self._forget()

    def fail(self) -> None:
        self._broken = True
        self._news.set()
        self._forget()

    def _send(self, act: Callable[[], None], size: int = 0) -> None:
        if self.network in self._connection.open:
            self.arrives_at = self._fabric.transmit(self._connection, self.network, act, self.arrives_at + 1e-6, size)

    def _forget(self) -> None:
        if self in self._connection.streams:
            self._connection.streams.remove(self)


def split(addresses: Iterable[str], one_side: Iterable[str], *, both_ways: bool = True) -> frozenset[Link]:
    """The links from `one_side` to the others, and back if `both_ways`."""
    here = set(one_side)
    there = set(addresses) - here
    links = {(a, b) for a in here for b in there}
    return frozenset(links | {(b, a) for a, b in links} if both_ways else links)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()
