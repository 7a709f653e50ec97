"""A flipped bit anywhere in `view.db` is noticed before anything is signed from it, or changes nothing."""

from collections import Counter
from pathlib import Path

import pytest

from demesh.errors import HistoryError
from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.outcome import Outcome
from demesh.view.history import History, LogHistory, Signed
from demesh.view.history_store import HistoryStore, open_history
from demesh.view.snapshot import encode_votes
from demesh.view.uptime import OpenHistory, look_back
from tests.in_memory import directory_in_memory

_KEYS, _LOGS = [bytes([n]) * 32 for n in (1, 2)], [bytes([n]) * 16 for n in (1, 2)]
_NOW_MS = 20_000 * DAY_MS
_PATTERNS = (1, 0x10, 0x80, 0xFF)


def _sums(number: int) -> Sums:
    sums = Sums()
    sums.up_ms, sums.down_ms = 3_500_000 + number, number
    for latency_us in range(1_000, 60_000, 7_000):
        sums.count(Outcome.PASS, latency_us)
    return sums


def _write(path: Path) -> None:
    history = History(_KEYS[0])
    for key, log in zip(_KEYS, _LOGS, strict=True):
        history.logs[log] = LogHistory(key, 7, open={480_000: {"web": _sums(3)}})
    signed = [
        Signed(key, log, name, period_ms, _NOW_MS - back * period_ms, _sums(back))
        for key, log in zip(_KEYS, _LOGS, strict=True)
        for name in ("web", "db")
        for period_ms in (HOUR_MS, DAY_MS)
        for back in range(1, 30)
    ]
    with HistoryStore(path) as store:
        store.save(history, signed, _LOGS)
        store.save_votes([(log, 7, encode_votes({})) for log in _LOGS])


def _told(store: HistoryStore) -> object:
    """All that a node takes from the file. Raises HistoryError."""
    history = store.load(_KEYS[0])
    for _ in range(20):
        store.scrub(20)
    past = look_back(store, OpenHistory.of(history.logs.values()), _NOW_MS)
    assert all(store.votes(log) in (None, (7, {})) for log in _LOGS), "they are folded anew, or are what they were"
    return past, store.days_in(_LOGS), store.days_signed(0, _NOW_MS), store.dump()


@pytest.mark.parametrize("step", [97, pytest.param(29, marks=pytest.mark.slow)])
def test_flipped_bit_in_the_view_is_noticed_or_changes_nothing(step: int) -> None:
    with directory_in_memory() as directory:
        _flip(directory / "view.db", step)


def _flip(path: Path, step: int) -> None:
    _write(path)
    whole = path.read_bytes()
    with HistoryStore(path) as store:
        right = _told(store)
    outcomes: Counter[str] = Counter()
    for at in range(0, len(whole), step):
        flipped = bytearray(whole)
        flipped[at] ^= _PATTERNS[at // step % len(_PATTERNS)]
        for left in path.parent.glob("view.db*"):
            left.unlink()
        path.write_bytes(flipped)
        store = open_history(path, dict.fromkeys(_LOGS, 7))
        try:
            told = _told(store)
        except HistoryError:
            outcomes["noticed"] += 1
            continue
        finally:
            store.close()
        made_anew = not store_has_sums(told)
        assert made_anew or told == right, f"byte {at}, {whole[at]:#x} -> {flipped[at]:#x}"
        outcomes["made anew" if made_anew else "same"] += 1
    print(dict(outcomes))
    assert outcomes["noticed"] > 0
    assert outcomes["same"] > 0


def store_has_sums(told: object) -> bool:
    assert isinstance(told, tuple)
    return bool(told[3])
