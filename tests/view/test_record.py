"""Records of stretches of time add up to what a record of the whole would be."""

import random
from itertools import accumulate

import pytest

from demesh.log.sums import DAY_MS, HOUR_MS
from demesh.view.record import NOTHING, Record, Run, Runs

_HOURS = ["pass", "pass", "pass", "fail", "error"]


def _hour(number: int, said: str) -> Record:
    begin_ms, end_ms = number * HOUR_MS, (number + 1) * HOUR_MS
    run = Run(begin_ms, end_ms) if said == "pass" else None
    return Record(
        up_ms=HOUR_MS * (said == "pass"),
        down_ms=HOUR_MS * (said == "fail"),
        passed=said == "pass",
        failed=said == "fail",
        passed_ms=end_ms if run else None,
        runs=Runs(said == "fail", run, run, HOUR_MS if run else 0),
    )


def _by_hand(hours: list[str]) -> tuple[int, Run | None]:
    """The longest run, and the present one."""
    longest, run = 0, None
    for number, said in enumerate(hours):
        if said == "fail":
            run = None
        elif said == "pass":
            run = Run(run.begin_ms if run else number * HOUR_MS, (number + 1) * HOUR_MS)
            longest = max(longest, run.length_ms)
    return longest, run


def _added(records: list[Record]) -> Record:
    *_, whole = accumulate(records, Record.then, initial=NOTHING)
    return whole


@pytest.mark.parametrize("seed", range(50))
def test_it_does_not_matter_where_a_time_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    hours = chance.choices(_HOURS, k=chance.randrange(1, 40))
    records = [_hour(number, said) for number, said in enumerate(hours)]
    whole = _added(records)
    for _ in range(10):
        one, two = sorted(chance.choices(range(len(hours) + 1), k=2))
        assert _added([_added(part) for part in (records[:one], records[one:two], records[two:])]) == whole
    assert (whole.runs.longest_ms, whole.runs.last) == _by_hand(hours)


def test_what_nobody_saw_is_in_a_run_if_it_passed_before_and_after() -> None:
    whole = _added([_hour(0, "pass"), _hour(1, "error"), _hour(7, "pass")])
    assert whole.runs.last == Run(0, 8 * HOUR_MS)
    assert (whole.passed, whole.passed_ms) == (2, 8 * HOUR_MS)


def test_a_week_later_it_counts_half_as_much_and_says_the_same() -> None:
    record = Record(up_ms=9, down_ms=1, kept_up_ms=8.0, kept_down_ms=0.5, passed=3, failed=1)
    aged = record.aged(7 * DAY_MS)
    assert (aged.kept_up_ms, aged.kept_down_ms) == pytest.approx((4.0, 0.25))
    assert (aged.up_ms, aged.down_ms, aged.passed, aged.failed) == (9, 1, 3, 1)
