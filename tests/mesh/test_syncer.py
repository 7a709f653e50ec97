import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from demesh import limits
from demesh.errors import StoreError, SyncError
from demesh.log.chain import Logs
from demesh.log.codec import decode
from demesh.log.entry import Entry
from demesh.log.evidence import proof_of
from demesh.log.state import LogState
from demesh.log.taken import Gap
from demesh.mesh.gossip import bundles
from demesh.mesh.intake import Intake
from demesh.mesh.memory import MemoryNetwork, MemorySwarm
from demesh.mesh.network import Stream
from demesh.mesh.preview import Preview
from demesh.mesh.session import Frames
from demesh.mesh.showing import Shown
from demesh.mesh.sync import Message, Refused
from demesh.mesh.sync_puller import Puller
from demesh.mesh.syncer import Syncer
from tests.log.builders import (
    MESH,
    OTHER_MESH,
    DirectStorage,
    Pen,
    TrioClock,
    counted,
    fields_of,
    key_of,
    public_key_of,
    rewritten,
)

_SECONDS = 600
"""The deadline of every wait, in virtual time."""


class _Node:
    """The mesh side of a node, in memory."""

    def __init__(self, swarm: MemorySwarm, owner: str, mesh_id: bytes = MESH) -> None:
        self.pen = Pen(owner, mesh_id=mesh_id)
        self.key = self.pen.public_key
        self.logs = Logs(mesh_id, self.pen.log)
        self.storage = DirectStorage()
        self.network = MemoryNetwork(swarm, self.key)
        self.shown: list[tuple[bytes, int, bool]] = []
        self.loaded: list[LogState] = []
        self.previews: list[tuple[Preview, bool]] = []
        self.withdrawn: list[bytes] = []
        self._changed = trio.Event()
        self._written = 0
        clock = TrioClock()
        self.gone: list[bytes] = []
        self.ended: list[LogState] = []
        self.accused: list[bytes] = []
        self.intake = Intake(
            self.logs,
            self.storage,
            clock,
            mesh_id,
            Shown(self._show, self._show_loaded, self._show, self._show_preview, self.withdrawn.append),
            self.gone.extend,
            self._on_gaps,
            self._note_ended,
            self.accused.append,
        )
        self.syncer = Syncer(mesh_id, self.logs, self.storage, self.intake, self.network, clock, random.Random(owner))

    async def grow(self, length: int) -> list[Entry]:
        """Write own entries until there are `length`, and broadcast them as a node does."""
        new = self.pen.fill(length)[self._written :]
        self._written = length
        self.logs.append_own(new)
        await self.storage.commit(new, public_keys={self.pen.log: self.key}, own=True)
        for message in bundles(new):
            await self.network.broadcast(message)
        return new

    async def until_holds(self, other: "_Node") -> None:
        """Wait until this node has shown all of the other's own log."""
        await self.until(lambda: self.logs.get(other.pen.log) == other.logs.get(other.pen.log))

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until what it has shown makes this true."""
        with trio.fail_after(_SECONDS):
            while not is_so():
                await self._changed.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.network.run, self)
            nursery.start_soon(self.intake.run)
            nursery.start_soon(self.syncer.run)
            task_status.started()

    def _show(self, owner: bytes, entry: Entry, received_ms: int, first_hand: bool) -> None:
        self.shown.append((owner, entry.seq, first_hand))
        self._changed.set()
        self._changed = trio.Event()

    async def _show_loaded(self, state: LogState) -> None:
        self.loaded.append(state)
        await trio.lowlevel.checkpoint()

    def _show_preview(self, preview: Preview, received_ms: int, first_hand: bool) -> None:
        self.previews.append((preview, first_hand))

    async def _note_ended(self, state: LogState) -> None:
        self.ended.append(state)
        await trio.lowlevel.checkpoint()

    def _on_gaps(self, peer: bytes, gaps: Sequence[Gap]) -> None:
        self.syncer.pull_from(peer)

    def peer_connected(self, peer: bytes) -> None:
        self.syncer.pull_from(peer)

    def peer_lost(self, peer: bytes) -> None: ...

    def message(self, forwarder: bytes, data: bytes) -> None:
        self.intake.message(forwarder, data)

    async def stream(self, stream: Stream) -> None:
        await self.syncer.serve(stream)


class _Oddity:
    """A peer that does something of its own with every stream, and counts them."""

    def __init__(self, swarm: MemorySwarm, owner: str, answer: bytes | None = None) -> None:
        self.key = public_key_of(owner)
        self.network = MemoryNetwork(swarm, self.key)
        self.streams = 0
        self.open = 0
        self.most_open = 0
        self._answer = answer

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await self.network.run(self, task_status)

    def peer_connected(self, peer: bytes) -> None: ...

    def peer_lost(self, peer: bytes) -> None: ...

    def message(self, forwarder: bytes, data: bytes) -> None: ...

    async def stream(self, stream: Stream) -> None:
        """Say the one thing it has to say, then listen until the other closes."""
        self.streams += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        if self._answer is not None:
            await stream.send(self._answer)
        while await stream.receive():
            pass
        self.open -= 1


@asynccontextmanager
async def _running(*nodes: _Node | _Oddity) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.run)
        yield
        nursery.cancel_scope.cancel()


def _syncs(outcome: str) -> float:
    return counted("demesh_syncs_total", outcome=outcome)


@pytest.mark.trio
async def test_nodes_converge_when_they_connect_though_every_broadcast_is_lost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swarm = MemorySwarm()
    swarm.lossy = True
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    async with _running(a, b):
        await a.grow(5)
        await b.grow(3)
        swarm.connect(a.key, b.key)
        await a.until_holds(b)
        await b.until_holds(a)
        assert trio.current_time() == 0, "at once"
        assert a.logs.states() == b.logs.states()
        for node in (a, b):
            for log in (a.pen, b.pen):
                stored, _ = node.storage.store.read(log.log, 0, 99)
                assert [entry.hash for entry in stored] == [entry.hash for entry in log.entries]


@pytest.mark.trio
async def test_what_gossip_lost_is_found_by_the_next_sync(autojump_clock: trio.testing.MockClock) -> None:
    swarm = MemorySwarm()
    swarm.lossy = True
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    async with _running(a, b):
        await a.grow(1)
        swarm.connect(a.key, b.key)
        await b.until_holds(a)
        await a.grow(4)
        await b.until_holds(a)
        assert 0 < trio.current_time() <= 1.3 * limits.SYNC_INTERVAL_SECONDS


@pytest.mark.trio
async def test_gossip_that_arrives_needs_no_sync(autojump_clock: trio.testing.MockClock) -> None:
    swarm = MemorySwarm()
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    async with _running(a, b):
        swarm.connect(a.key, b.key)
        await trio.testing.wait_all_tasks_blocked()
        before = _syncs("done")
        await a.grow(4)
        await b.until_holds(a)
        assert _syncs("done") == before
        assert b.shown == [(a.key, seq, True) for seq in range(4)]


@pytest.mark.trio
async def test_a_gap_in_gossip_triggers_a_pull(autojump_clock: trio.testing.MockClock) -> None:
    swarm = MemorySwarm()
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    async with _running(a, b):
        swarm.connect(a.key, b.key)
        await a.grow(2)
        await b.until_holds(a)
        swarm.lossy = True
        await a.grow(5)
        swarm.lossy = False
        await a.grow(6)
        await b.until_holds(a)
        assert trio.current_time() == 0, "at once"


@pytest.mark.trio
async def test_entries_reach_nodes_that_are_not_connected_to_their_author(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swarm = MemorySwarm()
    swarm.lossy = True
    a, b, c = _Node(swarm, "ann"), _Node(swarm, "bob"), _Node(swarm, "cat")
    async with _running(a, b, c):
        swarm.connect(b.key, c.key)
        await a.grow(5)
        swarm.connect(a.key, b.key)
        await c.until_holds(a)
        assert {first_hand for _, _, first_hand in c.shown} == {False}


@pytest.mark.trio
async def test_only_the_newest_entry_of_the_peers_own_log_is_first_hand(autojump_clock: trio.testing.MockClock) -> None:
    swarm = MemorySwarm()
    swarm.lossy = True
    a, b, c = _Node(swarm, "ann"), _Node(swarm, "bob"), _Node(swarm, "cat")
    async with _running(a, b, c):
        await a.grow(3)
        await b.grow(2)
        swarm.connect(a.key, b.key)
        await b.until_holds(a)
        swarm.connect(b.key, c.key)
        await c.until_holds(a)
        await c.until_holds(b)
        assert sorted(c.shown) == sorted(
            [(a.key, 0, False), (a.key, 1, False), (a.key, 2, False), (b.key, 0, False), (b.key, 1, True)]
        )


@pytest.mark.trio
async def test_a_peer_that_never_answers_does_not_block_pulls_from_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swarm = MemorySwarm()
    a, b, mute = _Node(swarm, "ann"), _Node(swarm, "bob"), _Oddity(swarm, "mute")
    before = _syncs("failed")
    async with _running(a, b, mute):
        await b.grow(3)
        swarm.connect(a.key, mute.key)
        await trio.testing.wait_all_tasks_blocked()
        assert mute.open == 1
        swarm.connect(a.key, b.key)
        await a.until_holds(b)
        assert trio.current_time() == 0
        swarm.cut(a.key, b.key)
        await trio.sleep(limits.SYNC_IDLE_SECONDS_MAX + 1)
        assert _syncs("failed") == before + 1, "it is given up in the end"


@pytest.mark.trio
async def test_one_pull_a_peer_runs_at_a_time_and_a_new_wish_is_not_forgotten(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swarm = MemorySwarm()
    a, mute = _Node(swarm, "ann"), _Oddity(swarm, "mute")
    async with _running(a, mute):
        swarm.connect(a.key, mute.key)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            a.syncer.pull_from(mute.key)
            await trio.testing.wait_all_tasks_blocked()
        assert mute.streams == 1
        await trio.sleep(limits.SYNC_IDLE_SECONDS_MAX + 1)
        assert (mute.streams, mute.most_open) == (2, 1)


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer", [b"\xff" * 10, b"\0\0\0\1\xff", b"\0\0\0\2\x81\x02"], ids=["endless", "garbage", "out of place"]
)
async def test_a_peer_that_talks_nonsense_costs_one_session(
    autojump_clock: trio.testing.MockClock, answer: bytes
) -> None:
    swarm = MemorySwarm()
    a, b, odd = _Node(swarm, "ann"), _Node(swarm, "bob"), _Oddity(swarm, "odd", answer)
    before = _syncs("failed")
    refused = counted("demesh_refused_total", room="sync", reason="bad_answer")
    async with _running(a, b, odd):
        await b.grow(3)
        swarm.connect(a.key, odd.key)
        swarm.connect(a.key, b.key)
        await a.until_holds(b)
        assert _syncs("failed") == before + 1
        assert counted("demesh_refused_total", room="sync", reason="bad_answer") == refused + 1
        assert odd.open == 0


@pytest.mark.trio
async def test_peer_that_is_gone_costs_one_session(autojump_clock: trio.testing.MockClock) -> None:
    swarm = MemorySwarm()
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    before = _syncs("failed")
    async with _running(a, b):
        a.syncer.pull_from(b.key)
        await trio.testing.wait_all_tasks_blocked()
        assert _syncs("failed") == before + 1


@pytest.mark.trio
async def test_peer_of_another_mesh_gives_and_gets_nothing(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    swarm = MemorySwarm()
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob", mesh_id=OTHER_MESH)
    greetings = counted("demesh_refused_total", room="sync", reason="greeting")
    answers = counted("demesh_refused_total", room="sync", reason="bad_answer")
    async with _running(a, b):
        await a.grow(2)
        await b.grow(2)
        swarm.connect(a.key, b.key)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(a.logs), len(b.logs)) == (1, 1)
        assert counted("demesh_refused_total", room="sync", reason="greeting") == greetings + 2
        assert counted("demesh_refused_total", room="sync", reason="bad_answer") == answers, "a no is no lie"
    assert "this node belongs to mesh 01020304, not to 00010203" in caplog.text


@pytest.mark.trio
async def test_fork_at_the_head_is_found_and_both_let_the_log_end_in_front_of_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swarm = MemorySwarm()
    swarm.lossy = True
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    forked = Pen("cat")
    one = forked.fill(3)
    other = [*one[:2], rewritten(one[2], key_of("cat"))]
    async with _running(a, b):
        await a.intake.take(one, 0, lambda *_: False)
        await b.intake.take(other, 0, lambda *_: False)
        swarm.connect(a.key, b.key)
        await trio.testing.wait_all_tasks_blocked()
        for node in (a, b):
            (state,) = node.ended
            assert state == node.logs.get(forked.log)
            assert state.head == one[1].head
            assert state.fork == proof_of(one[2:], other[2:]).fork


@pytest.mark.trio
async def test_own_log_is_never_taken_from_a_peer_nor_pulled_to_its_end(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that lost the end of its log meets a peer that has it."""
    monkeypatch.setattr(limits, "SYNC_PAGE_ENTRIES_MAX", 1)
    before = counted("demesh_refused_total", room="chain", reason="own_log")
    swarm = MemorySwarm()
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    async with _running(a, b):
        await b.grow(2)
        await a.grow(2)
        await b.intake.take(Pen("ann").fill(5), 0, lambda *_: False)
        swarm.connect(a.key, b.key)
        await a.until_holds(b)
        await trio.testing.wait_all_tasks_blocked()
        state = a.logs.get(a.pen.log)
        assert state is not None
        assert state.head.seq == 1
        assert counted("demesh_refused_total", room="chain", reason="own_log") == before + 1


