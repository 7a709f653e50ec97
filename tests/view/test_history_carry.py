"""History is a function of the logs that are held and not carried, in whatever order they and the carry came."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from demesh.log.carry import carry_payloads
from demesh.log.checkpoint import checkpoint_payloads
from demesh.log.entry import Entry, Kind
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.view.history import History
from demesh.view.history_store import HistoryStore, open_history
from demesh.view.uptime import OpenHistory, Past, look_back
from tests.log.builders import fields_of, generated
from tests.view.build import FAIL, WALL_MS
from tests.view.test_history import MIDNIGHT_MS, MINUTE_MS, _Author

_DAY = (WALL_MS + MIDNIGHT_MS) // DAY_MS
_NOW_MS = MIDNIGHT_MS + 9 * DAY_MS


def _epoch(number: int) -> _Author:
    """An epoch of a day: two hours of results, of which one is summed, then the day before if there is one."""
    author, start_ms = _Author("fra", epoch=number, boot=number), MIDNIGHT_MS + number * DAY_MS
    author.begin(start_ms)
    author.watch(start_ms, 60)
    author.watch(start_ms + HOUR_MS, 50, FAIL)
    author.sum_hours(start_ms + HOUR_MS + MINUTE_MS)
    return author


def _day_of(author: _Author, day: int) -> dict[str, Sums]:
    """What an epoch holds of its day: what is signed, and what it left open."""
    log, total = author.own.logs[author.log], Sums()
    for rows in (*log.open.values(), log.undayed[day]):
        total.add(rows["web"])
    return {"web": total}


def _logs() -> tuple[list[_Author], int]:
    """Four epochs, of which the last sums the days of all, and carries two; and where in it that begins."""
    epochs = [_epoch(number) for number in range(3)]
    last = _Author("fra", epoch=9, boot=9)
    last.begin(MIDNIGHT_MS + 4 * DAY_MS)
    sums = {_DAY + number: _day_of(each, _DAY + number) for number, each in enumerate(epochs)}
    for day in (_DAY + 1, _DAY + 2):
        for payload in checkpoint_payloads(day, None, sums[day], []):
            last.put(last.entry(Kind.CHECKPOINT, payload, _NOW_MS))
    for payload in checkpoint_payloads(_DAY, None, sums[_DAY], []):  # in one that is carried itself
        epochs[1].put(epochs[1].entry(Kind.CHECKPOINT, payload, _NOW_MS))
    before = len(last.entries)
    parts = carry_payloads([b"epoch%03d" % 0, b"epoch%03d" % 1], {_DAY: sums[_DAY]})
    _, _, nonces, days, rows = fields_of(parts[0])
    for payload in ([0, 2, nonces, [], []], [1, 2, [], days, rows]):
        last.put(last.entry(Kind.CARRY, payload, _NOW_MS))
    last.watch(_NOW_MS, 3)
    return [*epochs, last], before


_EPOCHS, _CARRY_AT = _logs()
_KEY = _EPOCHS[0].key
_CARRIED = {_EPOCHS[0].log, _EPOCHS[1].log}


def _save(store: HistoryStore, history: History) -> None:
    store.save(history, history.take_signed(), list(history.logs), history.take_gone())


def _dump_of(*logs: list[Entry]) -> list[tuple[object, ...]]:
    with TemporaryDirectory() as place, HistoryStore(Path(place) / "view.db") as store:
        history = History(_KEY)
        for entries in logs:
            for entry in entries:
                history.apply(_KEY, entry)
        _save(store, history)
        return store.dump()


def _past(history: History) -> dict[str, Past]:
    with TemporaryDirectory() as place, HistoryStore(Path(place) / "view.db") as store:
        _save(store, history)
        return look_back(store, OpenHistory.of(history.logs.values()), WALL_MS + _NOW_MS)


def test_carry_leaves_the_uptime_of_days_as_it_was() -> None:
    history = History(_KEY)
    for author in _EPOCHS:
        for entry in author.entries[: _CARRY_AT if author is _EPOCHS[-1] else None]:
            history.apply(_KEY, entry)
    whole = _past(history)["web"].uptime
    history = History(_KEY)
    for author in _EPOCHS:
        for entry in author.entries[: _CARRY_AT + 2 if author is _EPOCHS[-1] else None]:
            history.apply(_KEY, entry)
    assert history.logs.keys() == {_EPOCHS[2].log, _EPOCHS[3].log}
    carried = _past(history)["web"].uptime
    assert whole["30d"].ratio is not None
    assert (carried["30d"], carried["365d"]) == (whole["30d"], whole["365d"])


def test_carry_that_names_a_log_with_a_carry_takes_its_days_on() -> None:
    """The rows of an earlier carry are rows that its log holds: they go with it, and come with what carries it."""
    last = _Author("fra", epoch=10, boot=10)
    last.begin(_NOW_MS)
    with TemporaryDirectory() as place, HistoryStore(Path(place) / "view.db") as store:
        history = History(_KEY)
        for author in _EPOCHS:
            for entry in author.entries:
                history.apply(_KEY, entry)
        _save(store, history)
        days = store.days_in([_EPOCHS[-1].log])[_EPOCHS[-1].log]
    assert {row.day for row in days} == {_DAY, _DAY + 1, _DAY + 2}
    (payload,) = carry_payloads(
        [b"epoch%03d" % number for number in (0, 1, 9)], {row.day: {row.name: row.sums} for row in days}
    )
    last.put(last.entry(Kind.CARRY, payload, _NOW_MS))
    every = [*(author.entries for author in _EPOCHS), last.entries]
    assert _dump_of(*every) == _dump_of(*reversed(every)) == _dump_of(_EPOCHS[2].entries, last.entries)


@generated
@given(st.data())
def test_history_is_the_same_in_whatever_order_the_carry_and_the_carried_logs_came(data: st.DataObject) -> None:
    with TemporaryDirectory() as place:
        path = Path(place) / "view.db"
        left = {author.log: list(author.entries) for author in _EPOCHS}
        store, history, gone = HistoryStore(path), History(_KEY), False
        while any(left.values()):
            log = data.draw(st.sampled_from([log for log, entries in left.items() if entries]))
            count = data.draw(st.integers(1, len(left[log])))
            for entry in left[log][:count]:
                history.apply(_KEY, entry)
                gone = gone or (log == _EPOCHS[-1].log and entry.seq == _CARRY_AT + 1)
            left[log] = left[log][count:]
            if gone:  # who stores a carry offers nothing more of what it names
                left = {log: entries for log, entries in left.items() if log not in _CARRIED}
            if data.draw(st.booleans()):
                if data.draw(st.booleans()):
                    _save(store, history)
                # The process ends, with or without what was not saved, and the next one begins where that was.
                store.close()
                held = {a.log: len(a.entries) - 1 for a in _EPOCHS if not gone or a.log not in _CARRIED}
                store = open_history(path, held)
                history = store.load(_KEY)
                for author in _EPOCHS:
                    if author.log in held:
                        folded = history.logs.get(author.log)
                        at = folded.applied_seq + 1 if folded else 0
                        left[author.log] = author.entries[at:]
                        history.learn(_KEY, [e for e in author.entries[:at] if e.kind in (Kind.PLAN, Kind.CHECKPOINT)])
        _save(store, history)
        found = store.dump()
        store.close()
    assert found == _dump_of(_EPOCHS[2].entries, _EPOCHS[3].entries)
