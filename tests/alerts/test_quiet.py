"""What mutes an incident, and what it does to what is sent."""

from dataclasses import replace

import pytest

from demesh import limits
from demesh.alerts.incident import Closed, Incident, Opened
from demesh.alerts.kept import Kept
from demesh.alerts.muting import Muting
from demesh.alerts.outbox import Outbox
from demesh.alerts.quiet import Dependency, MuteKind, acknowledged, dependencies_of, mute_of
from demesh.log.decision import (
    Acknowledgement,
    Decision,
    Maintenance,
    Silence,
    acknowledgement_event,
    end_event,
    silence_event,
)
from demesh.log.entry import Kind
from demesh.log.event import Event
from demesh.log.matcher import Matcher, parse_matcher
from demesh.view.decisions import Decisions, Made
from demesh.view.fold import View
from tests.alerts.build import WALL_MS, incident
from tests.view.build import FAIL, PASS, MemberLog, deliver, new_view, row, three_vantages

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DOWN = incident("api")
_NAS = Incident("DemeshNodeSilent", "aa", "nas", WALL_MS, (("alertname", "DemeshNodeSilent"), ("node", "nas")), ())


def _silence(text: str = "check=api", from_ms: int = 0, to_ms: int = _HOUR_MS) -> Silence:
    return Silence((parse_matcher(text),), WALL_MS + from_ms, WALL_MS + to_ms, "deploy", "ann")


def _decided(*decisions: Decision, wall_ms: int = WALL_MS) -> Decisions:
    silences: list[Made[Silence]] = []
    maintenance: list[Made[Maintenance]] = []
    acknowledgements: list[Made[Acknowledgement]] = []
    for seq, each in enumerate(decisions):
        place = (b"log", seq)
        match each:
            case Silence():
                silences.append(Made(place, b"ann", wall_ms, each))
            case Maintenance():
                maintenance.append(Made(place, b"ann", wall_ms, each))
            case Acknowledgement():
                acknowledgements.append(Made(place, b"ann", wall_ms, each))
    return Decisions(tuple(silences), tuple(maintenance), tuple(acknowledgements))


def _kind(decisions: Decisions, at_ms: int = 0, what: Incident = _DOWN) -> str | None:
    mute = mute_of(what, decisions, {}, WALL_MS + at_ms)
    return str(mute.kind) if mute else None


def test_a_silence_mutes_what_matches_from_its_begin_to_its_end() -> None:
    decisions = _decided(_silence(from_ms=1_000, to_ms=2_000))
    assert [_kind(decisions, at_ms) for at_ms in (999, 1_000, 1_999, 2_000)] == [None, "silence", "silence", None]
    assert _kind(decisions, 1_500, incident("web")) is None
    mute = mute_of(_DOWN, decisions, {}, WALL_MS + 1_500)
    assert mute is not None
    assert (mute.by, mute.until_ms, mute.comment, mute.author) == ("ann", WALL_MS + 2_000, "deploy", b"ann")


def test_silences_whose_time_it_is_not_need_not_be_asked() -> None:
    over, now, later = _silence(to_ms=1_000), _silence(), _silence(from_ms=2_000)
    at = _decided(over, now, later).at(WALL_MS + 1_000)
    assert [each.decision for each in at.silences] == [now]


def test_all_matchers_of_a_silence_must_match() -> None:
    both = Silence((Matcher("check", "=", "api"), Matcher("alertname", "!=", "DemeshCheckDown")), 0, 2 * WALL_MS)
    assert _kind(_decided(both)) is None
    assert _kind(_decided(replace(both, matchers=both.matchers[:1]))) == "silence"


@pytest.mark.parametrize(
    ("maintenance", "api", "nas"),
    [
        (Maintenance("m", starts_ms=0, ends_ms=2 * WALL_MS), True, True),
        (Maintenance("m", starts_ms=0, ends_ms=2 * WALL_MS, checks=("web", "api")), True, False),
        (Maintenance("m", starts_ms=0, ends_ms=2 * WALL_MS, checks=("web",), nodes=("nas",)), False, True),
        (Maintenance("m", starts_ms=0, ends_ms=2 * WALL_MS, matchers=(Matcher("node", "=~", "n.*"),)), False, True),
        (
            Maintenance("m", starts_ms=0, ends_ms=2 * WALL_MS, nodes=("nas",), matchers=(Matcher("a", "=", "b"),)),
            False,
            False,
        ),
        (Maintenance("m", starts_ms=WALL_MS + 1, ends_ms=2 * WALL_MS), False, False),
        (Maintenance("m", starts_ms=0, ends_ms=WALL_MS), False, False),
        (Maintenance("m", "Tue 22:00-23:00 UTC"), True, True),  # WALL_MS is a Tuesday, 22:13:20
        (Maintenance("m", "Tue 23:00-24:00 Europe/Berlin"), True, True),
        (Maintenance("m", "Tue 22:00-23:00 Europe/Berlin"), False, False),
        (Maintenance("m", "Tue 22:00-23:00 Mars/Olympus"), False, False),
        (Maintenance("m", "some day"), False, False),
    ],
)
def test_maintenance_mutes_what_it_names_while_it_lasts(maintenance: Maintenance, *, api: bool, nas: bool) -> None:
    found = [_kind(_decided(maintenance), 0, each) for each in (_DOWN, _NAS)]
    assert found == ["maintenance" if api else None, "maintenance" if nas else None]


