"""What opens and closes the incidents of checks."""

import pytest

from demesh import limits
from demesh.outcome import Outcome
from tests.alerts.watch import Watch
from tests.view.build import ERROR, FAIL, PASS, WALL_MS, MemberLog, result, row, three_vantages

_DOWN, _PARTIAL, _SILENT, _EXPIRING = (
    "DemeshCheckDown",
    "DemeshCheckPartial",
    "DemeshCheckSilent",
    "DemeshCertificateExpiring",
)
_ROWS = [row(f"c{n}", interval_ms=20_000) for n in range(4)]


def _lone(*rows: object) -> tuple[Watch, MemberLog]:
    """A watch, and the only member that runs checks."""
    watch, a = Watch(), MemberLog("a")
    watch.hear(a, *a.start(0, *(rows or _ROWS)))  # pyright: ignore[reportArgumentType]
    return watch, a


def test_a_minority_that_fails_is_told_of_after_ten_minutes_and_as_information() -> None:
    watch = Watch()
    a, b, c = three_vantages(watch.view, row())
    for author, outcome in ((a, FAIL), (b, PASS), (c, PASS)):
        watch.say(outcome, author)
    for _ in range(59):
        watch.now_ms += 10_000
        watch.say(FAIL, a)
        watch.say(PASS, b, c)
        assert watch.look() == []
    watch.now_ms += 20_000
    watch.say(FAIL, a)
    watch.say(PASS, b, c)
    assert watch.look() == [("opened", _PARTIAL, "web")]
    incident = watch.open()
    assert dict(incident.labels)["severity"] == "info"
    assert (
        dict(incident.annotations)["summary"] == "web fails from a: 1 of 3 vantages, fewer than the 2 that make it down"
    )
    watch.say(PASS, a)
    assert watch.look() == [("closed", _PARTIAL, "web")]


def test_a_partial_that_becomes_down_is_one_incident_not_two() -> None:
    watch = Watch()
    a, b, c = three_vantages(watch.view, row())
    watch.say(PASS, a, b, c)
    for _ in range(63):
        watch.now_ms += 10_000
        watch.say(FAIL, a)
        watch.say(PASS, b, c)
        watch.look()
    assert watch.named() == [(_PARTIAL, "web")]
    watch.say(FAIL, b)
    watch.look()
    assert watch.named() == [(_DOWN, "web")]


def test_that_one_of_those_who_see_it_fail_restarts_is_no_recovery() -> None:
    watch = Watch()
    a, b, c = three_vantages(watch.view, row())
    watch.say(PASS, c)
    watch.say(FAIL, a, b)
    assert watch.look() == [("opened", _DOWN, "web")]
    watch.hear(a, a.bye(watch.now_ms))
    assert watch.look() == [], "c has only not seen it yet"
    watch.now_ms += 5_000
    watch.say(FAIL, c)
    assert watch.look() == []
    watch.hear(a, *a.start(watch.now_ms, row()))
    assert watch.look() == []
    watch.say(PASS, b, c)
    assert watch.look() == [("closed", _DOWN, "web")]


def test_who_saw_it_fail_and_stays_away_keeps_nothing_open_for_long() -> None:
    watch = Watch()
    a, b, c = three_vantages(watch.view, row(interval_ms=20_000))
    watch.say(PASS, c)
    watch.say(FAIL, a, b)
    assert watch.look() == [("opened", _DOWN, "web")]
    watch.hear(a, a.bye(watch.now_ms))
    while watch.now_ms < 70_000:
        watch.now_ms += 10_000
        watch.say(FAIL, b, times=1)
        watch.say(PASS, c, times=1)
        assert watch.look() == []
    watch.now_ms += 10_000
    watch.say(FAIL, b, times=1)
    watch.say(PASS, c, times=1)
    assert watch.look() == [("closed", _DOWN, "web")]


@pytest.mark.parametrize("outcome", [None, ERROR])
def test_who_could_not_make_it_down_if_it_were_back_keeps_nothing_open(outcome: Outcome | None) -> None:
    watch = Watch()
    members = [MemberLog(name) for name in "ab"]
    for each in members:
        watch.hear(each, *each.start(0, row(interval_ms=20_000)))
    a, b = members
    watch.say(FAIL, a, b)
    assert watch.look() == [("opened", _DOWN, "web")]
    if outcome is None:
        watch.hear(a, a.bye(watch.now_ms))
    else:
        watch.say(outcome, a)
    watch.now_ms += 1_000
    watch.say(PASS, b)
    assert watch.look() == [("closed", _DOWN, "web")]


