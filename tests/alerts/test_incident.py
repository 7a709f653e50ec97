"""What opens and closes an incident, and what it is called."""

import pytest

from demesh import limits
from demesh.alerts.incident import Closed, Incident, Incidents, Opened, Seen
from demesh.identity import peer_id
from demesh.log.evidence import Fork
from demesh.log.plan import PlanRow
from demesh.outcome import Outcome
from tests.alerts.watch import Watch
from tests.view.build import (
    ERROR,
    FAIL,
    PASS,
    WALL_MS,
    MemberLog,
    deliver,
    presence_of,
    result,
    row,
    three_vantages,
)

_CHECK_DOWN, _NODE_SILENT = "DemeshCheckDown", "DemeshNodeSilent"


def _down(*rows: PlanRow, extra: tuple[tuple[str, str], ...] = ()) -> tuple[Watch, list[MemberLog]]:
    """A watch with members a, b and c, who all said that their first check fails; looked at."""
    watch = Watch(extra=extra)
    members = three_vantages(watch.view, *(rows or (row(),)))
    watch.say(FAIL, *members)
    assert watch.look() == [("opened", _CHECK_DOWN, "web")]
    return watch, members


def test_a_check_that_is_down_opens_one_incident_once() -> None:
    watch, members = _down()
    assert watch.look(1_000) == []
    watch.say(FAIL, *members)
    assert watch.look(2_000) == []
    assert watch.open().subject == "web"


def test_a_minority_that_fails_opens_nothing() -> None:
    watch = Watch()
    a, b, c = three_vantages(watch.view, row())
    watch.say(PASS, b, c)
    watch.say(FAIL, a)
    assert watch.look() == []


def test_recovery_closes_it_and_a_new_failure_opens_it_again() -> None:
    watch, (a, b, c) = _down()
    watch.say(PASS, a)
    assert watch.look(1_000) == [], "two of three still fail"
    watch.say(PASS, b)
    assert watch.look(2_000) == [("closed", _CHECK_DOWN, "web")]
    watch.say(FAIL, a, c)
    assert watch.look(3_000) == [("opened", _CHECK_DOWN, "web")]


def test_the_close_is_dated() -> None:
    watch, (a, b, _) = _down()
    watch.say(PASS, a, b)
    (closed,) = watch.conclusions.conclude(5_000, WALL_MS + 5_000)
    assert isinstance(closed, Closed)
    assert closed.resolved_ms == WALL_MS + 5_000


def test_what_is_unknown_closes_nothing() -> None:
    watch, members = _down(row(interval_ms=10_000))
    for author in members:
        deliver(watch.view, author, author.results(51_000), 51_000)
    assert watch.view.checks(51_000)[0].verdict == "unknown"
    assert watch.look(51_000) == []


def test_a_check_that_only_fails_to_run_stays_down() -> None:
    watch, members = _down()
    watch.say(ERROR, *members)
    assert watch.look(1_000) == []


def test_a_partial_recovery_with_a_vantage_unseen_closes_nothing() -> None:
    watch, (a, b, c) = _down(row(interval_ms=10_000))
    watch.now_ms = 51_000
    watch.hear(a, a.results(51_000))
    watch.say(FAIL, b)
    watch.say(PASS, c)
    assert watch.view.checks(51_000)[0].verdict == "partial"
    assert watch.look() == [], "a may still see it down"
    watch.say(PASS, a)
    assert watch.look() == [("closed", _CHECK_DOWN, "web")]


def test_the_silence_of_all_vantages_closes_nothing() -> None:
    watch, _ = _down()
    assert ("closed", _CHECK_DOWN, "web") not in watch.look(10_000_000)


def test_the_onset_never_moves_later() -> None:
    watch, (a, b, c) = _down()
    assert watch.open().onset_ms == WALL_MS
    watch.now_ms = 60_000
    watch.say(PASS, a)
    watch.say(FAIL, b, c)
    watch.look()
    assert watch.open().onset_ms == WALL_MS
    watch.now_ms = 70_000
    watch.hear(a, a.results(70_000, result(FAIL, 70_000), result(FAIL, 70_000)))
    watch.look()
    assert watch.open().onset_ms == WALL_MS


def test_an_earlier_onset_that_becomes_known_later_counts() -> None:
    incidents = Incidents()
    for onset_ms, kept_ms in ((5_000, 5_000), (9_000, 5_000), (2_000, 2_000), (7_000, 2_000)):
        wrong = Incident("X", "s", "s", onset_ms, (("alertname", "X"),), ())
        incidents.update([Seen("X", "s", wrong, right=False)], 0, 10_000)
        assert incidents.open()[0].onset_ms == kept_ms


