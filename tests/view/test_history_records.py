"""What each vantage has recorded, read from its days and hours: the same as added up by hand, whenever it is asked."""

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.outcome import Outcome
from demesh.view.history import History, Signed
from demesh.view.history_store import HistoryStore
from demesh.view.record import NOTHING, Record, Run, Runs, kept

_MIDNIGHT_MS = 19_000 * DAY_MS
_NOW_MS = _MIDNIGHT_MS + 20 * HOUR_MS
_FRA, _NYC = b"fra".ljust(32), b"nyc".ljust(32)


def _signed(key: bytes, period_ms: int, start_ms: int, passed: int, failed: int = 0, errors: int = 0) -> Signed:
    sums = Sums()
    tests = passed + failed + errors
    sums.up_ms, sums.down_ms = period_ms * passed // tests, period_ms * failed // tests
    for outcome, number in ((Outcome.PASS, passed), (Outcome.TIMEOUT, failed), (Outcome.ERROR, errors)):
        sums.counts[outcome] = number
    return Signed(key, key[:16], "time", period_ms, start_ms, sums)


def _by_hand(rows: Iterable[Signed], now_ms: int) -> Record:
    """Of the rows of one vantage, none of which is of a time that another speaks for."""
    parts: list[Record] = []
    for each in sorted(rows, key=lambda row: row.start_ms):
        sums, end_ms = each.sums, each.start_ms + each.period_ms
        share = kept(now_ms - each.start_ms - each.period_ms / 2)
        run = Run(each.start_ms, end_ms) if sums.passed and not sums.failed else None
        runs = Runs(sums.failed > 0, run, run, each.period_ms if run else 0)
        times = (sums.up_ms, sums.down_ms, share * sums.up_ms, share * sums.down_ms)
        parts.append(Record(*times, sums.passed, sums.failed, end_ms if sums.passed else None, runs))
    *_, whole = accumulate(parts, Record.then, initial=NOTHING)
    return whole


def _assert_same(found: Record, expected: Record) -> None:
    assert found.kept_up_ms == pytest.approx(expected.kept_up_ms)
    assert found.kept_down_ms == pytest.approx(expected.kept_down_ms)
    assert replace(found, kept_up_ms=0, kept_down_ms=0) == replace(expected, kept_up_ms=0, kept_down_ms=0)


def _history(chance: random.Random) -> list[Signed]:
    """Some weeks of days up to three days ago, and hours since."""

    def counts() -> tuple[int, int, int]:
        return chance.choice([(4, 0, 0), (4, 0, 0), (4, 0, 0), (3, 1, 0), (0, 4, 0), (0, 0, 4)])

    days = [_signed(_FRA, DAY_MS, _MIDNIGHT_MS - day * DAY_MS, *counts()) for day in range(3, 40)]
    hours = [_signed(_FRA, HOUR_MS, _NOW_MS - hour * HOUR_MS, *counts()) for hour in range(1, 69)]
    return [each for each in (*days, *hours) if chance.random() < 0.9]


@pytest.mark.parametrize("seed", range(10))
def test_a_record_is_what_its_days_and_hours_add_up_to_in_whatever_order_they_came(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    rows = _history(chance)
    with HistoryStore(tmp_path / "view.db") as store:
        for part in (rows[::2], rows[1::2]):
            chance.shuffle(part)
            store.save(History(b""), part, [])
        _assert_same(store.records(_NOW_MS)["time"][_FRA], _by_hand(rows, _NOW_MS))


def test_asking_each_day_says_the_same_as_asking_once(tmp_path: Path) -> None:
    rows = _history(random.Random(5))
    with HistoryStore(tmp_path / "view.db") as store:
        told_ms = 0
        for day in range(30, -1, -1):
            now_ms = _NOW_MS - day * DAY_MS
            store.save(History(b""), [row for row in rows if told_ms <= row.start_ms < now_ms], [])
            told_ms = now_ms
            _assert_same(
                store.records(now_ms)["time"][_FRA], _by_hand([row for row in rows if row.start_ms < now_ms], now_ms)
            )


@pytest.mark.parametrize("days_ago", [1, 9])
def test_a_signed_day_takes_the_place_of_its_hours_however_late_it_comes(days_ago: int, tmp_path: Path) -> None:
    start_ms = _MIDNIGHT_MS - days_ago * DAY_MS
    hours = [_signed(_FRA, HOUR_MS, start_ms + hour * HOUR_MS, 4) for hour in range(5)]
    day = _signed(_FRA, DAY_MS, start_ms, 90, 6)
    with HistoryStore(tmp_path / "view.db") as store:
        for rows, counted in ((hours[:3], hours[:3]), (hours[3:], hours), ([day], [day])):
            store.save(History(b""), rows, [])
            _assert_same(store.records(_NOW_MS)["time"][_FRA], _by_hand(counted, _NOW_MS))
        store.forget(_MIDNIGHT_MS)
        _assert_same(store.records(_NOW_MS)["time"][_FRA], _by_hand([day], _NOW_MS))


def test_what_is_forgotten_is_in_no_record(tmp_path: Path) -> None:
    old, new = (_signed(_FRA, HOUR_MS, _MIDNIGHT_MS - days * DAY_MS, 4) for days in (9, 3))
    other = _signed(_NYC, HOUR_MS, _MIDNIGHT_MS - 9 * DAY_MS, 4)
    with HistoryStore(tmp_path / "view.db") as store:
        store.save(History(b""), [old, new, other], [])
        assert set(store.records(_NOW_MS)["time"]) == {_FRA, _NYC}
        store.forget_logs([_NYC[:16]])
        assert set(store.records(_NOW_MS)["time"]) == {_FRA}
        store.forget(_MIDNIGHT_MS - 5 * DAY_MS)
        _assert_same(store.records(_NOW_MS)["time"][_FRA], _by_hand([new], _NOW_MS))


def test_what_begins_later_than_now_is_not_there_yet_and_a_clock_may_be_set_back(tmp_path: Path) -> None:
    rows = [_signed(_FRA, HOUR_MS, _MIDNIGHT_MS + hour * HOUR_MS, 4) for hour in (-90, -30, 3)]
    with HistoryStore(tmp_path / "view.db") as store:
        store.save(History(b""), rows, [])
        for now_ms, there in ((_NOW_MS, 3), (_MIDNIGHT_MS, 2), (_MIDNIGHT_MS - 2 * DAY_MS, 1)):
            _assert_same(store.records(now_ms)["time"][_FRA], _by_hand(rows[:there], now_ms))


def test_each_vantage_and_each_check_has_its_own(tmp_path: Path) -> None:
    fra, nyc = (_signed(key, DAY_MS, _MIDNIGHT_MS - 5 * DAY_MS, 4, failed) for key, failed in ((_FRA, 0), (_NYC, 4)))
    with HistoryStore(tmp_path / "view.db") as store:
        store.save(History(b""), [fra, nyc, fra._replace(name="web")], [])
        found = store.records(_NOW_MS)
    assert {name: set(of) for name, of in found.items()} == {"time": {_FRA, _NYC}, "web": {_FRA}}
    _assert_same(found["time"][_NYC], _by_hand([nyc], _NOW_MS))
