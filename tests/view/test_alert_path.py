"""Whether alerts reach anybody, as their watchdogs' coming back tells, and what Alertmanagers tell besides."""

import random
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.alerts.incident import Seen
from demesh.alerts.on_paths import look_at_paths
from demesh.log.entry import Kind
from demesh.log.event import Event
from demesh.log.notice import ForeignAlert, PathAlive, PathEnd, alert_notice, path_end_notice, path_notice
from demesh.view.alert_path import AlertPath, alert_paths, stopped_paths
from demesh.view.fold import View
from demesh.view.notices import Notices, alerts_told, fold_notice
from tests.log.builders import generated
from tests.view.build import MemberLog, deliver, new_view

_BEAT_MS = 10_000
_LATE_MS = limits.ALERT_PATH_STOPPED_MS + 20_000


class _Mesh:
    """nas sends, vps and hub receive; all beat as one until told otherwise."""

    def __init__(self) -> None:
        self.view: View = new_view()
        self.members = {name: MemberLog(name) for name in ("nas", "vps", "hub")}
        for each in self.members.values():
            deliver(self.view, each, each.start(0), 0)
        self.now_ms = 0

    def until(self, now_ms: int, *silent: str) -> None:
        while self.now_ms < now_ms:
            self.now_ms += _BEAT_MS
            for name, each in self.members.items():
                if name not in silent:
                    deliver(self.view, each, each.results(self.now_ms), self.now_ms)

    def say(self, receiver: str, event: Event) -> tuple[bytes, int]:
        author = self.members[receiver]
        entry = author.entry(Kind.NOTICE, event.payload(), self.now_ms)
        deliver(self.view, author, entry, self.now_ms)
        return entry.log, entry.seq

    def back(self, receiver: str = "vps") -> tuple[bytes, int]:
        return self.say(receiver, path_notice(PathAlive("hook", ("nas",))))

    def path(self) -> AlertPath:
        (path,) = alert_paths(self.view, self.now_ms)
        return path


def test_a_path_works_while_its_watchdog_comes_back_and_stops_when_it_does_not() -> None:
    mesh = _Mesh()
    mesh.until(60_000)
    assert alert_paths(mesh.view, mesh.now_ms) == []
    mesh.back()
    mesh.until(120_000)
    path = mesh.path()
    assert (path.node, path.receiver, path.receivers, path.came_back_ms) == ("nas", "hook", ("vps",), 60_000)
    assert (path.works, path.stopped) == (True, False)
    mesh.until(60_000 + limits.ALERT_PATH_STOPPED_MS)
    assert mesh.path().works
    mesh.until(60_000 + _LATE_MS)
    assert (mesh.path().works, mesh.path().stopped) == (False, True)
    assert [each.node for each in stopped_paths(mesh.view, mesh.now_ms)] == ["nas"]
    mesh.back("hub")
    assert (mesh.path().works, mesh.path().stopped, mesh.path().receivers) == (True, False, ("hub", "vps"))


@pytest.mark.parametrize("silent", ["vps", "nas"])
def test_nobody_can_say_that_a_path_stopped_while_who_sends_or_receives_is_silent(silent: str) -> None:
    mesh = _Mesh()
    mesh.until(60_000)
    mesh.back()
    mesh.until(60_000 + _LATE_MS, silent)
    assert not mesh.path().stopped
    assert not mesh.path().works


def test_a_receiver_that_is_silent_may_be_the_one_that_it_comes_back_to() -> None:
    mesh = _Mesh()
    mesh.until(60_000)
    mesh.back("hub")
    mesh.until(70_000)
    mesh.back("vps")
    mesh.until(70_000 + _LATE_MS, "vps")
    assert not mesh.path().stopped


def test_a_path_that_is_given_up_is_no_path_until_it_works_again() -> None:
    mesh = _Mesh()
    mesh.until(60_000)
    place = mesh.back()
    mesh.say("nas", path_end_notice(PathEnd("nas", place)))
    assert alert_paths(mesh.view, mesh.now_ms) == []
    mesh.back()
    assert mesh.path().works


