"""The promises of `demesh.author`, which writes the log that the rest of this package is about."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import trio
import trio.testing

from demesh.author import Author
from demesh.checks.check import Check
from demesh.checks.runner import Run
from demesh.errors import EntryError, StoreError
from demesh.log.bye import Bye
from demesh.log.chain import Logs
from demesh.log.entry import Entry, Kind
from demesh.log.epoch import Marker
from demesh.log.hello import read_hello
from demesh.log.results import Result, read_results
from demesh.outcome import Outcome, ProbeResult
from demesh.probes.base import ProbeSpec
from demesh.view.vote import VoteState
from tests.log.builders import MESH, NO_LOG, DirectStorage, Notes, Pen, TrioClock

_FLUSH_MS = 10_000
_CHECK = Check("web", ProbeSpec("http", "https://example.org/", 10_000))
_ROWS = [_CHECK.row(MESH, runs=True)]


class _Desk:
    """An author with everything around it, which notes what happens in which order."""

    def __init__(self, votes: Sequence[VoteState] = (VoteState(),)) -> None:
        self.pen = Pen("ann")
        self.notes: Notes = []
        self.published: list[Entry] = []
        self.storage = DirectStorage(self.notes)
        self.clock = TrioClock()
        self.logs = Logs(MESH, self.pen.log)
        self.wrote = trio.Event()
        self.author = Author(
            writer=self.pen.writer,
            checks=[_CHECK],
            flush_interval_ms=_FLUSH_MS,
            clock=self.clock,
            storage=self.storage,
            logs=self.logs,
            marker=self._mark,
            store_file="1:2",
            shown=lambda entry: self.notes.append(("view", [entry.seq])),
            publish=self._publish,
            gone=lambda logs: self.notes.append(("gone", list(logs))),
            votes=votes,
        )

    def _mark(self, marker: Marker) -> None:
        assert (marker.boot8, marker.store_file, marker.log) == (self.clock.boot8, "1:2", self.pen.log)
        assert self.storage.store.hash_at(marker.log, marker.head.seq) == marker.head.hash
        self.notes.append(("marker", [marker.head.seq]))

    async def _publish(self, entries: Sequence[Entry]) -> None:
        await trio.lowlevel.checkpoint()
        self.notes.append(("broadcast", [entry.seq for entry in entries]))
        self.published += entries
        self.wrote.set()

    async def begin(self) -> None:
        await self.author.begin(self.pen.greeting(), None, _ROWS, None)

    def report(self, outcome: Outcome = Outcome.PASS, **details) -> bool:
        return self.author.report(Run(0, self.clock.up_ms(), ProbeResult(outcome, **details), 0))

    def results(self) -> list[Result]:
        """What peers have heard."""
        return [
            result
            for entry in self.published
            if entry.kind == Kind.RESULTS
            for result in read_results(entry.payload, entry.up_ms).results
        ]

    def wall_seconds(self) -> list[float]:
        """When the entries were published, on trio's clock."""
        return [(entry.wall_ms - self.published[0].wall_ms) / 1_000 for entry in self.published]

    async def run_for(self, seconds: float, *reports: Callable[[], object]) -> None:
        """Let the author run, after `reports`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.author.run)
            for report in reports:
                report()
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_nothing_is_published_before_it_is_durable_and_marked() -> None:
    desk = _Desk()
    await desk.begin()
    desk.report()
    await desk.author.say_bye(Bye("stopped"))
    expected = [(step, [seq]) for seq in range(4) for step in ("own commit", "marker", "view", "broadcast")]
    assert desk.notes == expected
    assert [entry.kind for entry in desk.published] == [Kind.HELLO, Kind.PLAN, Kind.RESULTS, Kind.BYE]
    assert Logs(MESH, NO_LOG).offer(desk.published).accepted == desk.published


@pytest.mark.trio
async def test_nothing_is_published_while_the_disk_is_busy() -> None:
    desk = _Desk()
    desk.storage.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.begin)
        await desk.storage.committing.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert desk.notes == []
        desk.storage.gate.set()
    assert [entry.seq for entry in desk.published] == [0, 1]


@pytest.mark.trio
async def test_storage_failure_publishes_nothing_and_raises() -> None:
    desk = _Desk()
    await desk.begin()
    desk.notes.clear()
    desk.storage.failure = StoreError("The disk is full.")
    with pytest.raises(StoreError):
        await desk.author.say_bye(Bye("stopped"))
    assert desk.notes == []


@pytest.mark.trio
async def test_storage_failure_ends_a_running_author(autojump_clock: trio.testing.MockClock) -> None:
    desk = _Desk()
    await desk.begin()
    desk.storage.failure = StoreError("The disk is full.")
    with trio.fail_after(60), pytest.raises(StoreError):
        await desk.author.run()
    assert len(desk.published) == 2


@pytest.mark.trio
async def test_marker_that_cannot_be_written_publishes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = _Desk()

    def fail(marker: Marker) -> None:
        raise StoreError("No marker.")

    monkeypatch.setattr(desk.author, "_marker", fail)
    with pytest.raises(StoreError):
        await desk.begin()
    assert desk.published == []


@pytest.mark.trio
async def test_head_is_not_told_before_its_entry_is_durable() -> None:
    """Sync and `log heads` tell peers and people what stands in Logs."""
    desk = _Desk()
    desk.storage.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.begin)
        await desk.storage.committing.wait()
        told = desk.logs.states()
        desk.storage.gate.set()
    assert told == []
    assert [state.head for state in desk.logs.states()] == [desk.published[-1].head]


@pytest.mark.trio
async def test_entry_once_signed_is_stored_though_the_author_is_cancelled() -> None:
    desk = _Desk()
    desk.storage.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.begin)
        await desk.storage.committing.wait()
        nursery.cancel_scope.cancel()
        desk.storage.gate.set()
    assert desk.notes[:2] == [("own commit", [0]), ("marker", [0])]
    assert desk.published == []
    assert desk.pen.writer.next_seq == 1


@pytest.mark.trio
async def test_batches_too_large_for_an_entry_are_split() -> None:
    desk = _Desk()
    await desk.begin()
    for number in range(64):
        facts = {"address": f"{number:064}", "certificate_expires_s": 2**40}
        desk.report(Outcome.FAIL, detail=f"{number:03} " + "x" * 196, **facts)
    await desk.author.say_bye(Bye("stopped"))
    kinds = [entry.kind for entry in desk.published]
    assert kinds == [Kind.HELLO, Kind.PLAN, Kind.RESULTS, Kind.RESULTS, Kind.BYE]
    assert [result.detail[:3] for result in desk.results()] == [f"{number:03}" for number in range(64)]


@pytest.mark.trio
async def test_result_that_no_entry_can_hold_is_an_error_and_not_a_flood() -> None:
    desk = _Desk()
    await desk.begin()
    desk.author.report(Run(0, desk.clock.up_ms() + 1_000_000, ProbeResult(Outcome.PASS), 0))
    with pytest.raises(EntryError):
        await desk.author.say_bye(Bye("stopped"))
    assert len(desk.published) == 2


@pytest.mark.trio
async def test_heartbeats_are_written_when_there_is_nothing_to_say(autojump_clock: trio.testing.MockClock) -> None:
    desk = _Desk()
    await desk.begin()
    await desk.run_for(35)
    assert desk.wall_seconds() == [0, 0, 10, 20, 30]
    assert desk.results() == []
    assert {entry.next_ms for entry in desk.published} == {2 * _FLUSH_MS + 5_000}


@pytest.mark.trio
async def test_change_of_state_is_told_at_once_and_other_results_wait(autojump_clock: trio.testing.MockClock) -> None:
    desk = _Desk()
    await desk.begin()
    await desk.run_for(4, desk.report)
    assert desk.wall_seconds() == [0, 0, 0], "a first vote is a change"
    await desk.run_for(4, lambda: desk.report(Outcome.FAIL))
    assert len(desk.published) == 3, "one failure of two is none"
    await desk.run_for(0.5, lambda: desk.report(Outcome.FAIL))
    assert desk.wall_seconds() == [0, 0, 0, 8]
    assert [result.outcome for result in desk.results()] == [Outcome.PASS, Outcome.FAIL, Outcome.FAIL]


@pytest.mark.trio
async def test_turning_vote_asks_for_a_quick_confirmation() -> None:
    desk = _Desk()
    await desk.begin()
    assert not desk.report()
    assert desk.report(Outcome.FAIL)
    assert not desk.report(Outcome.FAIL)
    assert desk.report()


@pytest.mark.trio
async def test_full_entrys_worth_is_written_at_once(autojump_clock: trio.testing.MockClock) -> None:
    desk = _Desk()
    await desk.begin()
    await desk.run_for(_FLUSH_MS / 1_000 + 1, desk.report)  # a vote has formed
    before = len(desk.published)
    await desk.run_for(1, *[desk.report] * 63)
    assert len(desk.published) == before
    await desk.run_for(1, desk.report)
    assert len(desk.published) == before + 1
    assert len(desk.results()) == 1 + 64


@pytest.mark.trio
async def test_certificate_and_addresses_are_told_when_they_change_and_hourly(
    autojump_clock: trio.testing.MockClock,
) -> None:
    desk = _Desk()
    await desk.begin()
    for address, pause_seconds in (("192.0.2.1", 60), ("192.0.2.1", 60), ("192.0.2.2", 60), ("192.0.2.2", 3_600)):
        desk.report(address=address, other_address=f"{address}0:9", certificate_expires_s=1_800_000_000)
        await trio.sleep(pause_seconds)
    desk.report(address="192.0.2.2", other_address="192.0.2.20:9", certificate_expires_s=1_800_000_000)
    await desk.author.say_bye(Bye("stopped"))
    assert [result.address for result in desk.results()] == ["192.0.2.1", None, "192.0.2.2", None, "192.0.2.2"]
    others = [result.other_address for result in desk.results()]
    assert others == ["192.0.2.10:9", None, "192.0.2.20:9", None, "192.0.2.20:9"]
    expiries = [result.certificate_expires_s for result in desk.results()]
    assert expiries == [1_800_000_000, None, 1_800_000_000, None, 1_800_000_000]


@pytest.mark.trio
async def test_known_hello_and_plan_are_not_repeated() -> None:
    desk = _Desk()
    await desk.begin()
    await desk.author.begin(desk.pen.greeting(), desk.pen.greeting(), _ROWS, 1)
    assert [entry.kind for entry in desk.published] == [Kind.HELLO, Kind.PLAN, Kind.RESULTS]
    assert read_results(desk.published[2].payload, desk.published[2].up_ms).plan_seq == 1
    renamed = replace(desk.pen.greeting(), name="ann-2")
    await desk.author.begin(renamed, desk.pen.greeting(), _ROWS, 1)
    assert read_hello(desk.published[3]) == renamed


@pytest.mark.trio
async def test_results_name_the_plan_that_they_belong_to() -> None:
    desk = _Desk()
    await desk.begin()
    await desk.author.begin(desk.pen.greeting(), desk.pen.greeting(), _ROWS, None)
    desk.report()
    await desk.author.say_bye(Bye("stopped"))
    results = desk.published[-2]
    assert [entry.kind for entry in desk.published[:3]] == [Kind.HELLO, Kind.PLAN, Kind.PLAN]
    assert read_results(results.payload, results.up_ms).plan_seq == 2
