"""What each vantage observed, day by day, as scores need it."""

from pathlib import Path

from demesh.log.sums import DAY_MS, HOUR_MS, Sums
from demesh.view.history import History, Signed
from demesh.view.history_store import HistoryStore
from demesh.view.score import Span

_DAY_START_MS = 19_000 * DAY_MS
_FRA, _NYC = b"fra".ljust(32), b"nyc".ljust(32)


def _signed(key: bytes, period_ms: int, start_ms: int, up_ms: int, down_ms: int) -> Signed:
    sums = Sums()
    sums.up_ms, sums.down_ms = up_ms, down_ms
    return Signed(key, key[:16], "time", period_ms, start_ms, sums)


def test_each_vantage_has_its_own_days_and_a_signed_day_takes_the_place_of_its_hours(tmp_path: Path) -> None:
    second_ms = _DAY_START_MS + DAY_MS
    rows = [
        _signed(_FRA, DAY_MS, _DAY_START_MS, 80, 20),
        _signed(_FRA, HOUR_MS, _DAY_START_MS + HOUR_MS, 7, 0),
        _signed(_NYC, HOUR_MS, _DAY_START_MS, 5, 0),
        _signed(_NYC, HOUR_MS, _DAY_START_MS + HOUR_MS, 0, 3),
        _signed(_NYC, HOUR_MS, second_ms, 9, 0),
        _signed(_NYC, HOUR_MS, second_ms + DAY_MS, 1, 0),
    ]
    with HistoryStore(tmp_path / "view.db") as store:
        store.save(History(b""), rows, [])
        found = store.spans(_DAY_START_MS, second_ms + DAY_MS)
    assert found == {
        "time": {
            _FRA: [Span(_DAY_START_MS, DAY_MS, 80, 20)],
            _NYC: [Span(_DAY_START_MS, DAY_MS, 5, 3), Span(second_ms, DAY_MS, 9, 0)],
        }
    }
