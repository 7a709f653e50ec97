"""Round trips through TURN servers by two members: what this node does for others, and whom it asks (`demesh.mesh.relay`).

Guarantees: for a member this node sends STUN requests to the server that is named and RELAY_DATAGRAMS datagrams of 32 bytes,
none of them of the member's choice, to the relayed address, to nobody else, and only where `mesh.allow_requests` lets it probe:
by default to public addresses. It does so as often as it probes for members, by the same count; every refusal is counted and says
why. It holds one socket for a round trip, and lets it go when the member is done or RELAY_SECONDS_MAX have passed.

A member that this node asks may be anywhere: a datagram that comes out of the relay proves that the server relayed it, one
that does not may have been lost on the member's own way. Whoever judges asks another before it blames the server.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TypeVar

import trio
from trio import socket

from demesh import limits
from demesh.address import Spot
from demesh.clock import Clock
from demesh.config.load import Settings
from demesh.errors import EntryError, NetworkError, SyncError
from demesh.failure import Failed
from demesh.favours import Favours
from demesh.mesh import relay
from demesh.mesh.ask import No, Refused, Turnstile
from demesh.mesh.network import RELAY, Network, Stream
from demesh.mesh.session import Frames
from demesh.metrics import REFUSED
from demesh.probes.public import admits_public
from demesh.probes.relays import Candidate, NoHelp
from demesh.view.fold import View
from demesh.view.member import Member
from demesh.view.names import shown_names
from demesh.view.presence import Presence

_SEND_EVERY_SECONDS = 0.2
_T = TypeVar("_T")


class Lender:
    """Sends to relayed addresses for other members. `settings` are those in force."""

    def __init__(self, view: View, clock: Clock, turnstile: Turnstile, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        bytes_max = limits.RELAY_FRAME_BYTES_MAX
        self._favours = Favours("relay", relay.refusal, bytes_max, view, clock, turnstile, settings)

    async def serve(self, stream: Stream) -> None:
        """Help with one round trip; never raises for what the peer does."""
        await self._favours.serve(stream, self._help_in_time)

    async def _help_in_time(self, peer: bytes, frames: Frames) -> None:
        with trio.fail_after(limits.RELAY_SECONDS_MAX):
            server = relay.read_where(await frames.expect())
            with self._favours.place(peer) as no:
                if no or (no := self._objection(peer, server)):
                    await frames.send(no)
                else:
                    await self._help(peer, frames, server)

    async def _help(self, peer: bytes, frames: Frames, server: Spot) -> None:
        try:
            with _datagram_socket(server) as sending:
                await self._send(peer, frames, sending, server)
        except (Failed, OSError) as error:
            why = str(error) if isinstance(error, Failed) else "this node's network does not lead there"
            await frames.send(self._favours.refused("cannot", Refused.CANNOT, why))

    async def _send(self, peer: bytes, frames: Frames, sending: socket.SocketType, server: Spot) -> None:
        await frames.send(relay.here(await _seen_at(sending, server)))
        relayed, token = relay.read_send(await frames.expect())
        if no := self._objection(peer, relayed):
            await frames.send(no)
            return
        for index in range(limits.RELAY_DATAGRAMS):
            if index:
                await trio.sleep(_SEND_EVERY_SECONDS)
            await sending.sendto(relay.datagram(token), (relayed.address, relayed.port))
        await frames.send(relay.sent(limits.RELAY_DATAGRAMS))

    def _objection(self, peer: bytes, spot: Spot) -> bytes | None:
        if no := self._favours.objection(peer):
            return no
        if self._settings().allow_requests == "public" and not admits_public(spot.address):
            sentence = "this node sends to public addresses only (mesh.allow_requests)"
            return self._favours.refused("policy", Refused.POLICY, sentence)
        return None


def _datagram_socket(server: Spot) -> socket.SocketType:
    family = socket.AF_INET if ip_address(server.address).version == 4 else socket.AF_INET6
    return socket.socket(family, socket.SOCK_DGRAM)


async def _seen_at(sending: socket.SocketType, server: Spot) -> str:
    """At which address the server sees that socket. Raises Failed, OSError."""
    from demesh.probes.stun_exchange import Exchange  # the codec is imported by who needs it
    from demesh.probes.stun_message import binding

    exchange, there = Exchange(binding()), (server.address, server.port)
    for _ in range(limits.RELAY_DATAGRAMS):
        await sending.sendto(exchange.request.wire, there)
        exchange.sends += 1
        with trio.move_on_after(limits.STUN_RETRANSMIT_SECONDS * exchange.sends):
            while True:
                wire, source = await sending.recvfrom(limits.STUN_BYTES_MAX)
                if source[:2] != there or (message := exchange.take(wire, reliable=False)) is None:
                    continue
                if message.mapped is None:
                    raise Failed(exchange.unanswered(0).outcome, "the server does not say where it sees this node")
                return message.mapped[0]
    raise exchange.unanswered(round(limits.STUN_RETRANSMIT_SECONDS * 6_000))


class Borrower:
    """Asks members for their part in a round trip of this node's."""

    def __init__(self, view: View, clock: Clock, network: Network) -> None:
        self._view = view
        self._clock = clock
        self._network = network
        self._last = b""

    def candidates(self) -> Sequence[Candidate]:
        """Who is connected and helps, another first each time."""
        now_ms, connected = self._clock.monotonic_ms(), self._network.peers()
        names = shown_names(self._view.members())
        found = [
            member
            for member in self._view.members()
            if member.public_key in connected
            and _helps(member)
            and self._view.presence(member, now_ms) in (Presence.ALIVE, Presence.SUSPECT)
        ]
        found.sort(key=lambda member: (member.public_key <= self._last, member.public_key))
        if found:
            self._last = found[0].public_key
        return [
            self._candidate(names[member.public_key], member.public_key) for member in found[: limits.RELAY_HELPERS_MAX]
        ]

    def _candidate(self, name: str, key: bytes) -> Candidate:
        @asynccontextmanager
        async def ask(server: Spot, by: float) -> AsyncGenerator[_Member]:
            try:
                with trio.fail_at(min(by, trio.current_time() + limits.ASK_OPEN_SECONDS_MAX)):
                    stream = await self._network.open_stream(key, RELAY)
            except (NetworkError, trio.TooSlowError):
                raise NoHelp(f"{name} cannot be asked") from None
            try:
                member = _Member(name, Frames(stream, limits.RELAY_FRAME_BYTES_MAX, limits.RELAY_SECONDS_MAX), by)
                await member.stand_ready(server)
                yield member
            finally:
                await stream.close()

        return Candidate(name, ask)


