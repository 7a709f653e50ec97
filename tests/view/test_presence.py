"""What a member's silence means, and what buys it time."""

import pytest

from demesh import limits
from demesh.log.hello import PresenceProfile
from demesh.view.presence import LastSign, patience, presence
from tests.view.build import NEXT_MS, OWN, PASS, MemberLog, deliver, new_view, presence_of, row, votes_of

_SILENT_MS = NEXT_MS + limits.SILENT_AFTER_SUSPECT_MS
_DAY_MS = 86_400_000
_STEADY = LastSign(1_000, 25_000)
_BYE = LastSign(1_000, 25_000, back_by_ms=600_000)
_ROAMING = LastSign(1_000, 25_000, roaming=True)


@pytest.mark.parametrize(
    ("sign", "quiet_ms", "expected"),
    [
        (_STEADY, 0, "alive"),
        (_STEADY, 25_000, "alive"),
        (_STEADY, 25_001, "suspect"),
        (_STEADY, 35_000, "suspect"),
        (_STEADY, 35_001, "silent"),
        (_STEADY, 400 * _DAY_MS, "silent"),
        (_BYE, 0, "away"),
        (_BYE, 600_000, "away"),
        (_BYE, 600_001, "silent"),
        (LastSign(1_000, 25_000, back_by_ms=0), 1, "silent"),
        (_ROAMING, 25_000, "alive"),
        (_ROAMING, 35_000, "suspect"),
        (_ROAMING, 35_001, "away"),
        (_ROAMING, 7 * _DAY_MS, "away"),
        (_ROAMING, 7 * _DAY_MS + 1, "silent"),
    ],
)
def test_presence_follows_from_the_promise_and_the_time_since(sign: LastSign, quiet_ms: int, expected: str) -> None:
    assert presence(sign, sign.at_ms + quiet_ms) == expected


def test_a_live_entry_ends_suspicion_and_silence() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    for at_ms, before in ((30_000, "suspect"), (90_000, "silent")):
        view.tick(at_ms)
        assert presence_of(view, a, at_ms) == before
        deliver(view, a, a.results(at_ms), at_ms)
        assert presence_of(view, a, at_ms) == "alive"


def test_taking_leave_makes_a_member_away_until_it_comes_back() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, [*a.start(0, row()), a.outcomes(0, PASS)], 0)
    deliver(view, a, a.bye(10_000, back_by_ms=60_000), 10_000)
    assert presence_of(view, a, 70_000) == "away"
    assert votes_of(view, 10_000) == {}
    assert presence_of(view, a, 70_001) == "silent"
    deliver(view, a, a.results(80_000), 80_000)
    assert presence_of(view, a, 80_000) == "alive"
    assert votes_of(view, 80_000) == {"a": "pass"}


def test_a_roaming_member_goes_away_without_a_word() -> None:
    view, laptop = new_view(), MemberLog("laptop", presence=PresenceProfile.ROAMING)
    deliver(view, laptop, laptop.start(0, row()), 0)
    assert presence_of(view, laptop, _SILENT_MS + 1) == "away"
    assert presence_of(view, laptop, 7 * _DAY_MS + 1) == "silent"


def test_a_late_delivery_buys_no_time() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    deliver(view, a, a.results(10_000), 10_000)
    deliver(view, a, a.results(20_000), 40_000)
    assert presence_of(view, a, 20_000 + NEXT_MS) == "alive"
    assert presence_of(view, a, 20_000 + NEXT_MS + 1) == "suspect"
    assert presence_of(view, a, 20_000 + _SILENT_MS + 1) == "silent"


def test_an_entry_that_is_not_live_is_no_sign_of_life() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    view.tick(100_000)
    deliver(view, a, [a.results(n * 10_000) for n in range(1, 6)], 100_000, first_hand=False)
    assert presence_of(view, a, 100_000) == "silent"


def test_a_silent_member_heard_through_others_lives_again_after_two_advances() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    for at_ms, state in ((100_000, "silent"), (110_000, "silent"), (120_000, "alive")):
        view.tick(at_ms)
        deliver(view, a, a.results(at_ms), at_ms, first_hand=False)
        assert presence_of(view, a, at_ms) == state


def test_a_member_known_from_the_store_only_gets_twice_the_time_it_last_asked_for() -> None:
    view, a = new_view(now_ms=500_000), MemberLog("a")
    view.load(a.key, [*a.start(0, row()), a.results(10_000, next_ms=40_000)])
    assert presence_of(view, a, 500_000 + 80_000) == "alive"
    assert presence_of(view, a, 500_000 + 80_001) == "suspect"
    assert presence_of(view, a, 500_000 + 90_001) == "silent"


