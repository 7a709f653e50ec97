"""docs/protocol.md is enough to write a node that writes: its log is taken up, and its votes count."""

from typing import Any

import pytest

from tests.e2e.harness import eventually
from tests.interop.conftest import Watched
from tests.interop.foreign import ForeignNode
from tests.interop.swarm import assert_verifies, heads, multiaddr
from tests.interop.test_reading import check_of

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def _votes(status: dict[str, Any]) -> dict[str, str]:
    return {each["node"]: each["vote"] for check in status["checks"] for each in check["vantages"] if each["assigned"]}


def _holds(watched: Watched, writer: ForeignNode) -> None:
    (own,) = [each for each in writer("logs") if each["hello"]["name"] == "writer"]
    eventually(lambda: heads(watched.node).get(own["log"]), lambda head: head == (own["seq"], own["hash"]), 10, "held")


def test_log_of_another_hand_is_taken_up_and_its_votes_count(watched: Watched) -> None:
    node = watched.node
    with watched.swarm.foreign("writer") as writer:
        writer("begin", tags=["foreign"])
        plan = writer("plan", checks=[check_of(watched)])["seq"]
        writer("report", plan=plan, outcomes=["pass"], latencies=[123])
        writer("dial", address=multiaddr(node))
        _holds(watched, writer)
        assert writer("sessions")["served"] >= 1, "what was written before the nodes met was pulled"

        eventually(lambda: writer("subscribers"), lambda count: count == 1, 10, "the node listens to the topic")
        pulled: list[int] = []
        for _ in range(3):  # whatever it hears, the node also pulls now and then
            served = writer("sessions")["served"]
            writer("report", plan=plan, outcomes=["pass"], latencies=[123])
            eventually(node.status, lambda s: _votes(s) == {"watcher": "pass", "writer": "pass"}, 10, "both pass")
            _holds(watched, writer)
            pulled.append(writer("sessions")["served"] - served)
        assert 0 in pulled, "what was written since came over the topic"

        status = node.status()
        (check,) = status["checks"]
        assert check["state"] == "up", "equal definitions make one check"
        (vantage,) = [each for each in check["vantages"] if each["node"] == "writer"]
        assert (vantage["outcome"], vantage["latency_ms"]) == ("pass", 12.3)
        (member,) = [each for each in status["nodes"] if each["name"] == "writer"]
        assert member["peer_id"] == writer.peer
        assert (member["presence"], member["version"], member["tags"]) == ("alive", "interop", ["foreign"])

        for _ in range(2):
            writer("report", plan=plan, outcomes=["fail"], latencies=[0], details=[[0, 0, "connection refused"]])
        status = eventually(node.status, lambda s: _votes(s) == {"watcher": "pass", "writer": "fail"}, 10, "one fails")
        (vantage,) = [each for each in status["checks"][0]["vantages"] if each["node"] == "writer"]
        assert vantage["detail"] == "connection refused"
        assert status["checks"][0]["state"] == "partial"

        writer("write", kind=7, payload=["maintenance", 60_000])
        eventually(
            lambda: {each["name"]: each["presence"] for each in node.status()["nodes"]},
            lambda presence: presence["writer"] == "away",
            10,
            "it said goodbye",
        )
        assert_verifies(node)
