"""How STUN messages travel: one a datagram, or one after the other over a connection, by TCP or TLS.

Guaranteed: a carrier gives one message at a time as bytes, at most STUN_BYTES_MAX of them, with its time of arrival (over UDP the
kernel's), and raises Failed for all that goes wrong. Waiting for a message can be cancelled at any time; none is lost or torn
by that.
"""

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal, Protocol

import trio

from demesh.failure import Failed, broken_connection, connect_failure
from demesh.limits import STUN_BYTES_MAX
from demesh.outcome import Outcome
from demesh.probes.base import ProbeSpec
from demesh.probes.datagram import DatagramSocket, Refused, socket_address
from demesh.probes.dialling import Place, Progress, dial
from demesh.probes.first_answer import BadAnswer
from demesh.probes.resolving import Resolver
from demesh.probes.securing import secure
from demesh.probes.stun_message import HEADER_BYTES, NotStun, body_bytes

Transport = Literal["udp", "tcp", "tls"]

NOT_STUN = "the answer is not STUN"
_READ_BYTES = 4_096


class Carrier(Protocol):
    """For one task at a time."""

    reliable: bool
    """Whether what was sent arrives, or the carrier fails: nothing need be sent again."""

    async def send(self, wire: bytes) -> float:
        """Returns when, on trio's clock. Raises Failed."""
        ...

    async def receive(self) -> tuple[bytes, float]:
        """The next message, and when it came. Raises Failed."""
        ...


class DatagramCarrier:
    """What comes need not be STUN at all: anybody who forges the server's address can send it."""

    reliable = False

    def __init__(self, plain: socket.socket, address: str, port: int) -> None:
        """Uses `plain`, which its owner closes. Raises Failed."""
        try:
            self._datagrams = DatagramSocket(plain, socket_address(address, port)[1])
        except OSError as error:
            raise connect_failure(error) from None

    async def send(self, wire: bytes) -> float:
        await trio.lowlevel.checkpoint()
        try:
            return self._datagrams.send(wire)
        except OSError as error:
            raise connect_failure(error) from None

    async def receive(self) -> tuple[bytes, float]:
        try:
            heard = await self._datagrams.receive(STUN_BYTES_MAX)
        except Refused as refused:
            raise Failed(Outcome.FAIL, str(refused)) from None
        except OSError as error:
            raise connect_failure(error) from None
        return heard.data, heard.at_s


class StreamCarrier:
    """Messages follow each other without anything in between (RFC 8489, section 6.2.2), so one that is none ends it."""

    reliable = True

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._came = bytearray()

    async def send(self, wire: bytes) -> float:
        sent_s = trio.current_time()
        try:
            await self._stream.send_all(wire)
        except trio.BrokenResourceError as error:
            raise broken_connection(error, "the connection broke") from None
        return sent_s

    async def receive(self) -> tuple[bytes, float]:
        await self._fill(HEADER_BYTES)
        try:
            length = HEADER_BYTES + body_bytes(bytes(self._came[:HEADER_BYTES]))
        except NotStun:
            raise BadAnswer(Outcome.MISMATCH, NOT_STUN) from None
        if length > STUN_BYTES_MAX:
            sentence = f"the answer has {length} bytes, more than the {STUN_BYTES_MAX} that are read"
            raise BadAnswer(Outcome.MISMATCH, sentence)
        await self._fill(length)
        wire = bytes(self._came[:length])
        del self._came[:length]
        return wire, trio.current_time()

    async def _fill(self, length: int) -> None:
        while len(self._came) < length:
            try:
                came = await self._stream.receive_some(_READ_BYTES)
            except trio.BrokenResourceError as error:
                raise broken_connection(error, "the connection broke before the answer was complete") from None
            if not came:
                until = "before the answer was complete" if self._came else "without an answer"
                raise Failed(Outcome.FAIL, f"the connection was closed {until}")
            self._came += came


@asynccontextmanager
async def datagram_carrier(address: str, port: int) -> AsyncGenerator[Carrier]:
    """From a new socket. Raises Failed."""
    family, _ = socket_address(address, port)
    try:
        plain = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        raise connect_failure(error) from None
    with plain:
        await trio.lowlevel.checkpoint()
        yield DatagramCarrier(plain, address, port)


@asynccontextmanager
async def stream_carrier(
    place: Place,
    spec: ProbeSpec,
    resolver: Resolver,
    context: ssl.SSLContext | None,
    server_name: str,
    deadline: float,
    progress: Progress,
) -> AsyncGenerator[Carrier]:
    """Over a new connection, by `deadline` (trio's time); with a `context` under TLS. Raises Failed."""
    async with await dial(place, spec, resolver, deadline, progress) as connection:
        if context is None:
            yield StreamCarrier(connection)
            return
        stream = None
        with trio.move_on_at(deadline):
            stream = await secure(connection, context, server_name or place.host, progress)
        if stream is None:
            raise Failed(Outcome.TIMEOUT, f"no complete answer within {spec.timeout_ms} ms, {progress.doing}")
        yield StreamCarrier(stream)
        with trio.move_on_at(deadline):
            await stream.aclose()
