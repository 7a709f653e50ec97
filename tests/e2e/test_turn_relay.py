"""The round trip through a TURN server by two nodes: on real nodes, a real swarm and a real coturn."""

from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.certificates import make_authority
from tests.e2e.harness import NodeProcess, eventually
from tests.probes.stun_servers import PASSWORD, USER, coturn

_ASKER = """
[node]
flush_interval = "2s"
[mesh]
allow_requests = "any"
[[check]]
name = "turn"
target = "{target}"
user = "{user}"
password_file = "turn.password"
relay = true
interval = "3s"
timeout = "2s"
retry_interval = "1s"
"""
_HELPER = """
[node]
flush_interval = "2s"
[mesh]
peers = ["{peer}"]
allow_requests = {allow}
"""


def _vantage(node: NodeProcess) -> dict[str, Any]:
    (check,) = node.status()["checks"]
    return {"state": check["state"], **check["vantages"][0]}


@pytest.mark.slow
@pytest.mark.e2e
def test_what_another_node_sends_comes_out_of_the_relay_and_its_absence_is_no_fault_of_the_server(
    tmp_path: Path,
) -> None:
    swarm_key = tmp_path / "swarm.key"
    write_secret(swarm_key, new_swarm_key().text())
    with coturn(tmp_path / "coturn", make_authority(tmp_path)) as server:
        a = NodeProcess(tmp_path / "a", "a", swarm_key=swarm_key)
        b = NodeProcess(tmp_path / "b", "b", swarm_key=swarm_key)
        (a.home / "demesh.toml").write_text(_ASKER.format(target=server.target("turn"), user=USER))
        (a.home / "turn.password").write_text(PASSWORD)
        (b.home / "demesh.toml").write_text(_HELPER.format(peer=a.swarm, allow='"any"'))
        with a, b:
            a.start("-vv")
            a.wait_ready()
            told = eventually(lambda: _vantage(a), lambda each: each["outcome"] == "error", 20, "alone")
            assert told["detail"] == "no other node sends through the relay: none is connected that helps"
            b.start("-vv")
            b.wait_ready()
            eventually(lambda: _vantage(a), lambda each: each["state"] == "up", 30, "what b sends comes through")
            assert PASSWORD not in a.output() + b.output()

            b.kill()
            told = eventually(lambda: _vantage(a), lambda each: each["outcome"] == "error", 30, "b is gone")
            assert told["vote"] != "fail"
            assert told["state"] != "down"

            (b.home / "demesh.toml").write_text(_HELPER.format(peer=a.swarm, allow='"public"'))
            b.start()
            b.wait_ready()
            eventually(
                lambda: _vantage(a)["detail"],
                lambda said: "public addresses only" in said,
                30,
                "b says why it does not",
            )
            assert a.stop() == 0
        eventually(server.allocations, lambda found: found == 0, 10, "all are given back")
