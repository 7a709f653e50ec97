"""The age of what a log says: history never looks fresh, and no wall clock is believed."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.log.entry import Entry
from demesh.view.freshness import LogClock
from tests.view.build import (
    ERROR,
    FAIL,
    NEXT_MS,
    PASS,
    MemberLog,
    check_of,
    deliver,
    new_view,
    presence_of,
    row,
    votes_of,
)

_BOOT = b"boot0000"
_DAY_MS = 86_400_000


def _clock(*arrivals: tuple[int, int], boot8: bytes = _BOOT) -> LogClock:
    """A clock that saw entries of (up time, time of arrival), none of them first-hand."""
    clock = LogClock()
    for up_ms, received_ms in arrivals:
        clock.observe(boot8, up_ms, received_ms, first_hand=False)
    return clock


@pytest.mark.parametrize("step_ms", [0, 1, 500, 1_000, 2_000, 10_000, 300_000])
def test_a_burst_of_old_entries_never_makes_a_log_live(step_ms: int) -> None:
    clock = _clock(*((n * step_ms, _DAY_MS + n // 100) for n in range(1_000)))
    assert not clock.live


def test_the_first_entries_of_a_log_that_ended_long_ago_do_not_make_it_live() -> None:
    clock = _clock((0, _DAY_MS), (3, _DAY_MS), (1_800, _DAY_MS), (11_800, _DAY_MS), (21_800, _DAY_MS))
    assert not clock.live


def test_an_entry_over_its_authors_own_connection_makes_a_log_live() -> None:
    clock = LogClock()
    clock.observe(_BOOT, 5_000, 70_000, first_hand=True)
    assert clock.live


def _silenced() -> LogClock:
    """A clock that heard its author at first hand, up 60 s at 100 s of ours, and then not for long."""
    clock = LogClock()
    clock.observe(_BOOT, 60_000, 100_000, first_hand=True)
    clock.lose()
    return clock


def test_last_words_that_were_held_up_make_no_log_live_not_even_over_their_authors_own_connection() -> None:
    clock = _silenced()
    clock.observe(_BOOT, 70_000, 160_000, first_hand=True)  # 50 s old
    clock.observe(_BOOT, 70_100, 160_050, first_hand=True)
    assert not clock.live


def test_an_author_that_was_paused_is_live_with_its_second_entry() -> None:
    clock = _silenced()
    clock.observe(_BOOT, 70_000, 160_000, first_hand=True)
    clock.observe(_BOOT, 80_000, 170_000, first_hand=True)
    assert clock.live
    assert clock.local_ms(_BOOT, 80_000) == 170_000


@pytest.mark.parametrize(("boot8", "up_ms"), [(_BOOT, 119_000), (b"boot0001", 3_000)])
def test_an_author_that_comes_back_or_has_restarted_is_live_at_once(boot8: bytes, up_ms: int) -> None:
    clock = _silenced()
    clock.observe(boot8, up_ms, 160_000, first_hand=True)
    assert clock.live


def test_one_advance_is_not_enough_and_two_at_pace_are() -> None:
    clock = _clock((0, 100_000), (10_000, 110_000))
    assert not clock.live
    clock.observe(_BOOT, 20_000, 120_000, first_hand=False)
    assert clock.live


def test_a_burst_between_two_advances_begins_the_count_anew() -> None:
    clock = _clock((0, 100_000), (10_000, 110_000), (60_000, 110_500), (70_000, 120_500))
    assert not clock.live
    clock.observe(_BOOT, 80_000, 130_500, first_hand=False)
    assert clock.live


@pytest.mark.parametrize(
    ("up_ms", "live"), [(17_000, True), (17_001, False)], ids=["1.5 times the pace and 2 s", "a millisecond more"]
)
def test_the_pace_has_a_limit(up_ms: int, live: bool) -> None:
    assert _clock((0, 0), (0, 10_000), (up_ms, 20_000)).live == live


def test_a_live_author_that_writes_many_entries_a_second_becomes_live() -> None:
    assert _clock(*((n * 100, _DAY_MS + n * 100) for n in range(21))).live


def test_a_reboot_must_prove_anew_and_makes_older_up_times_unreadable() -> None:
    clock = LogClock()
    clock.observe(_BOOT, 500_000, 1_000, first_hand=True)
    assert clock.local_ms(_BOOT, 500_000) == 1_000
    clock.observe(b"boot0001", 7_000, 60_000, first_hand=False)
    assert not clock.live
    assert clock.local_ms(_BOOT, 500_000) is None
    assert clock.local_ms(b"boot0001", 7_000) == 60_000


def test_the_fastest_delivery_so_far_gives_the_age() -> None:
    clock = LogClock()
    clock.observe(_BOOT, 10_000, 19_000, first_hand=True)  # nine seconds on its way
    assert clock.local_ms(_BOOT, 10_000) == 19_000
    clock.observe(_BOOT, 20_000, 20_100, first_hand=True)
    assert clock.local_ms(_BOOT, 10_000) == 10_100
    clock.observe(_BOOT, 30_000, 95_000, first_hand=True)
    assert clock.local_ms(_BOOT, 30_000) == 30_100


def test_a_log_that_lost_its_life_must_advance_twice_again() -> None:
    clock = _clock((0, 0), (10_000, 10_000), (20_000, 20_000))
    clock.lose()
    assert not clock.live
    for n, live in ((0, False), (1, False), (2, True)):
        clock.observe(_BOOT, 100_000 + n * 10_000, 100_000 + n * 10_000, first_hand=False)
        assert clock.live == live


def test_old_failures_that_arrive_late_are_no_votes() -> None:
    view, dead = new_view(), MemberLog("dead")
    history = [*dead.start(0, row()), *(dead.outcomes(n * 1_000, FAIL) for n in range(1, 60))]
    deliver(view, dead, history, _DAY_MS, first_hand=False)
    assert votes_of(view, _DAY_MS) == {"dead": "unseen"}
    assert check_of(view, _DAY_MS).verdict == "unknown"


def test_results_count_once_the_log_proved_live_through_others() -> None:
    view, far = new_view(), MemberLog("far")
    deliver(view, far, far.start(0, row()), 0, first_hand=False)
    for at_ms in (10_000, 20_000):
        assert votes_of(view, at_ms) == {"far": "unseen"}
        deliver(view, far, far.outcomes(at_ms, PASS), at_ms, first_hand=False)
    assert votes_of(view, 20_000) == {"far": "pass"}


_SAID: dict[str, Callable[[MemberLog, int], Entry]] = {
    "pass": lambda author, up_ms: author.outcomes(up_ms, PASS),
    "fail": lambda author, up_ms: author.outcomes(up_ms, FAIL),
    "error": lambda author, up_ms: author.outcomes(up_ms, ERROR),
    "heartbeat": lambda author, up_ms: author.results(up_ms),
    "bye": lambda author, up_ms: author.bye(up_ms),
}
_Step = tuple[int, int, str, bool]
_STEPS = st.lists(
    # who, milliseconds since the step before, what, over its own connection
    st.tuples(st.integers(0, 2), st.integers(0, 40_000), st.sampled_from(sorted(_SAID)), st.booleans()),
    max_size=20,
)
_SKEWS_MS = st.lists(st.integers(-400 * _DAY_MS, 80_000 * _DAY_MS), min_size=3, max_size=3)


def _concluded(steps: list[_Step], skews_ms: list[int]) -> list[object]:
    """All that is concluded at each step of a story whose authors' wall clocks are wrong by `skews_ms`."""
    view = new_view()
    members = [MemberLog(f"m{n}", skew_ms=skew_ms) for n, skew_ms in enumerate(skews_ms)]
    for member in members:
        deliver(view, member, member.start(0, row(fail_after=1)), 0)
    now_ms = 0
    concluded: list[object] = []
    for who, passed_ms, what, first_hand in steps:
        now_ms += passed_ms
        deliver(view, members[who], _SAID[what](members[who], now_ms), now_ms, first_hand=first_hand)
        view.tick(now_ms)
        for at_ms in (now_ms, now_ms + NEXT_MS + 1, now_ms + 200_000):
            presences = [presence_of(view, each, at_ms) for each in members]
            verdict = check_of(view, at_ms).verdict
            concluded.append((presences, votes_of(view, at_ms), verdict, view.settled(at_ms)))
    return concluded


@given(_STEPS, _SKEWS_MS)
def test_wrong_wall_clocks_change_no_presence_no_vote_and_no_verdict(steps: list[_Step], skews_ms: list[int]) -> None:
    assert _concluded(steps, skews_ms) == _concluded(steps, [0, 0, 0])


def test_a_slow_clock_makes_no_member_silent_in_the_long_run() -> None:
    """The author's clock loses 50 ppm, or stands still for 40 s once: what it says stays as fresh as it is."""
    clock = LogClock()
    for now_ms in range(0, 30 * 86_400_000, 300_000):
        up_ms = now_ms - now_ms * 50 // 1_000_000
        clock.observe(b"boot0000", up_ms, now_ms, first_hand=True)
        heard_ms = clock.local_ms(b"boot0000", up_ms)
        assert heard_ms is not None
        assert now_ms - heard_ms < 1_000


def test_a_machine_that_was_paused_is_heard_again_once_it_was_silent() -> None:
    clock = LogClock()
    clock.observe(b"boot0000", 0, 0, first_hand=True)
    clock.lose()
    clock.observe(b"boot0000", 10_000, 50_000, first_hand=True)
    assert clock.local_ms(b"boot0000", 10_000) == 50_000
