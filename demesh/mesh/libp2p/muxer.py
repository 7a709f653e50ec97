"""Yamux, with pings that matter and credit in portions.

Guaranteed:

- A connection from which nothing comes within PING_SECONDS_MAX of a ping, neither its answer nor anything else (on a slow
  link the answer may be long behind other things), is closed; a ping goes out every PING_INTERVAL_SECONDS. The stock class
  sends pings, too, but nothing comes of an answer that is missing; what the library has for that opens a stream for each
  ping of its own: a fifth of what a quiet mesh costs.
- An end that sends on a stream always has at least half of its first window (128 of 256 KiB) to go on with, and no credit
  is lost while the stream lives. The stock class gives back each read's bytes at once: for a small message that is a frame
  as dear as the message.
"""

import logging
import struct
from typing import Any, cast
from weakref import WeakKeyDictionary

import trio
from libp2p.abc import IMuxedConn, IRawConnection, ISecureConn
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_SYN,
    HEADER_SIZE,
    PROTOCOL_ID,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from demesh.metrics import REFUSED

logger = logging.getLogger(__name__)

PING_INTERVAL_SECONDS = 15
PING_SECONDS_MAX = 10
CREDIT_HELD_BYTES_MAX = DEFAULT_WINDOW_SIZE // 2
_FIRST_PING_SECONDS = 0.5  # the stock class's


class _Heard:
    """A connection, and how many bytes came over it."""

    def __init__(self, connection: ISecureConn) -> None:
        self._connection = connection
        self.bytes = 0

    async def read(self, n: int | None = None) -> bytes:
        data = await self._connection.read(n)
        self.bytes += len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class MindfulYamux(Yamux):
    """The multiplexer of a connection. `rtt()` is the mean of the last ping's time and what was told before, in seconds; 0
    before the first.
    """

    def __init__(self, connection: ISecureConn, peer: ID) -> None:
        self._heard = _Heard(connection)
        super().__init__(cast(ISecureConn, self._heard), peer, connection.is_initiator)
        self._held: WeakKeyDictionary[YamuxStream, int] = WeakKeyDictionary()

    async def _measure_rtt_loop(self) -> None:
        pause = _FIRST_PING_SECONDS
        while True:
            with trio.move_on_after(pause):
                await self.event_shutting_down.wait()
                return
            pause = PING_INTERVAL_SECONDS
            try:
                is_there = await self._ping()
            except Exception as error:  # noqa: BLE001 - whatever the library makes of a connection that is gone
                logger.debug("The connection to %s ended before a ping: %r.", self.peer_id, error)
                return
            if not is_there:
                logger.info("%s is not heard any more; its connection is closed.", self.peer_id)
                REFUSED.labels("network", "no_pong").inc()
                await self.secured_conn.close()
                return

    async def _ping(self) -> bool:
        """Whether an answer came, or anything else."""
        heard = self._heard.bytes
        self._ping_id += 1
        self._ping_event = trio.Event()
        with trio.move_on_after(PING_SECONDS_MAX):
            # Before it is written: on one machine the answer may come meanwhile.
            self._ping_sent_time = trio.current_time()
            await self._write_frame(struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, self._ping_id))
            await self._ping_event.wait()
        return self._ping_event.is_set() or self._heard.bytes > heard

    async def _write_frame(self, data: bytes) -> None:
        if len(data) == HEADER_SIZE:
            version, kind, flags, stream_id, credit = struct.unpack(YAMUX_HEADER_FORMAT, data)
            stream = self.streams.get(stream_id)
            if kind == TYPE_WINDOW_UPDATE and not flags:
                if stream is None or stream.recv_closed:
                    return  # nothing more can come
                credit += self._held.pop(stream, 0)
                if credit < CREDIT_HELD_BYTES_MAX:
                    self._held[stream] = credit
                    return
                data = struct.pack(YAMUX_HEADER_FORMAT, version, kind, flags, stream_id, credit)
        await super()._write_frame(data)


class YamuxOnly(MuxerMultistream):
    """What negotiates the multiplexer. The stock class makes its own Yamux, whatever class it was given for it."""

    def __init__(self, negotiate_seconds_max: int) -> None:
        super().__init__({TProtocol(PROTOCOL_ID): MindfulYamux}, negotiate_seconds_max)

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        await self.select_transport(cast(IRawConnection, conn))
        return MindfulYamux(conn, peer_id)
