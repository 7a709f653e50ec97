"""Yamux: what comes of a ping without an answer, and when credit is given back."""

import struct
from typing import cast

import pytest
import trio
from libp2p.abc import ISecureConn
from libp2p.stream_muxer.yamux.yamux import HEADER_SIZE, TYPE_PING, TYPE_WINDOW_UPDATE, YAMUX_HEADER_FORMAT
from prometheus_client import REGISTRY
from trio.testing import MockClock

from demesh.mesh.libp2p import muxer
from demesh.mesh.libp2p.muxer import (
    CREDIT_HELD_BYTES_MAX,
    PING_INTERVAL_SECONDS,
    PING_SECONDS_MAX,
    MindfulYamux,
)
from tests.mesh.libp2p_harness import eventually, id_of, mesh

pytestmark = pytest.mark.trio
PEER = id_of(bytes(32))


class Wire:
    """Keeps the frames that are written, without what they carry."""

    is_initiator = True

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, int, int, int]] = []
        self.closed_at: float | None = None

    async def write(self, data: bytes) -> None:
        self.frames.append(struct.unpack(YAMUX_HEADER_FORMAT, data[:HEADER_SIZE]))

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return bytes(n or 1)

    async def close(self) -> None:
        self.closed_at = trio.current_time()


def _multiplexer() -> tuple[MindfulYamux, Wire]:
    wire = Wire()
    return MindfulYamux(cast(ISecureConn, wire), PEER), wire


async def test_a_ping_that_cannot_be_written_closes_the_connection(autojump_clock: MockClock) -> None:
    multiplexer, wire = _multiplexer()

    async def write_for_ever() -> None:
        async with multiplexer._write_lock:
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_for_ever)
        await trio.testing.wait_all_tasks_blocked()
        await multiplexer._measure_rtt_loop()
        nursery.cancel_scope.cancel()
    assert wire.closed_at is not None


async def test_a_ping_without_an_answer_closes_the_connection(autojump_clock: MockClock) -> None:
    multiplexer, wire = _multiplexer()
    began = trio.current_time()
    await multiplexer._measure_rtt_loop()
    assert [kind for _, kind, *_ in wire.frames] == [TYPE_PING]
    assert wire.closed_at == pytest.approx(began + 0.5 + PING_SECONDS_MAX)


async def test_answered_pings_keep_it_open(autojump_clock: MockClock) -> None:
    multiplexer, wire = _multiplexer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(multiplexer._measure_rtt_loop)
        for pings in range(1, 4):
            await trio.sleep(1 if pings == 1 else PING_INTERVAL_SECONDS + 1)
            multiplexer._ping_event.set()  # what the stock class does with an answer
            assert len(wire.frames) == pings
        multiplexer.event_shutting_down.set()
    assert wire.closed_at is None


async def test_an_answer_that_comes_while_the_ping_is_written_is_timed_right(autojump_clock: MockClock) -> None:
    multiplexer, wire = _multiplexer()
    taken: list[float] = []

    async def write(data: bytes) -> None:
        taken.append(trio.current_time() - multiplexer._ping_sent_time)  # what the stock class does with an answer
        multiplexer._ping_event.set()
        multiplexer.event_shutting_down.set()

    wire.write = write
    await trio.sleep(3_600)
    await multiplexer._measure_rtt_loop()
    assert taken == [0]


async def test_a_peer_that_sends_much_may_answer_late(autojump_clock: MockClock) -> None:
    multiplexer, wire = _multiplexer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(multiplexer._measure_rtt_loop)
        for _ in range(10):
            await trio.sleep(PING_SECONDS_MAX - 1)
            await multiplexer.secured_conn.read(1)
        assert wire.closed_at is None
        assert len(wire.frames) > 2
        await trio.sleep(PING_INTERVAL_SECONDS + 2 * PING_SECONDS_MAX)
        assert wire.closed_at is not None


