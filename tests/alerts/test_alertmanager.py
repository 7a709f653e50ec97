"""One Alertmanager is kept told, whatever it does."""

import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client import REGISTRY

from demesh import limits
from demesh.alerts.alertmanager import AlertmanagerSender
from demesh.alerts.outbox import Outgoing
from demesh.errors import NetworkError
from demesh.view.report import iso
from tests.alerts.build import WALL_MS, StillClock, incident

_URL = "http://me:sesame@alerts.example.net:9093"
_SINK = "http://alerts.example.net:9093"


class _Alertmanager:
    """Answers each post with what `answer` gives (a status, or an error to raise) and keeps when and what was posted."""

    def __init__(self, answer: Callable[[], int | NetworkError] = lambda: 200) -> None:
        self.answer = answer
        self.posts: list[tuple[float, str, list[dict[str, Any]]]] = []
        self.outgoing: list[Outgoing] = []
        self._began = trio.current_time()
        self.ahead_ms = 0
        self.clock = StillClock()
        self.sender = AlertmanagerSender(_URL, self._post, lambda: self.outgoing, self.clock)

    async def _post(self, url: str, document: bytes) -> tuple[int, int | None]:
        """The first post brings nothing but a look at the clock: it is only kept if it fails."""
        alerts = json.loads(document)
        post = (round(trio.current_time() - self._began, 3), url, alerts)
        if alerts:
            self.posts.append(post)
        await trio.lowlevel.checkpoint()
        answer = self.answer()
        if not alerts and answer != 200:
            self.posts.append(post)
        if isinstance(answer, NetworkError):
            raise answer
        return answer, WALL_MS + self.ahead_ms

    def fire(self, count: int = 1) -> None:
        self.outgoing = [Outgoing(incident(f"web{n}"), WALL_MS, WALL_MS + 120_000) for n in range(count)]

    def times(self) -> list[float]:
        return [at for at, _, _ in self.posts]


@asynccontextmanager
async def _running(alertmanager: _Alertmanager) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alertmanager.sender.run)
        yield
        nursery.cancel_scope.cancel()


def _counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("demesh_alert_posts_total", {"sink": _SINK, "outcome": outcome}) or 0


def _away() -> int | NetworkError:
    return NetworkError("nobody is there.")


