"""The promises of `demesh.historian`: what is folded is saved whole, and folding keeps nobody waiting for long."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from demesh import historian, limits
from demesh.errors import HistoryError
from demesh.historian import Historian
from demesh.log.entry import Entry, Kind
from demesh.log.evidence import proof_of, segment_of
from demesh.log.plan import split_plan
from demesh.log.results import Result, Results
from demesh.log.rollup import rollup_payloads
from demesh.log.store import Store
from demesh.log.sums import HOUR_MS
from demesh.outcome import Outcome
from demesh.own_sums import OwnSums
from demesh.view.history import History
from demesh.view.history_store import HistoryStore
from tests.log.builders import DirectHistoryStorage, DirectStorage, Pen, Shelf, TrioClock, public_key_of, rewritten
from tests.view.build import row

pytestmark = pytest.mark.trio
_OWN = "own"


class _Author(Pen):
    """A member with a result every five minutes, which signs each hour when it is over."""

    def __init__(self, owner: str, hours: int) -> None:
        super().__init__(owner)
        self.hello()
        (part,) = split_plan([row("web")])
        plan = self.write(Kind.PLAN, part.payload())
        books = History(self.public_key)
        for entry in self.entries:
            books.apply(self.public_key, entry)
        for _ in range(hours * 12):
            self.clock.now_ms += 300_000 - 1_000
            passed = Result(0, self.clock.up_ms(), Outcome.PASS, 1_200)
            books.apply(
                self.public_key, self.write(Kind.RESULTS, Results(plan.seq, (passed,)).payload(passed.up_ms + 1_000))
            )
            for hour, rows in sorted(books.logs[self.log].open.items()):
                for payload in rollup_payloads(hour, rows) if (hour + 1) * HOUR_MS < self.clock.wall_ms() else ():
                    books.apply(self.public_key, self.write(Kind.ROLLUP, payload))


@dataclass
class _Desk:
    """A historian over stored logs, and the file that it keeps."""

    shelf: Shelf
    kept: HistoryStore

    def historian(self, history: History) -> Historian:
        storage = DirectStorage()
        storage.store = self.shelf.store
        books = DirectHistoryStorage(self.kept)
        return Historian(history, books, storage, self.shelf.logs, lambda: (), TrioClock(), public_key_of(_OWN))


@pytest.fixture
def desk_of(tmp_path: Path) -> Generator[Callable[..., _Desk]]:
    with closing(HistoryStore(tmp_path / "view.db")) as kept:
        yield lambda *authors: _Desk(Shelf(*(author.entries for author in authors)), kept)


class _Interrupted(History):
    """Calls `interrupt` once so many rollups are folded."""

    def __init__(self, rollups: int, interrupt: Callable[[], None]) -> None:
        super().__init__(public_key_of(_OWN))
        self._left = rollups
        self._interrupt = interrupt

    def apply(self, public_key: bytes, entry: Entry) -> None:
        super().apply(public_key, entry)
        self._left -= entry.kind == Kind.ROLLUP
        if self._left == 0:
            self._interrupt()


async def test_no_hour_is_lost_when_folding_is_cancelled_half_way_through_a_page(
    desk_of: Callable[..., _Desk], tmp_path: Path
) -> None:
    author = _Author("ann", hours=9)
    desk = desk_of(author)
    with trio.CancelScope() as scope:
        await desk.historian(_Interrupted(5, scope.cancel)).run()
    loaded = desk.kept.load(public_key_of(_OWN))
    assert 0 < loaded.logs[author.log].applied_seq < author.entries[-1].seq, "it was half way through"
    loaded.learn(author.public_key, author.entries[:2])
    again = desk.historian(loaded)
    await again.catch_up(author.log)
    await again.save()
    with closing(HistoryStore(tmp_path / "anew.db")) as kept:
        anew = _Desk(desk.shelf, kept).historian(History(public_key_of(_OWN)))
        await anew.catch_up(author.log)
        await anew.save()
        assert desk.kept.dump() == kept.dump()


async def test_sums_of_the_own_log_wait_for_a_page_of_anothers_and_not_for_all_of_it(
    desk_of: Callable[..., _Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they are asked for, nothing can be appended to the own log."""
    monkeypatch.setattr(historian, "_PAGE_BYTES", 4_000)
    ann, own = _Author("ann", hours=20), _Author(_OWN, hours=2)
    desk = desk_of(ann, own)
    keeper = desk.historian(History(own.public_key))
    await keeper.catch_up(own.log)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.catch_up, ann.log)
            while keeper.behind == len(ann.entries):
                await trio.lowlevel.checkpoint()
            assert keeper.behind > len(ann.entries) - 40, "it has hardly begun"
            sums = OwnSums(keeper, keeper._storage, desk.shelf.logs, own.clock, own.public_key)
            await sums.due(own.log, own.clock.wall_ms())
            assert keeper.behind > len(ann.entries) // 2, "most of it is still to be folded"
    assert keeper.behind == 0