def test_of_several_mutes_the_one_that_lasts_longest_is_told() -> None:
    decisions = _decided(_silence(to_ms=1_000), _silence(to_ms=9_000), _silence(to_ms=5_000))
    mute = mute_of(_DOWN, decisions, {}, WALL_MS)
    assert mute is not None
    assert mute.until_ms == WALL_MS + 9_000


def _ack(onset_ms: int = WALL_MS) -> Acknowledgement:
    return Acknowledgement("DemeshCheckDown", "api", onset_ms, "on it", "ann")


def test_an_acknowledgement_is_of_the_incident_that_was_open_when_it_was_made() -> None:
    decisions = _decided(_ack(), wall_ms=WALL_MS + _HOUR_MS)
    assert _kind(decisions, _HOUR_MS) == "acknowledgement"
    assert _kind(decisions, _HOUR_MS, incident("web")) is None
    assert _kind(decisions, _HOUR_MS, replace(_DOWN, name="DemeshCheckPartial")) is None
    again = replace(_DOWN, onset_ms=WALL_MS + _HOUR_MS + limits.ACKNOWLEDGED_SLACK_MS + 1)
    assert _kind(decisions, 2 * _HOUR_MS, again) is None
    seen_later = replace(_DOWN, onset_ms=WALL_MS + 30 * _MINUTE_MS)
    assert acknowledged(seen_later, decisions) is not None, "a node that joined meanwhile knows no better"


def test_what_is_acknowledged_and_silenced_is_held_back_as_silenced() -> None:
    mute = mute_of(_DOWN, _decided(_ack(), _silence()), {}, WALL_MS)
    assert mute is not None
    assert (mute.kind, mute.holds_back) == (MuteKind.SILENCE, True)
    mute = mute_of(_DOWN, _decided(_ack()), {}, WALL_MS)
    assert mute is not None
    assert not mute.holds_back


_GONE, _UP, _UNKNOWN = "gone", "up", "unknown"


@pytest.mark.parametrize(
    ("states", "muted_by"),
    [
        ({}, None),
        ({"api": (_GONE, ("router",))}, None),
        ({"api": (_GONE, ("router",)), "router": (_GONE, ())}, "router"),
        ({"api": (_GONE, ("router",)), "router": (_UP, ())}, None),
        ({"api": (_GONE, ("router",)), "router": (_UNKNOWN, ())}, None),
        ({"api": (_GONE, ("db",)), "db": (_UNKNOWN, ("router",)), "router": (_GONE, ())}, "router"),
        ({"api": (_GONE, ("db",)), "db": (_UP, ("router",)), "router": (_GONE, ())}, None),
        ({"api": (_GONE, ("db",)), "db": (_GONE, ("router",)), "router": (_UP, ())}, "db"),
        ({"api": (_GONE, ("api",))}, None),
        ({"api": (_GONE, ("db",)), "db": (_UNKNOWN, ("api",))}, None),
        ({"web": (_GONE, ("router",)), "router": (_GONE, ())}, None),
    ],
)
def test_a_check_is_muted_by_what_it_depends_on_as_that_really_is(
    states: dict[str, tuple[str, tuple[str, ...]]], muted_by: str | None
) -> None:
    dependencies = {name: Dependency(on, state == _GONE, state == _UP) for name, (state, on) in states.items()}
    mute = mute_of(_DOWN, Decisions(), dependencies, WALL_MS)
    assert (mute.by if mute else None) == muted_by
    assert mute_of(_NAS, Decisions(), dependencies, WALL_MS) is None


@pytest.mark.parametrize("told", [{"notify": False}, {"severity": "info"}])
def test_what_nobody_is_told_of_keeps_nothing_else_back(told: dict[str, object]) -> None:
    view = new_view()
    for member in three_vantages(view, row("router", **told)):
        deliver(view, member, member.outcomes(1_000, FAIL, FAIL), 1_000)
    assert dependencies_of(view.checks(2_000))["router"] == Dependency((), gone=False, up=False)


def test_of_two_that_depend_on_each_other_both_are_told() -> None:
    both = {"api": Dependency(("db",), gone=True, up=False), "db": Dependency(("api",), gone=True, up=False)}
    assert mute_of(_DOWN, _decided(), both, WALL_MS) is None