class _Member:
    """A `Helper`."""

    def __init__(self, name: str, frames: Frames, by: float) -> None:
        self.address = ""
        self._by = by
        self._name = name
        self._frames = frames

    async def stand_ready(self, server: Spot) -> None:
        self.address = await self._told(relay.where(server), relay.read_here)

    def datagram(self, token: bytes) -> bytes:
        return relay.datagram(token)

    async def send(self, relayed: Spot, token: bytes) -> None:
        await self._told(relay.send(relayed, token), relay.read_sent)

    async def _told(self, message: bytes, read: Callable[[bytes], _T | No]) -> _T:
        try:
            with trio.fail_at(self._by):
                await self._frames.send(message)
                said = read(await self._frames.expect())
        except (EntryError, SyncError):
            REFUSED.labels("relay", "malformed_answer").inc()
            raise NoHelp(f"{self._name} gave an answer that makes no sense") from None
        except NetworkError:
            raise NoHelp(f"{self._name} broke off") from None
        except trio.TooSlowError:
            raise NoHelp(f"{self._name} does not answer in time") from None
        if isinstance(said, No):
            raise NoHelp(f"{self._name} does not help: {said.sentence}")
        return said


def _helps(member: Member) -> bool:
    hello = member.current.hello
    return hello is not None and RELAY in hello.protocols
