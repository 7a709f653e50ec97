"""The swarm key's cipher is the spec's, whatever TCP and cancellation do."""

import nacl.bindings
import pytest
import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError

from demesh.limits import CANCELLED_WRITE_SECONDS_MAX
from demesh.mesh.libp2p.psk import READ_BYTES_MAX, WRITE_SECONDS_MAX, PskStream, xsalsa20

KEY = bytes(range(32))


class Wire(ReadWriteCloser):
    """What was written can be read, at most `piece` bytes at a time. Writes wait while `stuck`."""

    def __init__(self, piece: int = 1 << 30) -> None:
        self.bytes = b""
        self.piece = piece
        self.asked: list[int | None] = []
        self.passing = trio.Event()
        self.passing.set()
        self.waiting = trio.Event()
        self.closed = False

    async def write(self, data: bytes) -> None:
        self.waiting.set()
        await self.passing.wait()
        self.bytes += data

    async def read(self, n: int | None = None) -> bytes:
        self.asked.append(n)
        n = min(len(self.bytes) if n is None else n, self.piece)
        taken, self.bytes = self.bytes[:n], self.bytes[n:]
        return taken

    async def close(self) -> None:
        self.closed = True

    def get_remote_address(self) -> None: ...


@pytest.mark.parametrize("seed", range(3))
def test_keystream_is_libsodiums(seed: int) -> None:
    key = nacl.bindings.randombytes_buf_deterministic(32, bytes([seed]) * 32)
    nonce = nacl.bindings.randombytes_buf_deterministic(24, bytes([seed + 9]) * 32)
    # A secretbox is a 16-byte tag and the plain text XORed with XSalsa20 from its 32nd byte on.
    box = nacl.bindings.crypto_secretbox(bytes(1000), nonce, key)
    assert xsalsa20(key, nonce).encrypt(bytes(1032))[32:] == box[16:]


@pytest.mark.trio
@pytest.mark.parametrize("piece", [1, 7, 23, 24, 25])
async def test_nonce_may_come_in_pieces(piece: int) -> None:
    wire = Wire(piece)
    await PskStream(wire, KEY, None).write(b"hello, world")
    far, text = PskStream(wire, KEY, None), b""
    while len(text) < 12:
        text += await far.read()
    assert text == b"hello, world"


@pytest.mark.trio
async def test_end_before_the_nonce_is_an_error() -> None:
    wire = Wire()
    wire.bytes = b"x" * 23
    with pytest.raises(ConnectionClosedError):
        await PskStream(wire, KEY, None).read(1)


@pytest.mark.trio
async def test_every_stream_begins_with_a_nonce_of_its_own() -> None:
    first, second = Wire(), Wire()
    await PskStream(first, KEY, None).write(b"same")
    await PskStream(second, KEY, None).write(b"same")
    assert first.bytes[:24] != second.bytes[:24]
    assert first.bytes[24:] != second.bytes[24:]


@pytest.mark.trio
async def test_writers_reach_the_wire_in_the_order_of_the_keystream() -> None:
    wire = Wire()
    near = PskStream(wire, KEY, None)
    wire.passing = trio.Event()
    async with trio.open_nursery() as nursery:
        for text in (b"one", b"two", b"six"):
            nursery.start_soon(near.write, text)
        await trio.testing.wait_all_tasks_blocked()
        wire.passing.set()
    text = await PskStream(wire, KEY, None).read()
    assert sorted(text[i : i + 3] for i in (0, 3, 6)) == [b"one", b"six", b"two"]


@pytest.mark.trio
async def test_a_length_from_a_stranger_is_not_asked_of_the_socket() -> None:
    wire = Wire()
    await PskStream(wire, KEY, None).write(b"x")
    await PskStream(wire, KEY, None).read(1 << 60)
    assert wire.asked == [24, READ_BYTES_MAX]


@pytest.mark.trio
async def test_small_reads_lose_nothing() -> None:
    wire = Wire()
    await PskStream(wire, KEY, None).write(bytes(range(200)))
    far = PskStream(wire, KEY, None)
    assert b"".join([await far.read(n) for n in (1, 0, 99, 100)]) == bytes(range(200))


@pytest.mark.trio
async def test_a_cancelled_writer_still_writes_all_of_it() -> None:
    wire = Wire()
    near = PskStream(wire, KEY, None)
    wire.passing = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.write, b"whole")
        await wire.waiting.wait()
        nursery.cancel_scope.cancel()
        wire.passing.set()
    assert await PskStream(wire, KEY, None).read() == b"whole"
    assert not near.closed.is_set()


@pytest.mark.trio
async def test_a_peer_that_takes_nothing_is_given_up(autojump_clock) -> None:
    wire = Wire()
    near = PskStream(wire, KEY, None)
    wire.passing = trio.Event()
    started = trio.current_time()
    with pytest.raises(ConnectionClosedError):
        await near.write(b"x")
    assert trio.current_time() - started == pytest.approx(WRITE_SECONDS_MAX)
    assert wire.closed
    assert near.closed.is_set()


@pytest.mark.trio
async def test_a_writer_is_not_held_long_past_its_deadline(autojump_clock) -> None:
    wire = Wire()
    near = PskStream(wire, KEY, None)
    wire.passing = trio.Event()
    started = trio.current_time()
    with trio.move_on_after(3), pytest.raises(ConnectionClosedError):
        await near.write(b"x")
    assert trio.current_time() - started == pytest.approx(3 + CANCELLED_WRITE_SECONDS_MAX)
    assert wire.closed