@pytest.mark.trio
async def test_damaged_entry_is_not_passed_on_and_what_is_before_it_is(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    swarm = MemorySwarm()
    swarm.lossy = True
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    async with _running(a, b):
        await a.grow(5)
        a.storage.store._db.execute("UPDATE entry SET hash = zeroblob(32) WHERE seq = 3")
        swarm.connect(a.key, b.key)
        await trio.testing.wait_all_tasks_blocked()
        assert [seq for _, seq, _ in b.shown] == [0, 1, 2]
    assert "Entry 3 of log" in caplog.text


@pytest.mark.trio
async def test_long_logs_are_pulled_in_pages(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SYNC_PAGE_ENTRIES_MAX", 4)
    swarm = MemorySwarm()
    swarm.lossy = True
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    async with _running(a, b):
        await a.grow(10)
        swarm.connect(a.key, b.key)
        await b.until_holds(a)
        assert b.storage.notes == [("commit", [0, 1, 2, 3]), ("commit", [4, 5, 6, 7]), ("commit", [8, 9])]


@pytest.mark.trio
async def test_a_peer_gets_one_session_at_a_time_and_a_silent_one_is_sent_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swarm = MemorySwarm()
    a, b, guest = _Node(swarm, "ann"), _Node(swarm, "bob"), _Oddity(swarm, "guest")
    before = counted("demesh_refused_total", room="sync", reason="busy")
    hello = Puller(MESH, []).hello()
    async with _running(a, b, guest):
        await a.grow(2)
        swarm.connect(a.key, guest.key)
        silent = await guest.network.open_stream(a.key)
        await trio.testing.wait_all_tasks_blocked()

        turned_away = Frames(await guest.network.open_stream(a.key))
        await turned_away.send(hello)
        kind, code, _ = fields_of(decode(await turned_away.expect()))
        assert (kind, code) == (Message.REFUSED, Refused.BUSY)
        assert counted("demesh_refused_total", room="sync", reason="busy") == before + 1
        swarm.connect(a.key, b.key)
        await b.until_holds(a)
        assert trio.current_time() == 0, "others are served meanwhile"

        await trio.sleep(limits.SYNC_IDLE_SECONDS_MAX + 1)
        assert await silent.receive() == b"", "a guest that says nothing is sent away in the end"
        served = Frames(await guest.network.open_stream(a.key))
        await served.send(hello)
        assert fields_of(decode(await served.expect()))[0] == Message.HELLO


@pytest.mark.trio
@pytest.mark.parametrize(
    ("said", "refused"),
    [(b"", 0), (b"\0", 0), (b"\xff" * 10, 1), (b"\0\0\0\6" + bytes.fromhex("d81c81d81d00"), 1)],
    ids=["nothing", "half a length", "endless", "a tag"],
)
async def test_server_survives_whatever_a_peer_says_and_tells_it(
    autojump_clock: trio.testing.MockClock, said: bytes, refused: int
) -> None:
    swarm = MemorySwarm()
    a, b, guest = _Node(swarm, "ann"), _Node(swarm, "bob"), _Oddity(swarm, "guest")
    before = counted("demesh_refused_total", room="sync", reason="malformed")
    async with _running(a, b, guest):
        await a.grow(2)
        swarm.connect(a.key, guest.key)
        stream = await guest.network.open_stream(a.key)
        if said:
            await stream.send(said)
        await stream.close()
        await trio.testing.wait_all_tasks_blocked()
        assert counted("demesh_refused_total", room="sync", reason="malformed") == before + refused
        if refused:
            with pytest.raises(SyncError, match="does not understand") as caught:
                Puller(MESH, []).greeted(await Frames(stream).expect())
            assert caught.value.code == Refused.MALFORMED
        swarm.connect(a.key, b.key)
        await b.until_holds(a)


@pytest.mark.trio
async def test_store_that_fails_ends_the_syncer(autojump_clock: trio.testing.MockClock) -> None:
    swarm = MemorySwarm()
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    a.storage.failure = StoreError("The disk is full.")

    async def live() -> None:
        async with _running(a, b):
            await b.grow(2)
            swarm.connect(a.key, b.key)
            await trio.sleep(_SECONDS)

    with pytest.raises(ExceptionGroup) as ended:
        await live()
    assert ended.group_contains(StoreError)


@pytest.mark.trio
async def test_a_few_random_peers_are_asked_when_something_seems_amiss(
    autojump_clock: trio.testing.MockClock,
) -> None:
    swarm = MemorySwarm()
    a = _Node(swarm, "ann")
    others = [_Oddity(swarm, f"peer {i}", answer=b"\xff" * 4) for i in range(8)]
    async with _running(a, *others):
        a.syncer.pull_from_some()
        for other in others:
            a.network.meet(other.key)
        await trio.testing.wait_all_tasks_blocked()
        for other in others:
            other.streams = 0
        a.syncer.pull_from_some()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(other.streams for other in others) == [0] * 5 + [1] * 3


@pytest.mark.trio
async def test_newcomer_fetches_from_many_what_it_lacks_once(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SYNC_PAGE_ENTRIES_MAX", 2 * limits.SIGNED_EVERY)
    swarm = MemorySwarm()
    swarm.lossy = True
    holders, newcomer = [_Node(swarm, owner) for owner in ("ann", "bob", "cat")], _Node(swarm, "dan")
    logs = [Pen(f"x{number}").fill(500) for number in range(4)]
    async with _running(*holders, newcomer):
        for node in holders:
            for entries in logs:
                await node.intake.take(entries, 0, lambda *_: False)
        before = counted("demesh_entries_total", outcome="repeated")
        for node in holders:
            swarm.connect(node.key, newcomer.key)
        await newcomer.until(lambda: [state.head.seq for state in newcomer.logs.states()] == [499] * 4)
        assert counted("demesh_entries_total", outcome="repeated") - before <= 3 * 2 * limits.SIGNED_EVERY, (
            "a page of each peer, at most"
        )


@pytest.mark.trio
async def test_what_a_peer_says_it_holds_and_does_not_give_is_not_missed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It lies, or its store has lost it: nobody is to wait for that."""

    def not_given() -> float:
        return counted("demesh_refused_total", room="sync", reason="not_given")

    swarm = MemorySwarm()
    swarm.lossy = True
    a, b = _Node(swarm, "ann"), _Node(swarm, "bob")
    before = not_given()
    async with _running(a, b):
        await a.grow(3)
        a.logs.append_own(a.pen.fill(9)[3:])  # and does not store it
        swarm.connect(a.key, b.key)
        await b.until(lambda: len(b.shown) == 3)
        await trio.testing.wait_all_tasks_blocked()
        assert b.syncer.missing() == {}
        assert not_given() == before + 1
        with trio.CancelScope() as pulling:
            b.syncer.pull_from(a.key)
            while True:
                await trio.lowlevel.checkpoint()
                assert b.syncer.missing() == {}, "nor while it is asked once more"
                if not_given() == before + 2:
                    pulling.cancel()
        await a.storage.commit(a.pen.entries[3:], public_keys={a.pen.log: a.key}, own=True)
        b.syncer.pull_from(a.key)
        await b.until(lambda: len(b.shown) == 9)
