"""A test of all sinks says of each whether it arrived, and leaves nothing open."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio

from demesh.alerts.message import Message
from demesh.alerts.sink import Sink
from demesh.alerts.trial import SinkTrial
from demesh.errors import NetworkError
from tests.alerts.build import WALL_MS
from tests.log.builders import START_WALL_MS, TrioClock

pytestmark = pytest.mark.trio
_SINKS = (Sink("https://hooks.example.net/sesame", "hook"), Sink("ntfy://sesame", "phone"))


class _World:
    def __init__(self, takes: Callable[[str], bool] = lambda name: True) -> None:
        self.takes = takes
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.messages: list[tuple[str, Message]] = []

    async def post(self, url: str, document: bytes) -> tuple[int, int | None]:
        await trio.sleep(1)
        (alert,) = json.loads(document)
        self.posts.append((url, alert))
        return (200 if self.takes("am") else 503), WALL_MS

    async def notify(self, sink: Sink, message: Message) -> None:
        await trio.sleep(2)
        if not self.takes(sink.name):
            raise NetworkError("nobody is there.")
        self.messages.append((sink.name, message))

    async def run(self, *sinks: Sink) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []

        async def tell(line: dict[str, Any]) -> None:
            await trio.lowlevel.checkpoint()
            told.append(line)

        urls = ["http://me:sesame@am:9093"]
        await SinkTrial(urls, sinks, "nas", "0a", self.post, self.notify, TrioClock()).run(tell)
        return told


async def test_each_sink_gets_a_marked_test_and_hears_that_it_is_over(autojump_clock: object) -> None:
    world = _World()
    first, *rest = await world.run(*_SINKS)
    assert first == {"node": "nas", "sinks": 3}
    assert sorted((each["sink"], each["kind"], each["took_ms"]) for each in rest) == [
        ("hook", "webhook", 4_000),
        ("http://am:9093", "alertmanager", 2_000),
        ("phone", "apprise", 2_000),
    ]
    assert all(each["arrived"] and each["problem"] is None for each in rest)
    (url, firing), (_, resolved) = world.posts
    assert url == "http://me:sesame@am:9093/api/v2/alerts"
    assert firing["labels"] == resolved["labels"]
    assert firing["labels"] == {"alertname": "DemeshTest", "mesh": "0a", "node": "nas", "severity": "none"}
    assert "This is a test" in firing["annotations"]["summary"]
    assert ("endsAt" in firing, resolved["endsAt"]) == (False, "2023-11-14T22:13:20Z"), "by their clock, not by ours"
    assert [message.state for name, message in world.messages if name == "hook"] == ["firing", "resolved"]
    assert [message.state for name, message in world.messages if name == "phone"] == ["firing"]
    assert START_WALL_MS == WALL_MS
    assert "sesame" not in json.dumps(rest)


async def test_one_that_fails_says_why_and_keeps_the_others_from_nothing(autojump_clock: object) -> None:
    rest = (await _World(lambda name: name == "phone").run(*_SINKS))[1:]
    assert {each["sink"]: each["problem"] for each in rest} == {
        "hook": "nobody is there.",
        "http://am:9093": "it answered with status 503.",
        "phone": None,
    }
