"""When a member has left, what that changes, and what makes it a member again."""

from collections.abc import Callable

import pytest

from demesh import limits
from demesh.alerts.conclusions import Conclusions
from demesh.identity import peer_id
from demesh.log.bye import LEFT, Bye
from demesh.log.entry import Entry, Kind
from demesh.log.event import FORGET, Event
from demesh.view import standing
from demesh.view.fold import View
from tests.view.build import (
    NEXT_MS,
    OWN,
    PASS,
    MemberLog,
    deliver,
    new_view,
    presence_of,
    row,
    three_vantages,
    votes_of,
)

_SILENT_MS = NEXT_MS + limits.SILENT_AFTER_SUSPECT_MS
_STEP_MS = 1_000
_DAY_MS = 86_400_000


def _forgets(author: MemberLog, subject: MemberLog, up_ms: int, seq: int = 1) -> Entry:
    event = Event(FORGET, peer_id(subject.key), {"log": subject.log.hex(), "seq": str(seq)})
    return author.entry(Kind.EVENT, event.payload(), up_ms)


def _leaves(author: MemberLog, up_ms: int) -> Entry:
    return author.entry(Kind.BYE, Bye(LEFT, limits.TIME_MS_MAX).payload(), up_ms)


def _names(view: View) -> set[str]:
    return {member.current.hello.name for member in view.members() if member.current.hello}


def _tick(view: View, from_ms: int, to_ms: int, step_ms: int = 30_000) -> None:
    for now_ms in range(from_ms, to_ms, step_ms):
        view.tick(now_ms)
    view.tick(to_ms)


def _bye(view: View, a: MemberLog, b: MemberLog) -> None:
    deliver(view, a, _leaves(a, 90_000), 90_000)


def _forgotten(view: View, a: MemberLog, b: MemberLog) -> None:
    deliver(view, b, _forgets(b, a, 90_000), 90_000)


def _silent_for_long(view: View, a: MemberLog, b: MemberLog) -> None:
    member = view.member(a.key)
    assert member is not None
    member.silent_ms = limits.LEFT_AFTER_MS - 5_000
    _tick(view, 60_000, 90_000, 1_000)
    deliver(view, b, b.results(90_000), 90_000)


_WAYS = [_bye, _forgotten, _silent_for_long]
_Way = Callable[[View, MemberLog, MemberLog], None]


@pytest.mark.parametrize("way", _WAYS)
def test_who_has_left_is_out_of_every_count_until_it_is_heard_of_again(way: _Way) -> None:
    view = new_view()
    a, b, c = three_vantages(view, row())
    for member in (a, b, c):
        deliver(view, member, member.outcomes(0, PASS), 0)
    conclusions = Conclusions(view, OWN.key, "mesh")
    deliver(view, b, b.outcomes(60_000, PASS), 60_000)
    deliver(view, c, c.outcomes(30_000, PASS), 30_000)
    view.tick(40_000)
    conclusions.conclude(40_000, 40_000)
    view.tick(60_000)
    conclusions.conclude(60_000, 60_000)
    if way is not _bye:
        assert ("DemeshNodeSilent", "a") in [(each.name, each.subject) for each in conclusions.open()]
    way(view, a, b)
    assert presence_of(view, a, 90_000) == "left"
    assert _names(view) == {"b", "c"}
    assert "a" not in votes_of(view, 90_000)
    assert a.key not in view.vantages(90_000).get((row().name, row().definition), [])
    view.tick(90_000)
    conclusions.conclude(90_000, 90_000)
    assert [each.subject for each in conclusions.open()] == ["c"], "what was told of a's silence ends"
    deliver(view, a, a.outcomes(95_000, PASS), 95_000)
    assert presence_of(view, a, 95_000) == "alive"
    assert votes_of(view, 95_000)["a"] == "pass"


def test_seven_days_of_silence_and_not_a_second_less() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    _tick(view, 0, _SILENT_MS, _STEP_MS)
    end_ms = _SILENT_MS + limits.LEFT_AFTER_MS
    _tick(view, _SILENT_MS, end_ms - 1_000)
    assert presence_of(view, a, end_ms - 1_000) == "silent"
    _tick(view, end_ms - 1_000, end_ms + 1_000, 1_000)
    assert presence_of(view, a, end_ms + 1_000) == "left"


