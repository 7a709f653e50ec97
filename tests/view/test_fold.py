"""What all logs together say, whatever the order in which they arrive."""

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh.log.entry import Entry, Kind
from demesh.log.plan import PlanPart
from demesh.outcome import Outcome
from demesh.view.fold import View
from demesh.view.names import name_of
from tests.view.build import (
    ERROR,
    FAIL,
    OWN,
    PASS,
    TIMEOUT,
    WALL_MS,
    MemberLog,
    check_of,
    deliver,
    new_view,
    presence_of,
    result,
    row,
    three_vantages,
    votes_of,
)

_ROWS = (row(), row("api", fail_after=1))
_OTHER_ROWS = (row(interval_ms=30_000),)

_SAYINGS: dict[str, Callable[[MemberLog, int], Entry]] = {
    "pass": lambda author, up_ms: author.outcomes(up_ms, PASS),
    "two fails": lambda author, up_ms: author.outcomes(up_ms, FAIL, TIMEOUT),
    "error": lambda author, up_ms: author.outcomes(up_ms, ERROR),
    "heartbeat": lambda author, up_ms: author.results(up_ms),
    "plan": lambda author, up_ms: author.plan(up_ms, *_ROWS),
    "other plan": lambda author, up_ms: author.plan(up_ms, *_OTHER_ROWS),
    "new name": lambda author, up_ms: author.hello(up_ms, name=f"{author.name}-at-{up_ms}"),
    "bye": lambda author, up_ms: author.bye(up_ms),
    "unknown kind": lambda author, up_ms: author.entry(999, ["of a later version"], up_ms),
    "malformed": lambda author, up_ms: author.entry(Kind.RESULTS, ["not results"], up_ms),
}
_Story = list[tuple[int, str]]
_STORIES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(sorted(_SAYINGS))), max_size=25)


def _written(story: _Story) -> list[tuple[MemberLog, list[Entry]]]:
    """Four logs of three members (the last is a new epoch of the first), with what `story` says of each."""
    logs = [MemberLog("a"), MemberLog("b"), MemberLog("c"), MemberLog("a", epoch=1, boot=1)]
    entries = [author.start(0, *_ROWS) for author in logs]
    for number, (who, what) in enumerate(story):
        entries[who].append(_SAYINGS[what](logs[who], 1_000 * (number + 1)))
    return list(zip(logs, entries, strict=True))


def _history(view: View, written: list[tuple[MemberLog, list[Entry]]]) -> object:
    """What the view says that does not depend on when anything arrived."""
    logs = [view.log(author.log) for author, _ in written]
    said = [(log.hello, log.bye, log.newest, log.plans, log.votes) for log in logs if log]
    return said, view.skipped, [member.public_key for member in view.members()]


@given(_STORIES, st.randoms(use_true_random=False))
def test_history_is_the_same_whatever_the_order_of_the_logs(story: _Story, chance: object) -> None:
    written = _written(story)
    one_by_one, mixed = new_view(), new_view()
    for author, entries in written:
        deliver(one_by_one, author, entries, 0)
    turns = [number for number, (_, entries) in enumerate(written) for _ in entries]
    chance.shuffle(turns)  # pyright: ignore[reportAttributeAccessIssue]
    waiting = [iter(entries) for _, entries in written]
    for at_ms, number in enumerate(turns):
        deliver(mixed, written[number][0], next(waiting[number]), at_ms, first_hand=bool(at_ms % 2))
    assert _history(mixed, written) == _history(one_by_one, written)


@given(_STORIES, st.integers(0, 30))
def test_what_a_restart_reads_from_the_store_is_what_was_heard(story: _Story, read: int) -> None:
    written = _written(story)
    heard, restarted = new_view(), new_view()
    for author, entries in written:
        deliver(heard, author, entries, 0)
        restarted.load(author.key, entries[:read])
    for author, entries in written:
        deliver(restarted, author, entries[read:], 0)
    assert _history(restarted, written) == _history(heard, written)