def test_what_one_vantage_alone_sees_fail_is_told_after_a_moment() -> None:
    watch, a = _lone(row(interval_ms=20_000))
    watch.say(FAIL, a)
    assert watch.look() == []
    watch.now_ms = 19_999
    watch.say(FAIL, a)
    assert watch.look() == []
    assert watch.look(20_000) == [("opened", _DOWN, "web")]


def test_a_failure_that_ends_within_that_moment_is_never_told() -> None:
    watch, a = _lone(row(interval_ms=20_000))
    watch.say(FAIL, a)
    watch.look()
    watch.now_ms = 10_000
    watch.say(PASS, a)
    assert watch.live(60_000, a, outcomes=(PASS,)) == []


def test_all_targets_of_a_lone_vantage_are_named_once_in_one_incident() -> None:
    watch, a = _lone()
    watch.live(10_000, a, outcomes=(FAIL, FAIL), checks=4)
    assert watch.live(60_000, a, outcomes=(FAIL,), checks=4) == [("opened", _DOWN, "a")]
    incident = watch.open()
    assert incident.about == ("c0", "c1", "c2", "c3")
    labels = dict(incident.labels)
    assert (labels["node"], labels["severity"], "check" in labels) == ("a", "critical", False)
    assert "c0, c1, c2, c3." in dict(incident.annotations)["description"]


def test_a_group_lasts_until_the_last_of_it_has_recovered() -> None:
    watch, a = _lone()
    watch.live(40_000, a, outcomes=(FAIL, FAIL), checks=4)
    assert watch.named() == [(_DOWN, "a")]
    for check in range(4):
        assert watch.named() == [(_DOWN, "a")]
        watch.now_ms += 1_000
        watch.hear(a, a.outcomes(watch.now_ms, PASS, PASS, check=check))
        watch.look()
    assert watch.named() == []


def test_one_of_many_that_fails_is_told_by_itself() -> None:
    watch, a = _lone()
    for _ in range(6):
        watch.now_ms += 10_000
        outcomes = [result(FAIL if check == 2 else PASS, watch.now_ms, check) for check in range(4)]
        watch.hear(a, a.results(watch.now_ms, *outcomes))
        watch.look()
    assert watch.named() == [(_DOWN, "c2")]


def test_what_others_see_fail_too_is_told_by_itself_and_leaves_the_group() -> None:
    watch, a = _lone()
    watch.live(40_000, a, outcomes=(FAIL, FAIL), checks=4)
    b = MemberLog("b")
    watch.hear(b, *b.start(watch.now_ms, *_ROWS))
    watch.hear(b, b.outcomes(watch.now_ms, FAIL, FAIL, check=1))
    watch.look()
    assert (_DOWN, "c1") in watch.named()


def test_a_check_whose_results_stop_is_silent_though_its_node_is_alive() -> None:
    watch, a = _lone(row(interval_ms=20_000), row("api", interval_ms=20_000))
    while watch.now_ms < 200_000:
        watch.now_ms += 10_000
        watch.hear(a, a.outcomes(watch.now_ms, PASS, check=1))
        watch.look()
        assert watch.named() == ([] if watch.now_ms <= 90_000 else [(_SILENT, "web")])
    assert dict(watch.open().annotations)["summary"] == "no results of web from a"
    watch.say(PASS, a)
    assert watch.look() == [("closed", _SILENT, "web")]


def test_when_none_of_many_checks_gives_results_it_is_the_node_that_is_told_of() -> None:
    watch, a = _lone()
    watch.live(300_000, a)
    assert watch.named() == [("DemeshVantageBroken", "a")]
    assert "None of its checks gives results" in dict(watch.open().annotations)["description"]


def test_when_others_of_its_checks_give_results_again_the_one_that_does_not_is_told_of() -> None:
    watch, a = _lone()
    watch.live(300_000, a)
    watch.hear(a, a.results(watch.now_ms, *(result(PASS, watch.now_ms, check) for check in range(3))))
    assert ("opened", _SILENT, "c3") in watch.look()


