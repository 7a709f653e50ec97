"""A real node whose gossip service is killed from within its process goes on, and meets its peer again within seconds."""

from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.e2e.harness import NodeProcess, eventually

_KILLER = """
[node]
flush_interval = "2s"
[[check]]
name = "killer"
entry = "tests.e2e.network_killer:kill"
arguments = {{ trace = "{trace}" }}
interval = "5s"
timeout = "2s"
"""
_PEER = """
[node]
flush_interval = "2s"
[mesh]
peers = ["{peer}"]
"""


def _peers(node: NodeProcess, other: str) -> bool:
    """Whether `node` has heard of `other` over a connection that stands."""
    members: list[dict[str, Any]] = node.status()["nodes"]
    return any(each["name"] == other and each["presence"] == "alive" for each in members)


def _head_of(node: NodeProcess, other: str) -> int:
    return max((each["seq"] for each in node.heads() if each["node"] == other), default=-1)


@pytest.mark.slow
@pytest.mark.e2e
def test_a_node_whose_gossip_is_killed_meets_its_peer_again(tmp_path: Path) -> None:
    swarm_key = tmp_path / "swarm.key"
    write_secret(swarm_key, new_swarm_key().text())
    trace = tmp_path / "killed"
    a = NodeProcess(tmp_path / "a", "a", _KILLER.format(trace=trace), swarm_key)
    b = NodeProcess(tmp_path / "b", "b", _PEER.format(peer=a.swarm), swarm_key)
    with a, b:
        trace.touch()  # not yet
        for node in (a, b):
            node.start()
        for node, other in ((a, "b"), (b, "a")):
            node.wait_ready()
            eventually(lambda node=node, other=other: _peers(node, other), bool, 20, "they know each other")
        assert a.status()["network"]["rebuilds"] == 0
        trace.unlink()
        told = eventually(lambda: a.status()["network"], lambda said: said["rebuilds"] > 0, 15, "rebuilt")
        assert trace.read_text() == "1"
        assert told["running"]
        assert told["problem"].startswith("The peer-to-peer service stopped: ")
        head = _head_of(b, "a")
        eventually(lambda: _head_of(b, "a"), lambda seq: seq > head + 1, 15, "b gets what a writes")
        back = _head_of(a, "b")
        eventually(lambda: _head_of(a, "b"), lambda seq: seq > back + 1, 10, "a gets what b writes")
        assert "The network of this node stopped" in a.output()
        assert "runs again" in a.output()
        assert "Traceback" not in a.output()
        assert a.run_command("doctor").stdout.count("network ") == 1
        warned = next(each for each in b.status()["nodes"] if each["name"] == "a")["warnings"]
        assert [each["subject"] for each in warned] == ["network"]
        for node in (a, b):
            assert node.stop() == 0, node.output()
