"""What is open survives a restart, and is told to nobody before it was judged."""

from hypothesis import given
from hypothesis import strategies as st

from demesh import limits
from demesh.alerts.conclusions import Conclusions
from demesh.alerts.incident import Incident, Labels
from demesh.alerts.kept import Kept, decode_incidents, encode_incidents
from demesh.log.codec import Value, encode
from tests.alerts.watch import Watch
from tests.view.build import FAIL, OWN, PASS, WALL_MS, MemberLog, deliver, new_view, row, three_vantages

_DOWN = "DemeshCheckDown"
_LABELS: st.SearchStrategy[Labels] = st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)
_INCIDENTS = st.builds(
    Incident,
    st.text(max_size=9),
    st.text(max_size=9),
    st.text(max_size=9),
    st.integers(0, 2**52),
    _LABELS,
    _LABELS,
    st.lists(st.text(max_size=9), max_size=3).map(tuple),
    st.booleans(),
)


@given(st.lists(_INCIDENTS, max_size=5), st.data())
def test_what_is_kept_comes_back_as_it_was(incidents: list[Incident], data: st.DataObject) -> None:
    untold = frozenset(data.draw(st.sets(st.sampled_from([(each.name, each.key) for each in incidents] or [("", "")]))))
    kept = decode_incidents(encode_incidents(incidents, untold))
    assert kept == Kept(tuple(incidents), untold if incidents else frozenset())


def test_what_an_earlier_version_kept_counts_as_told() -> None:
    rows: list[Value] = [["X", "k", "s", 0, [], [], [], 1]]
    assert decode_incidents(encode(rows)) == Kept((Incident("X", "k", "s", 0, (), ()),))


def test_a_text_without_end_loses_no_incident() -> None:
    long = Incident("X", "k", "s", 0, (), (("description", "x" * 2 * limits.NOTE_TEXT_CHARS_MAX),))
    assert [each.key for each in decode_incidents(encode_incidents([long])).incidents] == ["k"]


@given(st.binary(max_size=64))
def test_a_damaged_note_is_as_good_as_none(data: bytes) -> None:
    assert decode_incidents(data) == Kept()


def _restarted() -> Watch:
    """A node whose check was down when it ended, started anew: it has heard nobody yet."""
    before = Watch()
    before.say(FAIL, *three_vantages(before.view, row()))
    before.look()
    watch = Watch(view=new_view())
    watch.conclusions = Conclusions(watch.view, OWN.key, "0a1b2c3d")
    watch.conclusions.restore(decode_incidents(before.conclusions.kept()), 0, WALL_MS)
    return watch


def _told(watch: Watch) -> list[str]:
    return [each.incident.subject for each in watch.conclusions.outgoing(watch.now_ms, WALL_MS + watch.now_ms)]


def test_an_incident_that_goes_on_is_neither_closed_nor_opened_anew() -> None:
    watch = _restarted()
    members = three_vantages(watch.view, row())
    assert watch.look(5_000) == []
    for member in members:
        deliver(watch.view, member, member.outcomes(5_000, FAIL, FAIL), 5_000)
    assert watch.look(6_000) == []
    assert _told(watch) == ["web"], "judged, so told at once"


def test_what_nobody_has_judged_is_told_again_in_time_for_the_sink_not_to_end_it() -> None:
    watch = _restarted()
    three_vantages(watch.view, row())
    watch.look(5_000)
    assert _told(watch) == [], "it may have ended meanwhile"
    watch.look(limits.UNJUDGED_HELD_MS)
    assert _told(watch) == ["web"]
    assert limits.UNJUDGED_HELD_MS + limits.ALERT_RESEND_MS < 4 * limits.ALERT_RESEND_MS


def test_what_ended_while_it_was_down_is_never_told_as_firing_again() -> None:
    watch = _restarted()
    members = three_vantages(watch.view, row())
    for member in members:
        deliver(watch.view, member, member.outcomes(5_000, PASS), 5_000)
    assert watch.look(5_000) == [("closed", _DOWN, "web")]
    (outgoing,) = watch.conclusions.outgoing(5_000, WALL_MS + 5_000)
    assert outgoing.ends_ms <= WALL_MS + 5_000


def test_a_check_that_is_gone_when_it_starts_takes_its_incident_with_it() -> None:
    watch = _restarted()
    three_vantages(watch.view, row("other"))
    assert watch.look(1_000) == [("closed", _DOWN, "web")]


def test_a_silence_ends_with_a_voice_and_not_with_the_restart_of_who_noticed_it() -> None:
    incident = Incident("DemeshNodeSilent", MemberLog("a").key.hex(), "a", WALL_MS, (), ())
    watch, a = Watch(), MemberLog("a")
    watch.view.load(a.key, a.start(0, row()))
    watch.conclusions.restore(Kept((incident,)), 0, WALL_MS)
    assert watch.look(1_000) == []
    assert watch.look(120_000) == []
    watch.hear(a, a.results(120_000))
    assert watch.look() == [("closed", "DemeshNodeSilent", "a")]


def test_those_that_vanished_together_are_not_told_of_anew_by_who_restarts() -> None:
    a, b = MemberLog("a"), MemberLog("b")
    about = (a.key.hex(), b.key.hex())
    watch = Watch()
    for member in (a, b):
        watch.view.load(member.key, member.start(0, row()))
    watch.conclusions.restore(Kept((Incident("DemeshPartition", "mesh", "a, b", WALL_MS, (), (), about),)), 0, WALL_MS)
    assert [watch.look(at_ms) for at_ms in (1_000, 70_000, 200_000)] == [[], [], []]
    assert watch.named() == [("DemeshPartition", "a, b")]


def test_who_was_cut_off_is_until_it_hears_the_others() -> None:
    own, a = MemberLog("own"), MemberLog("a")
    watch = Watch()
    watch.view.load(a.key, a.start(0, row()))
    watch.hear(own, *own.start(0))
    watch.conclusions.restore(
        Kept((Incident("DemeshNodeIsolated", own.key.hex(), "own", WALL_MS, (), ()),)), 0, WALL_MS
    )
    assert [watch.look(at_ms) for at_ms in (1_000, 70_000, 200_000)] == [[], [], []]
    watch.hear(a, a.results(200_000))
    assert watch.look() == [("closed", "DemeshNodeIsolated", "own")]
