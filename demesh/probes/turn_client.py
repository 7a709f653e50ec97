"""A TURN client (RFC 8656) that holds one allocation at a server open, over UDP, TCP or TLS.

    async def talk(client: TurnClient) -> None:          # client.relayed is where peers reach it
        await client.permit(address)                     # whose datagrams the server lets through
        client.send / await client.receive()             # datagrams, through the server

    await with_allocation(spec, options, resolver, contexts, deadline, progress, talk)

Guaranteed:

- An allocation that the server may have made for the login is given back (Refresh with LIFETIME 0), also when `talk` fails or is
  cancelled; then for no longer than TURN_RELEASE_SECONDS_MAX. Where even that is cut off, the server's own lifetime ends it;
  at once where it was reached over a connection, which is closed.
- A socket that the server takes for one in use (437) is replaced by a fresh one, a nonce that has become stale (438) by the new
  one; both a few times at most.
- A server that was asked at a public address hands out a relayed address that is public; else it is a mismatch, and nobody is
  sent there. (So one behind a NAT that does not know its outside address is to blame.)
- Good answers must be signed with the login's key (MESSAGE-INTEGRITY); what is not signed is no answer. The password is in no
  message that is sent, and neither it nor the user in any that is told: a server's own words are not repeated once it has
  seen a login.
- At most TURN_HELD_MAX datagrams wait to be received; what comes beyond is dropped and counted.

Not guaranteed: the relayed address is of the family that the server prefers, IPv4 as a rule; only UDP is relayed. Nothing is
refreshed on its own: an allocation lasts `lifetime_s`, a permission 300 s.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import trio

from demesh.address import address_text
from demesh.failure import Failed
from demesh.limits import TURN_ALLOCATE_TRIES_MAX, TURN_HELD_MAX, TURN_RELEASE_SECONDS_MAX, TURN_STALE_NONCES_MAX
from demesh.metrics import REFUSED
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec, TurnOptions
from demesh.probes.dialling import Progress, addresses_of
from demesh.probes.first_answer import BadAnswer, first_answer
from demesh.probes.public import is_public
from demesh.probes.resolving import Resolver
from demesh.probes.stun_carrier import Carrier, datagram_carrier, stream_carrier
from demesh.probes.stun_exchange import error_text, shown_text, transact
from demesh.probes.stun_message import (
    Endpoint,
    Garbled,
    Message,
    Method,
    NotStun,
    indication,
    long_term_key,
    read,
    request,
)
from demesh.probes.stun_target import parse_target
from demesh.probes.tls import TlsContexts

_WANTED = {"REQUESTED-TRANSPORT": 17 << 24}  # UDP: the protocol's number, and three bytes that are reserved
_DATA_INDICATION = b"\x00\x17"
_UNAUTHORIZED, _MISMATCH, _STALE_NONCE = 401, 437, 438
_NAMES = {
    300: "Try Alternate",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    420: "Unknown Attribute",
    437: "Allocation Mismatch",
    438: "Stale Nonce",
    440: "Address Family not Supported",
    441: "Wrong Credentials",
    442: "Unsupported Transport Protocol",
    443: "Peer Address Family Mismatch",
    486: "Allocation Quota Reached",
    500: "Server Error",
    508: "Insufficient Capacity",
}


class _InUse(BadAnswer):
    """The server takes this socket for one that has an allocation."""


@dataclass(frozen=True, slots=True)
class Login:
    """Long-term credentials (RFC 8489, section 9.2)."""

    user: str = field(repr=False)
    password: str = field(repr=False)


class TurnClient:
    """One client of a server at the other end of `carrier`, for one task at a time. Every method raises Failed."""

    def __init__(
        self, carrier: Carrier, login: Login | None, deadline: float, timeout_ms: int, progress: Progress
    ) -> None:
        """All must be done by `deadline` (trio's time); `timeout_ms` is only what is told of that."""
        self._carrier = carrier
        self._login = login
        self._deadline = deadline
        self._timeout_ms = timeout_ms
        self._progress = progress
        self._key: bytes | None = None
        self._realm, self._nonce = "", b""
        self._may_hold = False
        self._held: deque[tuple[Endpoint, bytes]] = deque()
        self.relayed: Endpoint | None = None
        """Where peers reach this client, once there is an allocation."""
        self.mapped: Endpoint | None = None
        self.lifetime_s: int | None = None
        self.software = ""
        """What the server says it is, if it has seen no login."""

    @property
    def realm(self) -> str:
        """For what the server wants a login; empty if it has not said that it wants one."""
        return shown_text(self._realm)

    async def challenge(self) -> None:
        """Ask for an allocation without a login: the server wants one (then there is a `realm`), or it gives it to anybody."""
        message = await self._request("ALLOCATE", _WANTED, "challenge" if self._login else "answer")
        self.software = shown_text(message.software) if self._login is None else ""
        if message.kind == "response":
            self._may_hold = True
            self._take_allocation(message)
            return
        if message.error is None or message.error[0] != _UNAUTHORIZED:
            raise self._refused(message, "")
        if not message.realm or not message.nonce:
            raise BadAnswer(Outcome.MISMATCH, "the server wants a login, but names no REALM or no NONCE")
        self._realm, self._nonce = message.realm, message.nonce

    async def allocate(self) -> None:
        """Make the allocation; with a login that the server does not want, without it."""
        await self.challenge()
        if self.relayed is not None:
            return
        if self._login is None:
            raise BadAnswer(Outcome.FAIL, "the server wants a login")
        self._key = long_term_key(self._login.user, self._realm, self._login.password)
        self._may_hold = True  # from now on, as the answer may be lost
        message = await self._request("ALLOCATE", _WANTED, "allocate")
        if message.kind == "error":
            self._may_hold = False
            raise self._refused(message, " to an allocation")
        self._take_allocation(message)

    async def permit(self, address: str) -> None:
        """Let datagrams of `address` through."""
        await self._do("CREATE_PERMISSION", {"XOR-PEER-ADDRESS": (address, 0)}, "permission", " to a permission")

    async def refresh(self, lifetime_s: int) -> None:
        message = await self._do("REFRESH", {"LIFETIME": lifetime_s}, "refresh", " to a refresh")
        self.lifetime_s = message.lifetime_s

    async def release(self) -> None:
        """Give the allocation back."""
        await self._do("REFRESH", {"LIFETIME": 0}, "release", " when the allocation is given back")
        self._may_hold = False

    async def send(self, peer: Endpoint, data: bytes) -> None:
        """A datagram to a peer that was permitted; whether it arrives is not told."""
        await self._carrier.send(indication("SEND", {"XOR-PEER-ADDRESS": peer, "DATA": data}))

    async def receive(self) -> tuple[Endpoint, bytes]:
        """The next datagram that came through the server, and from whom. However long it takes."""
        while not self._held:
            wire, _ = await self._carrier.receive()
            self._keep(wire)
        return self._held.popleft()

    async def abandon(self) -> None:
        """Give back what may be held, within TURN_RELEASE_SECONDS_MAX, also in a task that is cancelled."""
        if not self._may_hold:
            return
        self._deadline = trio.current_time() + TURN_RELEASE_SECONDS_MAX
        with trio.CancelScope(shield=True), suppress(Failed):
            await self.release()

    def _take_allocation(self, message: Message) -> None:
        self.relayed, self.mapped, self.lifetime_s = message.relayed, message.mapped, message.lifetime_s
        if self.relayed is None:
            raise BadAnswer(Outcome.MISMATCH, "the answer to an allocation has no relayed address")
        if is_public(self._progress.address or "") and not is_public(self.relayed[0]):
            told = address_text(*self.relayed)
            raise BadAnswer(Outcome.MISMATCH, f"the relayed address, {told}, is no public address")

    async def _do(self, method: Method, attributes: dict[str, Any], phase: str, what: str) -> Message:
        message = await self._request(method, attributes, phase)
        if message.kind == "error":
            raise self._refused(message, what)
        return message

    async def _request(self, method: Method, attributes: dict[str, Any], phase: str) -> Message:
        """The answer, with whatever nonce it takes. Its phase has the time of all that was asked."""
        took_us = 0
        self._progress.doing = f"still waiting for the answer ({phase})"
        for _ in range(1 + TURN_STALE_NONCES_MAX):
            shown: dict[str, Any] = {}
            if self._key is not None and self._login is not None:
                shown = {"USERNAME": self._login.user, "REALM": self._realm, "NONCE": self._nonce}
            asked = request(method, attributes | shown, self._key)
            answer = await transact(self._carrier, asked, self._deadline, self._timeout_ms, self._key, aside=self._keep)
            message = answer.message
            took_us += answer.took_us
            self._progress.phases_us[phase] = took_us
            stale = message.error is not None and message.error[0] == _STALE_NONCE and self._key is not None
            if not stale or not message.nonce:
                return message
            self._nonce = message.nonce
        raise BadAnswer(Outcome.FAIL, "the server calls every nonce stale that it gives (error 438)")

    def _refused(self, message: Message, what: str) -> BadAnswer:
        """`what` is the last part of a sentence about an error."""
        error = message.error or (0, "")
        if self._key is None:
            return BadAnswer(Outcome.FAIL, f"the server answers with {error_text(error)}{what}")
        if error[0] == _UNAUTHORIZED:
            return BadAnswer(Outcome.FAIL, "the server refuses the user or the password (error 401)")
        kind = _InUse if error[0] == _MISMATCH else BadAnswer
        told = error_text((error[0], _NAMES.get(error[0], "")))
        return kind(Outcome.FAIL, f"the server answers with {told}{what}")

    def _keep(self, wire: bytes) -> bool:
        """Whether `wire` is a datagram from a peer, which is then kept."""
        if not wire.startswith(_DATA_INDICATION):
            return False
        try:
            message = read(wire)
        except (NotStun, Garbled):
            return False
        if message.peer is None or message.data is None:
            return False
        if len(self._held) == TURN_HELD_MAX:
            REFUSED.labels("stun", "held").inc()
        else:
            self._held.append((message.peer, message.data))
        return True


Talk = Callable[[TurnClient], Awaitable[None]]
"""What is done with a client that has not asked for anything yet."""


async def with_client(
    spec: ProbeSpec,
    options: TurnOptions,
    resolver: Resolver,
    contexts: TlsContexts,
    deadline: float,
    progress: Progress,
    talk: Talk,
) -> None:
    """Lets `talk` have a client of the target, by `deadline` (trio's time), and gives back what it holds in the end.

    Over UDP, if the preferred address gives no answer, `talk` is called again for one of the other family; and on any way, if
    the server takes the socket for one in use. Raises Failed and UsageError.
    """
    place, transport = parse_target(spec.target, options.transport)
    login = Login(options.user, options.password) if options.user else None

    async def use(way: Callable[[], AbstractAsyncContextManager[Carrier]], by: float) -> None:
        for left in reversed(range(TURN_ALLOCATE_TRIES_MAX)):
            try:
                async with _client(way(), login, by, spec.timeout_ms, progress) as client:
                    await talk(client)
                return
            except _InUse:
                if not left:
                    raise

    if transport == "udp":
        addresses = await addresses_of(place, spec, resolver, deadline, progress)
        await first_answer(
            addresses, deadline, progress, lambda address, by: use(lambda: datagram_carrier(address, place.port), by)
        )
        return
    context = await contexts.get(spec.ca_file, spec.verify_tls) if transport == "tls" else None
    name = options.server_name
    await use(lambda: stream_carrier(place, spec, resolver, context, name, deadline, progress), deadline)


async def with_allocation(
    spec: ProbeSpec,
    options: TurnOptions,
    resolver: Resolver,
    contexts: TlsContexts,
    deadline: float,
    progress: Progress,
    talk: Talk,
) -> None:
    """As `with_client`, but `talk` gets a client that has an allocation."""

    async def allocated(client: TurnClient) -> None:
        await client.allocate()
        await talk(client)

    await with_client(spec, options, resolver, contexts, deadline, progress, allocated)


@asynccontextmanager
async def _client(
    way: AbstractAsyncContextManager[Carrier], login: Login | None, deadline: float, timeout_ms: int, progress: Progress
) -> AsyncGenerator[TurnClient]:
    async with way as carrier:
        client = TurnClient(carrier, login, deadline, timeout_ms, progress)
        try:
            yield client
        finally:
            await client.abandon()
