"""The promises of `demesh.view.history`, its store, and of `demesh.view.uptime`."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import pytest

from demesh.errors import HistoryError
from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.entry import Entry, Kind
from demesh.log.plan import PlanRow
from demesh.log.rollup import rollup_payloads
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.outcome import Outcome
from demesh.view.history import History
from demesh.view.history_store import HistoryStore, make_anew, open_history
from demesh.view.uptime import WINDOWS, OpenHistory, Past, look_back
from tests.view.build import ERROR, FAIL, PASS, TIMEOUT, WALL_MS, MemberLog, result, row

MINUTE_MS = 60_000
MIDNIGHT_MS = DAY_MS - WALL_MS % DAY_MS
"""The up time of the members at a midnight, UTC."""
_WEB = row("web")


class _Author(MemberLog):
    """A member that runs checks every minute and keeps its books, as the node does."""

    def __init__(
        self, name: str = "fra", epoch: int = 0, boot: int = 0, skew_ms: int = 0, rows: Sequence[PlanRow] = (_WEB,)
    ) -> None:
        super().__init__(name, epoch, boot, skew_ms)
        self.entries: list[Entry] = []
        self.own = History(self.key)
        self.rows = rows

    def put(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.own.apply(self.key, entry)

    def begin(self, up_ms: int) -> None:
        for entry in self.start(up_ms, *self.rows):
            self.put(entry)

    def watch(self, start_ms: int, minutes: int, outcomes: Iterator[Outcome] | Outcome = PASS) -> int:
        """One result a minute for each check; returns the time of the last."""
        up_ms = start_ms
        for minute in range(minutes):
            up_ms = start_ms + minute * MINUTE_MS
            said = outcomes if isinstance(outcomes, Outcome) else next(outcomes)
            self.put(self.results(up_ms, *(result(said, up_ms, check) for check in range(len(self.rows)))))
        return up_ms

    def sum_hours(self, up_ms: int) -> None:
        last = (WALL_MS + up_ms) // HOUR_MS - 1
        for hour, rows in sorted(self.own.logs[self.log].open.items()):
            for payload in rollup_payloads(hour, rows) if hour <= last else ():
                self.put(self.entry(Kind.ROLLUP, payload, up_ms))

    def sum_days(self, up_ms: int) -> None:
        last = (WALL_MS + up_ms) // DAY_MS - 1
        for day, rows in sorted(self.own.logs[self.log].undayed.items()):
            for payload in checkpoint_payloads(day, None, rows, []) if day <= last else ():
                self.put(self.entry(Kind.CHECKPOINT, payload, up_ms))


def _folded(*logs: Sequence[Entry], keys: dict[bytes, bytes], own: bytes = b"") -> History:
    history = History(own)
    for entries in logs:
        for entry in entries:
            history.apply(keys[entry.log], entry)
    return history


def _store(path: Path, history: History) -> HistoryStore:
    store = HistoryStore(path)
    store.save(history, history.take_signed(), list(history.logs), history.take_gone())
    return store


def _past(path: Path, history: History, up_ms: int, name: str = "web") -> Past:
    store = _store(path, history)
    try:
        return look_back(store, OpenHistory.of(history.logs.values()), WALL_MS + up_ms)[name]
    finally:
        store.close()


_WATCHED_MINUTES = 54 * 60 + 15


def _author_of_two_days() -> tuple[_Author, int]:
    """Results every minute for two days and a quarter, with books kept each hour; an hour of failures on the first day."""
    author = _Author()
    author.begin(MIDNIGHT_MS)
    up_ms = MIDNIGHT_MS
    for hour in range(55):
        start_ms = MIDNIGHT_MS + hour * HOUR_MS
        outcome = FAIL if hour == 5 else PASS
        up_ms = author.watch(start_ms, 15, outcome) + MINUTE_MS
        author.sum_hours(up_ms)
        author.sum_days(up_ms)
        if hour < 54:
            author.watch(up_ms, 45, outcome)
    return author, up_ms


def test_a_result_speaks_for_the_time_since_the_one_before(tmp_path: Path) -> None:
    author = _Author()
    author.begin(MIDNIGHT_MS)
    author.watch(MIDNIGHT_MS, 31)
    author.watch(MIDNIGHT_MS + 31 * MINUTE_MS, 30, FAIL)
    (rows,) = [hours["web"] for hour, hours in author.own.logs[author.log].open.items() if hour % 24 == 0]
    assert (rows.up_ms, rows.down_ms) == (30 * MINUTE_MS, 30 * MINUTE_MS)
    assert rows.counts == [31, 29, 0, 0, 0]  # the last one ended in the next hour


@pytest.mark.parametrize(("outcome", "up", "down"), [(PASS, 1, 0), (FAIL, 0, 1), (TIMEOUT, 0, 1), (ERROR, 0, 0)])
def test_what_the_node_could_not_probe_is_neither_up_nor_down(outcome: Outcome, up: int, down: int) -> None:
    author = _Author()
    author.begin(MIDNIGHT_MS)
    author.watch(MIDNIGHT_MS, 1)
    author.watch(MIDNIGHT_MS + MINUTE_MS, 1, outcome)
    (rows,) = author.own.logs[author.log].open.values()
    assert (rows["web"].up_ms, rows["web"].down_ms) == (up * MINUTE_MS, down * MINUTE_MS)


def test_what_was_missed_is_nobodys() -> None:
    author = _Author()
    author.begin(MIDNIGHT_MS)
    author.watch(MIDNIGHT_MS, 1)
    author.watch(MIDNIGHT_MS + 30 * MINUTE_MS, 1)
    (rows,) = author.own.logs[author.log].open.values()
    assert rows["web"].up_ms == MINUTE_MS + 10_000  # interval and timeout


def test_nothing_is_observed_across_a_restart_of_the_machine() -> None:
    author = _Author()
    author.begin(MIDNIGHT_MS)
    author.watch(MIDNIGHT_MS, 1)
    author.boot8 = b"rebooted"
    author.watch(MIDNIGHT_MS + MINUTE_MS, 1)
    (rows,) = author.own.logs[author.log].open.values()
    assert (rows["web"].counts[Outcome.PASS], rows["web"].up_ms) == (2, 0)


def test_time_is_split_between_the_hours_it_lies_in() -> None:
    author = _Author(rows=[row("slow", interval_ms=6 * HOUR_MS)])
    author.begin(MIDNIGHT_MS)
    author.watch(MIDNIGHT_MS + HOUR_MS // 2, 1)
    author.watch(MIDNIGHT_MS + 3 * HOUR_MS, 1)
    open_ = author.own.logs[author.log].open
    first = min(open_)
    assert {hour - first: rows["slow"].up_ms for hour, rows in open_.items()} == {
        0: HOUR_MS // 2,
        1: HOUR_MS,
        2: HOUR_MS,
        3: 0,
    }


def test_rollup_takes_the_place_of_exactly_what_it_sums() -> None:
    author, up_ms = _author_of_two_days()
    hours = {each.start_ms: each.sums for each in author.own.take_signed() if each.period_ms == HOUR_MS}
    ((hour, left),) = author.own.logs[author.log].open.items()  # the quarter of an hour that is not over
    assert len(hours) == 54
    results = [entry for entry in author.entries if entry.kind != Kind.ROLLUP]
    raw = _folded(results, keys={author.log: author.key}).logs[author.log].open
    assert {hour * HOUR_MS: rows["web"] for hour, rows in raw.items()} == {**hours, hour * HOUR_MS: left["web"]}
    watched_ms = sum(each.up_ms + each.down_ms for each in [*hours.values(), left["web"]])
    assert watched_ms == up_ms - MIDNIGHT_MS - MINUTE_MS


def test_checkpoint_sums_the_hours_of_its_day() -> None:
    author, _ = _author_of_two_days()
    signed = author.own.take_signed()
    days = {each.start_ms: each.sums for each in signed if each.period_ms == DAY_MS}
    assert len(days) == 2
    for start_ms, sums in days.items():
        total = Sums()
        for each in signed:
            if each.period_ms == HOUR_MS and each.start_ms - each.start_ms % DAY_MS == start_ms:
                total.add(each.sums)
        assert total == sums
    assert set(author.own.logs[author.log].undayed) == {max(days) // DAY_MS + 1}  # today's hours wait for theirs


def test_results_that_came_late_for_their_hour_are_summed_by_a_second_rollup() -> None:
    author = _Author(rows=[row("slow", interval_ms=6 * HOUR_MS)])
    author.begin(MIDNIGHT_MS)
    author.watch(MIDNIGHT_MS + 1, 1)
    for hour in range(1, 8):
        if hour == 6:
            author.watch(MIDNIGHT_MS + 6 * HOUR_MS + 1, 1)
        author.sum_hours(MIDNIGHT_MS + hour * HOUR_MS + 2)
    signed = author.own.take_signed()
    assert len([each for each in signed if each.start_ms == min(s.start_ms for s in signed)]) == 2
    assert sum(each.sums.up_ms for each in signed) == 6 * HOUR_MS


def test_history_is_the_same_however_logs_arrive_and_wherever_it_was_saved(tmp_path: Path) -> None:
    authors = [_Author("fra"), _Author("nyc", skew_ms=90_000), _Author("fra", epoch=1, boot=1)]
    for number, author in enumerate(authors):
        author.begin(MIDNIGHT_MS + number)
        for hour in range(6):
            author.watch(MIDNIGHT_MS + hour * HOUR_MS + number, 60, FAIL if hour == number else PASS)
            author.sum_hours(MIDNIGHT_MS + (hour + 1) * HOUR_MS + MINUTE_MS)
    keys = {author.log: author.key for author in authors}
    one = _store(tmp_path / "one.db", _folded(*(author.entries for author in authors), keys=keys, own=authors[0].key))
    rng = random.Random(7)
    path = tmp_path / "other.db"
    make_anew(path).close()
    left = [list(author.entries) for author in authors]
    while any(left):  # arrives mixed, in pieces; between two the process dies with what it had not saved
        store = HistoryStore(path)
        history = store.load(authors[0].key)
        for entries in left:
            for entry in entries[:1]:
                log = history.logs.get(entry.log)
                history.learn(
                    keys[entry.log],
                    [
                        e
                        for e in authors[left.index(entries)].entries
                        if log and e.seq <= log.applied_seq and e.kind == Kind.PLAN
                    ],
                )
        for _ in range(rng.randint(1, 40)):
            entries = rng.choice([each for each in left if each] or [[]])
            for entry in entries[: rng.randint(1, 9)]:
                history.apply(keys[entry.log], entry)
        if rng.random() < 0.7:
            store.save(history, history.take_signed(), list(history.logs))
            for entries in left:
                done = history.logs[entries[0].log].applied_seq if entries and entries[0].log in history.logs else -1
                entries[:] = [entry for entry in entries if entry.seq > done]
        store.close()
    other = HistoryStore(path)
    assert other.dump() == one.dump()
    one.close()
    other.close()


def test_a_shortened_log_tells_the_same_hours_and_days(tmp_path: Path) -> None:
    author, up_ms = _author_of_two_days()
    keys = {author.log: author.key}
    kept = [e for e in author.entries if e.kind != Kind.RESULTS or e.wall_ms > WALL_MS + up_ms - 5 * HOUR_MS]
    whole = _past(tmp_path / "whole.db", _folded(author.entries, keys=keys), up_ms)
    short = _past(tmp_path / "short.db", _folded(kept, keys=keys), up_ms)
    assert short == whole


def test_uptime_over_each_window(tmp_path: Path) -> None:
    author, up_ms = _author_of_two_days()
    past = _past(tmp_path / "view.db", _folded(author.entries, keys={author.log: author.key}), up_ms)
    assert past.uptime.keys() == WINDOWS.keys()
    assert [past.uptime[window].ratio for window in ("1h", "24h")] == [1.0, 1.0]
    watched = _WATCHED_MINUTES - 1
    assert past.uptime["24h"].coverage == pytest.approx(1 - 1 / (23 * 60 + 15))  # the last minute is nobody's yet
    assert past.uptime["7d"].ratio == pytest.approx(1 - 60 / watched)
    assert past.uptime["7d"].coverage == pytest.approx(watched / ((7 * 24 - 1) * 60 + 15))
    assert past.uptime["30d"].ratio == past.uptime["365d"].ratio == past.uptime["7d"].ratio
    assert past.uptime["365d"].coverage == pytest.approx(watched / ((364 * 24 + 6) * 60 + 15))  # from a midnight on
    assert past.latency_ms == {
        "p50": pytest.approx(12.3, rel=0.125),
        "p95": pytest.approx(12.3, rel=0.125),
        "p99": pytest.approx(12.3, rel=0.125),
    }


def test_the_hour_window_forgets_an_outage_when_it_is_over_an_hour_ago(tmp_path: Path) -> None:
    author = _Author()
    author.begin(MIDNIGHT_MS)
    author.watch(MIDNIGHT_MS, 60)
    author.watch(MIDNIGHT_MS + HOUR_MS, 10, FAIL)
    up_ms = author.watch(MIDNIGHT_MS + HOUR_MS + 10 * MINUTE_MS, 30)
    keys = {author.log: author.key}
    during = _past(tmp_path / "1.db", _folded(author.entries, keys=keys), up_ms).uptime["1h"]
    assert during.ratio == pytest.approx(1 - 10 / 59, abs=0.02)
    up_ms = author.watch(up_ms + MINUTE_MS, 45)
    after = _past(tmp_path / "2.db", _folded(author.entries, keys=keys), up_ms).uptime["1h"]
    assert after.ratio == 1.0
    assert after.coverage == pytest.approx(1, abs=0.02)
    assert _past(tmp_path / "3.db", _folded(author.entries, keys=keys), up_ms).uptime["24h"].ratio != 1.0


def test_two_vantages_add_evidence_but_no_coverage(tmp_path: Path) -> None:
    authors = [_Author("fra"), _Author("nyc")]
    for author, outcome in zip(authors, (PASS, FAIL), strict=True):
        author.begin(MIDNIGHT_MS)
        author.watch(MIDNIGHT_MS, 180, outcome)
        author.sum_hours(MIDNIGHT_MS + 2 * HOUR_MS)
    up_ms = MIDNIGHT_MS + 3 * HOUR_MS
    history = _folded(*(author.entries for author in authors), keys={each.log: each.key for each in authors})
    past = _past(tmp_path / "view.db", history, up_ms)
    assert past.uptime["24h"].ratio == pytest.approx(0.5)
    assert past.uptime["24h"].coverage == pytest.approx(3 / 24, abs=0.002)
    assert past.uptime["30d"].coverage == pytest.approx(3 / (29 * 24 + 3), abs=0.001)


def test_a_new_epochs_checkpoint_sums_what_the_old_one_left_open_and_it_counts_once(tmp_path: Path) -> None:
    old, new = _Author("fra"), _Author("fra", epoch=1, boot=1)
    old.begin(MIDNIGHT_MS)
    old.watch(MIDNIGHT_MS, 90)
    old.sum_hours(MIDNIGHT_MS + HOUR_MS)
    new.begin(MIDNIGHT_MS + 2 * HOUR_MS)
    keys = {old.log: old.key, new.log: new.key}
    up_ms = MIDNIGHT_MS + DAY_MS + HOUR_MS
    open_ = old.own.logs[old.log].open
    sums = Sums()
    for rows in open_.values():
        sums.add(rows["web"])
    sums.add(old.own.logs[old.log].undayed[(WALL_MS + MIDNIGHT_MS) // DAY_MS]["web"])
    (payload,) = checkpoint_payloads((WALL_MS + MIDNIGHT_MS) // DAY_MS, None, {"web": sums}, [])
    new.put(new.entry(Kind.CHECKPOINT, payload, up_ms))
    one = _past(tmp_path / "1.db", _folded(old.entries, new.entries, keys=keys), up_ms)
    two = _past(tmp_path / "2.db", _folded(new.entries, old.entries, keys=keys), up_ms)
    assert one == two
    assert one.uptime["30d"].coverage == pytest.approx(89 / ((29 * 24 + 1) * 60), abs=0.0001)


def test_no_evidence_has_no_ratio(tmp_path: Path) -> None:
    author = _Author()
    author.begin(MIDNIGHT_MS)
    author.watch(MIDNIGHT_MS, 1)
    past = _past(tmp_path / "view.db", author.own, MIDNIGHT_MS + 1)
    assert (past.uptime["24h"].ratio, past.uptime["24h"].coverage) == (None, 0)


def test_a_damaged_or_foreign_view_is_made_anew(tmp_path: Path) -> None:
    author, _ = _author_of_two_days()
    path = tmp_path / "view.db"
    _store(path, author.own).close()
    held = {author.log: len(author.entries) - 1}
    store = open_history(path, held)
    assert store.load(b"").logs.keys() == {author.log}
    store.close()
    store = open_history(path, {author.log: 3})  # a store that was put back
    assert not store.load(b"").logs
    store.save(author.own, [], list(author.own.logs))
    store.close()
    path.write_bytes(b"no database at all" * 1_000)
    store = open_history(path, held)
    assert store.dump() == []
    store.close()


def test_a_later_version_of_the_view_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "view.db"
    HistoryStore(path).close()
    apsw.Connection(str(path)).pragma("user_version", 99)
    with pytest.raises(HistoryError):
        HistoryStore(path)
    open_history(path, {}).close()


def test_old_hours_are_forgotten_and_days_stay(tmp_path: Path) -> None:
    author, up_ms = _author_of_two_days()
    store = _store(tmp_path / "view.db", author.own)
    store.forget(WALL_MS + up_ms)
    assert store.hours(0, WALL_MS + up_ms) == {}
    assert store.days(0, WALL_MS + up_ms)["web"].down_ms == HOUR_MS
    store.close()


@pytest.mark.parametrize("order", [1, -1])
def test_a_day_of_two_epochs_is_owed_once_whichever_is_folded_first(order: int) -> None:
    """What an older epoch signed of a day is not owed again once the newer one's checkpoint has summed it."""
    old, new = _Author("fra"), _Author("fra", epoch=1, boot=1)
    for author, start_ms in ((old, MIDNIGHT_MS), (new, MIDNIGHT_MS + 3 * HOUR_MS)):
        author.begin(start_ms)
        author.watch(start_ms, 120)
        author.sum_hours(start_ms + 2 * HOUR_MS)
    day = (WALL_MS + MIDNIGHT_MS) // DAY_MS
    sums = Sums()
    for author in (old, new):
        sums.add(author.own.logs[author.log].undayed[day]["web"])
    (payload,) = checkpoint_payloads(day, None, {"web": sums}, [])
    new.put(new.entry(Kind.CHECKPOINT, payload, MIDNIGHT_MS + DAY_MS + HOUR_MS))
    folded = _folded(*[old.entries, new.entries][::order], keys={old.log: old.key, new.log: new.key}, own=old.key)
    assert folded.logs[new.log].undayed == {}
    assert set(folded.logs[old.log].undayed) == {day}, "left to whoever knows which days are signed"


def test_a_damaged_row_is_said_to_be_damaged(tmp_path: Path) -> None:
    author, up_ms = _author_of_two_days()
    path = tmp_path / "view.db"
    _store(path, author.own).close()
    apsw.Connection(str(path)).execute("UPDATE sums SET columns = CAST(x'ff' || substr(columns, 2) AS BLOB)")
    with HistoryStore(path) as store, pytest.raises(HistoryError, match="damaged"):
        look_back(store, OpenHistory.of(author.own.logs.values()), WALL_MS + up_ms)