async def test_a_peer_that_hangs_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine still acknowledges what comes."""

    async def swallow(frame: bytes) -> None: ...

    async with mesh() as nodes:
        ann, bob = await nodes.start("ann"), await nodes.start("bob")
        before = _refused()
        monkeypatch.setattr(muxer, "PING_SECONDS_MAX", 1)
        monkeypatch.setattr(muxer, "PING_INTERVAL_SECONDS", 1)
        await bob.dial(ann)
        await eventually(lambda: len(ann.network.links()) == 1)
        (connection,) = bob.parts.swarm.get_connections()
        monkeypatch.setattr(connection.muxed_conn, "_write_frame", swallow)
        await eventually(lambda: ("lost", bob.key) in ann.handler.events)
        assert _refused() > before


def _refused() -> float:
    return REGISTRY.get_sample_value("demesh_refused_total", {"room": "network", "reason": "no_pong"}) or 0


async def test_credit_is_given_back_in_portions_and_none_is_lost() -> None:
    multiplexer, wire = _multiplexer()
    one, other = await multiplexer.open_stream(), await multiplexer.open_stream()
    wire.frames.clear()
    portion = CREDIT_HELD_BYTES_MAX // 4
    for _ in range(3):
        await one.send_window_update(portion)
        await other.send_window_update(1)
    assert wire.frames == []
    await one.send_window_update(portion + 5)
    assert wire.frames == [(0, TYPE_WINDOW_UPDATE, 0, one.stream_id, 4 * portion + 5)]
    await one.send_window_update(CREDIT_HELD_BYTES_MAX)
    assert wire.frames[1:] == [(0, TYPE_WINDOW_UPDATE, 0, one.stream_id, CREDIT_HELD_BYTES_MAX)]


async def test_what_ends_a_stream_is_written_at_once() -> None:
    multiplexer, wire = _multiplexer()
    stream = await multiplexer.open_stream()
    wire.frames.clear()
    await stream.close()
    assert len(wire.frames) == 1


class SlowEnd:
    """One end of a link that passes `rate` bytes a second on, each way, and of which a send buffer of `room` bytes hides it."""

    def __init__(self, inbox: bytearray, outbox: bytearray, is_initiator: bool, rate: int, room: int) -> None:
        self.is_initiator = is_initiator
        self.closed = False
        self._in, self._out, self._rate, self._room = inbox, outbox, rate, room
        self._sent = bytearray()

    async def run(self) -> None:
        while True:
            await trio.sleep(0.05)
            count = self._rate // 20
            self._out += self._sent[:count]
            del self._sent[:count]

    async def write(self, data: bytes) -> None:
        while len(self._sent) > self._room:  # noqa: ASYNC110 - as coarse as the link
            await trio.sleep(0.05)
        self._sent += data

    async def read(self, n: int | None = None) -> bytes:
        while not self._in:
            if self.closed:
                return b""
            await trio.sleep(0.05)
        taken = bytes(self._in[:n])
        del self._in[:n]
        return taken

    async def close(self) -> None:
        self.closed = True

    def get_remote_address(self) -> None: ...


@pytest.mark.parametrize("rate", [16_000, 64_000, 1_000_000])
async def test_pages_come_over_a_slow_link(autojump_clock: MockClock, rate: int) -> None:
    """A link is not dead because an answer waits behind a page; and whoever reads gives enough credit to go on."""
    there, back = bytearray(), bytearray()
    ends = SlowEnd(there, back, True, rate, 2_000_000), SlowEnd(back, there, False, rate, 2_000_000)
    puller, server = (MindfulYamux(cast(ISecureConn, end), PEER) for end in ends)
    page, pages = 524_288, 3

    async def serve() -> None:
        stream = await server.accept_stream()
        for _ in range(pages):
            await stream.read(4)
            for _ in range(page // 16_384):
                await stream.write(bytes(16_384))

    async with trio.open_nursery() as nursery:
        for task in (ends[0].run, ends[1].run, puller.start, server.start):
            nursery.start_soon(task)
        await puller.event_started.wait()
        await server.event_started.wait()
        nursery.start_soon(serve)
        stream = await puller.open_stream()
        with trio.fail_after(2 * pages * page / rate + 10):
            for _ in range(pages):
                await stream.write(b"page")
                left = page
                while left:
                    left -= len(await stream.read(min(left, 65_536)))
        assert not any(end.closed for end in ends)
        nursery.cancel_scope.cancel()
