"""One connection to the API: hypercorn's HTTP/1.1 on a stream that cannot hold the node up.

What differs from hypercorn's own server, and why:

- It sends under a shield and without a deadline, so a client that stops reading would keep its connection for ever, and the
  node from ending. `BoundedStream` breaks when a send makes no end within API_SEND_SECONDS_MAX, and when it is cancelled.
- It speaks HTTP/2 to whoever asks for it in clear text, and such a connection outlives a client that is gone. Nobody needs
  that here.
- It keeps a connection that a client has closed until the keep-alive time is over.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import h11
import trio
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr  # pyright: ignore[reportUnknownVariableType] its address is untyped

from demesh import limits
from demesh.metrics import REFUSED


class BoundedStream:
    """What hypercorn uses of a `trio.SocketStream`. Refusals count in `room`."""

    def __init__(self, stream: trio.SocketStream, room: str) -> None:
        self._stream = stream
        self.room = room
        self.socket = stream.socket

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(limits.API_SEND_SECONDS_MAX):
            await self._stream.send_all(data)
            return
        REFUSED.labels(self.room, "slow").inc()
        raise trio.BrokenResourceError("the client takes no more")

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Http1(H11Protocol):
    room = ""

    async def _send_error_response(self, status_code: int) -> None:
        """To what is no request, or one that is too long."""
        REFUSED.labels(self.room, "malformed").inc()
        await super()._send_error_response(status_code)

    async def _check_protocol(self, event: h11.Request) -> None:
        """No other protocol is gone over to."""


class Connection(TCPServer):
    """Serves one client until either side closes; awaited."""

    async def run(self) -> None:
        socket = cast(trio.socket.SocketType, cast(Any, self.stream).socket)
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
            async with TaskGroup() as self._task_group:
                protocol = _Http1(
                    self.app,
                    self.config,
                    self.context,
                    self._task_group,
                    ConnectionState(self.state),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                protocol.room = cast(BoundedStream, self.stream).room
                self.protocol = cast(Any, protocol)
                idle: Any = self.idle_task
                await idle.restart(self._task_group, self._idle_timeout)
                await self._read_data()
                await idle.stop()
        finally:
            await self._close()


@asynccontextmanager
async def closed_when_cancelled(stream: trio.SocketStream) -> AsyncGenerator[None]:
    """Close `stream` as soon as this is cancelled, so that whoever sends under a shield inside it ends too."""

    async def watch() -> None:
        try:
            await trio.sleep_forever()
        finally:
            stream.socket.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield
        nursery.cancel_scope.cancel()