def test_a_clock_that_jumps_makes_nobody_leave() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    view.tick(60_000)
    view.tick(400 * _DAY_MS)
    assert presence_of(view, a, 400 * _DAY_MS) == "silent"


def test_silence_before_a_pause_of_this_node_and_after_it_add_up() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    _tick(view, 0, 4 * _DAY_MS)
    view.listen_anew(10 * _DAY_MS, 4 * _DAY_MS)
    _tick(view, 10 * _DAY_MS, 12 * _DAY_MS)
    assert presence_of(view, a, 12 * _DAY_MS) == "silent"
    _tick(view, 12 * _DAY_MS, 13 * _DAY_MS + 300_000)
    assert presence_of(view, a, 13 * _DAY_MS + 300_000) == "left"


def test_being_heard_ends_the_count() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    _tick(view, 0, 6 * _DAY_MS)
    deliver(view, a, a.results(6 * _DAY_MS), 6 * _DAY_MS)
    _tick(view, 6 * _DAY_MS, 12 * _DAY_MS)
    assert presence_of(view, a, 12 * _DAY_MS) == "silent"


def test_away_is_not_silent_and_does_not_count() -> None:
    view, a = new_view(), MemberLog("a", presence=1)
    deliver(view, a, a.start(0, row()), 0)
    _tick(view, 0, 13 * _DAY_MS)
    assert presence_of(view, a, 13 * _DAY_MS) == "silent", (
        "a roaming member is away for seven days, then silent for seven"
    )
    _tick(view, 13 * _DAY_MS, 14 * _DAY_MS + 300_000)
    assert presence_of(view, a, 14 * _DAY_MS + 300_000) == "left"


def _restarted(before: View, *logs: tuple[MemberLog, list[Entry]], now_ms: int = 0) -> View:
    view = new_view(now_ms)
    for author, entries in logs:
        view.load(author.key, entries)
    view.heed_forgets()
    view.restore_standings(standing.decode_standings(standing.encode_standings(before.standings())))
    return view


def test_a_restart_makes_nobody_leave_sooner_and_forgets_no_leave() -> None:
    view, a = new_view(), MemberLog("a")
    entries = a.start(0, row())
    deliver(view, a, entries, 0)
    _tick(view, 0, 5 * _DAY_MS)
    restarted = _restarted(view, (a, entries))
    _tick(restarted, 0, 2 * _DAY_MS - 600_000)
    assert presence_of(restarted, a, 2 * _DAY_MS - 600_000) == "silent"
    _tick(restarted, 2 * _DAY_MS - 600_000, 2 * _DAY_MS + 900_000)
    assert presence_of(restarted, a, 2 * _DAY_MS + 900_000) == "left"
    again = _restarted(restarted, (a, entries))
    assert presence_of(again, a, 0) == "left", "no page for a node that is gone, whenever this one is restarted"
    deliver(again, a, a.results(1_000), 1_000)
    assert presence_of(again, a, 1_000) == "alive"


def test_a_note_that_is_damaged_is_as_good_as_none() -> None:
    for data in (b"", b"\xff", b"\x81\x00", b"\x81\x83\x41\x00\x00\x00"):
        assert standing.decode_standings(data) == []


def test_the_note_changes_when_something_has_changed_that_is_worth_writing() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    nothing = standing.encode_standings(view.standings())
    _tick(view, 0, 300_000, 1_000)
    assert standing.encode_standings(view.standings()) == nothing
    _tick(view, 300_000, 900_000, 1_000)
    assert standing.encode_standings(view.standings()) != nothing


@pytest.mark.parametrize("first", ["log", "forget"])
def test_who_was_forgotten_before_the_start_is_not_there_after_it(first: str) -> None:
    a, b = MemberLog("a"), MemberLog("b")
    of_a = [*a.start(0, row()), a.results(10_000)]
    of_b = [*b.start(0, row()), _forgets(b, a, 20_000, seq=2)]
    logs = [(a, of_a), (b, of_b)]
    view = _restarted(new_view(), *(logs if first == "log" else reversed(logs)))
    assert presence_of(view, a, 0) == "left"


def test_who_went_on_after_it_was_forgotten_is_still_there_after_the_start() -> None:
    a, b = MemberLog("a"), MemberLog("b")
    of_a = [*a.start(0, row()), a.results(10_000), a.results(30_000)]
    view = _restarted(new_view(), (a, of_a), (b, [*b.start(0, row()), _forgets(b, a, 20_000, seq=2)]))
    assert presence_of(view, a, 0) == "alive"