def test_an_unknown_kind_changes_nothing_and_is_not_counted() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row())
    deliver(view, a, [a.outcomes(0, PASS), a.entry(999, [1, b"x"], 0), a.entry(998, [], 0)], 0)
    assert votes_of(view, 0)["a"] == "pass"
    assert view.skipped == 0


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.PLAN, Kind.RESULTS, Kind.BYE, Kind.EVENT, Kind.NOTICE])
@pytest.mark.parametrize("payload", [[], [1, 2, 3], ["text"], [0, [[]], [0], b"\0", [0], []]], ids=repr)
def test_a_payload_that_is_not_of_its_kind_is_skipped_and_counted(kind: Kind, payload: list[object]) -> None:
    view = new_view()
    a, *_ = three_vantages(view, row())
    deliver(view, a, [a.outcomes(0, PASS), a.entry(kind, payload, 0)], 0)  # pyright: ignore[reportArgumentType]
    assert view.skipped == 1
    assert votes_of(view, 0) == {"a": "pass", "b": "unseen", "c": "unseen"}
    deliver(view, a, a.outcomes(1_000, FAIL, FAIL), 1_000)
    assert votes_of(view, 1_000)["a"] == "fail"


def test_a_result_beyond_the_plan_is_skipped_and_counted() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row())
    deliver(view, a, a.results(0, result(PASS, 0), result(FAIL, 0, check=1)), 0)
    assert view.skipped == 1


def test_a_new_plan_takes_the_place_of_the_old_one() -> None:
    view = new_view()
    for member in three_vantages(view, row("old"), row("kept")):
        deliver(view, member, member.outcomes(0, PASS, check=1), 0)
        deliver(view, member, member.plan(1_000, row("kept"), row("new")), 1_000)
    assert [check.row.name for check in view.checks(1_000)] == ["kept", "new"]
    assert set(votes_of(view, 1_000, "kept").values()) == {"pass"}
    assert set(votes_of(view, 1_000, "new").values()) == {"unseen"}


def test_a_changed_definition_begins_its_votes_anew() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row())
    deliver(view, a, [a.outcomes(0, FAIL, FAIL), a.plan(0, row(target="https://other.example.net/"))], 0)
    assert check_of(view, 0).vantages[0].vote == "unseen"


def test_half_a_plan_changes_nothing() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row())
    deliver(view, a, a.entry(Kind.PLAN, PlanPart(0, 2, (row("new"),)).payload(), 0), 0)
    assert [check.row.name for check in view.checks(0)] == ["web"]
    deliver(view, a, a.results(0), 0)
    deliver(view, a, a.entry(Kind.PLAN, PlanPart(1, 2, (row("late"),)).payload(), 0), 0)
    assert [check.row.name for check in view.checks(0)] == ["web"]


def test_results_that_name_an_unknown_plan_are_ignored() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row())
    deliver(view, a, a.results(0, result(FAIL, 0), result(FAIL, 0), plan_seq=77), 0)
    assert votes_of(view, 0)["a"] == "unseen"
    assert view.skipped == 0


def test_results_may_name_the_plan_before_and_none_older() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row())
    deliver(view, a, [a.plan(0, row("other"), row()), a.results(0, result(PASS, 0), plan_seq=1)], 0)
    assert votes_of(view, 0)["a"] == "pass"
    deliver(view, a, a.plan(0, row("third"), row()), 0)
    deliver(view, a, a.results(0, result(FAIL, 0), result(FAIL, 0), plan_seq=1), 0)
    assert votes_of(view, 0)["a"] == "pass"


def test_a_result_counts_for_two_intervals_and_thirty_seconds() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row(interval_ms=10_000))
    deliver(view, a, a.outcomes(5_000, PASS), 5_000)
    deliver(view, a, a.results(50_000), 50_000)
    assert votes_of(view, 55_000)["a"] == "pass"
    assert votes_of(view, 55_001)["a"] == "unseen"


def test_who_can_only_tell_of_errors_is_no_vantage_once_its_vote_is_stale() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row(interval_ms=10_000))
    deliver(view, a, [a.outcomes(0, PASS), a.outcomes(40_000, ERROR)], 40_000)
    assert votes_of(view, 50_000)["a"] == "pass"
    assert "a" not in votes_of(view, 50_001)
    (vantage,) = (each for each in check_of(view, 50_001).vantages if each.member.public_key == a.key)
    assert (vantage.vote, vantage.excluded) == ("unseen", "unable to run this check")
    assert view.broken.keys() == {a.key}, "it is told of: it watches nothing"