def test_an_open_incident_keeps_its_labels_so_that_the_sink_takes_it_for_the_same() -> None:
    incidents = Incidents()
    for severity in ("critical", "warning"):
        wrong = Incident("X", "s", "s", 5_000, (("severity", severity),), (("summary", severity),))
        incidents.update([Seen("X", "s", wrong, right=False)], 0, 10_000)
    (open_,) = incidents.open()
    assert open_.labels == (("severity", "critical"),)
    assert open_.annotations == (("summary", "warning"),)


def test_a_check_that_no_plan_names_any_more_takes_its_incident_with_it() -> None:
    watch, members = _down()
    for author in members:
        watch.hear(author, author.plan(1_000, row("other")))
    assert watch.look(1_000) == [("closed", _CHECK_DOWN, "web")]


def test_the_labels_name_the_subject_and_never_a_reporter_or_an_error() -> None:
    watch, _ = _down(row(labels=(("team", "ops"),)), extra=(("env", "test"),))
    incident = watch.open()
    assert dict(incident.labels) == {
        "alertname": _CHECK_DOWN,
        "mesh": "0a1b2c3d",
        "check": "web",
        "type": "http",
        "severity": "critical",
        "team": "ops",
        "env": "test",
    }
    assert list(incident.labels) == sorted(incident.labels)
    annotations = dict(incident.annotations)
    assert annotations["summary"] == "web is down: 3 of 3 vantages agree"
    assert "a: said fail" in annotations["description"]
    assert "https://web.example.net/" in annotations["description"]


def test_configured_labels_never_hide_the_subject() -> None:
    mine = tuple((key, "mine") for key in ("alertname", "mesh", "check", "type", "severity"))
    watch, _ = _down(row(labels=mine), extra=mine)
    assert "mine" not in dict(watch.open().labels).values()


def test_every_node_describes_the_same_outage_by_the_same_labels() -> None:
    watch, (a, b, _) = _down()
    before = watch.open().labels
    watch.say(PASS, a)
    watch.hear(b, b.hello(1_000, name="renamed"), b.outcomes(1_000, Outcome.TIMEOUT))
    watch.look(1_000)
    assert watch.open().labels == before
    assert "said timeout" in dict(watch.open().annotations)["description"]


def test_a_silent_member_opens_an_incident_that_its_voice_closes() -> None:
    watch, a = Watch(), MemberLog("a")
    watch.hear(a, *a.start(0))
    assert watch.look(35_000) == []
    assert watch.look(35_001) == [("opened", _NODE_SILENT, "a")]
    incident = watch.open()
    assert dict(incident.labels) == {"alertname": _NODE_SILENT, "mesh": "0a1b2c3d", "node": "a", "severity": "critical"}
    assert incident.onset_ms == WALL_MS, "when it was last heard"
    assert "35 s" in dict(incident.annotations)["description"]
    watch.look(90_000)
    assert watch.open().onset_ms == WALL_MS
    watch.hear(a, a.results(90_000))
    assert watch.look() == [("closed", _NODE_SILENT, "a")]


def test_taking_leave_closes_the_silence_of_a_member() -> None:
    watch, a = Watch(), MemberLog("a")
    watch.hear(a, *a.start(0))
    watch.look(40_000)
    watch.hear(a, a.bye(40_000))
    assert watch.look() == [("closed", _NODE_SILENT, "a")]
    assert watch.look(600_000) == []


def test_suspicion_opens_nothing() -> None:
    watch, a = Watch(), MemberLog("a")
    watch.hear(a, *a.start(0))
    assert watch.look(30_000) == []
    assert presence_of(watch.view, a, 30_000) == "suspect"


def test_a_member_whose_name_another_takes_keeps_its_incident() -> None:
    watch, old, new = Watch(), MemberLog("old"), MemberLog("new")
    watch.hear(old, old.hello(0, name="vps"))
    assert watch.look(40_000) == [("opened", _NODE_SILENT, "vps")]
    watch.hear(new, new.hello(40_000, name="vps"))
    assert watch.look() == []
    assert watch.open().subject == "vps"


def test_the_silence_of_one_of_two_members_of_one_name_does_not_flap() -> None:
    watch, one, other = Watch(), MemberLog("one"), MemberLog("other")
    for author in (one, other):
        watch.hear(author, author.hello(0, name="nas"))
    changes = []
    for at_ms in range(0, 120_000, 10_000):
        deliver(watch.view, other, other.results(at_ms), at_ms)
        changes.extend(watch.look(at_ms))
    assert changes == [("opened", _NODE_SILENT, f"nas~{peer_id(one.key)[-6:]}")]


def test_key_that_two_nodes_write_with_is_one_incident_until_one_of_them_stops() -> None:
    watch, one, copy = Watch(), MemberLog("vps"), MemberLog("vps", epoch=1)
    changes = []
    for at_ms in range(0, 60_000, 10_000):
        for author in (one, copy):
            watch.hear(author, author.hello(at_ms) if at_ms == 0 else author.results(at_ms))
        changes.extend(watch.look(at_ms))
    assert changes == [("opened", "DemeshKeyShared", "vps")]
    assert dict(watch.open().labels)["node"] == "vps"
    for at_ms in range(60_000, 120_000, 10_000):
        deliver(watch.view, one, one.results(at_ms), at_ms)
        changes.extend(watch.look(at_ms))
    assert changes[1:] == [("closed", "DemeshKeyShared", "vps")]


