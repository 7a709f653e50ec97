"""When a check runs next, and how its vantages take turns."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.checks.schedule import (
    ALONE,
    WALK_PART,
    Grid,
    Turn,
    first_run_ms,
    next_run_ms,
    next_slot,
    place_ms,
    turn_of,
)

_TIMES = st.integers(0, 10**9)
_WALLS = st.integers(0, 4 * 10**12)
_INTERVALS = st.integers(1_000, 10**7)
_SETTLE_SLOTS = WALK_PART + 1


def _in_place(grid: Grid, now_ms: int) -> Grid:
    return next_slot(grid, now_ms, slot_wall_ms=0, place_ms=0, count=1)


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
    slot_ms = _in_place(Grid(5_000, 60_000), ended_ms).slot_ms
    assert next_run_ms(slot_ms, 10_000, ended_ms, turning=turning) == expected


@given(_TIMES, _INTERVALS, st.lists(st.integers(0, 10**7), max_size=20))
def test_the_grid_never_drifts_however_slow_the_runs_are(first_ms: int, interval_ms: int, took_ms: list[int]) -> None:
    grid = Grid(first_ms, interval_ms)
    for took in took_ms:
        ended_ms = grid.slot_ms + took
        grid = _in_place(grid, ended_ms)
        assert (grid.slot_ms - first_ms) % interval_ms == 0
        assert ended_ms < grid.slot_ms <= ended_ms + interval_ms


@given(_TIMES, st.integers(1, 10_000), _INTERVALS)
def test_the_first_runs_are_spread_over_a_few_seconds_and_within_the_interval(
    now_ms: int, count: int, interval_ms: int
) -> None:
    firsts = [first_run_ms(now_ms, index, count, interval_ms) for index in (0, count // 2, count - 1)]
    assert firsts[0] == now_ms
    assert firsts == sorted(firsts)
    assert firsts[-1] - now_ms < min(5_000, interval_ms)


@given(_TIMES, _INTERVALS, st.integers(1, 50), st.booleans(), st.lists(_WALLS, min_size=1, max_size=40))
def test_no_jump_of_the_wall_clock_skips_or_doubles_a_slot(
    first_ms: int, interval_ms: int, count: int, settled: bool, walls_ms: list[int]
) -> None:
    grid = Grid(first_ms, interval_ms, settled)
    for wall_ms in walls_ms:
        after = next_slot(grid, grid.slot_ms, wall_ms, place_ms("web", Turn(count - 1, count), interval_ms), count)
        assert interval_ms <= after.slot_ms - grid.slot_ms <= interval_ms + interval_ms // WALK_PART
        grid = after


@given(
    _INTERVALS,
    st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=12, unique=True),
    st.lists(_TIMES, min_size=12, max_size=12),
    _WALLS,
)
def test_vantages_whose_clocks_agree_come_to_take_turns(
    interval_ms: int, keys: list[bytes], starts_ms: list[int], wall_ms: int
) -> None:
    """Each starts when it likes, on a monotonic clock of its own; nine slots later they are evenly apart."""
    phases: list[int] = []
    for key, start_ms in zip(keys, starts_ms, strict=False):
        turn = turn_of(key, keys)
        grid = Grid(start_ms, interval_ms)
        for _ in range(_SETTLE_SLOTS):
            slot_wall_ms = wall_ms + grid.slot_ms
            grid = next_slot(grid, grid.slot_ms, slot_wall_ms, place_ms("web", turn, interval_ms), turn.count)
        assert grid.settled
        phases.append((wall_ms + grid.slot_ms) % interval_ms)
    phases.sort()
    gaps_ms = [after - before for before, after in pairwise([*phases, phases[0] + interval_ms])]
    assert min(gaps_ms) >= interval_ms // len(keys)
    assert max(gaps_ms) <= interval_ms // len(keys) + 1


@given(_INTERVALS, st.integers(2, 20), st.data())
def test_vantages_that_drift_stay_half_a_turn_apart(interval_ms: int, count: int, data: st.DataObject) -> None:
    """Once in place, however the wall clock creeps against the monotonic one, no two come closer than interval / 2k."""
    hold_ms = interval_ms // (4 * count)
    places = [place_ms("web", Turn(rank, count), interval_ms) for rank in (0, 1)]
    creeps_ms = [data.draw(st.integers(-hold_ms, hold_ms)) for _ in places]
    slots = [place + creep for place, creep in zip(places, creeps_ms, strict=True)]
    grids = [
        next_slot(Grid(0, interval_ms, settled=True), 0, slot, place, count)
        for slot, place in zip(slots, places, strict=True)
    ]
    assert [grid.slot_ms for grid in grids] == [interval_ms] * 2  # left alone
    assert (slots[1] - slots[0]) % interval_ms >= interval_ms // count - 2 * hold_ms >= interval_ms // (2 * count)


def test_a_slot_that_was_in_place_is_walked_again_when_it_is_too_far_off() -> None:
    grid = Grid(0, 60_000, settled=True)
    left_alone = next_slot(grid, 0, slot_wall_ms=0, place_ms=3_000, count=5)
    walked = next_slot(grid, 0, slot_wall_ms=0, place_ms=3_001, count=5)
    assert (left_alone.slot_ms, walked.slot_ms) == (60_000, 63_001)
    assert next_slot(grid, 0, slot_wall_ms=3_000, place_ms=0, count=5).slot_ms == 60_000
    far = next_slot(grid, 0, slot_wall_ms=3_001, place_ms=0, count=5)
    assert far == Grid(67_500, 60_000, settled=False)


def test_turns_go_by_key_and_count_oneself() -> None:
    keys = [b"c", b"a", b"b"]
    assert [turn_of(key, keys) for key in (b"a", b"b", b"c")] == [Turn(0, 3), Turn(1, 3), Turn(2, 3)]
    assert turn_of(b"b", [b"a"]) == Turn(1, 2)
    assert turn_of(b"b", []) == ALONE


def test_the_checks_of_one_node_are_spread_over_the_interval() -> None:
    places = sorted(place_ms(f"check {n}", Turn(1, 3), 60_000) for n in range(1_000))
    in_each_tenth = [sum(tenth * 6_000 <= place < (tenth + 1) * 6_000 for place in places) for tenth in range(10)]
    assert all(60 <= many <= 140 for many in in_each_tenth)
