"""Dates of one log's entries, by its author's clocks."""

from hypothesis import given
from hypothesis import strategies as st

from demesh.view.timeline import Moment, Timeline
from tests.log.builders import generated

_ORIGIN_MS = 1_700_000_000_000


def test_a_wall_clock_that_is_stepped_within_a_boot_moves_nothing() -> None:
    timeline = Timeline()
    moments = [timeline.note(b"boot0001", up_ms, _ORIGIN_MS + up_ms) for up_ms in range(0, 100_000, 10_000)]
    moments += [timeline.note(b"boot0001", up_ms, up_ms) for up_ms in range(100_000, 140_000, 10_000)]  # 1970
    assert [timeline.wall_ms(each) for each in moments] == [_ORIGIN_MS + up_ms for up_ms in range(0, 140_000, 10_000)]


def test_a_result_is_dated_by_its_up_time() -> None:
    timeline = Timeline()
    at = timeline.note(b"boot0001", 50_000, _ORIGIN_MS + 50_000)
    assert timeline.wall_ms(Moment(at.boot, 47_000)) == _ORIGIN_MS + 47_000


def test_a_boot_whose_clock_was_wrong_does_not_overlap_its_neighbours() -> None:
    timeline = Timeline()
    early = timeline.note(b"boot0001", 5_000, 90_000_000_000_000)  # ahead by thousands of years
    sure = [timeline.note(b"boot0002", up_ms, _ORIGIN_MS + up_ms) for up_ms in range(0, 50_000, 10_000)]
    late = timeline.note(b"boot0003", 7_000, 7_000)
    assert timeline.wall_ms(early) == _ORIGIN_MS
    assert timeline.wall_ms(sure[0]) == _ORIGIN_MS
    assert timeline.wall_ms(late) == _ORIGIN_MS + 40_000


@generated
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**6), st.integers(0, 2**40)), min_size=1, max_size=30),
)
def test_no_clock_turns_the_order_of_a_log_around(steps: list[tuple[int, int, int]]) -> None:
    timeline = Timeline()
    boot = up_ms = 0
    moments: list[Moment] = []
    for reboots, passed_ms, wall_ms in steps:
        if reboots == 2:
            boot, up_ms = boot + 1, 0
        up_ms += passed_ms
        moments.append(timeline.note(b"boot%04d" % boot, up_ms, wall_ms))
    dates = [timeline.wall_ms(each) for each in moments]
    assert dates == sorted(dates)