@pytest.mark.parametrize("fails", [False, True])
async def test_what_a_log_that_ends_in_front_of_a_fork_still_says_is_folded_anew(
    desk_of: Callable[..., _Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    author, place = _Author("ann", hours=9), 60
    desk = desk_of(author)
    keeper = desk.historian(History(public_key_of(_OWN)))
    await keeper.catch_up(author.log)
    await keeper.save()
    other = rewritten(author.entries[place], author.key)
    desk.shelf.prove(proof_of(segment_of(author.entries[place:]), [other]))
    with monkeypatch.context() as patched:
        if fails:
            patched.setattr(desk.kept, "save", _fail)
        await keeper.fold_anew(author.log)
    await keeper.catch_up(author.log)
    await keeper.save()
    with closing(HistoryStore(tmp_path / "anew.db")) as kept, closing(HistoryStore(desk.kept.path)) as found:
        anew = _Desk(desk.shelf, kept).historian(History(public_key_of(_OWN)))
        await anew.catch_up(author.log)
        await anew.save()
        assert found.dump() == kept.dump() != []


def _fail(*_: object) -> None:
    raise HistoryError("The file cannot be written.")


async def test_what_comes_in_by_the_thousands_is_let_in_before_it_is_folded(
    desk_of: Callable[..., _Desk], monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(limits, "HISTORY_FLOOD_ENTRIES_PER_SECOND", 4)
    ann = _Author("ann", hours=24)
    desk = desk_of()
    historian = desk.historian(History(public_key_of(_OWN)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(historian.run)
        await trio.sleep(
            4.5
        )  # it looks every five seconds, and then every second: between two times that something comes
        desk.shelf.take(ann.entries[:31])
        for first in range(31, 151, 10):
            await trio.sleep(1)
            assert historian.behind == first
            desk.shelf.take(ann.entries[first : first + 10])
        await trio.sleep(2)
        assert historian.behind == 0, "nothing has come for a second"
        nursery.cancel_scope.cancel()


async def test_whoever_writes_without_end_keeps_history_waiting_for_a_while_only(
    desk_of: Callable[..., _Desk], monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(limits, "HISTORY_FLOOD_ENTRIES_PER_SECOND", 4)
    monkeypatch.setattr(limits, "HISTORY_WAITED_SECONDS_MAX", 15)
    ann = _Author("ann", hours=24)
    desk = desk_of()
    historian = desk.historian(History(public_key_of(_OWN)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(historian.run)
        await trio.sleep(0.5)
        for first in range(0, 200, 10):
            desk.shelf.take(ann.entries[first : first + 10])
            await trio.sleep(1)
            assert historian.behind == first + 10 if first < 100 else True
        assert historian.behind < 10, "it has gone on to fold"
        nursery.cancel_scope.cancel()


async def test_results_that_rollups_sum_are_passed_over(
    desk_of: Callable[..., _Desk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    author, folded = _Author("ann", hours=20), list[Kind]()

    class Counting(History):
        def apply(self, public_key: bytes, entry: Entry) -> None:
            folded.append(Kind(entry.kind))
            super().apply(public_key, entry)

    async def kept_by(desk: _Desk) -> object:
        keeper = desk.historian(Counting(public_key_of(_OWN)))
        await keeper.catch_up(author.log)
        await keeper.save()
        return desk.kept.dump()

    desk = desk_of(author)
    all_of_it = await kept_by(desk)
    assert len(folded) == len(author.entries)
    folded.clear()
    monkeypatch.setattr(limits, "HISTORY_PASSED_OVER_MIN", 50)
    with closing(HistoryStore(tmp_path / "anew.db")) as kept:
        assert await kept_by(_Desk(desk.shelf, kept)) == all_of_it
    assert folded.count(Kind.RESULTS) < 40, "those of the last three hours"
    assert folded.count(Kind.ROLLUP) == sum(entry.kind == Kind.ROLLUP for entry in author.entries)


async def test_who_may_not_look_back_far_enough_does_not_look_again_for_every_page(
    desk_of: Callable[..., _Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    author, looks = _Author("ann", hours=20), list[int]()

    def look(store: Store, log: bytes, first: int, *, entries_max: int) -> int:
        looks.append(first)
        return first

    monkeypatch.setattr(historian, "unsummed_from", look)
    monkeypatch.setattr(historian, "_PAGE_BYTES", 2_000)
    monkeypatch.setattr(limits, "HISTORY_PASSED_OVER_MIN", 50)
    keeper = desk_of(author).historian(History(public_key_of(_OWN)))
    await keeper.catch_up(author.log)
    assert keeper.behind == 0
    assert looks == [0]
