"""Servers of lists that never answered: what their failures say of them, and of who sees them fail."""

from dataclasses import replace

from demesh.view.checks import NEVER_ANSWERED
from demesh.view.member import Member
from demesh.view.names import name_of
from demesh.view.verdict import Verdict
from tests.view.build import ERROR, FAIL, PASS, check_of, deliver, new_view, row, three_vantages, votes_of
from tests.view.telling import Vantages, lines

_LISTED = (("listed", "true"),)
_MINUTE_MS = 60_000


def _names(members: tuple[Member, ...]) -> set[str]:
    return {name_of(each) or "" for each in members}


def test_what_nobody_has_seen_answer_is_not_down() -> None:
    view = new_view()
    for each in three_vantages(view, row(keys=_LISTED)):
        deliver(view, each, each.outcomes(1_000, FAIL, FAIL, FAIL), 1_000)
    check = check_of(view, 2_000)
    assert (check.verdict, check.candidate) == (Verdict.UNKNOWN, True)
    assert {each.excluded for each in check.vantages} == {NEVER_ANSWERED}


def test_a_check_of_ones_own_is_down_though_it_never_answered() -> None:
    view = new_view()
    for each in three_vantages(view, row()):
        deliver(view, each, each.outcomes(1_000, FAIL, FAIL), 1_000)
    check = check_of(view, 2_000)
    assert (check.verdict, check.candidate) == (Verdict.DOWN, False)


def test_once_it_has_answered_anybody_the_failures_of_all_count() -> None:
    view = new_view()
    a, b, c = three_vantages(view, row(keys=_LISTED))
    for each in (a, b):
        deliver(view, each, each.outcomes(1_000, FAIL, FAIL), 1_000)
    deliver(view, c, c.outcomes(1_000, PASS), 1_000)
    assert check_of(view, 2_000).verdict == Verdict.DOWN
    assert votes_of(view, 2_000) == {"a": "fail", "b": "fail", "c": "pass"}
    deliver(view, c, c.outcomes(20_000, FAIL, FAIL), 20_000)
    assert votes_of(view, 21_000) == {"a": "fail", "b": "fail", "c": "fail"}, "it stays so"


def test_it_has_answered_still_when_who_saw_it_answer_runs_it_no_more() -> None:
    view = new_view()
    here = row(keys=_LISTED, spread=2)
    a, b, c = three_vantages(view, here)
    deliver(view, c, c.outcomes(1_000, PASS), 1_000)
    deliver(view, c, c.plan(2_000, replace(here, runs=False)), 2_000)
    for each in (a, b):
        deliver(view, each, each.outcomes(3_000, FAIL, FAIL), 3_000)
    assert check_of(view, 4_000).verdict == Verdict.DOWN


def test_it_has_answered_still_after_a_gap_and_a_reboot() -> None:
    view = new_view()
    a, *_ = three_vantages(view, row(keys=_LISTED))
    deliver(view, a, a.outcomes(1_000, PASS), 1_000)
    later_ms = 1_000 + 30 * _MINUTE_MS
    for ms in range(20_000, later_ms, 20_000):
        deliver(view, a, a.results(ms), ms)
    deliver(view, a, a.outcomes(later_ms, FAIL, FAIL), later_ms)
    assert votes_of(view, later_ms + 1)["a"] == "fail"


def test_a_parked_one_has_no_vantage_there_and_is_paused_when_all_have_parked_it() -> None:
    view = new_view()
    here = row(keys=_LISTED, fail_after=1)
    a, b, c = three_vantages(view, here)
    for each in (a, b, c):
        deliver(view, each, each.outcomes(1_000, FAIL), 1_000)
    deliver(view, a, a.plan(2_000, replace(here, runs=False, parked=True)), 2_000)
    check = check_of(view, 3_000)
    assert (check.verdict, _names(check.parked)) == (Verdict.UNKNOWN, {"a"})
    for each in (b, c):
        deliver(view, each, each.plan(4_000, replace(here, runs=False, parked=True)), 4_000)
    check = check_of(view, 5_000)
    assert (check.verdict, _names(check.parked), check.vantages) == (Verdict.PAUSED, {"a", "b", "c"}, ())


def test_how_often_it_was_tried_is_counted_over_gaps_and_while_it_is_parked() -> None:
    view = new_view()
    here = row(keys=_LISTED)
    a, *_ = three_vantages(view, here)
    deliver(view, a, a.outcomes(1_000, FAIL, FAIL, ERROR), 1_000)
    deliver(view, a, a.plan(2_000, replace(here, runs=False, parked=True)), 2_000)
    deliver(view, a, a.outcomes(40 * _MINUTE_MS, FAIL), 40 * _MINUTE_MS)
    log = view.log(a.log)
    assert log is not None
    assert log.votes[here.name, here.definition].tries == 3


def test_a_new_list_of_dead_servers_breaks_no_vantage_and_cuts_nobody_off() -> None:
    def said(keys: tuple[tuple[str, str], ...]) -> bool:
        view = new_view()
        rows = [row(f"s{number}", keys=keys, fail_after=1) for number in range(6)]
        a, b, c = three_vantages(view, *rows)
        for number in range(6):
            found = a.results(1_000 + number)  # a heartbeat, so that results come in entries of their own
            deliver(view, a, found, 1_000 + number)
            deliver(view, a, a.outcomes(1_010 + number, ERROR, check=number), 1_010 + number)
            for each in (b, c):
                deliver(view, each, each.outcomes(1_000 + number, PASS, check=number), 1_000 + number)
        view.checks(2_000)
        return bool(view.broken)

    assert said(_LISTED), "no resolver, say"
    assert not said((*_LISTED, ("ip", '"6"'))), "a node without IPv6 is well"


def test_explain_says_that_it_never_answered_and_that_it_was_parked() -> None:
    mesh = Vantages(keys=_LISTED)
    for minute in (1, 2, 3):
        mesh.minute(minute, a=FAIL, b=FAIL, c=FAIL)
    assert mesh.told()["closing"]["verdict"] == "unknown"
    for name, each in mesh.members.items():
        mesh.write(name, each.plan(5 * _MINUTE_MS, replace(mesh.row, runs=False, parked=True)))
    told = mesh.told()
    assert told["closing"]["verdict"] == "paused"
    assert any("parks the check, which never answered" in line for line in lines(told))
