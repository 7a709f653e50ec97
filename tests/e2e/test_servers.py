"""Public servers as a real node ranks and tells them: a real coturn, fit for NAT behaviour discovery, and no login of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from demesh.identity import new_swarm_key, write_secret
from tests.certificates import make_authority
from tests.e2e.harness import NodeProcess, eventually
from tests.probes.stun_servers import PASSWORD, USER, coturn

_CONFIG = """
[node]
flush_interval = "2s"
[[check]]
name = "nat"
target = "{stun}"
nat_behaviour = true
interval = "5s"
timeout = "4s"
[[check]]
name = "turn"
target = "{turn}"
user = "{user}"
password_file = "turn.password"
interval = "5s"
timeout = "2s"
[[check]]
name = "nobody"
target = "stun://127.0.0.1:9"
interval = "5s"
timeout = "1s"
"""


@pytest.mark.slow
@pytest.mark.e2e
def test_a_server_of_four_endpoints_and_one_with_a_login_are_told_to_readers_of_every_format(tmp_path: Path) -> None:
    swarm_key = tmp_path / "swarm.key"
    write_secret(swarm_key, new_swarm_key().text())
    with coturn(tmp_path / "coturn", make_authority(tmp_path)) as server:
        node = NodeProcess(tmp_path / "a", "a", swarm_key=swarm_key)
        config = _CONFIG.format(stun=server.target("stun"), turn=server.target("turn"), user=USER)
        (node.home / "demesh.toml").write_text(config)
        (node.home / "turn.password").write_text(PASSWORD)
        with node:
            node.start()
            node.wait_ready()
            states = {"nat": "up", "turn": "up", "nobody": "down"}
            eventually(
                lambda: {each["name"]: each["state"] for each in node.status()["checks"]}, states.__eq__, 30, "all seen"
            )
            told: dict[str, Any] = json.loads(node.read("/servers"))
            ran = {each: node.run_command("servers", "--format", each) for each in ("text", "csv", "json", "p2pd")}
    assert [each.returncode for each in ran.values()] == [0] * 4
    by_name = {each["name"]: each for each in json.loads(ran["json"].stdout)["servers"]}
    other_host, other_port = by_name["nat"]["other_address"].split(":")
    assert other_host == "127.0.0.2"
    (group,) = told["STUN(test_nat)"]["IPv4"]["UDP"]
    assert [each["ip"] for each in group] == ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"]
    assert [each["port"] for each in group] == [server.port, int(other_port)] * 2
    names: dict[str, Any] = {"UDP": "udp", "TCP": "tcp", "IP4": 4, "IP6": 6}
    exec(ran["p2pd"].stdout, names)
    secondary = {"ip": other_host, "port": int(other_port)}
    primary = {"ip": "127.0.0.1", "port": server.port}
    assert names["STUN_CHANGE_SERVERS"]["udp"][4] == [{"mode": 1, "primary": primary, "secondary": secondary}]
    assert names["STUN_MAP_SERVERS"]["udp"][4] == [], "the one where nobody answers"
    assert [(each[4], each["port"], each["user"]) for each in names["TURN_SERVERS"]] == [
        ("127.0.0.1", server.port, None)
    ]
    said = "".join(each.stdout + each.stderr for each in ran.values()) + json.dumps(told)
    assert PASSWORD not in said
    assert USER not in said
