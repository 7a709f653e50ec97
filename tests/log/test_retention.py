"""The promises of `demesh.log.retention` and of `demesh.housekeeping`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from demesh import housekeeping, limits
from demesh.housekeeping import Housekeeper, Retention
from demesh.log.bye import Bye
from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.entry import Entry, Kind
from demesh.log.head import Head
from demesh.log.plan import PlanPart
from demesh.log.results import Result
from demesh.log.retention import Terms, first_since, shorten, superseded
from demesh.log.rollup import rollup_payloads
from demesh.log.state import LogState
from demesh.log.store import Store
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.outcome import Outcome
from demesh.view.history import Checkpointed
from tests.log.builders import MESH, START_WALL_MS, DirectStorage, FakeClock, Pen, Shelf, bodies, put

_DAYS = 40
_START_MS = START_WALL_MS


class _Diary(Pen):
    """A log over many days: six results and a rollup each day, a plan each tenth day, a checkpoint in the morning."""

    def __init__(self, owner: str = "ann", days: int = _DAYS, epoch: int = 0) -> None:
        super().__init__(owner, epoch)
        self.hello()
        for day in range(days):
            if day % 10 == 0:
                for part in range(2):
                    self.write(Kind.PLAN, PlanPart(part, 2, ()).payload())
            for _ in range(6):
                self.clock.now_ms += DAY_MS // 6 - 2_000
                self.results()
            (payload,) = rollup_payloads(self.hour(), {"web": Sums()})
            self.write(Kind.ROLLUP, payload)
            for payload in checkpoint_payloads(self.hour() // 24, None, {"web": Sums()}, []):
                self.write(Kind.CHECKPOINT, payload)
            if day % 13 == 12:
                self.write(Kind.BYE, Bye("stopped").payload())
                self.write(cast(Kind, 99), ["a kind of a later version"])
                self.hello()

    def hour(self) -> int:
        return self.clock.wall_ms() // HOUR_MS


def _kinds(entries: Sequence[Entry]) -> set[int]:
    return {entry.kind for entry in entries}


def _shortened(terms: Terms) -> tuple[list[Entry], list[Entry], list[Entry]]:
    """What was written, what is kept below the cut, and what is whole."""
    diary = _Diary()
    shelf = Shelf(diary.entries)
    (state,) = shelf.logs.states()
    while shorten(shelf.store, state, terms):
        pass
    (state,) = shelf.store.logs()
    kept = [entry for entry in shelf.stored_all(state.log) if entry.seq < state.pruned_to]
    return diary.entries, kept, shelf.store.read(state.log, state.pruned_to, state.head.seq)[0]


_RAW_BEFORE_MS = _START_MS + 25 * DAY_MS
_HOURS_BEFORE_MS = _START_MS + 15 * DAY_MS


def test_results_go_when_their_time_is_over_and_nothing_younger_does() -> None:
    written, _, whole = _shortened(Terms(_RAW_BEFORE_MS, 0))
    assert bodies(whole) == bodies([entry for entry in written if entry.wall_ms >= _RAW_BEFORE_MS])


def test_what_sums_up_and_says_who_wrote_stays() -> None:
    written, kept, _ = _shortened(Terms(_RAW_BEFORE_MS, 0))
    old = [entry for entry in written if entry.wall_ms < _RAW_BEFORE_MS]
    for kind in (Kind.ROLLUP, Kind.CHECKPOINT):
        assert [e for e in kept if e.kind == kind] == [e for e in old if e.kind == kind]
    assert _kinds(kept) == {Kind.HELLO, Kind.PLAN, Kind.ROLLUP, Kind.CHECKPOINT}
    assert [e for e in kept if e.kind == Kind.HELLO] == [e for e in old if e.kind == Kind.HELLO][-1:]
    assert [e for e in kept if e.kind == Kind.PLAN] == [e for e in old if e.kind == Kind.PLAN][-4:]  # two, of two parts


def test_rollups_go_when_theirs_is_over_and_checkpoints_stay() -> None:
    written, kept, _ = _shortened(Terms(_RAW_BEFORE_MS, _HOURS_BEFORE_MS))
    rollups = [e for e in written if e.kind == Kind.ROLLUP and _HOURS_BEFORE_MS <= e.wall_ms < _RAW_BEFORE_MS]
    assert [e for e in kept if e.kind == Kind.ROLLUP] == rollups
    assert len([e for e in kept if e.kind == Kind.CHECKPOINT]) == 25


def test_hours_are_never_forgotten_before_results() -> None:
    _, kept, _ = _shortened(Terms(_HOURS_BEFORE_MS, _RAW_BEFORE_MS))
    assert Kind.ROLLUP not in _kinds(kept)


def test_a_log_keeps_its_head_whatever_its_age() -> None:
    written, _, whole = _shortened(Terms(2**50, 2**50))
    assert whole == written[-1:]


def test_what_is_left_vouches_for_itself() -> None:
    """Signed, or in a row that ends at a signature, whatever was left out before."""
    diary = _Diary(days=12)
    lean = [e._replace(signature=b"") if e.kind == Kind.RESULTS else e for e in diary.entries]
    shelf = Shelf(lean)
    (state,) = shelf.logs.states()
    while shorten(shelf.store, state, Terms(_START_MS + 6 * DAY_MS, 0)):
        pass
    (state,) = shelf.store.logs()
    assert all(entry.signature for entry in shelf.stored_all(state.log) if entry.seq < state.pruned_to)


@pytest.mark.parametrize("rows_max", [1, 7, 10_000])
def test_each_step_is_small_and_leaves_nothing_missing(monkeypatch: pytest.MonkeyPatch, rows_max: int) -> None:
    monkeypatch.setattr(limits, "RETENTION_ROWS_MAX", rows_max)
    shelf = Shelf(_Diary(days=20).entries)
    (state,) = shelf.logs.states()
    while removed := shorten(shelf.store, state, Terms(_START_MS + 10 * DAY_MS, _START_MS + 5 * DAY_MS)):
        assert removed <= rows_max
        (now,) = shelf.store.logs()
        whole, bad = shelf.store.read(now.log, now.pruned_to, now.head.seq)
        assert (len(whole), bad) == (now.head.seq + 1 - now.pruned_to, [])


def test_the_first_entry_since_a_time_is_found() -> None:
    shelf = Shelf(_Diary(days=5).entries)
    (state,) = shelf.logs.states()
    for wanted in (0, 1, 17, state.head.seq):
        wall_ms = shelf.store.wall_ms_at(state.log, wanted)
        assert wall_ms is not None
        assert first_since(shelf.store, state, wall_ms) == wanted
    assert first_since(shelf.store, state, 0) == 0
    assert first_since(shelf.store, state, 2**50) == state.head.seq


def test_only_the_newest_epochs_of_a_key_stay_whole() -> None:
    states = [
        (LogState(bytes([key, number]) * 8, bytes([key]) * 32, Head(1, bytes(32))), 1_000 * number)
        for key in (1, 2)
        for number in range(20 if key == 1 else 3)
    ]
    assert superseded(states) == {bytes([1, number]) * 8 for number in range(20 - limits.EPOCHS_WHOLE_MAX)}


@dataclass
class _Books:
    """As much of a historian as housekeeping asks for."""

    day: int | None = None
    forgotten_before_ms: int = 0

    def checkpoint(self, public_key: bytes) -> Checkpointed | None:
        return None if self.day is None else Checkpointed(self.day, bytes(16), Head(5, bytes(32)))

    async def forget(self, open_before_ms: int, hours_before_ms: int) -> None:
        self.forgotten_before_ms = hours_before_ms


class _House:
    """A housekeeper over stored diaries, `days` after they began."""

    def __init__(self, *diaries: _Diary, days: int = _DAYS, **retention: int) -> None:
        self.storage = DirectStorage()
        for diary in diaries:
            put(self.storage.store, diary.entries)
        self.shelf = Shelf(*(diary.entries for diary in diaries))
        self.clock = FakeClock()
        self.clock.now_ms = days * DAY_MS
        self.books = _Books()
        self.holding: tuple[int, int] = (1, 1)
        self.warnings: list[str] = []
        self.keeper = Housekeeper(
            Retention(**retention),
            self.storage,
            self.shelf.logs,
            self.books,
            self.clock,
            lambda log, seq: self.holding,
            lambda: 0,
            self.warn,
        )

    async def warn(self, text: str) -> None:
        self.warnings.append(text)

    def results(self) -> list[Entry]:
        """The results that are left, by age."""
        store = self.storage.store
        left = [each for state in store.logs() for each in store.each(state.log)]
        return sorted(
            (e for e in left if isinstance(e, Entry) and e.kind == Kind.RESULTS), key=lambda entry: entry.wall_ms
        )

    def oldest_days(self) -> int:
        """The age of the oldest result, in days."""
        return round((self.clock.wall_ms() - self.results()[0].wall_ms) / DAY_MS)


_LONG_AGO = 0
_YESTERDAY = (_START_MS + (_DAYS - 1) * DAY_MS) // DAY_MS


@pytest.mark.trio
@pytest.mark.parametrize(
    ("checkpoint", "holding", "oldest"),
    [
        (_YESTERDAY, (1, 1), 30),  # a node of its own
        (_YESTERDAY, (3, 9), 30),
        (_YESTERDAY, (2, 2), 30),
        (_YESTERDAY, (2, 9), _DAYS),
        (_YESTERDAY, (1, 2), _DAYS),
        (_LONG_AGO, (3, 9), _DAYS),
        (None, (3, 9), _DAYS),
    ],
)
async def test_results_wait_for_a_checkpoint_that_enough_members_hold(
    checkpoint: int | None, holding: tuple[int, int], oldest: int
) -> None:
    house = _House(_Diary())
    house.books.day, house.holding = checkpoint, holding
    await house.keeper.tidy()
    assert house.oldest_days() == oldest


@pytest.mark.trio
async def test_results_go_at_twice_their_age_whatever_others_hold() -> None:
    house = _House(_Diary(), raw_ms=10 * DAY_MS)
    await house.keeper.tidy()
    assert house.oldest_days() == 20
    assert house.books.forgotten_before_ms == house.clock.wall_ms() - 90 * DAY_MS


@pytest.mark.trio
@pytest.mark.parametrize(("checkpoint", "oldest"), [(None, _DAYS), (_YESTERDAY, 1), (_YESTERDAY - 5, 6)])
async def test_results_of_a_superseded_epoch_stay_until_their_day_is_summed(
    checkpoint: int | None, oldest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "superseded", lambda states: {state.log for state, _ in states})
    house = _House(_Diary())
    house.books.day, house.holding = checkpoint, (1, 9)
    await house.keeper.tidy()
    assert house.oldest_days() == pytest.approx(oldest, abs=1)


@pytest.mark.trio
async def test_size_wins_over_age_and_takes_the_oldest_of_all_logs() -> None:
    house = _House(_Diary("ann"), _Diary("bob", days=60), days=60)
    whole = house.storage.store.used_bytes()
    house = _House(_Diary("ann"), _Diary("bob", days=60), days=60, size_max=whole * 3 // 4)
    before = len(house.results())
    await house.keeper.tidy()
    assert house.storage.store.used_bytes() <= whole * 3 // 4
    left = house.results()
    assert 0 < len(left) < before
    by_log = {e.log: e.wall_ms for e in reversed(left)}
    assert max(by_log.values()) - min(by_log.values()) < 2 * DAY_MS or len(by_log) == 1


@pytest.mark.trio
async def test_room_is_made_before_the_store_is_full_so_that_what_comes_meanwhile_has_some() -> None:
    whole = _House(_Diary()).storage.store.used_bytes()
    for size_max, is_left_alone in ((whole * 10 // 9, True), (whole * 26 // 25, False)):
        house = _House(_Diary(), size_max=size_max, raw_ms=2 * _DAYS * DAY_MS)
        await house.keeper.tidy()
        assert (house.storage.store.used_bytes() == whole) == is_left_alone
        assert is_left_alone or house.storage.store.used_bytes() <= size_max * 0.9


@pytest.mark.trio
async def test_store_that_cannot_be_made_small_enough_is_said_to_be_too_large(caplog: pytest.LogCaptureFixture) -> None:
    house = _House(_Diary(), size_max=1_000)
    await house.keeper.tidy()
    await house.keeper.tidy()
    said = [record.getMessage() for record in caplog.records]
    assert sum("forgotten early" in each for each in said) == 1
    assert [each for each in said if "forgotten early" in each] == house.warnings
    assert "there is nothing left to forget" in said[-1]
    assert {e.kind for e in house.storage.store.each(house.shelf.logs.states()[0].log) if isinstance(e, Entry)} >= {
        Kind.CHECKPOINT,
        Kind.HELLO,
    }


@pytest.mark.trio
async def test_clock_that_jumps_ahead_forgets_nothing() -> None:
    house = _House(_Diary(), days=20)
    before = len(house.results())
    house.clock.ahead_ms = 400 * DAY_MS
    await house.keeper.tidy()
    assert len(house.results()) == before


@pytest.mark.trio
async def test_heads_tell_where_the_log_begins_now() -> None:
    house = _House(_Diary(), raw_ms=10 * DAY_MS)
    await house.keeper.tidy()
    assert house.shelf.logs.states() == house.storage.store.logs()
    assert house.shelf.logs.states()[0].pruned_to > 0


@pytest.mark.trio
async def test_space_goes_back_to_the_file_system(tmp_path: Path) -> None:
    house = _House(raw_ms=10 * DAY_MS)
    path = tmp_path / "log.db"
    with Store(path, mesh_id=MESH) as store:
        house.storage.store = store
        diary = _Diary(days=200)
        put(store, diary.entries)
        house.shelf.take(diary.entries)
        house.clock.now_ms = 200 * DAY_MS
        house.keeper = Housekeeper(
            Retention(10 * DAY_MS),
            house.storage,
            house.shelf.logs,
            house.books,
            house.clock,
            lambda log, seq: (1, 1),
            lambda: 0,
            house.warn,
        )
        await house.keeper.tidy()
        used = store.used_bytes()
    assert path.stat().st_size < 1.1 * used + 65_536


@pytest.mark.trio
async def test_size_wins_over_a_member_whose_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RETENTION_ENTRIES_MIN", 50)

    def house(**retention: int) -> _House:
        ahead = _Diary("ann", days=0)
        ahead.clock.ahead_ms = 400 * DAY_MS
        for _ in range(2_000):
            ahead.results(Result(0, ahead.clock.up_ms(), Outcome.TIMEOUT, 0, "x" * 150))
        return _House(ahead, days=10, **retention)

    whole = house().storage.store.used_bytes()
    pressed = house(size_max=whole // 3)
    await pressed.keeper.tidy()
    assert pressed.storage.store.used_bytes() <= whole // 3
    assert len(pressed.results()) > 50, "no more than is needed"
