"""A bar tells by its glyphs alone what was up, down, partly down, not observed, and observed for a part of the time."""

from datetime import UTC, datetime, timedelta

import pytest

from demesh.cli.bars import bar, colored

_FIRST = datetime(2026, 3, 1, tzinfo=UTC)
_MINUTE = 60_000


def _bar(
    up_ratio: list[float | None],
    coverage: list[float] | None = None,
    *,
    into_last: timedelta = timedelta(hours=1),
    interval_ms: int = _MINUTE,
    cells: int = 24,
) -> str:
    covered = coverage or [0.0 if each is None else 1.0 for each in up_ratio]
    hours = {"from": "2026-03-01T00:00:00Z", "up_ratio": up_ratio, "coverage": covered}
    return bar(hours, cells, interval_ms, _FIRST + timedelta(hours=len(up_ratio) - 1) + into_last)


def test_up_down_and_unobserved_hours_are_told_apart() -> None:
    assert _bar([1, 0, None, 1]) == "▇▁·▇"


def test_an_hour_that_was_partly_down_is_as_high_as_what_was_up_and_never_a_full_one() -> None:
    assert _bar([0.0001, 0.3, 0.5, 0.7, 0.9, 0.9999, 1]) == "▂▃▄▅▆▆▇"


def test_an_hour_of_which_a_part_was_not_observed_is_not_a_full_one() -> None:
    assert _bar([1, 1, 1], [1, 0.5, 0.95]) == "▇░▇"
    assert _bar([0.5, 0], [0.1, 0.1]) == "▄▁", "what was down is told first"


@pytest.mark.parametrize(("minutes", "glyph"), [(1, " "), (3, " "), (4, "·"), (59, "·")])
def test_an_hour_that_has_only_begun_is_not_called_unobserved(minutes: int, glyph: str) -> None:
    assert _bar([1, None], into_last=timedelta(minutes=minutes)) == f"▇{glyph}"


def test_a_result_that_is_still_to_come_is_no_gap() -> None:
    assert _bar([1, 1], [1, 0.5], into_last=timedelta(minutes=4)) == "▇▇"
    assert _bar([1, 1], [1, 0.5], into_last=timedelta(minutes=8)) == "▇░"
    assert _bar([1, 1], [1, 0.5], into_last=timedelta(minutes=30), interval_ms=10 * _MINUTE) == "▇▇"


def test_a_short_bar_has_the_newest_hours() -> None:
    assert _bar([0, 0, 0, 1, None, 1], cells=3) == "▇·▇"


def test_a_check_without_a_past_has_no_bar() -> None:
    assert bar(None, 24, _MINUTE, _FIRST) == ""


def test_each_run_of_a_bar_has_its_colour() -> None:
    assert colored("▇▇▁·") == [("▇▇", "green"), ("▁", "bold red"), ("·", "dim")]