def test_a_check_that_was_just_planned_has_time_for_its_first_result() -> None:
    watch, a = _lone(row(interval_ms=20_000))
    watch.live(100_000, a, outcomes=(PASS,))
    watch.hear(a, a.plan(100_000, row(interval_ms=20_000), row("new", interval_ms=20_000)))
    assert watch.live(190_000, a, outcomes=(PASS,)) == []
    assert watch.live(200_000, a, outcomes=(PASS,)) == [("opened", _SILENT, "new")]


def test_who_was_away_has_time_for_its_first_result_when_it_is_back() -> None:
    watch, a = _lone(row(interval_ms=20_000))
    watch.live(50_000, a, outcomes=(PASS,))
    watch.live(7_200_000)
    assert watch.named() == [("DemeshNodeSilent", "a")]
    watch.now_ms += 10_000
    watch.hear(a, a.results(watch.now_ms))
    assert watch.look() == [("closed", "DemeshNodeSilent", "a")]
    assert watch.live(watch.now_ms + 60_000, a) == []


@pytest.mark.parametrize("days", [13, 0, -3])
def test_a_certificate_that_expires_soon_is_told_of(days: int) -> None:
    watch, a = _lone(row())
    expires_s = WALL_MS // 1_000 + days * 86_400
    watch.hear(a, a.results(0, result(PASS, 0, certificate_expires_s=expires_s)))
    assert watch.look() == [("opened", _EXPIRING, "web")]
    assert dict(watch.open().labels)["severity"] == "warning"
    watch.hear(a, a.results(0, result(PASS, 0, certificate_expires_s=WALL_MS // 1_000 + 80 * 86_400)))
    assert watch.look() == [("closed", _EXPIRING, "web")]


def test_a_certificate_is_told_of_by_and_by_though_nothing_new_comes_of_its_check() -> None:
    watch, a = _lone(row())
    expires_ms = WALL_MS + limits.CERTIFICATE_TOLD_MS + 5_000
    watch.hear(a, a.results(0, result(PASS, 0, certificate_expires_s=expires_ms // 1_000)))
    assert [watch.look(now_ms) for now_ms in (0, 5_000, 6_001)] == [[], [], [("opened", _EXPIRING, "web")]]


def test_a_check_that_expects_how_long_its_certificate_is_valid_is_not_told_of_twice() -> None:
    watch, a = _lone(row(options=(("cert_expires_in", "864000000"),)))
    watch.hear(a, a.results(0, result(PASS, 0, certificate_expires_s=WALL_MS // 1_000 + 86_400)))
    assert watch.look() == []


def test_what_flaps_is_one_incident_until_it_is_steady() -> None:
    watch, a = _lone(row(interval_ms=20_000, fail_after=1, recover_after=1))
    changes = [
        each for n in range(40) for each in watch.live(10_000 * (n + 1), a, outcomes=(FAIL if n % 4 < 2 else PASS,))
    ]
    assert [each[0] for each in changes] in (["opened"], ["opened", "closed", "opened"])
    assert watch.named() == [(_DOWN, "web")]
    assert watch.view.checks(watch.now_ms)[0].verdict == "flapping"
    changes = watch.live(watch.now_ms + 250_000, a, outcomes=(PASS,))
    assert changes == [("closed", _DOWN, "web")]


def test_nobody_is_notified_of_what_is_not_to_be_notified_of() -> None:
    watch = Watch()
    members = three_vantages(watch.view, row(notify=False))
    watch.say(FAIL, *members)
    assert watch.look() == [("opened", _DOWN, "web")]
    assert watch.conclusions.outgoing(0, WALL_MS) == []


def test_a_runbook_goes_with_the_alert() -> None:
    watch = Watch()
    members = three_vantages(watch.view, row(runbook="https://wiki.example.org/web"))
    watch.say(FAIL, *members)
    watch.look()
    assert dict(watch.open().annotations)["runbook"] == "https://wiki.example.org/web"


def test_a_lone_page_is_held_no_longer_than_the_bound() -> None:
    watch, a = _lone(row(interval_ms=3_600_000))
    watch.say(FAIL, a)
    watch.look()
    watch.now_ms = limits.LONE_PAGE_HELD_MS - 10_000
    watch.hear(a, a.results(watch.now_ms))
    assert watch.look(limits.LONE_PAGE_HELD_MS) == [("opened", _DOWN, "web")]