def test_the_results_of_another_boot_are_stale() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row())
    deliver(view, a, a.outcomes(0, PASS), 0)
    a.boot8 = b"rebooted"
    deliver(view, a, a.results(0), 1_000)
    assert votes_of(view, 1_000)["a"] == "unseen"


def test_who_is_silent_or_away_is_not_assigned() -> None:
    view = new_view()
    a, b, c = three_vantages(view, row())
    for member in (a, b, c):
        deliver(view, member, member.outcomes(0, PASS), 0)
    deliver(view, b, b.bye(30_000), 30_000)
    deliver(view, a, a.results(30_000), 30_000)
    assert votes_of(view, 31_000) == {"a": "pass", "c": "pass"}, "a suspect still counts"
    deliver(view, a, a.results(40_000), 40_000)
    assert votes_of(view, 40_000) == {"a": "pass"}
    assert check_of(view, 40_000).verdict == "up"
    assert len(check_of(view, 40_000).vantages) == 3


@pytest.mark.parametrize("rebooted", [False, True])
def test_who_came_back_unheard_after_its_leave_is_away_no_more(rebooted: bool) -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    deliver(view, a, bye := a.bye(1_000), 1_000)
    later = MemberLog("a", epoch=1) if rebooted else a
    news = [later.hello(60_000, previous=(a.log, bye.head))] if rebooted else []
    news += [later.plan(60_001, row()), later.results(60_002)]
    view.listen_anew(50_000, 40_000)
    assert presence_of(view, a, 100_000) == "away"
    deliver(view, a, news, 100_000, first_hand=False)  # as history, by way of others
    assert presence_of(view, a, 149_000) == "alive", "it has twice the time that it asked for"
    assert presence_of(view, a, 100_000 + 61_000) == "silent"


def test_a_check_that_nobody_is_left_to_run_is_unknown() -> None:
    view = new_view()
    for member in three_vantages(view, row()):
        deliver(view, member, member.outcomes(0, PASS), 0)
    assert check_of(view, 1_000_000).verdict == "unknown"


def test_who_only_knows_a_check_is_no_vantage() -> None:
    view = new_view()
    three_vantages(view, row())
    d = MemberLog("d")
    deliver(view, d, d.start(0, row(runs=False)), 0)
    assert sorted(votes_of(view, 0)) == ["a", "b", "c"]


def test_the_vantages_of_a_definition_are_those_that_run_it_and_are_not_silent() -> None:
    view = new_view()
    a, b, c = three_vantages(view, row())
    d, e = MemberLog("d"), MemberLog("e")
    deliver(view, d, d.start(0, row(runs=False)), 0)
    deliver(view, e, e.start(0, row(interval_ms=30_000)), 0)
    key = (row().name, row().definition)
    assert view.vantages(0)[key] == sorted(each.key for each in (a, b, c))
    deliver(view, b, b.bye(1_000), 1_000)
    assert view.vantages(1_000)[key] == sorted(each.key for each in (a, c))
    assert view.vantages(1_000_000) == {}


def test_the_definition_that_most_live_members_hold_is_shown() -> None:
    view = new_view()
    a, b, c = three_vantages(view, row())
    for author in (b, c):
        deliver(view, author, author.plan(0, row(interval_ms=30_000)), 0)
    assert check_of(view, 0).row.interval_ms == 30_000
    assert sorted(votes_of(view, 0)) == ["b", "c"]
    deliver(view, a, a.results(100_000), 100_000)
    assert check_of(view, 100_000).row.interval_ms == 60_000, "b and c are silent by now"