def test_a_check_is_gone_as_a_dependency_when_it_is_down() -> None:
    view = new_view()
    members = three_vantages(view, row("router"))
    for member in members:
        deliver(view, member, member.outcomes(1_000, PASS), 1_000)
    assert dependencies_of(view.checks(2_000))["router"] == Dependency((), gone=False, up=True)
    for member in members:
        deliver(view, member, member.outcomes(3_000, FAIL, FAIL), 3_000)
    assert dependencies_of(view.checks(4_000))["router"] == Dependency((), gone=True, up=False)
    assert dependencies_of(view.checks(400_000))["router"] == Dependency((), gone=False, up=False), "nobody knows"


class _Desk:
    """One node's muting and outbox, over a view in which `ann` decides."""

    def __init__(self, kept: Kept | None = None) -> None:
        self.view: View = new_view()
        self.ann = MemberLog("ann")
        deliver(self.view, self.ann, self.ann.start(0), 0)
        self.outbox, self.muting, self._open = Outbox(), Muting(), dict[str, Incident]()
        self.muting.restore(kept or Kept())

    def say(self, event: Event) -> tuple[bytes, int]:
        entry = self.ann.entry(Kind.EVENT, event.payload(), 0)
        deliver(self.view, self.ann, entry, 0)
        return entry.log, entry.seq

    def look(self, at_ms: int, *changes: Opened | Closed) -> list[str]:
        """What is sent then, resolved ones with a minus."""
        for each in changes:
            if isinstance(each, Opened):
                self._open[each.incident.subject] = each.incident
            else:
                del self._open[each.incident.subject]
        held = self.muting.look(self.view, list(self._open.values()), changes, at_ms, WALL_MS + at_ms)
        self.outbox.update(self._open.values(), changes, at_ms, held)
        sent = self.outbox.outgoing(at_ms, WALL_MS + at_ms)
        return [("-" if each.ends_ms <= WALL_MS + at_ms else "") + each.incident.subject for each in sent]


def test_a_muted_incident_is_not_sent_until_the_mute_ends_and_its_end_is_not_either() -> None:
    desk = _Desk()
    desk.say(silence_event(_silence()))
    assert desk.look(0, Opened(_DOWN)) == []
    assert desk.look(_HOUR_MS - 1) == []
    assert desk.look(_HOUR_MS) == ["api"]
    assert desk.look(_HOUR_MS + 1, Closed(_DOWN, WALL_MS)) == ["-api"]
    other = _Desk()
    other.say(silence_event(_silence()))
    assert other.look(0, Opened(_DOWN)) == []
    assert other.look(1, Closed(_DOWN, WALL_MS)) == [], "nobody was told that it was wrong"


def test_what_is_firing_goes_on_when_it_is_silenced_and_its_end_is_sent() -> None:
    desk = _Desk()
    assert desk.look(0, Opened(_DOWN)) == ["api"]
    desk.say(silence_event(_silence()))
    assert desk.look(1) == ["api"]
    assert desk.look(2, Closed(_DOWN, WALL_MS)) == ["-api"]
    assert desk.look(3, Opened(_DOWN)) == []


def test_a_silence_that_is_ended_lets_what_is_open_be_sent() -> None:
    desk = _Desk()
    place = desk.say(silence_event(_silence()))
    assert desk.look(0, Opened(_DOWN)) == []
    desk.say(end_event(_silence(), place))
    assert desk.look(1) == ["api"]


def test_what_is_acknowledged_goes_on_being_sent_and_is_over_with_its_incident() -> None:
    desk = _Desk()
    assert desk.look(0, Opened(_DOWN)) == ["api"]
    desk.say(acknowledgement_event(_ack()))
    assert desk.look(1) == ["api"]
    assert desk.muting.acknowledged(_DOWN) is not None
    desk.look(2, Closed(_DOWN, WALL_MS))
    desk.look(3, Opened(_DOWN))
    assert desk.muting.acknowledged(_DOWN) is None


def test_after_a_restart_what_was_told_before_it_was_silenced_is_not_taken_for_resolved() -> None:
    nobody = frozenset({(_DOWN.name, _DOWN.key)})
    told, untold, new = _Desk(Kept((_DOWN,))), _Desk(Kept((_DOWN,), nobody)), _Desk()
    told.say(silence_event(_silence(from_ms=10 * _MINUTE_MS)))
    untold.say(silence_event(_silence(from_ms=10 * _MINUTE_MS)))
    at_ms = _HOUR_MS - _MINUTE_MS
    assert told.look(at_ms, Opened(_DOWN)) == ["api"]
    assert untold.look(at_ms, Opened(_DOWN)) == []
    new.say(silence_event(_silence(from_ms=10 * _MINUTE_MS)))
    assert new.look(at_ms, Opened(_DOWN)) == [], "whatever date others gave it: it is open since now"
    assert told.look(at_ms + 1, Closed(_DOWN, WALL_MS)) == ["-api"]
    assert told.look(at_ms + 2, Opened(replace(_DOWN, onset_ms=WALL_MS + at_ms))) == []
