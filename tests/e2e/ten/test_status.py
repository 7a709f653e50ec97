"""Whichever node one asks, the answer is the same, up to what docs/operations.md names as the node's own."""

import pytest

from tests.e2e.harness import eventually
from tests.e2e.swarm import SECONDS
from tests.e2e.ten.conftest import CHECK, Ten
from tests.e2e.ten.status import assert_same_status, assert_same_uptime, shared_part, status_as_told

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_ten_nodes_tell_the_same_status(ten: Ten) -> None:
    told = assert_same_status(ten.nodes)
    assert [node["name"] for node in told["nodes"]] == sorted(node.name for node in ten.nodes)
    assert {node["presence"] for node in told["nodes"]} == {"alive"}
    (check,) = told["checks"]
    assert (check["name"], check["state"]) == (CHECK, "up")
    assert {vantage["vote"] for vantage in check["vantages"]} == {"pass"}
    assert len(check["vantages"]) == len(ten.nodes)
    one = ten.nodes[4]
    eventually(
        lambda: (shared_part(status_as_told(one)), shared_part(one.status())),
        lambda both: both[0] == both[1],
        SECONDS,
        "the command prints it",
    )


def test_ten_nodes_tell_the_same_past(ten: Ten) -> None:
    assert_same_uptime(ten.nodes)
    seven_days = ten.nodes[0].status()["checks"][0]["uptime"]["7d"]
    assert seven_days["ratio"] == 1.0
    assert seven_days["coverage"] > 0.3, "the days before the nodes were started are among them"
