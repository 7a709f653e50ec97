import math
from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from demesh import limits
from demesh.errors import NetworkError, SyncError
from demesh.log.codec import encode, values
from demesh.log.entry import Entry, Envelope, Kind
from demesh.log.evidence import Fork, Proof, proof_of, segment_of
from demesh.log.head import Head
from demesh.log.state import LogState, vector
from demesh.mesh import session
from demesh.mesh.memory import MemoryStream
from demesh.mesh.network import SYNC
from demesh.mesh.preview import Preview
from demesh.mesh.session import Frames
from demesh.mesh.sync import Message, Refused, Want, WantKept
from demesh.mesh.sync_puller import Puller
from demesh.mesh.sync_server import Server
from tests.log.builders import MESH, OTHER_MESH, Pen, Shelf, generated, log_of

_ANN, _BOB = log_of("ann", 9), log_of("bob", 6)


class _Pieces:
    """A stream that hands out what it was given piece by piece, and keeps what is sent."""

    protocol = SYNC
    peer = bytes(32)

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)
        self.sent = b""

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += data

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._pieces.pop(0) if self._pieces else b""

    async def close(self) -> None: ...

    async def reset(self) -> None: ...


def _two_ends() -> tuple[MemoryStream, MemoryStream]:
    a_out, b_in = trio.open_memory_channel[bytes](math.inf)
    b_out, a_in = trio.open_memory_channel[bytes](math.inf)
    return MemoryStream(b"b", a_out, a_in), MemoryStream(b"a", b_out, b_in)


def _stored(shelf: Shelf, bytes_max: int) -> session.Stored:
    async def read_page(want: Want | WantKept, _: int) -> Sequence[Entry]:
        await trio.lowlevel.checkpoint()
        if isinstance(want, WantKept):
            return shelf.store.kept_before(want.log, want.below, bytes_max=bytes_max, count_max=1_000)
        return shelf.store.read(want.log, want.first, want.last, bytes_max=bytes_max)[0]

    async def proof(log: bytes) -> Proof | None:
        await trio.lowlevel.checkpoint()
        return shelf.store.proof(log)

    return session.Stored(read_page, proof)


def _taker(shelf: Shelf) -> session.TakePage:
    async def take(entries: Sequence[Entry], fresh_seq: int) -> bool:
        await trio.lowlevel.checkpoint()
        return not shelf.take(entries).refusals

    return take


def _taking(shelf: Shelf, take: session.TakePage | None = None) -> session.Taking:
    async def prove(proof: Proof) -> None:
        await trio.lowlevel.checkpoint()
        shelf.prove(proof)

    async def hash_at(log: bytes, seq: int) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return shelf.store.hash_at(log, seq)

    async def parted(theirs: Sequence[Entry]) -> None:
        await prove(proof_of(segment_of(shelf.stored(theirs[0].log)[theirs[0].seq :]), theirs))

    async def preview(preview: Preview, fresh_seq: int) -> None:
        await trio.lowlevel.checkpoint()

    return session.Taking(shelf.adopt, take or _taker(shelf), prove, hash_at, parted, preview)


async def _pull(ours: Shelf, theirs: Shelf, bytes_max: int = limits.SYNC_PAGE_BYTES_MAX, mesh_id: bytes = MESH) -> None:
    """A whole session over a stream."""
    our_end, their_end = _two_ends()
    greetings: list[bytes] = []

    async def serve() -> None:
        await session.serve(their_end, _server(theirs), _stored(theirs, bytes_max), greetings.append)
        await their_end.close()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                await session.pull(our_end, Puller(mesh_id, ours.logs.states(), b"their log 123456"), _taking(ours))
            finally:
                await our_end.close()
    assert greetings == [b"their log 123456"]


def _server(shelf: Shelf) -> Server:
    return Server(MESH, shelf.logs.states())


class _Slow(_Pieces):
    """Takes 64 kbit/s."""

    async def send(self, data: bytes) -> None:
        await trio.sleep(len(data) / 8_000)
        self.sent += data


