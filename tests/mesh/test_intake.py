from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from demesh import limits
from demesh.errors import StoreError
from demesh.log.chain import Logs
from demesh.log.entry import Entry
from demesh.log.evidence import proof_of
from demesh.log.state import LogState
from demesh.log.taken import Gap
from demesh.mesh.gossip import accusation, bundles
from demesh.mesh.intake import Intake
from demesh.mesh.preview import Preview
from demesh.mesh.showing import Shown
from tests.log.builders import (
    MESH,
    NO_LOG,
    DirectStorage,
    FakeClock,
    Notes,
    counted,
    damaged,
    key_of,
    log_of,
    public_key_of,
    rewritten,
)

_ANN, _BOB = log_of("ann", 6), log_of("bob", 3)
_A, _B = public_key_of("ann"), public_key_of("bob")


class _Door:
    """An intake that notes what it does."""

    def __init__(self) -> None:
        self.notes: Notes = []
        self.shown: list[tuple[bytes, Entry, int, bool]] = []
        self.gaps: list[tuple[bytes, list[Gap]]] = []
        self.loaded: list[LogState] = []
        self.previews: list[tuple[Preview, bool]] = []
        self.withdrawn: list[bytes] = []
        self.storage = DirectStorage(self.notes)
        self.clock = FakeClock()
        self.logs = Logs(MESH, NO_LOG)
        self.gone: list[bytes] = []
        self.ended: list[LogState] = []
        self.accused: list[bytes] = []
        self.intake = Intake(
            self.logs,
            self.storage,
            self.clock,
            MESH,
            Shown(self._show, self._show_loaded, self._show, self._show_preview, self.withdrawn.append),
            self.gone.extend,
            self._note_gaps,
            self._note_ended,
            self.accused.append,
        )

    def _show(self, owner: bytes, entry: Entry, received_ms: int, first_hand: bool) -> None:
        self.notes.append(("shown", entry.seq))
        self.shown.append((owner, entry, received_ms, first_hand))

    async def _show_loaded(self, state: LogState) -> None:
        self.loaded.append(state)
        await trio.lowlevel.checkpoint()

    def _show_preview(self, preview: Preview, received_ms: int, first_hand: bool) -> None:
        self.previews.append((preview, first_hand))

    async def _note_ended(self, state: LogState) -> None:
        self.ended.append(state)
        await trio.lowlevel.checkpoint()

    def _note_gaps(self, peer: bytes, gaps: Sequence[Gap]) -> None:
        self.gaps.append((peer, list(gaps)))

    def hear(self, entries: Sequence[Entry], forwarder: bytes = _A) -> None:
        for message in bundles(entries):
            self.intake.message(forwarder, message)

    async def take(self, entries: Sequence[Entry]) -> None:
        await self.intake.take(entries, 0, lambda entry, owner: False)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Whatever was heard inside has been dealt with at the end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.intake.run)
            yield
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    def stored(self, entries: Sequence[Entry]) -> list[Entry]:
        return self.storage.store.read(entries[0].log, 0, 99)[0]


def _steps(entries: Sequence[Entry]) -> Notes:
    """What taking `entries` in amounts to."""
    return [("commit", [entry.seq for entry in entries]), *[("shown", entry.seq) for entry in entries]]


@pytest.mark.trio
async def test_entries_are_stored_before_they_are_shown() -> None:
    door = _Door()
    async with door.open():
        door.hear(_ANN[:3])
        door.hear(_ANN[3:])
    assert door.notes == _steps(_ANN[:3]) + _steps(_ANN[3:])
    assert door.stored(_ANN) == _ANN
    assert [(owner, entry) for owner, entry, _, _ in door.shown] == [(_A, entry) for entry in _ANN]


@pytest.mark.trio
async def test_offers_are_dealt_with_one_at_a_time() -> None:
    door = _Door()
    door.storage.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for entries in (_ANN, _ANN, _BOB):
            nursery.start_soon(door.take, entries)
        await trio.testing.wait_all_tasks_blocked()
        assert len(door.logs) == 1, "one is being stored, the others wait"
        door.storage.gate.set()
    assert door.notes in (_steps(_ANN) + _steps(_BOB), _steps(_BOB) + _steps(_ANN))


@pytest.mark.trio
async def test_nothing_is_shown_that_could_not_be_stored() -> None:
    door = _Door()
    door.storage.failure = StoreError("The disk is full.")
    with pytest.raises(StoreError):
        await door.take(_ANN)
    assert door.shown == []
    door = _Door()
    door.storage.failure = StoreError("The disk is full.")
    door.hear(_ANN)
    with trio.fail_after(10), pytest.raises(StoreError):
        await door.intake.run()


@pytest.mark.trio
async def test_entries_once_taken_are_stored_and_shown_though_their_session_ends() -> None:
    """Else the node would tell its peers that it holds what it lacks, and never ask for it again."""
    door = _Door()
    door.storage.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.take, _ANN)
        await door.storage.committing.wait()
        nursery.cancel_scope.cancel()
        door.storage.gate.set()
    state = door.logs.get(_ANN[0].log)
    assert state is not None
    assert door.stored(_ANN) == _ANN[: state.head.seq + 1]
    assert [entry for _, entry, _, _ in door.shown] == door.stored(_ANN)


@pytest.mark.trio
async def test_news_are_first_hand_from_their_author_only() -> None:
    door = _Door()
    async with door.open():
        door.hear([*_ANN[:2], *_BOB[:1]], forwarder=_A)
        door.hear(_ANN[2:3], forwarder=_B)
    assert [(owner, first_hand) for owner, _, _, first_hand in door.shown] == [
        (_A, True),
        (_A, True),
        (_B, False),
        (_A, False),
    ]


