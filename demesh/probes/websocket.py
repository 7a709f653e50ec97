"""A WebSocket (RFC 6455) as a stream of bytes, which is how MQTT uses it; `wsproto` has the protocol.

Guaranteed: whatever comes raises nothing but Failed; pings are answered; no more than a given number of bytes is read, the
handshake included. The caller sets the deadline.
"""

from typing import Protocol

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from demesh.failure import Failed
from demesh.outcome import Outcome

_NOT_ONE = "the answer is not that of a WebSocket"


class Transport(Protocol):
    """What lies beneath: a connection, or TLS."""

    async def send_all(self, data: bytes) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...


class WebSocket:
    """The client's end. For one task at a time; every method raises Failed, and whatever `transport` does."""

    def __init__(self, transport: Transport, bytes_max: int) -> None:
        self._transport = transport
        self._bytes_left = bytes_max
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._open = self._ended = False
        self._came = bytearray()

    async def shake_hands(self, host: str, path: str, subprotocol: str) -> None:
        """`host` as HTTP's header has it. Must be called, and succeed, before anything else."""
        await self._send(Request(host, path, subprotocols=[subprotocol]))
        while not self._open:
            if self._ended:
                raise Failed(Outcome.FAIL, "the connection was closed before the WebSocket was open")
            await self._read()

    async def send_all(self, data: bytes) -> None:
        await self._send(BytesMessage(data))

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Whatever has come, `max_bytes` notwithstanding; empty when the server has ended it."""
        while not self._came and not self._ended:
            await self._read()
        came = bytes(self._came)
        self._came.clear()
        return came

    async def goodbye(self) -> None:
        """Say that nothing more comes; who answers is not waited for."""
        await self._send(CloseConnection(1000))

    async def _send(self, event: Event) -> None:
        try:
            data = self._protocol.send(event)
        except ProtocolError:
            raise Failed(Outcome.FAIL, "the server closed the WebSocket") from None
        await self._transport.send_all(data)

    async def _read(self) -> None:
        data = await self._transport.receive_some()
        if not data:
            self._ended = True
            return
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise Failed(Outcome.FAIL, "the server sends more than was asked for")
        try:
            self._protocol.receive_data(bytes(data))
            events = list(self._protocol.events())
        except Exception:  # noqa: BLE001 wsproto raises its own, and asserts what a server could break
            raise Failed(Outcome.FAIL, _NOT_ONE) from None
        for event in events:
            await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case AcceptConnection():
                self._open = True
            case RejectConnection():
                raise Failed(Outcome.FAIL, f"the server refuses a WebSocket, with status {event.status_code}")
            case BytesMessage():
                self._came += event.data
            case TextMessage():
                raise Failed(Outcome.FAIL, "the WebSocket carries text, not MQTT")
            case Ping():
                await self._send(event.response())
            case CloseConnection():
                self._ended = True
            case _:
                pass
