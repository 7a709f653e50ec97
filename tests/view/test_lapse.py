"""A member that runs a check no more has no say in it, and begins anew when it runs it again."""

from dataclasses import replace

from tests.view.build import FAIL, PASS, MemberLog, check_of, deliver, new_view, row, votes_of

_RUNS = row(spread=1, takes_part=True)
_RESTS = replace(_RUNS, runs=False)


def test_a_vote_lapses_at_once_when_its_plan_says_that_the_check_is_not_run() -> None:
    view, a, b = new_view(), MemberLog("a"), MemberLog("b")
    for member in (a, b):
        deliver(view, member, member.start(0, _RUNS), 0)
    deliver(view, a, a.outcomes(1_000, FAIL, FAIL), 1_000)
    deliver(view, b, b.outcomes(1_000, PASS), 1_000)
    assert votes_of(view, 2_000) == {"a": "fail", "b": "pass"}
    deliver(view, a, a.plan(3_000, _RESTS), 3_000)
    assert votes_of(view, 3_000) == {"b": "pass"}
    assert check_of(view, 3_000).verdict == "up"


def test_who_runs_it_again_begins_anew() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, a.start(0, _RUNS), 0)
    deliver(view, a, a.outcomes(1_000, FAIL, FAIL), 1_000)
    deliver(view, a, [a.plan(2_000, _RESTS), a.plan(3_000, _RUNS)], 3_000)
    assert votes_of(view, 3_000) == {"a": "unseen"}
    deliver(view, a, a.outcomes(4_000, FAIL), 4_000)
    assert votes_of(view, 4_000) == {"a": "unseen"}, "one failure is not yet the second"


def test_votes_that_were_saved_before_do_not_come_back() -> None:
    view, a = new_view(), MemberLog("a")
    deliver(view, a, [*a.start(0, _RUNS), a.outcomes(1_000, FAIL, FAIL)], 1_000)
    ((log, seq, votes),) = [(log, seq, dict(votes)) for log, seq, votes in view.folded()]
    again = new_view()
    deliver(again, a, [a.plan(2_000, _RESTS)], 2_000)
    again.restore(log, seq, votes)
    deliver(again, a, a.plan(3_000, _RUNS), 3_000)
    check = check_of(again, 3_000)
    assert [str(each.vote) for each in check.vantages] == ["unseen"]
    assert [each.state.last for each in check.vantages] == [None]
