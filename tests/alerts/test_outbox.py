"""What a sink is told, and for how long."""

from demesh import limits
from demesh.alerts.incident import Closed
from demesh.alerts.outbox import Outbox
from tests.alerts.build import WALL_MS, Story, incident

_AHEAD_MS = 4 * limits.ALERT_RESEND_MS


def test_nothing_is_wrong_and_nothing_is_sent() -> None:
    assert Story().told(0) == []


def test_an_open_incident_is_sent_each_time_and_ends_by_itself_a_few_resends_ahead() -> None:
    story = Story()
    story.open(0, incident())
    for now_ms in (0, 30_000, 3_000_000):
        assert story.told(now_ms) == [("web", 0, now_ms + _AHEAD_MS)]


def test_a_closed_incident_is_sent_as_resolved_for_five_minutes() -> None:
    story = Story()
    story.open(0, incident())
    story.close(60_000)
    for now_ms in (60_000, 200_000, 360_000):
        assert story.told(now_ms) == [("web", 0, 60_000)]
    assert story.told(360_001) == []
    assert story.told(100_000) == [], "what was dropped does not come back"


def test_an_incident_that_opens_again_is_not_sent_as_resolved() -> None:
    story = Story()
    story.open(0, incident())
    story.close(60_000)
    story.open(70_000, incident(onset_ms=WALL_MS + 65_000))
    assert story.told(70_000) == [("web", 65_000, 70_000 + _AHEAD_MS)]


def test_a_second_close_counts_anew() -> None:
    story = Story()
    for now_ms in (0, 200_000):
        story.open(now_ms, incident(onset_ms=WALL_MS + now_ms))
        story.close(now_ms + 100_000)
    assert story.told(600_000) == [("web", 200_000, 300_000)]


def test_an_onset_by_a_clock_ahead_of_ours_starts_now_at_the_latest() -> None:
    story = Story()
    story.open(0, incident(onset_ms=WALL_MS + 3_600_000))
    assert story.told(0) == [("web", 0, _AHEAD_MS)]
    story.close(60_000)
    assert story.told(60_000) == [("web", 60_000, 60_000)]


def test_each_incident_goes_its_own_way() -> None:
    story = Story()
    story.open(0, incident("web"), incident("api"))
    story.close(10_000, "web")
    assert sorted(story.told(10_000)) == [("api", 0, 10_000 + _AHEAD_MS), ("web", 0, 10_000)]


def test_a_wall_clock_that_is_set_back_makes_no_resolved_incident_fire() -> None:
    outbox, bad = Outbox(), incident()
    outbox.update([], [Closed(bad, WALL_MS + 60_000)], 60_000)
    (sent,) = outbox.outgoing(90_000, WALL_MS - 10**9)
    assert sent.ends_ms == WALL_MS - 10**9 - 30_000
    assert sent.starts_ms <= sent.ends_ms