@pytest.mark.parametrize("flush_ms", [1_000, 10_000, 60_000, 300_000])
def test_a_member_heard_through_others_alone_is_live_before_it_could_be_silent(flush_ms: int) -> None:
    view, a = new_view(now_ms=500_000), MemberLog("a")
    promise_ms = 2 * flush_ms + 5_000
    view.load(a.key, [*a.start(0, row()), a.results(10_000, next_ms=promise_ms)])
    for now_ms in range(500_000 + flush_ms - 1, 500_000 + 10 * flush_ms, flush_ms):
        assert presence_of(view, a, now_ms) in ("alive", "suspect")
        deliver(view, a, a.results(now_ms - 480_000, next_ms=promise_ms), now_ms, first_hand=False)
        assert presence_of(view, a, now_ms) == "alive"


def test_a_member_that_took_leave_before_the_start_is_still_away() -> None:
    view, a = new_view(now_ms=500_000), MemberLog("a")
    view.load(a.key, [*a.start(0, row()), a.bye(10_000, back_by_ms=60_000)])
    assert presence_of(view, a, 560_000) == "away"
    assert presence_of(view, a, 560_001) == "silent"


def test_a_member_first_heard_of_through_history_is_not_silent_at_once_but_soon() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, [*a.start(0, row()), a.results(10_000), a.results(20_000)], 5_000_000, first_hand=False)
    assert presence_of(view, a, 5_000_000) == "alive"
    assert presence_of(view, a, 5_000_000 + _SILENT_MS + NEXT_MS + 1) == "silent"


def test_a_member_that_took_leave_before_we_knew_it_is_away_and_not_missed() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, [*a.start(0, row()), a.bye(10_000, back_by_ms=60_000)], 5_000_000, first_hand=False)
    assert presence_of(view, a, 5_060_000) == "away"
    assert presence_of(view, a, 5_060_001) == "silent"


def test_leave_that_a_member_took_and_came_back_from_before_we_knew_it_means_nothing() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, [*a.start(0, row()), a.bye(10_000), a.results(20_000)], 5_000_000, first_hand=False)
    assert presence_of(view, a, 5_000_000) == "alive"
    assert presence_of(view, a, 5_000_000 + _SILENT_MS + NEXT_MS + 1) == "silent"


def test_late_history_revives_nobody_whom_we_heard_fall_silent() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, [*a.start(0, row()), a.results(10_000)], 10_000)
    view.tick(10_000 + _SILENT_MS + 1)
    deliver(view, a, a.results(10_500, next_ms=7 * _DAY_MS), 500_000, first_hand=False)
    assert presence_of(view, a, 500_000) == "silent"


def test_this_node_is_always_alive_to_itself() -> None:
    view = new_view()
    own = MemberLog(OWN.name)
    deliver(view, own, own.hello(0), 0)
    assert presence_of(view, OWN, 1_000 * _DAY_MS) == "alive"


def test_a_new_epoch_carries_the_presence_on() -> None:
    view, old, new = new_view(), MemberLog("a"), MemberLog("a", epoch=1, boot=1)
    deliver(view, old, old.start(0, row()), 0)
    view.tick(100_000)
    assert presence_of(view, new, 100_000) == "silent"
    deliver(view, new, new.start(3_000, row()), 100_000)
    assert presence_of(view, new, 100_000) == "alive"
    assert len(view.members()) == 1


@pytest.mark.parametrize(("late_p99_ms", "factor"), [(0, 1), (249, 1), (250, 1.5), (999, 1.5), (1_000, 2)])
def test_an_observer_that_is_late_itself_waits_longer(late_p99_ms: int, factor: float) -> None:
    assert patience(late_p99_ms) == factor
    silent_ms = round(25_000 * factor) + limits.SILENT_AFTER_SUSPECT_MS
    sign = LastSign(0, 25_000)
    assert presence(sign, silent_ms, patience(late_p99_ms)) == "suspect"
    assert presence(sign, silent_ms + 1, patience(late_p99_ms)) == "silent"


def test_patience_prolongs_no_leave_that_was_taken() -> None:
    assert presence(LastSign(0, 25_000, back_by_ms=60_000), 60_001, 2) == "silent"