@pytest.mark.parametrize(("outcome", "since_ms"), [(PASS, 3_000), (FAIL, 1_000)], ids=["last to pass", "first to fail"])
def test_a_check_is_up_since_the_last_to_pass_and_down_since_the_first_to_fail(outcome: Outcome, since_ms: int) -> None:
    view = new_view()
    for at_ms, member in zip((3_000, 1_000, 2_000), three_vantages(view, row(fail_after=1)), strict=True):
        deliver(view, member, member.outcomes(at_ms, outcome), at_ms)
    assert check_of(view, 5_000).since_ms == WALL_MS + since_ms


def test_the_age_of_a_failure_counts_from_the_run_and_not_from_the_entry() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row(fail_after=1))
    entry = a.results(9_000, result(FAIL, 4_000))
    deliver(view, a, entry, 9_000)
    assert check_of(view, 9_000).since_ms == entry.wall_ms - 5_000


def test_an_old_epoch_of_our_own_that_somebody_kept_changes_nothing() -> None:
    view = new_view()
    now, before = MemberLog(OWN.name, epoch=1), MemberLog(OWN.name)
    deliver(view, now, [*now.start(0, row()), now.outcomes(0, PASS)], 0)
    kept = [*before.start(0, row("gone")), *(before.outcomes(n * 10_000, FAIL) for n in range(5))]
    for number, entry in enumerate(kept):
        deliver(view, before, entry, number * 10_000, first_hand=False)
    assert [check.row.name for check in view.checks(50_000)] == ["web"]
    assert votes_of(view, 50_000) == {"own": "pass"}
    assert len(view.members()) == 1


def test_an_old_epoch_of_another_member_that_arrives_late_changes_nothing() -> None:
    view = new_view()
    now, before = MemberLog("a", epoch=1), MemberLog("a")
    deliver(view, now, [*now.start(0, row()), now.outcomes(0, PASS)], 0)
    history = [*before.start(0, row("gone")), *(before.outcomes(n * 10_000, FAIL) for n in range(5))]
    deliver(view, before, history, 1_000, first_hand=False)
    assert [check.row.name for check in view.checks(1_000)] == ["web"]
    assert votes_of(view, 1_000) == {"a": "pass"}


def test_the_view_is_settled_once_every_live_vantage_reported_or_had_the_time() -> None:
    view = new_view()
    a, b, c = three_vantages(view, row(interval_ms=10_000))
    deliver(view, a, a.outcomes(0, PASS), 0)
    assert not view.settled(0)
    deliver(view, b, b.outcomes(0, FAIL, FAIL), 0)
    assert not view.settled(0), "c has not said anything"
    deliver(view, c, c.results(40_000), 40_000)
    assert not view.settled(50_000)
    assert view.settled(50_001)
    deliver(view, c, c.outcomes(50_000, PASS), 50_000)
    assert view.settled(50_000)


def test_after_a_time_without_listening_nobody_is_silent_at_once() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, row()), 0)
    view.listen_anew(90_000, 1_000)
    view.tick(90_000)
    assert presence_of(view, a, 90_000) == "alive"
    assert presence_of(view, a, 90_000 + 61_000) == "silent"


def test_who_was_silent_before_a_time_without_listening_stays_so_until_heard() -> None:
    view, a, b = new_view(), MemberLog("a"), MemberLog("b")
    deliver(view, a, a.start(0, row()), 0)
    deliver(view, b, b.start(60_000, row()), 60_000)
    assert (presence_of(view, a, 61_000), presence_of(view, b, 61_000)) == ("silent", "alive")
    view.listen_anew(120_000, 61_000)
    assert (presence_of(view, a, 120_000), presence_of(view, b, 120_000)) == ("silent", "alive")
    deliver(view, a, a.results(121_000), 121_000)
    assert presence_of(view, a, 121_000) == "alive"


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_latest_epoch_of_a_member_is_the_same_whatever_came_first(order: tuple[int, ...]) -> None:
    epochs = [MemberLog("a", epoch=number) for number in range(3)]
    hellos = [epochs[0].hello(0, name="first")]
    for number in (1, 2):
        previous = (epochs[number - 1].log, hellos[-1].head)
        hellos.append(epochs[number].hello(0, name=f"after {number}", previous=previous))
    view = new_view()
    for number in order:
        view.load(epochs[number].key, [hellos[number]])
    (member,) = view.members()
    assert name_of(member) == "after 2"
