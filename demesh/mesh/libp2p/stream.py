"""A stream: `demesh.mesh.network.Stream` on a libp2p stream.

Guaranteed: an end that the peer sent (`b""`) is told from a reset or a lost connection (NetworkError), which the library
reports alike; a `send` that is cancelled half way resets the stream, so that no peer takes a torn message for a whole
one; a closed stream does not linger, even if the peer never closes its side. Not guaranteed: that the peer reads; a
peer that takes nothing for five seconds gets NetworkError at our end (Yamux's own bound).
"""

import logging
from contextlib import suppress
from typing import cast

import trio
from libp2p.abc import INetStream
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.network.stream.net_stream import NetStream
from libp2p.stream_muxer.yamux.yamux import YamuxStream

from demesh import limits
from demesh.errors import NetworkError
from demesh.identity import peer_id
from demesh.mesh.network import SYNC

logger = logging.getLogger(__name__)

READ_BYTES_MAX = 65_536


class PeerStream:
    """One stream to `peer`. `nursery` finishes what `close` began."""

    def __init__(self, peer: bytes, stream: INetStream, nursery: trio.Nursery, protocol: str = SYNC) -> None:
        self.peer = peer
        self.protocol = protocol
        self._stream = stream
        self._nursery = nursery
        self._ended = False  # the peer has closed its side
        self._done = False  # we have closed or reset

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.write(data)
        except trio.Cancelled:
            await self.reset()
            raise
        except Exception as error:  # the library has no common base for what can go wrong here
            raise self._broken() from error

    async def receive(self) -> bytes:
        try:
            return await self._stream.read(READ_BYTES_MAX)
        except StreamEOF as end:
            if self._cut_off():
                raise self._broken() from end
            self._ended = True
            return b""
        except Exception as error:
            raise self._broken() from error

    async def close(self) -> None:
        if self._done:
            return
        self._done = True
        with trio.CancelScope(shield=True):  # short: one frame, bounded by PskStream.write
            try:
                await self._stream.close()
            except Exception as error:  # noqa: BLE001 - promised never to raise
                logger.debug("Closing a stream to %s failed with %r.", peer_id(self.peer), error)
        if not self._ended:
            with suppress(RuntimeError):  # when the network has stopped, and its connections with it
                self._nursery.start_soon(self._linger)

    async def reset(self) -> None:
        self._done = True
        with trio.CancelScope(shield=True):
            try:
                await self._stream.reset()
            except Exception as error:  # noqa: BLE001 - promised never to raise
                logger.debug("Resetting a stream to %s failed with %r.", peer_id(self.peer), error)

    async def _linger(self) -> None:
        # Our end is sent, theirs is not: until it comes, the multiplexer keeps the stream and what arrives on it.
        try:
            with trio.move_on_after(limits.STREAM_LINGER_SECONDS_MAX):
                while await self.receive():
                    pass
                return
        except NetworkError:
            return
        await self.reset()

    def _cut_off(self) -> bool:
        """Whether what the library calls the end of the stream is the peer's reset, or the end of the connection."""
        stream = cast(NetStream, self._stream).muxed_stream
        assert isinstance(stream, YamuxStream), "Yamux is the only multiplexer we offer"
        return stream.reset_received or stream.conn.event_shutting_down.is_set()

    def _broken(self) -> NetworkError:
        return NetworkError(f"The stream to {peer_id(self.peer)} broke.")
