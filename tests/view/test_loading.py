"""Logs of which the view is shown only what a start would read, while it listens; and the ends of logs before the rest."""

from demesh.identity import peer_id
from demesh.log.entry import Kind
from demesh.log.event import FORGET, Event
from demesh.log.head import Head
from tests.view.build import FAIL, NEXT_MS, PASS, MemberLog, check_of, deliver, new_view, presence_of, row, votes_of

_LATE_MS = 600_000


def test_whoever_is_met_by_a_log_that_is_loaded_late_has_the_time_to_speak() -> None:
    view, a = new_view(), MemberLog("a")
    view.load_anew(a.key, a.log, [*a.start(0, row()), a.outcomes(30_000, PASS)], _LATE_MS)
    assert presence_of(view, a, _LATE_MS + 2 * NEXT_MS - 1_000) == "alive"
    assert presence_of(view, a, _LATE_MS + 3 * NEXT_MS) == "silent"
    view.load_anew(a.key, a.log, [*a.start(0, row()), a.outcomes(30_000, PASS)], _LATE_MS + 3 * NEXT_MS)
    assert presence_of(view, a, _LATE_MS + 3 * NEXT_MS) == "silent", "to load it again is no sign of life"


def test_a_member_that_is_alive_stays_so_when_its_log_is_loaded_anew() -> None:
    view, a = new_view(), MemberLog("a")
    begun = [*a.start(0, row()), a.outcomes(10_000, PASS)]
    deliver(view, a, begun, 10_000)
    later = [a.outcomes(up_ms, FAIL) for up_ms in (20_000, 30_000)]
    view.load_anew(a.key, a.log, [*begun, *later], 30_000)
    view.hear(a.key, later[-1], 30_000, first_hand=True)
    assert presence_of(view, a, 54_000) == "alive"
    assert votes_of(view, 54_000) == {"a": "fail"}


def test_entries_are_folded_once_however_often_a_log_is_loaded() -> None:
    view, a = new_view(), MemberLog("a")
    entries = [*a.start(0, row()), a.outcomes(10_000, FAIL)]
    deliver(view, a, entries, 10_000)
    view.load_anew(a.key, a.log, entries, 10_000)
    view.hear(a.key, entries[-1], 10_000, first_hand=True)
    assert votes_of(view, 11_000) == {"a": "unseen"}, "one failure is not two"


def test_a_preview_says_what_the_end_of_the_log_says_and_the_log_takes_its_place() -> None:
    view, a = new_view(), MemberLog("a")
    start = a.start(0, row())
    before = [a.outcomes(up_ms, PASS) for up_ms in range(10_000, 300_000, 10_000)]
    end = [a.outcomes(up_ms, FAIL) for up_ms in range(300_000, 340_000, 10_000)]
    view.preview(a.key, a.log, [*start, *end], 330_000)
    view.hear(a.key, end[-1], 330_000, first_hand=True)
    assert votes_of(view, 331_000) == {"a": "fail"}
    deliver(view, a, a.outcomes(340_000, FAIL), 340_000)
    view.preview(a.key, a.log, [*start, *end], 341_000)
    assert votes_of(view, 341_000) == {"a": "fail"}, "a preview that is older changes nothing"
    view.load_anew(a.key, a.log, [*start, *before, *end], 342_000)
    assert votes_of(view, 342_000) == {"a": "fail"}
    assert check_of(view, 342_000).vantages[0].state.since is not None


def test_a_preview_that_is_withdrawn_takes_its_member_along() -> None:
    view, a = new_view(), MemberLog("a")
    view.preview(a.key, a.log, [*a.start(0, row()), a.outcomes(10_000, PASS)], 10_000)
    assert view.member(a.key) is not None
    view.withdraw(a.log)
    assert view.member(a.key) is None
    assert view.checks(11_000) == []
    view.withdraw(a.log)


def test_a_preview_that_is_withdrawn_leaves_the_other_logs_of_its_member() -> None:
    view, old, new = new_view(), MemberLog("a"), MemberLog("a", epoch=1)
    deliver(view, old, old.start(0, row()), 0)
    view.preview(
        new.key, new.log, [new.hello(20_000, previous=(old.log, Head(1, bytes(32)))), new.outcomes(21_000)], 21_000
    )
    view.withdraw(new.log)
    member = view.member(old.key)
    assert member is not None
    assert member.current.log == old.log


def test_a_forget_in_a_log_that_is_loaded_late_is_heeded() -> None:
    view, a, b = new_view(), MemberLog("a"), MemberLog("b")
    deliver(view, b, b.start(0), 0)
    event = Event(FORGET, peer_id(b.key), {"log": b.log.hex(), "seq": "1"})
    view.load_anew(a.key, a.log, [*a.start(0), a.entry(Kind.EVENT, event.payload(), 90_000)], 90_000)
    assert presence_of(view, b, 90_000) == "left"