_DAY_MS = 86_400_000


def _forked(skew_ms: int = 0) -> tuple[Watch, MemberLog, Fork]:
    """A watch with a member whose log ends in front of a fork at entry 2, found at once."""
    watch, vps = Watch(), MemberLog("vps", skew_ms=skew_ms)
    entries = [*vps.start(0, row()), vps.results(1)]
    watch.hear(vps, *entries)
    fork = Fork(2, bytes(range(32)), entries[1].hash, WALL_MS + skew_ms)
    watch.view.end(vps.key, vps.log, fork, entries[:2])
    return watch, vps, fork


def test_member_that_signed_two_histories_is_one_incident_until_it_answers_and_a_day_has_passed() -> None:
    watch, _, fork = _forked()
    assert watch.look(1) == [("opened", "DemeshLogForked", "vps")]
    assert "has not begun a new log yet" in dict(watch.open().annotations)["description"]
    again = MemberLog("vps", epoch=1)
    watch.hear(again, again.hello(2, fork_proofs=(fork.id,)))
    watch.hear(again, again.results(3_000), again.results(6_000))
    assert watch.look(6_000) == []
    assert "has gone on in a new log" in dict(watch.open().annotations)["description"]
    for at_ms in range(10_000, _DAY_MS - 1, 10_000_000):
        watch.now_ms = at_ms
        watch.hear(again, again.results(at_ms, next_ms=20_000_000))
        assert watch.look() == []
    watch.now_ms = _DAY_MS
    watch.hear(again, again.results(_DAY_MS))
    assert watch.look() == [("closed", "DemeshLogForked", "vps")]


def test_fork_that_is_not_answered_stays_open_however_old() -> None:
    watch, _, _ = _forked(skew_ms=-100 * _DAY_MS)
    assert ("opened", "DemeshLogForked", "vps") in watch.look(1)
    watch.look(2 * _DAY_MS)
    assert [each.name for each in watch.conclusions.open() if each.name == "DemeshLogForked"] == ["DemeshLogForked"]


def test_old_fork_that_was_answered_is_no_news() -> None:
    watch, _, fork = _forked(skew_ms=-2 * _DAY_MS)
    again = MemberLog("vps", epoch=1)
    watch.hear(again, again.hello(2, fork_proofs=(fork.id,)), again.results(3_000), again.results(6_000))
    assert watch.look(6_000) == []


@pytest.mark.parametrize("skew_ms", [-WALL_MS, 10**15], ids=["1970", "far ahead"])
def test_a_failing_vantage_with_an_absurd_clock_still_opens(skew_ms: int) -> None:
    watch, a = Watch(), MemberLog("a", skew_ms=skew_ms)
    watch.hear(a, *a.start(0, row()), a.results(1, result(FAIL, 0), result(FAIL, 1)))
    watch.look()
    assert watch.look(limits.LONE_PAGE_HELD_MS) == [("opened", _CHECK_DOWN, "web")]


def test_opened_and_closed_tell_of_the_same_incident() -> None:
    watch = Watch()
    a, b, c = three_vantages(watch.view, row())
    watch.say(FAIL, a, b, c)
    (opened,) = watch.conclusions.conclude(0, WALL_MS)
    watch.say(PASS, a, b, c)
    (closed,) = watch.conclusions.conclude(1, WALL_MS + 1)
    assert isinstance(opened, Opened)
    assert opened.incident == closed.incident


def test_label_names_that_alertmanager_refuses_are_left_out() -> None:
    watch, _ = _down(row(labels=(("team", "ops"), ("a b", "x"), ("", "y"))))
    assert dict(watch.open().labels)["team"] == "ops"
    assert not {"a b", ""} & dict(watch.open().labels).keys()


def test_that_it_is_over_is_repeated_only_while_there_is_proof_of_it() -> None:
    watch, (a, b, c) = _down(row(interval_ms=20_000))
    watch.say(PASS, a, b, c)
    assert watch.look(1_000) == [("closed", _CHECK_DOWN, "web")]

    def told() -> list[str]:
        return [each.incident.subject for each in watch.conclusions.outgoing(watch.now_ms, WALL_MS + watch.now_ms)]

    assert told() == ["web"]
    watch.now_ms = 75_000
    for author in (a, b, c):
        watch.hear(author, author.results(75_000))
    watch.look()
    assert told() == [], "nobody has seen it lately: others may know better"
    watch.now_ms = 76_000
    watch.say(PASS, a, b, c)
    watch.look()
    assert told() == ["web"]
