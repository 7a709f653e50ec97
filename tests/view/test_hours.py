"""The last 24 hours by the hour: the same history as uptime's, told as a bar needs it."""

from pathlib import Path

import pytest

from demesh.log.sums import HOUR_MS, Sums
from demesh.view.history import History, Signed
from demesh.view.history_store import HistoryStore
from demesh.view.hours import Hours, hours_of
from demesh.view.uptime import Observed, OpenHistory, OpenHour, Past, look_back

_FULL_HOUR_MS = 1_700_000_000_000 - 1_700_000_000_000 % HOUR_MS
_NOW_MS = _FULL_HOUR_MS + HOUR_MS // 2
_MINUTE_MS = 60_000


def _signed(node: str, hours_ago: int, up_minutes: int, down_minutes: int = 0) -> Signed:
    sums = Sums()
    sums.up_ms, sums.down_ms = up_minutes * _MINUTE_MS, down_minutes * _MINUTE_MS
    key = node.encode().ljust(32)
    return Signed(key, key[:16], "web", HOUR_MS, _FULL_HOUR_MS - hours_ago * HOUR_MS, sums)


def _open(node: str, hours_ago: int, up_minutes: int) -> OpenHour:
    key = node.encode().ljust(32)
    return OpenHour(key, "web", _FULL_HOUR_MS - hours_ago * HOUR_MS, up_minutes * _MINUTE_MS, 0, {})


def _past(path: Path, *rows: Signed | OpenHour, now_ms: int = _NOW_MS) -> Past:
    with HistoryStore(path / "view.db") as store:
        store.save(History(b""), [each for each in rows if isinstance(each, Signed)], [])
        return look_back(store, OpenHistory(tuple(each for each in rows if isinstance(each, OpenHour)), ()), now_ms)[
            "web"
        ]


def _hours(past: Past) -> Hours:
    assert past.hours is not None
    assert len(past.hours.up_ratio) == len(past.hours.coverage)
    return past.hours


def test_each_hour_tells_what_was_up_of_what_was_observed_and_how_much_that_is(tmp_path: Path) -> None:
    rows = [_signed("fra", 3, 60), _signed("fra", 2, 15, 45), _signed("fra", 1, 0, 30), _open("fra", 0, 15)]
    hours = _hours(_past(tmp_path, *rows))
    assert hours.first_ms == _FULL_HOUR_MS - 23 * HOUR_MS
    assert hours.up_ratio == (None,) * 20 + (1, 0.25, 0, 1)
    assert hours.coverage == (0,) * 20 + (1, 1, 0.5, 0.5), "of the last one as much as is over"


def test_what_is_older_than_a_day_is_in_no_hour(tmp_path: Path) -> None:
    hours = _hours(_past(tmp_path, _signed("fra", 24, 0, 60), _signed("fra", 23, 60)))
    assert hours.up_ratio == (1,) + (None,) * 23


def test_at_a_full_hour_there_are_24_too(tmp_path: Path) -> None:
    hours = _hours(_past(tmp_path, _signed("fra", 24, 60), _signed("fra", 1, 60), now_ms=_FULL_HOUR_MS))
    assert hours.up_ratio == (1,) + (None,) * 22 + (1,)


def test_vantages_add_evidence_but_no_coverage_signed_or_not(tmp_path: Path) -> None:
    past = _past(tmp_path, _signed("fra", 1, 60), _signed("nyc", 1, 0, 30), _open("lab", 1, 30), _open("fra", 0, 15))
    hours = _hours(past)
    assert hours.up_ratio[-2:] == (0.75, 1)
    assert hours.coverage[-2:] == (1, 0.5)
    assert past.uptime["24h"].ratio == pytest.approx(105 / 135)
    assert past.uptime["24h"].coverage == pytest.approx(75 / (23 * 60 + 30))


def test_a_check_that_nobody_observed_has_no_hours(tmp_path: Path) -> None:
    assert _past(tmp_path, _signed("fra", 24 * 9, 60)).hours is None


@pytest.mark.parametrize("missed_ms", [1, 1_000, HOUR_MS - 1_000, HOUR_MS - 1])
def test_what_was_not_all_is_never_rounded_to_all_or_nothing(missed_ms: int) -> None:
    observed = Observed(HOUR_MS - missed_ms, missed_ms, HOUR_MS - missed_ms)
    (hours,) = hours_of([{"web": observed}], _FULL_HOUR_MS, _FULL_HOUR_MS + HOUR_MS).values()
    for share in (*hours.up_ratio, *hours.coverage):
        assert share is not None
        assert 0 < share < 1
        assert share == pytest.approx(1 - missed_ms / HOUR_MS, abs=1e-3)