def test_an_observer_that_listens_anew_counts_from_there() -> None:
    mesh = _Mesh()
    mesh.until(60_000)
    mesh.back()
    mesh.until(60_000 + _LATE_MS)
    assert mesh.path().stopped
    mesh.view.listen_anew(mesh.now_ms, mesh.now_ms - 60_000)
    mesh.until(mesh.now_ms + 60_000)
    assert not mesh.path().stopped
    mesh.until(mesh.now_ms + _LATE_MS)
    assert mesh.path().stopped


def test_a_wall_clock_that_is_wrong_stops_no_path() -> None:
    mesh = _Mesh()
    mesh.members["vps"].skew_ms = -(10**9)
    mesh.until(60_000)
    mesh.back()
    mesh.until(600_000)
    assert mesh.path().works


def test_a_path_that_stopped_is_an_incident_until_it_works() -> None:
    mesh = _Mesh()

    def seen() -> Seen:
        (found,) = look_at_paths(mesh.view, "0a1b", (("env", "prod"),), mesh.now_ms, 10**12 + mesh.now_ms)
        return found

    mesh.until(60_000)
    mesh.back()
    assert (seen().wrong, seen().right) == (None, True)
    mesh.until(60_000 + _LATE_MS)
    wrong = seen().wrong
    assert wrong is not None
    assert (wrong.name, wrong.key, wrong.subject) == ("DemeshAlertPathBroken", "nas", "nas")
    assert dict(wrong.labels) == {
        "alertname": "DemeshAlertPathBroken",
        "env": "prod",
        "mesh": "0a1b",
        "node": "nas",
        "severity": "critical",
    }
    assert wrong.onset_ms == 10**12 + 60_000
    mesh.until(mesh.now_ms + 60_000, "vps")
    assert (seen().wrong, seen().right) == (None, False), "unknown closes nothing"


def _alert(fingerprint: str, starts_ms: int, *, resolved: bool = False) -> ForeignAlert:
    return ForeignAlert(fingerprint, resolved, starts_ms, (("alertname", "Disk"),))


@generated
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 4), st.booleans()), max_size=20),
    st.randoms(use_true_random=False),
)
def test_the_same_logs_tell_the_same_of_an_alert_in_whatever_order_they_arrive(
    told: list[tuple[int, int, int, bool]], chance: random.Random
) -> None:
    authors = [MemberLog(f"m{number}") for number in range(3)]
    entries = [
        (author, authors[author].entry(Kind.NOTICE, alert_notice(_alert(f"f{alert}", at, resolved=over)).payload(), 0))
        for author, alert, at, over in told
    ]
    with patch.object(limits, "ALERTS_PER_LOG_MAX", 2), patch.object(limits, "NOTICES_AT_START_MAX", 5):
        in_order, mixed = [Notices() for _ in authors], [Notices() for _ in authors]
        for author, entry in entries:
            fold_notice(in_order[author], entry)
        for author, entry in chance.sample(entries, len(entries)):
            fold_notice(mixed[author], entry)
    assert [each.alerts for each in mixed] == [each.alerts for each in in_order]
    assert alerts_told(mixed) == alerts_told(in_order)


def test_of_what_logs_tell_of_an_alert_its_latest_turn_counts() -> None:
    ann, ben = Notices(), Notices()
    pens = MemberLog("ann"), MemberLog("ben")
    turns = [(0, _alert("f", 5)), (1, _alert("f", 5, resolved=True)), (0, _alert("f", 9)), (1, _alert("f", 2))]
    found: list[ForeignAlert] = []
    for who, alert in turns:
        fold_notice((ann, ben)[who], pens[who].entry(Kind.NOTICE, alert_notice(alert).payload(), 0))
        found += [each.alert for each in alerts_told([ann, ben])]
    assert found == [turns[0][1], turns[1][1], turns[2][1], turns[2][1]]