@pytest.mark.trio
async def test_a_slow_link_that_goes_on_is_not_given_up(autojump_clock: MockClock) -> None:
    stream = _Slow([])
    await Frames(stream).send(bytes(limits.SYNC_PAGE_BYTES_MAX))
    assert trio.current_time() > 6 * limits.SYNC_IDLE_SECONDS_MAX
    assert stream.sent == limits.SYNC_PAGE_BYTES_MAX.to_bytes(4, "big") + bytes(limits.SYNC_PAGE_BYTES_MAX)


@pytest.mark.trio
async def test_only_the_head_of_the_log_that_the_peer_writes_is_fresh() -> None:
    ours, theirs = Shelf(), Shelf(_ANN, _BOB)
    fresh: dict[bytes, list[int]] = {}

    async def take(entries: Sequence[Entry], fresh_seq: int) -> bool:
        fresh.setdefault(entries[0].log, []).append(fresh_seq)
        return await _taker(ours)(entries, fresh_seq)

    our_end, their_end = _two_ends()
    server = Server(MESH, theirs.logs.states(), _ANN[0].log)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.serve, their_end, server, _stored(theirs, 1_000_000), lambda writes: None)
            await session.pull(our_end, Puller(MESH, []), _taking(ours, take))
            await our_end.close()
    assert fresh == {_ANN[0].log: [_ANN[-1].seq], _BOB[0].log: [-1]}


@pytest.mark.trio
async def test_a_session_brings_what_was_missing() -> None:
    ours, theirs = Shelf(_ANN[:2]), Shelf(_ANN, _BOB)
    await _pull(ours, theirs, bytes_max=2 * _ANN[1].size)
    assert ours.all() == theirs.all()
    await _pull(ours, theirs)
    assert ours.all() == theirs.all()


@pytest.mark.trio
async def test_nodes_of_different_meshes_exchange_nothing_but_a_sentence() -> None:
    ours = Shelf()
    with pytest.raises(ExceptionGroup) as ended:
        await _pull(ours, Shelf(_ANN), mesh_id=OTHER_MESH)
    assert ended.group_contains(SyncError, match="this node belongs to mesh 00010203, not to 01020304")
    assert ours.all() == {}


_HELD = st.fixed_dictionaries(
    {
        ("ann", 0): st.integers(0, 9),
        ("ann", 1): st.integers(0, 3),
        ("bob", 0): st.integers(0, 6),
        ("cat", 0): st.integers(0, 1),
    }
)


def _shelf(held: dict[tuple[str, int], int]) -> Shelf:
    return Shelf(*[log_of(owner, length, epoch=epoch) for (owner, epoch), length in held.items() if length])


@settings(generated, max_examples=30)
@given(_HELD, _HELD, st.integers(0, 5_000))
def test_any_two_nodes_hold_the_same_after_one_pull_each_way(a_held, b_held, bytes_max: int) -> None:
    a, b = _shelf(a_held), _shelf(b_held)
    trio.run(_pull, a, b, bytes_max)
    trio.run(_pull, b, a, bytes_max)
    assert a.all() == b.all()
    assert {log: len(hashes) for log, hashes in a.all().items()} == {
        log_of(owner, 1, epoch=epoch)[0].log: max(a_held[owner, epoch], b_held[owner, epoch])
        for owner, epoch in a_held
        if max(a_held[owner, epoch], b_held[owner, epoch])
    }


@pytest.mark.trio
async def test_log_whose_page_is_not_taken_is_left_and_the_rest_goes_on() -> None:
    ours, theirs = Shelf(), Shelf(_ANN, _BOB)
    our_end, their_end = _two_ends()
    asked: list[bytes] = []

    async def take(entries: Sequence[Entry], fresh_seq: int) -> bool:
        asked.append(entries[0].log)
        return await _taker(ours)(entries, fresh_seq) and entries[0].log != _ANN[0].log

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                session.serve, their_end, _server(theirs), _stored(theirs, 2 * _ANN[1].size), lambda writes: None
            )
            await session.pull(our_end, Puller(MESH, []), _taking(ours, take))
            await our_end.close()
    assert asked.count(_ANN[0].log) == 1
    assert len(ours.stored(_BOB[0].log)) == len(_BOB)