@pytest.mark.trio
async def test_a_change_is_posted_at_once_and_repeated_every_thirty_seconds(autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    async with _running(alertmanager):
        await trio.sleep(7)
        assert alertmanager.posts == []
        alertmanager.fire()
        alertmanager.sender.poke()
        await trio.sleep(61)
    assert alertmanager.times() == [7, 37, 67]


@pytest.mark.trio
async def test_an_alert_is_what_alertmanager_expects(autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    alertmanager.fire()
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.testing.wait_all_tasks_blocked()
    ((_, url, alerts),) = alertmanager.posts
    assert url == f"{_URL}/api/v2/alerts"
    assert alerts == [
        {
            "labels": {"alertname": "DemeshCheckDown", "check": "web0"},
            "annotations": {"summary": "web0 is down"},
            "startsAt": "2023-11-14T22:13:20Z",
            "endsAt": "2023-11-14T22:15:20Z",
        }
    ]


@pytest.mark.trio
async def test_with_nothing_to_tell_nothing_is_posted(autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.sleep(300)
    assert alertmanager.posts == []


@pytest.mark.trio
async def test_an_alertmanager_that_is_away_is_tried_with_growing_bounded_delays(autojump_clock: object) -> None:
    alertmanager = _Alertmanager(_away)
    alertmanager.fire()
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.sleep(10_000)
    times = alertmanager.times()
    delays = [round(after - before, 3) for before, after in pairwise(times)]
    assert delays[:6] == [1, 2, 4, 8, 15, 15]
    assert set(delays[4:]) == {limits.ALERT_RETRY_SECONDS_MAX}


@pytest.mark.trio
@pytest.mark.parametrize("trouble", [_away, lambda: 500], ids=["unreachable", "refusing"])
async def test_once_it_is_back_it_gets_everything_that_is_open(
    trouble: Callable[[], int | NetworkError], autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    alertmanager = _Alertmanager(trouble)
    alertmanager.fire()
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.sleep(20)
        alertmanager.fire(3)
        alertmanager.answer = lambda: 200
        await trio.sleep(100)
    back = next(n for n, (_, _, alerts) in enumerate(alertmanager.posts) if len(alerts) == 3)
    times = alertmanager.times()[back:]
    assert times[0] - 20 <= limits.ALERT_RETRY_SECONDS_MAX
    assert times[1] - times[0] == limits.ALERT_RESEND_MS / 1_000
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2, "told once that it is away and once that it is back"
    assert all(_SINK in warning and "sesame" not in warning for warning in warnings)


@pytest.mark.trio
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(200, "sent"), (204, "sent"), (302, "refused"), (400, "refused"), (503, "refused"), (None, "unreachable")],
)
async def test_posts_are_counted_by_how_they_ended(answer: int | None, outcome: str, autojump_clock: object) -> None:
    alertmanager = _Alertmanager(lambda: _away() if answer is None else answer)
    alertmanager.fire()
    outcomes = ("sent", "refused", "unreachable")
    before = {each: _counted(each) for each in outcomes}
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.testing.wait_all_tasks_blocked()
    assert {each: _counted(each) - before[each] for each in outcomes} == {
        each: float(each == outcome) for each in outcomes
    }


@pytest.mark.trio
async def test_many_alerts_are_split_over_several_posts(autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    alertmanager.fire(2 * limits.ALERTS_PER_POST_MAX + 1)
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.testing.wait_all_tasks_blocked()
    assert [len(alerts) for _, _, alerts in alertmanager.posts] == [256, 256, 1]
    posted = [alert["labels"]["check"] for _, _, alerts in alertmanager.posts for alert in alerts]
    assert sorted(posted) == sorted(f"web{n}" for n in range(513))


@pytest.mark.trio
async def test_a_change_during_a_post_is_posted_right_after_it(autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    alertmanager.fire()

    def answer() -> int:
        if len(alertmanager.posts) == 1:
            alertmanager.fire(2)
            alertmanager.sender.poke()
        return 200

    alertmanager.answer = answer
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.testing.wait_all_tasks_blocked()
    assert [(at, len(alerts)) for at, _, alerts in alertmanager.posts] == [(0, 1), (0, 2)]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("ahead_ms", "ends"), [(0, "22:15:20"), (2_000, "22:15:20"), (600_000, "22:25:20"), (-200_000, "22:12:00")]
)
async def test_times_are_told_by_alertmanagers_clock(ahead_ms: int, ends: str, autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    alertmanager.ahead_ms = ahead_ms
    alertmanager.fire()
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.testing.wait_all_tasks_blocked()
    ((_, _, (alert,)),) = alertmanager.posts
    assert alert["endsAt"] == f"2023-11-14T{ends}Z"


@pytest.mark.trio
async def test_a_refused_post_holds_back_no_other(autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    alertmanager.answer = lambda: 400 if alertmanager.posts and len(alertmanager.posts) == 1 else 200
    alertmanager.fire(300)
    async with _running(alertmanager):
        alertmanager.sender.poke()
        await trio.testing.wait_all_tasks_blocked()
    assert [len(alerts) for _, _, alerts in alertmanager.posts] == [256, 44]


@pytest.mark.trio
@pytest.mark.parametrize("change", ["the wall clock is set back", "the wall clock is set ahead", "the machine slept"])
async def test_neither_a_wall_clock_that_is_set_nor_a_sleep_ends_an_alert(change: str, autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    async with _running(alertmanager):
        alertmanager.fire()
        alertmanager.sender.poke()
        await trio.sleep(1)
        match change:
            case "the wall clock is set back":
                alertmanager.clock.ahead_ms = -3_600_000
            case "the wall clock is set ahead":
                alertmanager.clock.ahead_ms = 3_600_000
            case _:
                alertmanager.clock.now_ms = alertmanager.ahead_ms = 7_200_000
        now_ms = alertmanager.clock.wall_ms()
        alertmanager.outgoing = [Outgoing(incident("web0"), now_ms, now_ms + 120_000)]
        alertmanager.sender.poke()
        await trio.sleep(1)
    before, after = (datetime.fromisoformat(alerts[0]["endsAt"]) for _, _, alerts in alertmanager.posts)
    assert after - before == timedelta(milliseconds=alertmanager.ahead_ms)


@pytest.mark.trio
async def test_it_tells_whether_alerts_get_through_and_when_the_last_did(autojump_clock: object) -> None:
    alertmanager = _Alertmanager()
    sender, named = alertmanager.sender, {"name": _SINK}
    async with _running(alertmanager):
        sender.poke()
        await trio.sleep(0.3)
        assert sender.told() == {**named, "ok": None, "last_ok_at": None, "problem": None}, "there was nothing to send"
        alertmanager.fire()
        sender.poke()
        await trio.sleep(0.3)
        reached = iso(alertmanager.clock.wall_ms())
        assert sender.told() == {**named, "ok": True, "last_ok_at": reached, "problem": None}
        alertmanager.answer = _away
        alertmanager.clock.now_ms += 60_000
        sender.poke()
        await trio.sleep(0.3)
        assert sender.told() == {**named, "ok": False, "last_ok_at": reached, "problem": "nobody is there."}
        alertmanager.outgoing, alertmanager.answer = [], lambda: 200
        sender.poke()
        await trio.sleep(0.3)
        assert not sender.told()["ok"], "that nothing is left to send tells nothing of the way"
        alertmanager.fire()
        sender.poke()
        await trio.sleep(0.3)
        assert sender.told()["ok"]
