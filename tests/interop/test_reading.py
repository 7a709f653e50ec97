"""docs/protocol.md is enough to write a node that reads: it joins, hears the topic, and pulls and verifies whole logs."""

import pytest

from tests.e2e.harness import eventually
from tests.interop.conftest import Watched
from tests.interop.foreign import ForeignNode
from tests.interop.swarm import exported, multiaddr

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_another_hand_reads_the_topic_and_verifies_a_whole_log(watched: Watched) -> None:
    node = watched.node
    with watched.swarm.foreign("reader") as reader:
        ours = reader("dial", address=multiaddr(node))
        (told,) = [each["peer_id"] for each in node.status()["nodes"] if each["name"] == "watcher"]
        assert ours == told, "the peer id is made of the key that signs"

        eventually(lambda: len(reader("heard")), lambda count: count >= 4, 20, "news on the topic")
        reader("pull", address=multiaddr(node))
        heard = reader("heard")
        assert sum(each.get("verified", False) for each in heard) >= 4
        assert [each for each in heard if "wrong" in each] == []

        log = _watchers_log(reader)
        assert log["kinds"][:2] == [1, 2]
        assert log["signed"] < len(log["kinds"]), "of a page, most results come unsigned: the links vouch for them"

        told = exported(node, log["log"])[: log["seq"] + 1]
        assert told[-1]["hash"] == log["hash"]
        expected = [
            (entry["seq"], row["outcome"], row["latency_us"] / 1_000, entry["up_ms"] - row["age_ms"])
            for entry in told
            if entry["kind"] == "results"
            for row in entry["said"]["results"]
        ]
        assert expected
        read = [(each["seq"], each["outcome"], each["latencyMs"], each["knownMs"]) for each in log["results"]]
        assert read == expected, "both read the same results"


def test_another_hand_knows_the_hash_of_what_decides_a_vote(watched: Watched) -> None:
    with watched.swarm.foreign("reader") as reader:
        reader("pull", address=multiaddr(watched.node))
        (row,) = _watchers_log(reader)["plans"][0]["rows"]
        assert row["options"] == ["body", '"Welcome"', "status", "[200]"]
        assert row["target"] == f"{watched.url}/health", "a query does not travel, though it counts"
        assert reader("definition", check=check_of(watched)) == row["definition"]
        other = {**check_of(watched), "target": f"{watched.url}/health"}
        assert reader("definition", check=other) != row["definition"]


def _watchers_log(reader: ForeignNode) -> dict:
    (log,) = [each for each in reader("logs") if each["hello"]["name"] == "watcher"]
    return log


def check_of(watched: Watched) -> dict:
    """What the watched node checks, in this room's words."""
    return {
        "name": "web",
        "type": "http",
        "target": f"{watched.url}/health?deep=1",
        "intervalMs": 1_000,
        "timeoutMs": 500,
        "retryIntervalMs": 1_000,
        "failAfter": 2,
        "recoverAfter": 2,
        "keys": {"expect.body": "Welcome", "expect.status": [200]},
        "options": [],
    }