@pytest.mark.trio
async def test_refusal_reaches_the_puller_with_its_sentence() -> None:
    our_end, their_end = _two_ends()
    await session.refuse(their_end, Refused.BUSY, "try later")
    with trio.fail_after(10), pytest.raises(SyncError, match="try later") as refused:
        await session.pull(our_end, Puller(MESH, []), _taking(Shelf()))
    assert refused.value.code == Refused.BUSY


@pytest.mark.trio
@pytest.mark.parametrize("size", [1, 3, 1_000])
async def test_messages_are_put_together_from_pieces_of_any_size(size: int) -> None:
    sending = _Pieces([])
    messages = [b"", b"a", bytes(700)]
    for message in messages:
        await Frames(sending).send(message)
    pieces = [sending.sent[at : at + size] for at in range(0, len(sending.sent), size)]
    frames = Frames(_Pieces(pieces))
    assert [await frames.receive() for _ in messages] == messages
    assert await frames.receive() is None
    with pytest.raises(NetworkError, match="before its answer"):
        await frames.expect()


@pytest.mark.trio
@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\5", b"\0\0\0\5abc"])
async def test_end_inside_a_message_is_an_error(data: bytes) -> None:
    with pytest.raises(NetworkError, match="inside a message"):
        await Frames(_Pieces([data])).receive()


@pytest.mark.trio
async def test_message_beyond_its_bound_is_refused_before_it_is_read() -> None:
    most = limits.SYNC_FRAME_BYTES_MAX
    assert await Frames(_Pieces([most.to_bytes(4, "big"), bytes(most)])).receive() == bytes(most)
    with pytest.raises(SyncError, match=str(most + 1)):
        await Frames(_Pieces([(most + 1).to_bytes(4, "big")])).receive()


def test_largest_messages_fit_their_frame() -> None:
    fork = Fork(limits.SEQ_MAX, bytes(32), bytes(32), 0)
    state = LogState(bytes(16), bytes(32), Head(limits.SEQ_MAX, bytes(32)), limits.SEQ_MAX, fork)
    rows = encode([Message.VECTOR, values(vector([state] * limits.LOGS_MAX))])
    pen = Pen("ann")
    pen.hello()
    full = pen.write(Kind.EVENT, [bytes(16_000)])
    page = Server.page(Want(full.log, 0, 99), [full] * (limits.SYNC_PAGE_BYTES_MAX // full.size))
    assert len(rows) < limits.SYNC_FRAME_BYTES_MAX
    assert len(page) < limits.SYNC_FRAME_BYTES_MAX


@pytest.mark.trio
async def test_the_next_page_is_read_while_one_is_taken_but_for_the_first() -> None:
    ours, theirs = Shelf(), Shelf(_ANN)
    stored, done = _stored(theirs, 600), [trio.Event() for _ in range(100)]
    asked: list[Want | WantKept] = []

    async def page(want: Want | WantKept, bytes_max: int) -> Sequence[Entry | Envelope]:
        asked.append(want)
        done[len(asked)].set()
        return await stored.page(want, bytes_max)

    taken = 0

    async def take(entries: Sequence[Entry], fresh_seq: int) -> bool:
        nonlocal taken
        taken += 1
        if taken == 1:
            await trio.testing.wait_all_tasks_blocked()
            assert len(asked) == 1, "whether anything of the log is taken is not known yet"
        elif entries[-1].seq < _ANN[-1].seq:
            await done[taken + 1].wait()
        return await _taker(ours)(entries, fresh_seq)

    our_end, their_end = _two_ends()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            reading = session.Stored(page, stored.proof)
            nursery.start_soon(session.serve, their_end, _server(theirs), reading, lambda writes: None)
            await session.pull(our_end, Puller(MESH, []), _taking(ours, take))
            await our_end.close()
    assert taken > 2
    assert ours.all() == theirs.all()
