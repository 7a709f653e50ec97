"""When a check runs next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.checks.schedule import first_run_ms, next_run_ms

_TIMES = st.integers(0, 10**9)
_INTERVALS = st.integers(1_000, 10**7)


@pytest.mark.parametrize(
    ("ended_ms", "turning", "expected"),
    [
        (5_000, False, 65_000),
        (5_001, False, 65_000),
        (64_999, False, 65_000),
        (65_000, False, 125_000),
        (300_000, False, 305_000),  # the slots that were missed are skipped
        (5_200, True, 15_200),
        (60_000, True, 65_000),  # the slot comes before the retry
    ],
)
def test_the_next_run_is_the_next_slot_or_an_early_confirmation(ended_ms: int, turning: bool, expected: int) -> None:
    assert next_run_ms(5_000, 60_000, 10_000, ended_ms, turning=turning) == expected


@given(_TIMES, _INTERVALS, st.lists(st.integers(0, 10**7), max_size=20))
def test_the_grid_never_drifts_however_slow_the_runs_are(phase_ms: int, interval_ms: int, took_ms: list[int]) -> None:
    due_ms = phase_ms
    for took in took_ms:
        ended_ms = due_ms + took
        due_ms = next_run_ms(phase_ms, interval_ms, interval_ms, ended_ms, turning=False)
        assert (due_ms - phase_ms) % interval_ms == 0
        assert ended_ms < due_ms <= ended_ms + interval_ms


@given(_TIMES, _INTERVALS, _INTERVALS, st.integers(0, 10**8))
def test_a_confirmation_is_never_later_than_the_slot(
    phase_ms: int, interval_ms: int, retry_ms: int, after_ms: int
) -> None:
    ended_ms = phase_ms + after_ms
    slot_ms = next_run_ms(phase_ms, interval_ms, retry_ms, ended_ms, turning=False)
    early_ms = next_run_ms(phase_ms, interval_ms, retry_ms, ended_ms, turning=True)
    assert early_ms == min(slot_ms, ended_ms + retry_ms)


@given(_TIMES, st.integers(1, 10_000), _INTERVALS)
def test_the_first_runs_are_spread_over_a_few_seconds_and_within_the_interval(
    now_ms: int, count: int, interval_ms: int
) -> None:
    firsts = [first_run_ms(now_ms, index, count, interval_ms) for index in (0, count // 2, count - 1)]
    assert firsts[0] == now_ms
    assert firsts == sorted(firsts)
    assert firsts[-1] - now_ms < min(5_000, interval_ms)