def test_a_newcomer_that_hears_of_the_forgetting_first_does_not_wait_for_who_is_gone() -> None:
    view = new_view()
    a, b = MemberLog("a"), MemberLog("b")
    deliver(view, b, [*b.start(0, row()), _forgets(b, a, 20_000, seq=2)], 50_000)
    deliver(view, a, [*a.start(0, row()), a.results(10_000)], 51_000, first_hand=False)
    assert presence_of(view, a, 51_000) == "left"
    deliver(view, a, a.results(52_000), 52_000)
    assert presence_of(view, a, 52_000) == "alive"


def test_what_was_still_on_its_way_when_a_member_was_forgotten_is_no_sign_of_life() -> None:
    view = new_view()
    a, b, _ = three_vantages(view, row())
    late = a.results(9_000)
    deliver(view, b, _forgets(b, a, 10_000), 10_000)
    deliver(view, a, late, 10_500, first_hand=False)
    assert presence_of(view, a, 10_500) == "left"


def test_no_date_decides_what_is_later() -> None:
    view = new_view()
    a, b = MemberLog("a", skew_ms=-400 * _DAY_MS), MemberLog("b", skew_ms=400 * _DAY_MS)
    for member in (a, b):
        deliver(view, member, member.start(0, row()), 0)
    deliver(view, b, _forgets(b, a, 10_000), 10_000)
    assert presence_of(view, a, 10_000) == "left"
    deliver(view, a, a.results(11_000), 11_000)
    assert presence_of(view, a, 11_000) == "alive"


def test_nobody_forgets_this_node_and_who_is_barred_forgets_nobody() -> None:
    view = new_view()
    a, b, _ = three_vantages(view, row())
    deliver(view, OWN, OWN.hello(0), 0)
    deliver(view, b, _forgets(b, OWN, 0), 0)
    assert presence_of(view, OWN, 0) == "alive"
    view.bars = lambda key: key == b.key
    deliver(view, b, _forgets(b, a, 1_000), 1_000)
    assert presence_of(view, a, 1_000) == "alive"


def test_who_is_barred_counts_nowhere_and_again_when_it_is_not() -> None:
    view = new_view()
    a, b, c = three_vantages(view, row())
    for member in (a, b, c):
        deliver(view, member, member.outcomes(0, PASS), 0)
    view.bars = lambda key: key == a.key
    assert _names(view) == {"b", "c"}
    assert votes_of(view, 0) == {"b": "pass", "c": "pass"}
    view.bars = lambda key: False
    assert votes_of(view, 0) == {"a": "pass", "b": "pass", "c": "pass"}


def test_events_without_end_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORGETS_MAX", 3)
    view, b = new_view(), MemberLog("b")
    deliver(view, b, b.start(0, row()), 0)
    for number in range(9):
        deliver(view, b, _forgets(b, MemberLog(f"n{number}"), 0), 0)
    deliver(view, MemberLog("n0"), MemberLog("n0").hello(0), 0, first_hand=False)
    deliver(view, MemberLog("n8"), MemberLog("n8").hello(0), 0, first_hand=False)
    assert _names(view) == {"b", "n0"}


def test_silence_that_was_observed_is_not_ended_by_history_of_a_leave_and_a_return() -> None:
    """An observer that was cut off learns from others how a member left, came back, and fell silent before they met again."""
    view, a = new_view(), MemberLog("a")
    view.load(a.key, [a.hello(0), a.results(10_000)])
    _tick(view, 10_000, 120_000)
    assert presence_of(view, a, 120_000) == "silent"
    deliver(view, a, [_leaves(a, 20_000), a.results(30_000), a.results(40_000)], 121_000, first_hand=False)
    assert presence_of(view, a, 122_000) == "silent"
    deliver(view, a, a.results(125_000), 125_000)
    assert presence_of(view, a, 125_000) == "alive"


def test_silence_is_not_counted_while_nobody_could_be_heard() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, [a.hello(0), a.results(10_000)], 10_000)
    _tick(view, 10_000, 120_000)
    (before,) = (each.silent_ms for each in view.standings() if each.public_key == a.key)
    view.tick(150_000, listening=False)
    view.tick(180_000)
    (after,) = (each.silent_ms for each in view.standings() if each.public_key == a.key)
    assert after - before == 30_000
