"""What becomes of alerts is counted from the moment on at which a node takes up a sink."""

from dataclasses import replace

import pytest
import trio
from prometheus_client import REGISTRY
from trio.testing import MockClock

from demesh.alerts.sink import Sink
from demesh.config.load import Settings
from tests.cluster import Mesh, running

pytestmark = pytest.mark.trio


def _counted_of(**labels: str) -> dict[tuple[str, str], float]:
    """What is told of a sink: by metric and outcome."""
    return {
        (sample.name, sample.labels["outcome"]): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if "outcome" in sample.labels and all(sample.labels.get(name) == value for name, value in labels.items())
    }


async def test_what_becomes_of_messages_is_counted_from_nought_on_from_the_first_moment_of_a_sink(
    autojump_clock: MockClock, mesh: Mesh
) -> None:
    """Else Prometheus does not see the first failure: `increase` begins with a value that is there."""
    ann = mesh.member("ann")
    assert isinstance(ann.configured, Settings)
    ann.configured = replace(ann.configured, sinks=(Sink("https://hooks.example.net/first", "first-counted"),))
    posts = {("demesh_alert_posts_total", each): 0 for each in ("sent", "refused", "unreachable")}
    messages = {("demesh_notifications_total", each): 0 for each in ("sent", "failed")}
    async with running(ann):
        await trio.sleep(1)
        assert _counted_of(sink="first-counted") == messages
        assert {each for name, each in _counted_of() if name == "demesh_heartbeats_total"} == {
            "sent",
            "failed",
            "held_back",
        }
        added = Sink("https://hooks.example.net/added", "added-counted")
        ann.configured = replace(ann.configured, sinks=(added,), alertmanagers=("http://added.example.net:9093",))
        await ann.node.reload()
        assert _counted_of(sink="added-counted") == messages
        assert _counted_of(sink="http://added.example.net:9093") == posts
