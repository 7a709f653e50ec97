"""Connections of the API that cannot hold the node up.

hypercorn sends under a shield and without a deadline, so a client that stops reading would keep its connection for ever, and
the node from ending. A `BoundedStream` breaks instead: when a send makes no end within API_SEND_SECONDS_MAX, and when the
task that owns it is cancelled.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from demesh import limits
from demesh.metrics import REFUSED


class BoundedStream:
    """What hypercorn uses of a `trio.SocketStream`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_after(limits.API_SEND_SECONDS_MAX):
            await self._stream.send_all(data)
            return
        REFUSED.labels("api", "slow").inc()
        raise trio.BrokenResourceError("the client takes no more")

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


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