@pytest.mark.trio
async def test_time_of_arrival_is_when_the_message_came() -> None:
    door = _Door()
    door.clock.now_ms = 5_000
    door.hear(_ANN[:1])
    door.clock.now_ms = 9_000
    async with door.open():
        pass
    assert [received_ms for _, _, received_ms, _ in door.shown] == [5_000]


@pytest.mark.trio
async def test_gap_is_told_with_the_peer_that_showed_it() -> None:
    door = _Door()
    async with door.open():
        door.hear(_ANN[:2])
        door.hear([*_ANN[4:], *_BOB[1:]], forwarder=_B)
    assert door.gaps == [(_B, [Gap(_ANN[0].log, 2, 3), Gap(_BOB[0].log, 0, 0)])]


@pytest.mark.trio
async def test_gossip_beyond_the_queue_is_dropped_and_counted() -> None:
    door = _Door()
    before = counted("demesh_refused_total", room="intake", reason="queue_full")
    for _ in range(limits.INTAKE_QUEUE_BATCHES_MAX):
        door.hear(_ANN[:1])
    assert counted("demesh_refused_total", room="intake", reason="queue_full") == before
    for _ in range(3):
        door.hear(_BOB)
    assert counted("demesh_refused_total", room="intake", reason="queue_full") == before + 3
    async with door.open():
        pass
    async with door.open():
        door.hear(_ANN)
    assert door.stored(_ANN) == _ANN, "it goes on when there is room again"
    assert door.stored(_BOB) == []


@pytest.mark.trio
async def test_accepted_and_repeated_entries_are_counted() -> None:
    door = _Door()
    accepted, repeated = (counted("demesh_entries_total", outcome=each) for each in ("accepted", "repeated"))
    await door.take(_ANN[:4])
    await door.take(_ANN)
    assert counted("demesh_entries_total", outcome="accepted") == accepted + 6
    assert counted("demesh_entries_total", outcome="repeated") == repeated + 4


@pytest.mark.trio
@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        ([rewritten(_ANN[1], key_of("ann"))], "fork"),
        ([_ANN[2]._replace(signature=damaged(_ANN[2].signature))], "bad_signature"),
        (log_of("cat", 2)[:1], "too_many_logs"),
    ],
)
async def test_refused_entries_are_counted_by_reason(
    offered: list[Entry], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOGS_MAX", 1)
    door = _Door()
    before = counted("demesh_refused_total", room="chain", reason=reason)
    async with door.open():
        door.hear(_ANN[:2])
        door.hear(offered)
    assert counted("demesh_refused_total", room="chain", reason=reason) == before + 1
    assert door.stored(_ANN) == _ANN[:2]
    assert len(door.shown) == 2


@pytest.mark.trio
@pytest.mark.parametrize("data", [b"", b"\xff" * 100, bytes.fromhex("d81c81d81d00"), bytes(70_000)], ids=len)
async def test_garbage_is_counted_and_the_next_message_taken(data: bytes) -> None:
    door = _Door()
    reasons = ("malformed", "too_large")
    before = sum(counted("demesh_refused_total", room="intake", reason=each) for each in reasons)
    async with door.open():
        door.intake.message(_B, data)
        door.hear(_ANN)
    assert sum(counted("demesh_refused_total", room="intake", reason=each) for each in reasons) == before + 1
    assert door.stored(_ANN) == _ANN


_PROOF = proof_of(_ANN[2:3], [rewritten(_ANN[2], key_of("ann"))])


@pytest.mark.trio
async def test_proof_ends_a_log_once_it_is_stored_and_once_only() -> None:
    door = _Door()
    await door.take(_ANN)
    assert await door.intake.prove(_PROOF)
    assert not await door.intake.prove(_PROOF)
    assert [state.head for state in door.ended] == [_ANN[1].head]
    assert door.stored(_ANN) == _ANN[:2]


@pytest.mark.trio
async def test_proof_comes_by_gossip_as_well() -> None:
    door = _Door()
    message = accusation(_PROOF)
    assert message is not None
    async with door.open():
        door.hear(_ANN)
        door.intake.message(_B, message)
    assert door.stored(_ANN) == _ANN[:2]


@pytest.mark.trio
async def test_proof_against_the_log_being_written_is_for_its_writer_to_answer() -> None:
    door = _Door()
    door.logs.begin_own(_ANN[0].log)
    door.logs.append_own(_ANN)
    assert not await door.intake.prove(_PROOF)
    assert door.accused == [_ANN[0].log]
    assert door.ended == []


@pytest.mark.trio
@pytest.mark.parametrize("reason", ["unknown_log", "bad_signature"])
async def test_proof_that_proves_nothing_here_is_counted(reason: str) -> None:
    door = _Door()
    if reason == "bad_signature":
        await door.take(_ANN)
    proof = proof_of(_ANN[2:3], [rewritten(_ANN[2], key_of("eve"))])
    before = counted("demesh_refused_total", room="chain", reason=reason)
    assert not await door.intake.prove(proof)
    assert counted("demesh_refused_total", room="chain", reason=reason) == before + 1
    assert door.ended == []


@pytest.mark.trio
@pytest.mark.parametrize("seq", [1, 4])
async def test_entry_of_another_history_makes_one_ask_its_bringer(seq: int) -> None:
    """One that contradicts an entry that is held, and one that follows another than the last that is held."""
    door = _Door()
    async with door.open():
        door.hear(_ANN[:4])
        other = rewritten(_ANN[seq], key_of("ann"), prev=bytes(range(32)) if seq == 4 else None)
        door.hear([other], forwarder=_B)
    assert door.gaps == [(_B, [])]
